package raft

import (
	"slices"
	"sync"
	"time"

	hraft "github.com/hashicorp/raft"
)

// leaseShare is the lease as a share of the election time-out, in percent. The
// rest is for clocks that do not run alike.
const leaseShare = 75

// contacts is since when a leader is known to be followed. Times are those at
// which the proof was asked for, not those at which it came.
type contacts struct {
	others int // members beside this one

	mu    sync.Mutex
	term  uint64
	last  map[hraft.ServerID]time.Time
	whole time.Time // when an entry was proposed that a majority has taken
}

func newContacts(others int) *contacts {
	return &contacts{others: others, last: make(map[hraft.ServerID]time.Time)}
}

// heard notes that another has followed in a term, asked at a time.
func (c *contacts) heard(id hraft.ServerID, term uint64, asked time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.enter(term) && asked.After(c.last[id]) {
		c.last[id] = asked
	}
}

// committed notes that an entry proposed at a time was committed in the term.
func (c *contacts) committed(term uint64, proposed time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.enter(term) && proposed.After(c.whole) {
		c.whole = proposed
	}
}

// enter forgets an earlier term; false means that the term is over.
func (c *contacts) enter(term uint64) bool {
	if term > c.term {
		c.term, c.whole = term, time.Time{}
		clear(c.last)
	}
	return term == c.term
}

// majority returns the time since when a majority, this node with it, is known to
// have followed in the term; the zero time when it is not.
func (c *contacts) majority(term uint64) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if term != c.term {
		return time.Time{}
	}
	asked := make([]time.Time, 0, 8)
	for _, at := range c.last {
		asked = append(asked, at)
	}
	slices.SortFunc(asked, func(a, b time.Time) int { return b.Compare(a) })
	needed := (c.others + 1) / 2 // with this node more than half
	if len(asked) < needed || asked[needed-1].Before(c.whole) {
		return c.whole
	}
	return asked[needed-1]
}

// age is how long ago a moment was, by the clock that says more: a machine that is
// put to sleep may find its monotonic clock where it left it.
func age(moment, now time.Time) time.Duration {
	return max(now.Sub(moment), now.Round(0).Sub(moment.Round(0)))
}
