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
	waiting []order
}

// order is a request of the coordinator and the connection to answer on.
type order struct {
	conn    *rpc.Conn
	request rpc.Request
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
	resource, ok := resourceOf(r.Message)
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
		l = &lane{}
		d.lanes[resource] = l
	}
	switch o := (order{conn, r}); {
	case l.workers < d.workers:
		l.workers++
		d.running.Go(func() { d.work(ctx, resource, l, o) })
	case len(l.waiting) < orderQueue:
		l.waiting = append(l.waiting, o)
	default:
		d.log.Warn("too many phase-two orders for a resource; this one is dropped and will be repeated", "resource", resource)
	}
}

func resourceOf(m protocol.Message) (id string, ok bool) {
	switch o := m.(type) {
	case *protocol.BranchCommit:
		return o.ResourceID, true
	case *protocol.BranchRollback:
		return o.ResourceID, true
	case *protocol.UndoLogDelete:
		return o.ResourceID, true
	}
	return "", false
}

// work runs o, then what waits in the lane.
func (d *dispatcher) work(ctx context.Context, resource string, l *lane, o order) {
	for ok := true; ok; o, ok = d.next(resource, l) {
		d.run(ctx, o)
	}
}

// next returns the next order of the lane, or retires the worker.
func (d *dispatcher) next(resource string, l *lane) (order, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(l.waiting) > 0 {
		o := l.waiting[0]
		l.waiting = l.waiting[1:]
		return o, true
	}
	l.workers--
	if l.workers == 0 {
		delete(d.lanes, resource)
	}
	return order{}, false
}

// run carries an order out and answers on the connection that brought it. If
// that is gone, the coordinator asks again over another.
func (d *dispatcher) run(ctx context.Context, o order) {
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	answer := d.resources.Handle(ctx, o.request.Message)
	if answer == nil || o.request.OneWay {
		return
	}
	if err := o.conn.Reply(o.request, answer, nil); err != nil {
		d.log.Warn("answer to a phase-two order not sent; the coordinator will ask again",
			"address", o.conn.RemoteAddr(), "error", err)
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
