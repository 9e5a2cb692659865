package coordinator

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/qiao-tx/qiao/server/txn"
	"github.com/qiao-tx/qiao/storage"
)

// maxTicking caps the Ticks that are under way at once.
const maxTicking = 1024

// dueLoop is the one scheduler of transaction work: it serves time-outs,
// retries, what a crash left, and what waits for a resource manager to return.
type dueLoop struct {
	mu sync.Mutex
	// ticking are transactions whose Tick is not decided yet.
	ticking map[string]struct{}
	// forced are transactions to look at although their time has not come.
	forced []string
	// absent lists the transactions that got no answer from a resource.
	absent map[string]map[string]struct{}
}

func (d *dueLoop) init() {
	d.ticking = make(map[string]struct{})
	d.absent = make(map[string]map[string]struct{})
}

// maxAbsent caps the transactions remembered for one absent resource; the
// others are found by their due time.
const maxAbsent = 100_000

// await remembers that a transaction waits for a resource to come back.
func (d *dueLoop) await(resource, x string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	set := d.absent[resource]
	if set == nil {
		set = make(map[string]struct{})
		d.absent[resource] = set
	}
	if len(set) < maxAbsent {
		set[x] = struct{}{}
	}
}

// forget is for a transaction that waits for no resource any more.
func (d *dueLoop) forget(x string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for resource, set := range d.absent {
		delete(set, x)
		if len(set) == 0 {
			delete(d.absent, resource)
		}
	}
}

// ResourceUp tells that a channel for the resource was registered: what waits
// for it is tried again at once.
func (c *Coordinator) ResourceUp(resourceID string) {
	d := &c.due
	d.mu.Lock()
	defer d.mu.Unlock()
	d.forced = append(d.forced, slices.Sorted(maps.Keys(d.absent[resourceID]))...)
	delete(d.absent, resourceID)
}

// Resume has every transaction in phase two tried again: nobody else knows
// which orders a stopped node had given. With other nodes on the store that is
// what this one began in an earlier life: the orders of the others may be under
// way, and what a dead one left comes with its due time.
func (c *Coordinator) Resume(ctx context.Context) error {
	d := &c.due
	err := c.cfg.Store.Scan(ctx, 0, func(s storage.State) bool {
		if txn.InPhaseTwo(s.Global.Status) && (c.cfg.Sole || strings.HasPrefix(s.XID, c.cfg.Address+":")) {
			d.mu.Lock()
			d.forced = append(d.forced, s.XID)
			d.mu.Unlock()
		}
		return true
	})
	if err != nil {
		return fmt.Errorf("coordinator: find the transactions to resume: %w", err)
	}
	return nil
}

// runDueLoop polls until the Coordinator closes.
func (c *Coordinator) runDueLoop() {
	ticker := time.NewTicker(c.cfg.PollEvery)
	defer ticker.Stop()
	for {
		select {
		case <-c.closing:
			return
		case <-ticker.C:
			if err := c.Poll(context.Background()); err != nil {
				c.cfg.Logger.Error("the store does not tell what is due; trying again", "error", err)
			}
		}
	}
}

// Poll looks once at the time: it ticks what is due and tells callers who have
// waited long enough how things stand. It does not wait for the Ticks.
func (c *Coordinator) Poll(ctx context.Context) error {
	now := c.nowMillis()
	c.answerOverdue(now)
	d := &c.due
	d.mu.Lock()
	room := max(0, maxTicking-len(d.ticking))
	n := min(room, len(d.forced))
	forced := d.forced[:n:n]
	d.forced = d.forced[n:]
	d.mu.Unlock()
	for _, x := range forced {
		c.tick(x, true)
	}
	if room -= n; room == 0 {
		return nil
	}
	due, err := c.cfg.Store.Due(ctx, now, room)
	if err != nil {
		return err
	}
	for _, x := range due {
		c.tick(x, false)
	}
	return nil
}

// tick submits a Tick unless one is under way.
func (c *Coordinator) tick(x string, forced bool) {
	d := &c.due
	d.mu.Lock()
	_, under := d.ticking[x]
	d.ticking[x] = struct{}{}
	d.mu.Unlock()
	if under {
		return
	}
	c.submit(x, txn.Tick{Forced: forced}, func(_ txn.Reply, err error) {
		d.mu.Lock()
		delete(d.ticking, x)
		d.mu.Unlock()
		if err != nil {
			c.cfg.Logger.Warn("a due transaction could not be looked at; trying again", "xid", x, "error", err)
		}
	})
}

// answerOverdue tells callers whose first round takes too long how the
// transaction stands: decided, and going on.
func (c *Coordinator) answerOverdue(now int64) {
	overdue := make(map[string][]waiter)
	for i := range c.lanes {
		s := &c.lanes[i]
		s.mu.Lock()
		for x, l := range s.lanes {
			late := func(w waiter) bool { return w.until <= now }
			if !slices.ContainsFunc(l.waiters, late) {
				continue
			}
			for _, w := range l.waiters {
				if late(w) {
					overdue[x] = append(overdue[x], w)
				}
			}
			l.waiters = slices.DeleteFunc(l.waiters, late)
			s.rest(l)
		}
		s.mu.Unlock()
	}
	// The order of maps and shards is nobody's; server/sim needs one.
	for _, x := range slices.Sorted(maps.Keys(overdue)) {
		c.answerStatus(x, overdue[x])
	}
}

func (c *Coordinator) answerStatus(x string, waiters []waiter) {
	s, err := c.cfg.Store.Load(context.Background(), x)
	for _, w := range waiters {
		w.done(txn.Reply{Status: txn.Status(&s)}, err)
	}
}
