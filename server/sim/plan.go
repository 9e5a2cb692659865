package sim

import (
	"math/rand/v2"
	"time"
)

// plan is what kind of world a seed makes. Each seed draws its own mix, so that
// some worlds have one fault in plenty and others none.
type plan struct {
	Nodes, Databases, Actions, Compensables, XADatabases int
	// Rows of each database; few rows make many lock conflicts.
	Rows, Transactions int
	// Faults last this long.
	Trouble time.Duration
	// Probabilities per message.
	Loss, Duplicate, Late float64
	// Probabilities per call of the store: it is slow, it fails with the
	// outcome unknown, it refuses.
	SlowStore, StoreFails, StoreRefuses float64
	// Probability that a node stands still after a call of the store, as under
	// SIGSTOP, and goes on seconds later.
	Standstill float64
	// Probability that a resource manager answers an order with nonsense.
	Nonsense float64
	// Probability that a resource manager takes long over an order: longer
	// than it is waited for, perhaps.
	SlowOrder float64
	// Mean times between crashes of a node and of a resource manager, and
	// between jumps of a node's clock; 0 means none.
	NodeCrash, ParticipantCrash, ClockJump time.Duration
	// ForeignWrite is the mean time between writes to a row by somebody outside
	// of all global transactions; 0 means none.
	ForeignWrite time.Duration
	// Retention is how long a finished transaction answers with its outcome.
	Retention time.Duration
	// MaxSkew is how far a node's clock may be off.
	MaxSkew time.Duration
	// NearStore: the store is a storage.Submitter, as the default one is.
	NearStore bool
	// Led: the nodes elect one of them, with NearStore, and only that one decides;
	// Election is the mean time between elections that nothing but bad luck calls
	// for, 0 for none.
	Led      bool
	Election time.Duration
	// Parallel: branches of different resources are ordered at once.
	Parallel bool
}

// shortRetention is longer than a client retries, and short enough to pass
// within a run.
const shortRetention = 20 * time.Second

func newPlan(rng *rand.Rand) plan {
	oneOf := func(values ...float64) float64 { return values[rng.IntN(len(values))] }
	every := func(values ...time.Duration) time.Duration { return values[rng.IntN(len(values))] }
	p := plan{
		Nodes:        1 + rng.IntN(3),
		Databases:    1 + rng.IntN(2),
		Actions:      1 + rng.IntN(2),
		Rows:         1 + rng.IntN(8),
		Transactions: 5 + rng.IntN(30),
		Trouble:      time.Duration(4+rng.IntN(10)) * time.Second,

		Loss:      oneOf(0, 0, 0.01, 0.05),
		Duplicate: oneOf(0, 0, 0.03, 0.2),
		Late:      oneOf(0, 0, 0.01, 0.05),

		SlowStore:    oneOf(0, 0, 0.01, 0.05),
		StoreFails:   oneOf(0, 0, 0.01, 0.03),
		StoreRefuses: oneOf(0, 0, 0.02),
		Standstill:   oneOf(0, 0, 0, 0.01),
		Nonsense:     oneOf(0, 0, 0.05, 0.2),
		SlowOrder:    oneOf(0, 0, 0.05, 0.4),

		NodeCrash:        every(0, 0, 15*time.Second, 5*time.Second),
		ParticipantCrash: every(0, 0, 15*time.Second, 5*time.Second),
		ClockJump:        every(0, 3*time.Second),
		ForeignWrite:     every(0, 0, 0, 2*time.Second),
		Retention:        every(3*time.Minute, 3*time.Minute, shortRetention),
		MaxSkew:          every(0, 0, 500*time.Millisecond, 5*time.Second),
		NearStore:        rng.IntN(2) == 0,
		Compensables:     rng.IntN(3),
		Parallel:         rng.IntN(3) == 0,
		XADatabases:      rng.IntN(3),
		Led:              rng.IntN(4) == 0,
	}
	if p.Led {
		p.Nodes, p.NearStore = 3, true
		p.Election = every(0, 2*time.Second, 8*time.Second)
	}
	return p
}
