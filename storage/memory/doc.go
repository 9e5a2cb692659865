// Package memory keeps transactions in memory: the reference Store, the state
// machine under the durable log, and the simulator's store.
//
// Job: apply Batches in order and whole, with the row locks between
// transactions, the due index, tombstones and snapshots. Equal batches in equal
// order make equal stores.
// Owner: storage/raft feeds it committed batches; tests and the simulator use
// it as a Store.
// It must not know: durability, clocks, who decides.
package memory
