package coordinator

import (
	"sync/atomic"

	"github.com/qiao-tx/qiao/protocol"
)

// Stats counts what a Coordinator has done since it started.
type Stats struct {
	Begun, Committed, RolledBack, TimedOut, Parked uint64
	Branches, LockConflicts, Refused               uint64
	// Batches were applied; Moved are decisions taken again because another
	// node was faster.
	Batches, Moved uint64
	// Orders were given to resource managers; Unanswered are those without a
	// proper answer. Withheld were not given: this node had stood still for
	// longer than their answers are awaited.
	Orders, Unanswered, Withheld uint64
	// Ticking and OrdersWaiting are how much is under way now.
	Ticking, OrdersWaiting int
}

// Plus adds what an earlier Coordinator of the same server has done. What is under
// way now is the later one's.
func (n Stats) Plus(earlier Stats) Stats {
	for _, sum := range [][2]*uint64{
		{&n.Begun, &earlier.Begun}, {&n.Committed, &earlier.Committed}, {&n.RolledBack, &earlier.RolledBack},
		{&n.TimedOut, &earlier.TimedOut}, {&n.Parked, &earlier.Parked}, {&n.Branches, &earlier.Branches},
		{&n.LockConflicts, &earlier.LockConflicts}, {&n.Refused, &earlier.Refused}, {&n.Batches, &earlier.Batches},
		{&n.Moved, &earlier.Moved}, {&n.Orders, &earlier.Orders}, {&n.Unanswered, &earlier.Unanswered}, {&n.Withheld, &earlier.Withheld},
	} {
		*sum[0] += *sum[1]
	}
	return n
}

type counters struct {
	begun, committed, rolledBack, timedOut, parked atomic.Uint64
	branches, conflicts, refused                   atomic.Uint64
	batches, moved, orders, unanswered, withheld   atomic.Uint64
}

// decided counts the decision of an undecided transaction.
func (n *counters) decided(s protocol.GlobalStatus) {
	switch s {
	case protocol.StatusAsyncCommitting, protocol.StatusCommitting, protocol.StatusCommitted:
		n.committed.Add(1)
	case protocol.StatusTimeoutRollbacking, protocol.StatusTimeoutRollbacked:
		n.timedOut.Add(1)
	case protocol.StatusRollbacking, protocol.StatusRollbacked:
		n.rolledBack.Add(1)
	}
}

func (n *counters) ended(s protocol.GlobalStatus) {
	switch s {
	case protocol.StatusCommitFailed, protocol.StatusRollbackFailed, protocol.StatusTimeoutRollbackFailed:
		n.parked.Add(1)
	}
}

// Stats returns the counts as of now.
func (c *Coordinator) Stats() Stats {
	n := &c.stats
	c.due.mu.Lock()
	ticking := len(c.due.ticking)
	c.due.mu.Unlock()
	return Stats{
		Begun: n.begun.Load(), Committed: n.committed.Load(), RolledBack: n.rolledBack.Load(),
		TimedOut: n.timedOut.Load(), Parked: n.parked.Load(),
		Branches: n.branches.Load(), LockConflicts: n.conflicts.Load(), Refused: n.refused.Load(),
		Batches: n.batches.Load(), Moved: n.moved.Load(),
		Orders: n.orders.Load(), Unanswered: n.unanswered.Load(), Withheld: n.withheld.Load(),
		Ticking: ticking, OrdersWaiting: c.queues.waiting(),
	}
}
