// Package sim is a seeded world around the production coordinator.
//
// Job: run coordinators, transaction managers, resource managers, a network
// and clocks in one thread of virtual time, with crashes, loss, duplication,
// delay and interleaving chosen by a seed; check the invariants of
// ARCHITECTURE.md all the while; replay a seed exactly.
// Owner: its own tests, and whoever looks for a seed that fails.
// It must not know: how the coordinator or the store do their work. It drives
// them through their public seams: Store, Dispatcher, Clock, Spawn, Poll.
package sim
