// Package faults kills real processes in the middle of real transactions.
//
// Job: run a bank of a coordinator, a transaction manager and two resource
// managers, each a process of its own, on two databases; kill or stop one of
// them, or a database, at a named step; and check that the money is conserved,
// that every transaction ended, and that nobody was told the opposite.
// Owner: tests only; no program imports it.
// It must not know: how the coordinator and the SDK recover.
package faults
