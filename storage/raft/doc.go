// Package raft is the default store: a durable, replicated log of Batches over
// the memory store, of one node or several.
//
// Job: make Batches durable, many in one entry and one fsync; rebuild the state
// from snapshot and log; refuse damaged data; stop at the first storage error; let
// one node lead, and no node act that does not.
// Owner: the server opens it on its data directory.
// It must not know: what a Batch means, or who waits for it.
//
// DESIGN.md beside this file says why it is built as it is.
package raft
