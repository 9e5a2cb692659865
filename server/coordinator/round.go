package coordinator

import (
	"fmt"
	"sync"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/server/txn"
)

// round gathers the answers to the orders of one Send, so that one Batch can
// record them all. Nobody waits for that Batch: a lost answer is asked for
// again.
type round struct {
	c        *Coordinator
	xid      string
	rollback bool

	mu          sync.Mutex
	outstanding int
	answers     []txn.Answer
}

// dispatch gives the orders of a Send.
func (c *Coordinator) dispatch(x string, s txn.Send) {
	r := &round{c: c, xid: x, rollback: s.Rollback, outstanding: len(s.Orders)}
	for i := range s.Orders {
		o := &s.Orders[i]
		c.stats.orders.Add(1)
		c.queues.send(o, s.Rollback, func(m protocol.Message, err error) {
			a := judge(o, s.Rollback, m, err)
			if a.Status == protocol.BranchUnknown {
				c.stats.unanswered.Add(1)
				c.due.await(o.ResourceID, x)
			}
			r.answered(a)
		})
	}
}

func (r *round) answered(a txn.Answer) {
	r.mu.Lock()
	r.answers = append(r.answers, a)
	r.outstanding--
	complete := r.outstanding == 0
	r.mu.Unlock()
	if complete {
		r.c.submit(r.xid, txn.Answers{Rollback: r.rollback, Answers: r.answers}, nil)
	}
}

// judge reads what came back for an order. Whatever is not its answer counts as
// none, with the reason.
func judge(o *txn.Order, rollback bool, m protocol.Message, err error) txn.Answer {
	a := txn.Answer{BranchID: o.BranchID}
	if err != nil {
		a.Reason = err.Error()
		return a
	}
	var outcome *protocol.BranchOutcome
	switch m := m.(type) {
	case *protocol.BranchCommitResult:
		if !rollback {
			outcome = &m.BranchOutcome
		}
	case *protocol.BranchRollbackResult:
		if rollback {
			outcome = &m.BranchOutcome
		}
	}
	switch {
	case outcome == nil:
		a.Reason = fmt.Sprintf("the resource manager answered with a %T", m)
	case outcome.XID != o.XID || outcome.BranchID != o.BranchID:
		a.Reason = fmt.Sprintf("the resource manager answered for branch %d of %q", outcome.BranchID, outcome.XID)
	default:
		a.Status, a.Reason = outcome.Status, outcome.Message
	}
	return a
}
