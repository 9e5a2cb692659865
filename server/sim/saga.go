package sim

import (
	"time"

	"github.com/qiao-tx/qiao/protocol"
)

// sagaApp is the application that drives sagas and takes the orders for them.
type sagaApp struct {
	process
	// did is what it carried out for each saga.
	did map[string][3]bool
}

func newSagaApp(w *world) *sagaApp {
	return &sagaApp{process: newProcess(w, "tm#default"), did: make(map[string][3]bool)}
}

// work implements participant; a saga calls its services itself.
func (*sagaApp) work(*transaction, int, int64, func(bool)) {}

func (a *sagaApp) obey(m protocol.Message) protocol.Message {
	o, decided := orderOf(m)
	if a.w.chance(a.w.plan.Nonsense) {
		return a.nonsense(o, decided)
	}
	did := a.did[o.XID]
	did[decided] = true
	a.did[o.XID] = did
	return result(o, decided, done(decided), "")
}

func (*sagaApp) balance() int64       { return 0 }
func (*sagaApp) unfinished() []string { return nil }

// sagaName marks a saga's global transaction.
const sagaName = "$Saga_order"

// report ends a saga as its client wants, or hands it to the coordinator, or
// leaves it to the time-out.
func (t *transaction) report() {
	var s protocol.GlobalStatus
	switch t.w.rng.IntN(5) {
	case 0:
		s = protocol.StatusCommitted
	case 1:
		s = protocol.StatusRollbacked
	case 2:
		s = protocol.StatusCommitRetrying
	case 3:
		s = protocol.StatusRollbackRetrying
	default:
		t.over = true
		return
	}
	t.w.truth.report(t.xid, s)
	t.ask(&protocol.GlobalReport{Global: protocol.Global{XID: t.xid}, Status: s}, decisionOf(s))
	if t.w.chance(0.5) { // the client turns it round, or ends it
		t.late++
		t.w.after(t.w.between(0, time.Second), func() {
			t.late--
			t.report()
		})
	}
}
