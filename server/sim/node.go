package sim

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/server/coordinator"
	"github.com/qiao-tx/qiao/server/txn"
	"github.com/qiao-tx/qiao/storage"
)

// The times of the simulated coordinators are short, so that a run sees many
// time-outs and retries.
var machine = txn.Machine{AnswerMillis: 4_000, RetryMillis: 200, RetryMaxMillis: 2_000, NotFoundGraceMillis: notFoundGrace.Milliseconds()}

const (
	answerTimeout = 2 * time.Second
	callerTimeout = 3 * time.Second
	pollEvery     = 250 * time.Millisecond
)

// node is one process over the store that all nodes share, with a coordinator; where
// nodes elect a leader, only that one has one. A crash loses everything but the store.
type node struct {
	w       *world
	index   int
	address string
	mutant  Mutant
	// life numbers the process's starts. What an earlier life left behind (a
	// task, an answer on its way) finds another number and does nothing.
	life int
	// alive: the process runs; up: its coordinator does.
	alive, up bool
	tasks     []*task
	// unanswered are the requests of this life that got no answer yet.
	unanswered map[uint64]protocol.Message
	requests   uint64
	// skew is how far the clock is off; bootSkew what would make it show the
	// time of the last start again.
	skew     time.Duration
	bootedAt time.Time
	// stillUntil is when a node that stands still goes on.
	stillUntil time.Duration

	coordinator *coordinator.Coordinator

	// believes is the node that this one takes for the leader; stale is what it held
	// itself when it was one last.
	believes *node
	stale    storage.Store
}

func newNode(w *world, index int, m Mutant) *node {
	return &node{w: w, index: index, address: fmt.Sprintf("10.0.0.%d:8091", index+1), mutant: m}
}

func (n *node) clock() time.Time { return epoch.Add(n.w.now + n.skew) }

// start boots the process.
func (n *node) start() {
	n.alive = true
	n.bootedAt = n.clock()
	n.stillUntil = 0
	if n.w.election == nil {
		n.lead()
	} else {
		n.w.election.fallen(n) // perhaps there is no leader because nobody was there
	}
}

// lead makes a coordinator.
func (n *node) lead() {
	n.stop()
	life := n.life
	n.unanswered = make(map[uint64]protocol.Message)
	machine := machine
	machine.RetentionMillis = n.w.plan.Retention.Milliseconds()
	machine.Parallel = n.w.plan.Parallel
	n.w.logf("node %d starts life %d, clock off by %s", n.index, life, n.skew)
	n.spawn(func() {
		c, err := coordinator.New(context.Background(), coordinator.Config{
			Store:      n.store(life),
			Sole:       n.w.plan.NearStore && n.w.plan.Nodes == 1,
			Dispatcher: &dispatcher{n: n, life: life},
			Address:    n.address, WorkerID: n.index, Machine: machine,
			Clock: n.clock,
			Spawn: func(f func()) {
				if n.life == life {
					n.spawn(f)
				}
			},
			AnswerTimeout: answerTimeout, CallerTimeout: callerTimeout,
			OrdersInFlight: 4, OrdersQueued: 16,
		})
		if err == nil {
			err = c.Resume(context.Background())
		}
		switch {
		case n.life != life:
		case err != nil:
			n.w.logf("node %d does not start: %v", n.index, err)
			n.w.after(0, func() {
				if n.life == life {
					n.crash()
				}
			})
		default:
			n.up, n.coordinator = true, c
			n.poll(life)
		}
	})
}

// poll stands in for the ticker of the due-loop.
func (n *node) poll(life int) {
	n.w.after(n.w.between(pollEvery/2, pollEvery), func() {
		if n.life != life {
			return
		}
		c := n.coordinator
		n.spawn(func() {
			if err := c.Poll(context.Background()); err != nil {
				n.w.logf("node %d cannot poll: %v", n.index, err)
			}
			n.poll(life)
		})
	})
}

// stop ends the coordinator wherever it is; who asked it something gets no answer.
func (n *node) stop() {
	n.life++
	n.up, n.coordinator, n.unanswered = false, nil, nil
	n.kill()
}

