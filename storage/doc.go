// Package storage says what a coordinator remembers and how that changes.
//
// Job: the values Global, Branch and Lock; Batch, the one unit of change;
// State.Apply, the one place where a transaction's state changes; the Store
// interface with its errors.
// Owner: server/txn computes Batches, a Store makes them durable.
// It must not know: why a state changes, who asked, or how a store keeps it.
package storage
