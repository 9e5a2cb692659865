package lead

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/server/coordinator"
	"github.com/qiao-tx/qiao/storage"
)

// Term is the store of a cluster while this node leads it.
type Term interface {
	storage.Store
	// Check answers nil if no other node can lead yet.
	Check() error
	// Ended is closed when the leadership is over.
	Ended() <-chan struct{}
}

// Election tells who leads.
type Election interface {
	// Lead waits until this node leads, and returns the same as long as it does.
	Lead(ctx context.Context) (Term, error)
	// Leader returns the address of the node that leads, "" when none is known to, and
	// a channel that is closed when that changes.
	Leader() (address string, changed <-chan struct{})
}

// Config is what a Router works with. Fields without a default are required.
type Config struct {
	// Address is this node's, as Election names it.
	Address  string
	Election Election
	// Coordinator makes the coordinator of one leadership. What it sends out, it must
	// send through Fenced.
	Coordinator func(ctx context.Context, t Term) (*coordinator.Coordinator, error)
	// Forward has another node carry out a request; done is called once. Unsent tells
	// of an error that the request did not leave.
	Forward func(node string, from coordinator.Caller, m protocol.Message, head map[string]string,
		done func(protocol.Message, map[string]string, error))
	Unsent func(error) bool
	Logger *slog.Logger
	// Patience is how long a request waits for a leader (8 s). Clients wait longer.
	Patience time.Duration
	// RetryEvery is how often what waits is tried again (20 ms).
	RetryEvery time.Duration
}

// Router is the coordinator of a node of a cluster, as its clients see it. It
// implements gateway.Coordinator.
type Router struct {
	cfg     Config
	local   atomic.Pointer[coordinator.Coordinator] // while this node leads
	pending atomic.Int64
	// draining: nothing is begun any more.
	draining atomic.Bool

	mu      sync.Mutex
	waiting []*request
	closed  bool
	past    coordinator.Stats // of earlier leaderships
}

// New prepares a Router; Run sets it going.
func New(cfg Config) *Router {
	if cfg.Patience == 0 {
		cfg.Patience = 8 * time.Second
	}
	if cfg.RetryEvery == 0 {
		cfg.RetryEvery = 20 * time.Millisecond
	}
	return &Router{cfg: cfg}
}

// request is one of a client that is connected here.
type request struct {
	from  coordinator.Caller
	m     protocol.Message
	head  map[string]string
	reply coordinator.Replier
	until time.Time
	why   error // it waits
}

// Handle carries out a request of a client that is connected here, wherever the
// leader is. It does not block; see coordinator.Coordinator.
func (r *Router) Handle(from coordinator.Caller, m protocol.Message, head map[string]string, reply coordinator.Replier) bool {
	if !coordinator.IsRequest(m) {
		return false
	}
	if _, begins := m.(*protocol.GlobalBegin); begins && r.draining.Load() {
		reply(coordinator.Failed(m, "this node of the cluster is shutting down and begins no transaction; another one does"), nil)
		return true
	}
	r.pending.Add(1)
	r.route(&request{from: from, m: m, head: head, reply: reply, until: time.Now().Add(r.cfg.Patience)})
	return true
}

// route gives a request to who leads.
func (r *Router) route(q *request) {
	if c := r.local.Load(); c != nil {
		c.Handle(q.from, q.m, q.head, func(m protocol.Message, head map[string]string) { r.answered(q, m, head) })
		return
	}
	leader, _ := r.cfg.Election.Leader()
	if leader == "" || leader == r.cfg.Address {
		r.wait(q, errNoLeader)
		return
	}
	r.cfg.Forward(leader, q.from, q.m, q.head, func(m protocol.Message, head map[string]string, err error) {
		switch {
		case err == nil:
			r.answered(q, m, head)
		case r.cfg.Unsent(err):
			r.wait(q, err)
		default:
			r.lost(q, err)
		}
	})
}

var errNoLeader = errors.New("the cluster has no leader")

// answered passes an answer on, unless it says that the leader is one no more and
// the request may be asked again.
func (r *Router) answered(q *request, m protocol.Message, head map[string]string) {
	switch head[coordinator.HeadAgain] {
	case "":
	case coordinator.Unwritten:
		if r.mayWait(q) {
			r.wait(q, errNoLeader)
			return
		}
	default:
		if coordinator.Repeatable(q.m, q.head) && r.mayWait(q) {
			r.wait(q, errNoLeader)
			return
		}
	}
	delete(head, coordinator.HeadAgain)
	if len(head) == 0 {
		head = nil
	}
	r.finish(q, m, head)
}

// lost is for a request that the leader may have carried out, and did not answer.
func (r *Router) lost(q *request, err error) {
	if coordinator.Repeatable(q.m, q.head) {
		r.wait(q, err)
		return
	}
	r.finish(q, coordinator.Failed(q.m, fmt.Sprintf("the leader of the cluster has not answered, and may have done it: %v", err)), nil)
}

