package coordinator

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"maps"
	"slices"
	"sync"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/server/txn"
	"github.com/qiao-tx/qiao/storage"
)

// laneShards spreads the lanes over this many locks.
const laneShards = 64

type laneShard struct {
	mu    sync.Mutex
	lanes map[string]*lane
}

// lane is the queue of one transaction. It exists while the transaction has
// events waiting or callers who wait for phase two; one run serves it at a time,
// so within a node a transaction's decisions never race.
type lane struct {
	queue   []call
	running bool
	waiters []waiter
}

// call is one event with the way back to its sender.
type call struct {
	event txn.Event
	// done gets the reply, or the error that kept the event from being decided.
	// It is nil when nobody asked.
	done func(txn.Reply, error)
}

// waiter is a caller who waits for the first round of phase two.
type waiter struct {
	done  func(txn.Reply, error)
	until int64
}

func (c *Coordinator) shard(x string) *laneShard {
	return &c.lanes[maphash.String(c.seed, x)%laneShards]
}

// submit queues an event for the transaction. done may be nil.
func (c *Coordinator) submit(x string, e txn.Event, done func(txn.Reply, error)) {
	s := c.shard(x)
	s.mu.Lock()
	l := s.lanes[x]
	if l == nil {
		l = &lane{}
		s.lanes[x] = l
	}
	l.queue = append(l.queue, call{event: e, done: done})
	start := !l.running
	l.running = true
	s.mu.Unlock()
	if start && !c.run(func() { c.runLane(s, l, x) }) {
		s.abandon(x)
	}
}

// abandon answers everybody in a lane that nothing serves after Close. Other
// lanes may still be served: Close waits for them.
func (s *laneShard) abandon(x string) {
	s.mu.Lock()
	l := s.lanes[x]
	delete(s.lanes, x)
	s.mu.Unlock()
	if l == nil {
		return
	}
	fail(l.queue, errStopped)
	for _, w := range l.waiters {
		w.done(txn.Reply{}, errStopped)
	}
}

// abandonAll is abandon for every lane.
func (s *laneShard) abandonAll() {
	s.mu.Lock()
	left := slices.Collect(maps.Keys(s.lanes))
	s.mu.Unlock()
	for _, x := range left {
		s.abandon(x)
	}
}

// runLane serves a lane until nothing waits in it.
func (c *Coordinator) runLane(s *laneShard, l *lane, x string) {
	var known *storage.State
	for {
		s.mu.Lock()
		calls := l.queue
		l.queue = nil
		if len(calls) == 0 {
			l.running = false
			if len(l.waiters) == 0 {
				delete(s.lanes, x)
			}
			s.mu.Unlock()
			return
		}
		s.mu.Unlock()
		known = c.decide(x, known, calls)
	}
}

// maxMoves bounds how often one decision is taken again because another node
// was faster.
const maxMoves = 100

// decide carries the calls out in one Batch and returns the state after them,
// or nil when it is not known.
//
// The calls of several callers share it, so none's context can end it: it runs
// until the store answers.
func (c *Coordinator) decide(x string, known *storage.State, calls []call) *storage.State {
	ctx := context.Background()
	if _, ok := calls[0].event.(txn.Begin); ok && known == nil {
		known = &storage.State{XID: x} // its XID is new, or the store says that it moved
	}
	for range maxMoves {
		if known == nil {
			loaded, err := c.cfg.Store.Load(ctx, x)
			if err != nil {
				fail(calls, fmt.Errorf("load %s: %w", x, err))
				return nil
			}
			loaded.XID = x
			known = &loaded
		}
		f, err := c.fold(*known, calls)
		if err != nil {
			fail(calls, err)
			return known
		}
		if f.batch == nil {
			c.release(x, &f)
			return known
		}
		err = c.cfg.Store.Apply(ctx, f.batch)
		switch {
		case err == nil:
			c.stats.batches.Add(1)
			c.release(x, &f)
			return &f.next
		case errors.Is(err, storage.ErrMoved):
			c.stats.moved.Add(1)
			known = nil
		case len(calls) > 1 && isConflict(err):
			// One registration's conflict is not the others' concern.
			for _, one := range calls {
				known = c.decide(x, known, []call{one})
			}
			return known
		default:
			fail(calls, err)
			if isConflict(err) {
				return known
			}
			return nil
		}
	}
	fail(calls, fmt.Errorf("%s changed %d times under this decision: %w", x, maxMoves, storage.ErrUnavailable))
	return nil
}

func isConflict(err error) bool {
	var held *storage.LockHeld
	return errors.As(err, &held) || errors.Is(err, storage.ErrFull)
}

