package redis

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/qiao-tx/qiao/storage"
)

// ErrLeaseLost: another coordinator has this one's worker id, as this one was silent
// for too long. It must not go on; started again it takes a new one.
var ErrLeaseLost = errors.New("this node's lease of its worker id ended, and another node has the id")

// maxWorkers is how many worker ids there are (org.apache.seata.common.util.IdWorker).
const maxWorkers = 1024

// node is this coordinator among those on Redis: it holds a worker id by a lease, and
// knows who else does. Every Batch is refused by Redis itself unless it has the lease,
// so that a node that stood still for long writes nothing. As long as nobody has taken
// the worker id it may take the lease up again: when Redis was away for everybody, all
// nodes go on afterwards.
type node struct {
	s      *Store
	worker int
	// token is this node's alone, and short, a part of it, in the marks it leaves.
	token, short string

	mu sync.Mutex
	// live are the nodes with a lease, in the order of their workers.
	live []storage.Node
	// crashed is how many nodes ended without giving their worker id back.
	crashed int64
	// latest is the highest sequence of an id that this node has given to Redis: should
	// Redis lose it, it is told again.
	latest int64
	err    error

	looking chan struct{} // has room for one wish to renew now
	failed  chan struct{}
}

// join takes a worker id that nobody uses, and holds it.
func (s *Store) join(ctx context.Context) (*node, error) {
	n := &node{s: s, token: rand.Text(), looking: make(chan struct{}, 1), failed: make(chan struct{})}
	n.short = n.token[:8]
	if err := n.alone(ctx); err != nil {
		return nil, err
	}
	for _, n.worker = range n.free() {
		answer, err := n.lease(ctx, "take")
		if err != nil {
			return nil, fmt.Errorf("take a worker id: %w", err)
		}
		if answer != leaseOthers {
			return n, n.discover(ctx)
		}
	}
	return nil, fmt.Errorf("%w: all %d worker ids are in use; see the key %s", ErrConfig, maxWorkers, s.keys.workers())
}

// free lists the worker ids that seem to be nobody's.
func (n *node) free() []int {
	var free []int
	for worker := range maxWorkers {
		if !slices.ContainsFunc(n.live, func(o storage.Node) bool { return o.Worker == worker }) {
			free = append(free, worker)
		}
	}
	return free
}

