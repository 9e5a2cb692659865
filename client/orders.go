package client

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/rpc"
	"github.com/qiao-tx/qiao/rm"
)

// orderQueue is how many orders may wait for each resource. More are dropped:
// the coordinator repeats what is not answered.
const orderQueue = 4096

// dispatcher runs phase-two orders, a few at a time for each resource, so that
// a slow resource delays no other, nor the reader of a connection.
type dispatcher struct {
	resources *rm.Manager
	log       *slog.Logger
	workers   int
	timeout   time.Duration

	mu      sync.Mutex
	lanes   map[string]*lane
	closing bool
	running sync.WaitGroup
}

// lane is the work for one resource.
type lane struct {
	workers int
	waiting []*order
	// accepted are the orders that wait or run, but for those that are not about
	// a branch.
	accepted map[orderKey]*order
	// full: orders have been dropped since half of the queue was last free.
	full bool
}

// order is a request of the coordinator and the connection to answer on. A
// coordinator repeats an order that takes long; a repetition takes the place of
// the request that it repeats, so that a branch is worked on by one worker only.
type order struct {
	key     orderKey
	conn    *rpc.Conn
	request rpc.Request
}

type orderKey struct {
	kind   protocol.TypeCode
	xid    string
	branch int64
}

func newDispatcher(resources *rm.Manager, cfg Config) *dispatcher {
	return &dispatcher{
		resources: resources, log: cfg.Logger,
		workers: cfg.OrderConcurrency, timeout: cfg.OrderTimeout,
		lanes: make(map[string]*lane),
	}
}

// submit takes an order, to run until ctx ends; it never blocks.
func (d *dispatcher) submit(ctx context.Context, conn *rpc.Conn, r rpc.Request) {
	resource, key, ok := subjectOf(r.Message)
	if !ok {
		d.log.Warn("the coordinator sent what is no order", "address", conn.RemoteAddr(), "type", int(r.Message.TypeCode()))
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closing {
		return
	}
	l := d.lanes[resource]
	if l == nil {
		l = &lane{accepted: make(map[orderKey]*order)}
		d.lanes[resource] = l
	}
	if earlier := l.accepted[key]; earlier != nil {
		earlier.conn, earlier.request = conn, r
		return
	}
	o := &order{key, conn, r}
	switch {
	case l.workers < d.workers:
		l.workers++
		d.running.Go(func() { d.work(ctx, resource, l, o) })
	case len(l.waiting) < orderQueue:
		l.waiting = append(l.waiting, o)
	default:
		if !l.full {
			d.log.Warn("too many phase-two orders for a resource; some are dropped and will be repeated", "resource", resource)
		}
		l.full = true
		return
	}
	if key != (orderKey{}) {
		l.accepted[key] = o
	}
}

// subjectOf returns the resource that an order is for; key is zero for one that
// is not about a branch.
func subjectOf(m protocol.Message) (resource string, key orderKey, ok bool) {
	switch o := m.(type) {
	case *protocol.BranchCommit:
		return o.ResourceID, orderKey{m.TypeCode(), o.XID, o.BranchID}, true
	case *protocol.BranchRollback:
		return o.ResourceID, orderKey{m.TypeCode(), o.XID, o.BranchID}, true
	case *protocol.UndoLogDelete:
		return o.ResourceID, orderKey{}, true
	}
	return "", orderKey{}, false
}

// work runs o, then what waits in the lane.
func (d *dispatcher) work(ctx context.Context, resource string, l *lane, o *order) {
	for ok := true; ok; o, ok = d.next(resource, l) {
		d.run(ctx, l, o)
	}
}

// next returns the next order of the lane, or retires the worker.
func (d *dispatcher) next(resource string, l *lane) (*order, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(l.waiting) > 0 {
		o := l.waiting[0]
		l.waiting = l.waiting[1:]
		l.full = l.full && len(l.waiting) > orderQueue/2
		return o, true
	}
	l.workers--
	if l.workers == 0 {
		delete(d.lanes, resource)
	}
	return nil, false
}

// run carries an order out and answers on the connection that brought it last.
// If that is gone, the coordinator asks again over another.
func (d *dispatcher) run(ctx context.Context, l *lane, o *order) {
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	d.mu.Lock()
	message := o.request.Message
	d.mu.Unlock()
	answer := d.resources.Handle(ctx, message)
	d.mu.Lock()
	delete(l.accepted, o.key)
	conn, request := o.conn, o.request
	d.mu.Unlock()
	if answer == nil || request.OneWay {
		return
	}
	if err := conn.Reply(request, answer, nil); err != nil {
		d.log.Warn("answer to a phase-two order not sent; the coordinator will ask again",
			"address", conn.RemoteAddr(), "error", err)
	}
}

// drain takes no more orders and waits for those that run or wait, as long as
// ctx allows.
func (d *dispatcher) drain(ctx context.Context) error {
	d.mu.Lock()
	d.closing = true
	d.mu.Unlock()
	done := make(chan struct{})
	go func() { // ends with the last order
		d.running.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ended(ctx)
	}
}