// folded is what several calls amount to at a moment: one batch, nil when
// nothing changes, the state that it leads to, and the effects of each call.
type folded struct {
	at      int64
	batch   *storage.Batch
	next    storage.State
	effects []released
}

// released is the effects of one call.
type released struct {
	call    call
	effects []txn.Effect
}

func (c *Coordinator) fold(s storage.State, calls []call) (folded, error) {
	f := folded{at: c.nowMillis(), effects: make([]released, 0, len(calls))}
	revision := s.Revision + 1 // all the batches count as one
	for _, one := range calls {
		batch, effects, err := c.cfg.Machine.Step(s, f.at, one.event)
		if err != nil {
			return folded{}, err
		}
		f.effects = append(f.effects, released{one, effects})
		if batch == nil {
			continue
		}
		if s, err = s.Apply(batch); err != nil {
			return folded{}, err
		}
		if f.batch == nil {
			f.batch = batch
		} else {
			f.batch = f.batch.Then(batch)
		}
	}
	f.withdraw(txn.Status(&s))
	f.next = s
	f.next.Revision = revision
	return f, nil
}

// withdraw takes back orders that a later event of the same fold made wrong: a
// saga's client may turn it round, or end it, in the Batch that decided.
func (f *folded) withdraw(status protocol.GlobalStatus) {
	for i := range f.effects {
		f.effects[i].effects = slices.DeleteFunc(f.effects[i].effects, func(e txn.Effect) bool {
			s, ok := e.(txn.Send)
			return ok && (!txn.InPhaseTwo(status) || s.Rollback != txn.RollingBack(status))
		})
	}
}

// release lets the effects out. What they follow from is durable.
func (c *Coordinator) release(x string, f *folded) {
	for _, r := range f.effects {
		replied := false
		for _, e := range r.effects {
			switch e := e.(type) {
			case txn.Reply:
				r.call.answer(e, nil)
				replied = true
			case txn.Wait:
				c.await(x, r.call)
				replied = true
			case txn.Settled:
				c.settle(x, e.Status)
			case txn.Send:
				c.order(x, e, f.at)
			case txn.Decided:
				c.stats.decided(e.Status)
			case txn.Ended:
				c.ended(x, e)
			}
		}
		if !replied {
			r.call.answer(txn.Reply{}, nil)
		}
	}
}

// order gives the orders that were decided at a moment, unless this node has
// stood still for so long since that the due-loop, here or on another node,
// gives them again: what was decided may have moved on.
func (c *Coordinator) order(x string, s txn.Send, decidedAt int64) {
	if c.nowMillis()-decidedAt > c.cfg.Machine.AnswerMillis {
		c.stats.withheld.Add(uint64(len(s.Orders)))
		return
	}
	c.dispatch(x, s)
}

func (one call) answer(r txn.Reply, err error) {
	if one.done != nil {
		one.done(r, err)
	}
}

func fail(calls []call, err error) {
	for _, one := range calls {
		one.answer(txn.Reply{}, err)
	}
}

// await keeps a caller until phase two settles.
func (c *Coordinator) await(x string, one call) {
	if one.done == nil {
		return
	}
	s := c.shard(x)
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.lanes[x] // it runs: this is its run
	l.waiters = append(l.waiters, waiter{one.done, c.nowMillis() + c.cfg.CallerTimeout.Milliseconds()})
}

// settle answers the callers who wait for phase two.
func (c *Coordinator) settle(x string, status protocol.GlobalStatus) {
	s := c.shard(x)
	s.mu.Lock()
	var waiters []waiter
	if l := s.lanes[x]; l != nil {
		waiters, l.waiters = l.waiters, nil
		if !l.running && len(l.queue) == 0 {
			delete(s.lanes, x)
		}
	}
	s.mu.Unlock()
	for _, w := range waiters {
		w.done(txn.Reply{Status: status}, nil)
	}
}

func (c *Coordinator) ended(x string, e txn.Ended) {
	c.settle(x, e.Status)
	c.due.forget(x)
	c.stats.ended(e.Status)
	if e.Evidence != "" {
		c.cfg.Logger.Error("global transaction waits for an operator",
			"xid", x, "status", e.Status.String(), "evidence", e.Evidence)
	}
}

// busy tells whether a request is under way.
func (c *Coordinator) busy() bool {
	for i := range c.lanes {
		s := &c.lanes[i]
		s.mu.Lock()
		n := len(s.lanes)
		s.mu.Unlock()
		if n > 0 {
			return true
		}
	}
	return false
}