// alone waits until no other node has the address: two would take each other's
// transactions for their own. What a crashed process held ends with its lease.
func (n *node) alone(ctx context.Context) error {
	address := n.s.cfg.Node
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for patience := time.Now().Add(n.s.cfg.Lease + time.Second); ; {
		if err := n.discover(ctx); err != nil {
			return err
		}
		twin := func(o storage.Node) bool { return o.Address == address }
		switch {
		case address == "" || !slices.ContainsFunc(n.live, twin):
			return nil
		case time.Now().After(patience):
			return fmt.Errorf("%w: another coordinator with the address %s uses this Redis; give each an address of its own (advertise)", ErrConfig, address)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Answers of lease.lua.
const (
	leaseOthers  = 0
	leaseTakenUp = 2 // it had ended
)

// lease runs lease.lua.
func (n *node) lease(ctx context.Context, what string) (answer int64, err error) {
	n.mu.Lock()
	latest := n.latest
	n.mu.Unlock()
	k := n.s.keys
	reply, err := n.s.server.eval(ctx, leaseScript, k.lease(n.worker), what, k.workers(), strconv.Itoa(n.worker), n.token, n.s.cfg.Node,
		strconv.FormatInt(n.s.cfg.Lease.Milliseconds(), 10), k.ids(), latestText(latest))
	if err != nil {
		return 0, err
	}
	answer, ok := reply.(int64)
	if !ok {
		return 0, fmt.Errorf("%w: lease.lua answered with %T", ErrDamaged, reply)
	}
	return answer, nil
}

func latestText(latest int64) string {
	if latest == 0 {
		return ""
	}
	return strconv.FormatInt(latest, 10)
}

// used notes the ids that a Batch is about to use.
func (n *node) used(next *record, b *storage.Batch) {
	latest := int64(0)
	if b.Revision == 0 {
		latest = sequenceOf(next.Global.ID)
	}
	for i := range b.Add {
		latest = max(latest, sequenceOf(b.Add[i].ID))
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.latest = max(n.latest, latest)
}

// hold renews the lease until the store is closed or another node has the worker id.
func (n *node) hold() {
	tick := time.NewTicker(n.s.cfg.Lease / 3)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-n.looking:
		case <-n.s.ending:
			return
		}
		if err := n.renew(); errors.Is(err, ErrLeaseLost) {
			n.fail(err)
			return
		} else if err != nil {
			n.s.cfg.Logger.Warn("the lease of this node's worker id could not be renewed; trying again", "worker", n.worker, "error", err)
		}
	}
}

// renew puts the end of the lease off and finds out which nodes there are.
func (n *node) renew() error {
	ctx, cancel := context.WithTimeout(context.Background(), n.s.cfg.Lease)
	defer cancel()
	return n.keep(ctx)
}

func (n *node) keep(ctx context.Context) error {
	answer, err := n.lease(ctx, "keep")
	switch {
	case err != nil:
		return err
	case answer == leaseOthers:
		return fmt.Errorf("%w: worker id %d", ErrLeaseLost, n.worker)
	case answer == leaseTakenUp:
		n.s.cfg.Logger.Warn("the lease of this node's worker id had ended, or Redis had lost it; it is taken up again, as nobody else has it", "worker", n.worker)
	}
	return n.discover(ctx)
}

// look has the lease renewed now.
func (n *node) look() {
	select {
	case n.looking <- struct{}{}:
	default:
	}
}

// discover finds out which nodes there are.
func (n *node) discover(ctx context.Context) error {
	reply, err := n.s.server.eval(ctx, nodesScript, n.s.keys.workers(), n.s.keys.leases())
	if err != nil {
		return fmt.Errorf("look for other nodes: %w", err)
	}
	list, _ := reply.([]any)
	if len(list) == 0 {
		return fmt.Errorf("%w: nodes.lua answered with %T", ErrDamaged, reply)
	}
	crashed, _ := list[0].(int64)
	found, err := pairs(list[1:])
	if err != nil {
		return fmt.Errorf("look for other nodes: %w", err)
	}
	live := make([]storage.Node, 0, len(found))
	for worker, address := range found {
		id, err := strconv.Atoi(worker)
		if err != nil {
			return fmt.Errorf("%w: worker %q in %s", ErrDamaged, worker, n.s.keys.workers())
		}
		live = append(live, storage.Node{Worker: id, Address: address})
	}
	slices.SortFunc(live, func(a, b storage.Node) int { return a.Worker - b.Worker })
	n.mu.Lock()
	defer n.mu.Unlock()
	n.live, n.crashed = live, crashed
	return nil
}

func (n *node) nodes() []storage.Node {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.live)
}

func (n *node) fail(err error) {
	n.mu.Lock()
	n.err = err
	n.mu.Unlock()
	close(n.failed)
}

func (n *node) failure() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.err
}

// fit answers why this node may not write, or nil.
func (n *node) fit() error {
	if err := n.failure(); err != nil {
		return fmt.Errorf("%w: %w", storage.ErrUnavailable, err)
	}
	return nil
}

// mine tells whether this node looks after the transaction: each has one of the live
// nodes for its time-out and its retries.
func (n *node) mine(id int64) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.live) == 0 {
		return true
	}
	x := uint64(id) * 0x9E3779B97F4A7C15
	return n.live[x>>32%uint64(len(n.live))].Worker == n.worker
}

// leave gives the worker id back.
func (n *node) leave(ctx context.Context) error {
	if n.failure() != nil {
		return nil // it is another's
	}
	if _, err := n.lease(ctx, "leave"); err != nil {
		return fmt.Errorf("give worker id %d back: %w", n.worker, err)
	}
	return nil
}