func (r *Router) mayWait(q *request) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.closed && time.Now().Before(q.until)
}

// wait keeps a request for the next attempt.
func (r *Router) wait(q *request, why error) {
	q.why = why
	r.mu.Lock()
	wait := !r.closed && time.Now().Before(q.until)
	if wait {
		r.waiting = append(r.waiting, q)
	}
	r.mu.Unlock()
	if !wait {
		r.giveUp(q)
	}
}

func (r *Router) giveUp(q *request) {
	r.finish(q, coordinator.Failed(q.m, fmt.Sprintf("no node of the cluster leads for %v now; ask again: %v", r.cfg.Patience, q.why)), nil)
}

func (r *Router) finish(q *request, m protocol.Message, head map[string]string) {
	q.reply(m, head)
	r.pending.Add(-1)
}

// retry tries again what waits.
func (r *Router) retry() {
	r.mu.Lock()
	waiting := r.waiting
	r.waiting = nil
	r.mu.Unlock()
	now := time.Now()
	for _, q := range waiting {
		if now.Before(q.until) {
			r.route(q)
		} else {
			r.giveUp(q)
		}
	}
}

// Run leads when this node is elected, and tries what waits again, until ctx ends.
func (r *Router) Run(ctx context.Context) {
	var leading sync.WaitGroup
	defer leading.Wait()
	leading.Go(func() { r.lead(ctx) })
	tick := time.NewTicker(r.cfg.RetryEvery)
	defer tick.Stop()
	for {
		_, changed := r.cfg.Election.Leader()
		r.retry()
		select {
		case <-changed:
		case <-tick.C:
		case <-ctx.Done():
			r.mu.Lock()
			r.closed = true
			r.mu.Unlock()
			r.retry()
			return
		}
	}
}

// lead runs a coordinator for each leadership of this node, until ctx ends.
func (r *Router) lead(ctx context.Context) {
	for ctx.Err() == nil {
		t, err := r.cfg.Election.Lead(ctx)
		if err != nil {
			return // ctx has ended, or the store
		}
		c, err := r.cfg.Coordinator(ctx, t)
		if err != nil {
			r.cfg.Logger.Error("this node leads the cluster, but cannot begin; trying again", "error", err)
			select {
			case <-t.Ended():
			case <-time.After(r.cfg.RetryEvery):
			case <-ctx.Done():
			}
			continue
		}
		r.local.Store(c)
		r.retry()
		select {
		case <-t.Ended():
		case <-ctx.Done():
		}
		r.local.Store(nil)
		c.Close()
		r.mu.Lock()
		r.past = c.Stats().Plus(r.past)
		r.mu.Unlock()
	}
}

// Here is what other nodes' requests are given to: they are not forwarded again.
// It implements cluster.Requests.
func (r *Router) Here() Here { return Here{r} }

// Here carries out requests at this node, or not at all.
type Here struct{ router *Router }

// Handle carries out a request if this node leads; see coordinator.Coordinator.
func (h Here) Handle(from coordinator.Caller, m protocol.Message, head map[string]string, reply coordinator.Replier) bool {
	if c := h.router.local.Load(); c != nil {
		return c.Handle(from, m, head, reply)
	}
	answer := coordinator.Failed(m, "this node does not lead the cluster")
	if answer == nil {
		return false
	}
	reply(answer, map[string]string{coordinator.HeadAgain: coordinator.Unwritten})
	return true
}

// ResourceUp implements cluster.Requests.
func (h Here) ResourceUp(resourceID string) { h.router.ResourceUp(resourceID) }

// ResourceUp tells that a channel for the resource was registered.
func (r *Router) ResourceUp(resourceID string) {
	if c := r.local.Load(); c != nil {
		c.ResourceUp(resourceID)
	}
}

// Stats counts what this node has decided, in all its leaderships.
func (r *Router) Stats() coordinator.Stats {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c := r.local.Load(); c != nil {
		return c.Stats().Plus(r.past)
	}
	return r.past
}

// Drain refuses to begin transactions and returns when no request of a client is under
// way, or with ctx's error.
func (r *Router) Drain(ctx context.Context) error {
	r.draining.Store(true)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for r.pending.Load() > 0 {
		select {
		case <-ctx.Done():
			return fmt.Errorf("requests still under way: %w", ctx.Err())
		case <-tick.C:
		}
	}
	return nil
}

// Fenced is a Dispatcher that gives orders only as long as no other node can lead:
// a leader that stood still must not act on what it decided before.
func Fenced(orders coordinator.Dispatcher, t Term) coordinator.Dispatcher { return fenced{orders, t} }

type fenced struct {
	orders coordinator.Dispatcher
	term   Term
}

func (f fenced) Send(resourceID, clientID string, anyApplication bool, order protocol.Message, timeout time.Duration, done func(protocol.Message, error)) {
	if err := f.term.Check(); err != nil {
		done(nil, err)
		return
	}
	f.orders.Send(resourceID, clientID, anyApplication, order, timeout, done)
}
