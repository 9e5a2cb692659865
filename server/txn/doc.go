// Package txn is the transaction machine: what a coordinator decides.
//
// Job: Step takes the state of one global transaction and an event, and
// returns the durable Batch that is the transition, with the Effects that may
// leave once the Batch is stored. The transitions are the rows of one table
// (table.go), from which docs/states.md is printed.
// Owner: server/coordinator, and nobody else, calls it.
// It must not know: stores, clocks, identifiers, connections. The time and new
// ids arrive with the event.
package txn
