// Package coordinator turns requests into durable decisions: it loads, steps,
// applies, and only then lets the effects out.
//
// Job: lanes that fold the events waiting for one transaction into one Batch,
// the rounds of phase two with a bounded queue for each resource manager, the
// one due-loop for everything that time brings. It owns the clock and the ids.
// Owner: server/gateway calls Handle; server/sim drives it in a seeded world.
// It must not know: how a message reached it or how an order reaches a
// resource manager, how a store keeps a Batch, why a transition is right.
package coordinator
