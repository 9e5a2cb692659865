package coordinator

import (
	"hash/maphash"
	"maps"
	"slices"
	"sync"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/server/txn"
)

// laneShards spreads the lanes over this many locks.
const laneShards = 64

// maxResting caps the lanes of a shard that only remember a state.
const maxResting = 64

type laneShard struct {
	mu    sync.Mutex
	lanes map[string]*lane
	// resting counts the lanes that rest.
	resting int
}

// lane is the queue of one transaction. It exists while the transaction has
// events waiting or callers who wait for phase two; one run serves it at a time,
// so within a node a transaction's decisions never race. After that it may rest,
// and remember the state for the next event.
type lane struct {
	c       *Coordinator
	shard   *laneShard
	xid     string
	queue   []call
	running bool
	resting bool
	waiters []waiter

	run run
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

// newLane returns a lane that served another transaction before, or a new one.
func (c *Coordinator) newLane() any {
	l := &lane{c: c}
	l.run.applied = l.applied
	return l
}

// submit queues an event for the transaction. done may be nil.
func (c *Coordinator) submit(x string, e txn.Event, done func(txn.Reply, error)) {
	s := c.shard(x)
	s.mu.Lock()
	l := s.lanes[x]
	if l == nil {
		l = c.unused.Get().(*lane)
		l.shard, l.xid = s, x
		s.lanes[x] = l
	}
	l.queue = append(l.queue, call{event: e, done: done})
	start := !l.running
	l.running = true
	s.wake(l)
	s.mu.Unlock()
	if start && !c.start(l) {
		s.abandon(x)
	}
}

// start has a lane served: here and now as far as nothing has to be waited for,
// if the store lets it, or else on a goroutine that waits for the store. It
// returns false after Close.
func (c *Coordinator) start(l *lane) bool {
	if !c.enter() {
		return false
	}
	if c.submitter != nil {
		l.serve()
	} else {
		c.cfg.Spawn(l.serve)
	}
	return true
}

// take moves what waits into the run; false means that nothing does, and that
// the lane is not served any more.
func (l *lane) take() bool {
	r, s := &l.run, l.shard
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(r.calls)
	r.calls, l.queue = l.queue, r.calls[:0]
	if len(r.calls) > 0 {
		// They may have come after this service's last Batch: this process may have
		// stood still in between, and another node acted.
		r.remembered = r.state != nil
		return true
	}
	l.running = false
	if r.state != nil && (!r.state.Exists() || r.state.Finished()) {
		r.state = nil
	}
	r.remembered = r.state != nil
	s.rest(l)
	return false
}

// rest is for a lane that nothing runs: it goes, unless callers wait in it or it
// knows the state of a transaction that goes on. The lock is held.
func (s *laneShard) rest(l *lane) {
	switch {
	case l.running || l.resting || len(l.waiters) > 0:
	case l.run.state == nil:
		s.drop(l)
	default:
		l.resting = true
		if s.resting++; s.resting > maxResting {
			s.drop(s.anyResting())
		}
	}
}

// wake is for a lane that has something to do again. The lock is held.
func (s *laneShard) wake(l *lane) {
	if l.resting {
		l.resting = false
		s.resting--
	}
}

// drop forgets a lane. The lock is held.
func (s *laneShard) drop(l *lane) {
	s.wake(l)
	delete(s.lanes, l.xid)
	l.retire()
}

// anyResting returns some lane that rests: the map chooses. The lock is held.
func (s *laneShard) anyResting() *lane {
	for _, l := range s.lanes {
		if l.resting {
			return l
		}
	}
	panic("coordinator: more lanes are counted as resting than rest")
}

// keptCalls bounds what a lane keeps for its next transaction.
const keptCalls = 64

// retire keeps a lane that nobody knows any more for another transaction.
func (l *lane) retire() {
	if cap(l.run.calls)+cap(l.queue) > keptCalls {
		return
	}
	r := &l.run
	r.stepper.Reset()
	r.state, r.folded = nil, folded{effects: r.folded.effects[:0]}
	l.shard, l.xid, l.waiters = nil, "", nil
	l.c.unused.Put(l)
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

// await keeps a caller until phase two settles.
func (l *lane) await(one call) {
	if one.done == nil {
		return
	}
	until := l.c.nowMillis() + l.c.cfg.CallerTimeout.Milliseconds()
	l.shard.mu.Lock()
	defer l.shard.mu.Unlock()
	l.waiters = append(l.waiters, waiter{one.done, until})
}

// settle answers the callers who wait for phase two.
func (c *Coordinator) settle(x string, status protocol.GlobalStatus) {
	s := c.shard(x)
	s.mu.Lock()
	var waiters []waiter
	if l := s.lanes[x]; l != nil {
		waiters, l.waiters = l.waiters, nil
		s.rest(l)
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
		n := len(s.lanes) - s.resting
		s.mu.Unlock()
		if n > 0 {
			return true
		}
	}
	return false
}
