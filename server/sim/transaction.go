package sim

import (
	"strconv"
	"time"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/server/coordinator"
)

// transaction is one transaction manager with its one global transaction: money
// moves between participants, so whatever happens the sum stays.
type transaction struct {
	w      *world
	number int
	// qiao: the client is one of ours; else it is Java's.
	qiao  bool
	saga  bool
	steps []step
	// wants is how it ends when all steps succeed; undecided means that the
	// client dies before it says.
	wants decision
	xid   string
	// over: the client has nothing left to do.
	over bool
	// late counts the requests that it will repeat after a long while.
	late int
}

// step is one call of a service.
type step struct {
	at    participant
	row   int
	delta int64
}

func newTransaction(w *world, number int) *transaction {
	t := &transaction{w: w, number: number, qiao: w.rng.IntN(2) == 0, saga: w.rng.IntN(8) == 0}
	for range w.rng.IntN(2) + 1 {
		amount := w.rng.Int64N(50) + 1
		t.steps = append(t.steps, t.step(-amount), t.step(amount))
	}
	switch n := w.rng.IntN(20); {
	case n < 16:
		t.wants = commit
	case n < 19:
		t.wants = rollback
	}
	return t
}

// beginAnother is a transaction that begins now.
func beginAnother(w *world) *transaction {
	t := newTransaction(w, len(w.transactions))
	t.begin()
	return t
}

func (t *transaction) step(delta int64) step {
	p := t.w.services[t.w.rng.IntN(len(t.w.services))]
	return step{at: p, row: t.w.rng.IntN(t.w.plan.Rows), delta: delta}
}

func (t *transaction) caller() coordinator.Caller {
	return coordinator.Caller{
		ClientID: "tm:10.0.2.1:" + strconv.Itoa(40000+t.number), ApplicationID: "tm", Group: "default", Qiao: t.qiao,
	}
}

func (t *transaction) begin() {
	name := "transfer"
	if t.saga {
		name = sagaName
	}
	m := &protocol.GlobalBegin{Name: name, TimeoutMillis: int32(t.w.between(1_000, 10_000))}
	t.w.call(call{request: request{from: t.caller(), message: m}, tries: 3}, func(answer protocol.Message) {
		r, _ := answer.(*protocol.GlobalBeginResult)
		if r == nil || r.Code != protocol.ResultSuccess {
			t.over = true
			return
		}
		t.xid = r.XID
		if t.saga {
			t.report()
		} else {
			t.next(0)
		}
	})
}

// next calls the service of step i, and after the last one decides.
func (t *transaction) next(i int) {
	if i == len(t.steps) {
		t.decide(t.wants)
		return
	}
	s := t.steps[i]
	open := true
	finish := func(ok bool) {
		switch {
		case !open:
		case ok:
			open = false
			t.next(i + 1)
		default:
			open = false
			t.decide(rollback)
		}
	}
	t.w.after(5*time.Second, func() { finish(false) })
	t.w.deliver(true, func() {
		if !s.at.running() {
			return
		}
		s.at.work(t, s.row, s.delta, func(ok bool) { t.w.deliver(true, func() { finish(ok) }) })
	})
}

func (t *transaction) decide(d decision) {
	body := protocol.Global{XID: t.xid}
	switch d {
	case undecided:
		t.over = true
		return
	case commit:
		t.ask(&protocol.GlobalCommit{Global: body}, commit)
		if t.w.chance(0.1) { // a confused participant wants to roll back
			t.w.after(t.w.latency(), func() { t.ask(&protocol.GlobalRollback{Global: body}, rollback) })
		}
	case rollback:
		t.ask(&protocol.GlobalRollback{Global: body}, rollback)
	}
	if t.w.chance(0.3) {
		t.w.call(call{tries: 1, request: request{from: t.caller(), message: &protocol.GlobalStatusRequest{Global: body}}},
			func(protocol.Message) {})
	}
}

func (t *transaction) ask(m protocol.Message, d decision) {
	t.w.truth.ask(t.xid, d)
	c := call{request: request{from: t.caller(), message: m}, tries: 3}
	t.w.call(c, func(protocol.Message) { t.over = true })
	if t.w.chance(0.15) { // the answer was lost on the way to a client who comes back
		t.late++
		t.w.after(t.w.between(time.Second, 4*shortRetention), func() {
			t.w.call(c, func(protocol.Message) { t.late-- })
		})
	}
}

// call is a request that is repeated while no answer comes.
type call struct {
	request
	tries int
}

// patience is how long a client waits for one answer.
const patience = 1500 * time.Millisecond

// call asks one node after the other; answered gets the first answer, or nil
// after the last try.
func (w *world) call(c call, answered func(protocol.Message)) {
	if c.tries == 0 {
		answered(nil)
		return
	}
	c.tries--
	open := true
	w.nodes[w.rng.IntN(len(w.nodes))].request(c.request, func(m protocol.Message, _ map[string]string) {
		if open {
			open = false
			answered(m)
		}
	})
	w.after(patience, func() {
		if open {
			open = false
			w.call(c, answered)
		}
	})
}