// crash kills the process. It comes back after a while, perhaps with its clock
// set back to the very moment of its last start.
func (n *node) crash() {
	n.w.logf("node %d crashes", n.index)
	n.alive, n.believes = false, nil
	n.stop()
	n.w.election.fallen(n)
	life := n.life
	n.w.after(n.w.between(50*time.Millisecond, 2*time.Second), func() {
		if n.life != life {
			return
		}
		if n.w.plan.MaxSkew > 0 && n.w.chance(0.3) {
			n.skew = n.bootedAt.Sub(epoch.Add(n.w.now))
		}
		n.start()
	})
}

func (n *node) jumpClock() {
	n.skew = n.w.between(-n.w.plan.MaxSkew, n.w.plan.MaxSkew)
	n.w.logf("node %d: clock off by %s", n.index, n.skew)
}

// standStill stops the process for a while. What arrives meanwhile waits.
func (n *node) standStill() {
	n.stillUntil = n.w.now + n.w.between(time.Second, 10*time.Second)
	n.w.logf("node %d stands still until %s", n.index, n.stillUntil)
	n.w.election.fallen(n)
}

// awake runs f now, or when the process goes on.
func (n *node) awake(f func()) {
	if wait := n.stillUntil - n.w.now; wait > 0 {
		n.w.after(wait, func() { n.awake(f) })
		return
	}
	f()
}

// request carries a client's message to the node and the answers, of which
// there may be several or none, back.
func (n *node) request(r request, answer func(protocol.Message, map[string]string)) {
	n.w.deliver(r.once, func() { n.awake(func() { n.take(r, answer) }) })
}

// take hands a request that has arrived to the coordinator.
func (n *node) take(r request, answer func(protocol.Message, map[string]string)) {
	if !n.up {
		n.forward(r, answer)
		return
	}
	life := n.life
	n.requests++
	id := n.requests
	n.unanswered[id] = r.message
	n.coordinator.Handle(r.from, r.message, n.mutant.head(r.head), func(m protocol.Message, head map[string]string) {
		if n.life != life {
			return
		}
		if _, open := n.unanswered[id]; !open {
			n.w.violate("answers", "node %d answers %T%+v twice", n.index, r.message, r.message)
		}
		delete(n.unanswered, id)
		m = n.mutant.answer(m, head)
		n.w.logf("node %d answers %T%+v with %+v", n.index, r.message, r.message, m)
		n.w.truth.answered(r, m)
		n.w.deliver(true, func() { answer(m, head) })
	})
}

// request is a message of a client with what belongs to it.
type request struct {
	from    coordinator.Caller
	message protocol.Message
	head    map[string]string
	once    bool
	// forwarded: another node passed it on.
	forwarded bool
}

// dispatcher is the way of one life's orders to the resource managers.
type dispatcher struct {
	n    *node
	life int
}

var errNoAnswer = errors.New("no answer in time")

// Send implements coordinator.Dispatcher.
func (d *dispatcher) Send(resourceID, _ string, _ bool, order protocol.Message,
	timeout time.Duration, done func(protocol.Message, error)) {
	n, w := d.n, d.n.w
	if n.life != d.life {
		return
	}
	w.logf("node %d orders %T%+v", n.index, order, order)
	w.truth.ordered(order)
	open := true
	finish := func(m protocol.Message, err error) {
		n.awake(func() {
			if open && n.life == d.life {
				open = false
				done(m, err)
			}
		})
	}
	w.after(timeout, func() { finish(nil, errNoAnswer) })
	order, forged := n.mutant.order(order)
	if forged != nil {
		w.deliver(true, func() { finish(forged, nil) })
		return
	}
	p := w.participant(resourceID)
	carryOut := func() {
		if p == nil || !p.running() {
			return
		}
		m := p.obey(order)
		w.logf("%s answers %+v", resourceID, m)
		w.deliver(false, func() { finish(m, nil) })
	}
	w.deliver(false, func() {
		if w.chance(w.plan.SlowOrder) {
			w.after(w.between(100*time.Millisecond, 2*answerTimeout), carryOut)
			return
		}
		carryOut()
	})
}

func (w *world) participant(resourceID string) participant {
	for _, p := range w.participants {
		if p.resource() == resourceID {
			return p
		}
	}
	return nil
}
