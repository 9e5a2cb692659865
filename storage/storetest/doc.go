// Package storetest says what a storage.Store must do: a back end is whatever
// passes it.
//
// Job: one conformance suite, with reopening where the store is durable, and
// histories under concurrency checked against the acknowledged batches.
// Owner: each store's own test calls Run.
// It must not know: how a store works.
package storetest
