package coordinator

import (
	"errors"
	"sync"
	"time"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/server/txn"
)

// errQueueFull and errQueuedTooLong keep an order from being sent. The
// transaction's next round gives it again.
var (
	errQueueFull     = errors.New("too many orders wait for this resource manager")
	errQueuedTooLong = errors.New("the resource manager did not get to this order in time")
)

// orderQueues keeps a slow resource manager's orders from those of others: each
// resource of each client has a queue of its own, with a bounded number of
// orders in flight.
type orderQueues struct {
	cfg Config
	mu  sync.Mutex
	// queues holds those with orders in flight.
	queues map[queueKey]*orderQueue
}

type queueKey struct{ resource, client string }

type orderQueue struct {
	inFlight int
	waiting  []queuedOrder
}

// queuedOrder is an order with the way back for its answer.
type queuedOrder struct {
	order    *txn.Order
	rollback bool
	done     func(protocol.Message, error)
	since    time.Time
}

func (q *orderQueues) init(cfg Config) {
	q.cfg = cfg
	q.queues = make(map[queueKey]*orderQueue)
}

// send gives the order now, or when earlier ones have been answered. done is
// called once.
func (q *orderQueues) send(o *txn.Order, rollback bool, done func(protocol.Message, error)) {
	key := queueKey{o.ResourceID, o.ClientID}
	order := queuedOrder{order: o, rollback: rollback, done: done}
	q.mu.Lock()
	oq := q.queues[key]
	if oq == nil {
		oq = &orderQueue{}
		q.queues[key] = oq
	}
	switch {
	case oq.inFlight < q.cfg.OrdersInFlight:
		oq.inFlight++
		q.mu.Unlock()
		q.give(key, order)
	case len(oq.waiting) < q.cfg.OrdersQueued:
		order.since = q.cfg.Clock()
		oq.waiting = append(oq.waiting, order)
		q.mu.Unlock()
	default:
		q.mu.Unlock()
		done(nil, errQueueFull)
	}
}

// give hands an order that has its place to the dispatcher.
func (q *orderQueues) give(key queueKey, order queuedOrder) {
	o := order.order
	q.cfg.Dispatcher.Send(o.ResourceID, o.ClientID, o.AnyApplication, message(o, order.rollback), q.cfg.AnswerTimeout,
		func(m protocol.Message, err error) {
			q.release(key)
			order.done(m, err)
		})
}

// release hands the place of an answered order to the next that still counts.
func (q *orderQueues) release(key queueKey) {
	q.mu.Lock()
	oq := q.queues[key]
	if len(oq.waiting) == 0 {
		q.vacate(key, oq)
		q.mu.Unlock()
		return
	}
	oldest := q.cfg.Clock().Add(-q.patience())
	n := 0
	for n < len(oq.waiting) && oq.waiting[n].since.Before(oldest) {
		n++
	}
	expired := oq.waiting[:n:n]
	oq.waiting = oq.waiting[n:]
	var next *queuedOrder
	if len(oq.waiting) > 0 {
		next = &oq.waiting[0]
		oq.waiting = oq.waiting[1:]
	} else {
		q.vacate(key, oq)
	}
	q.mu.Unlock()
	for _, order := range expired {
		order.done(nil, errQueuedTooLong)
	}
	if next != nil {
		q.give(key, *next)
	}
}

// vacate gives up a place that no order waits for. The caller holds mu.
func (q *orderQueues) vacate(key queueKey, oq *orderQueue) {
	if oq.inFlight--; oq.inFlight == 0 {
		delete(q.queues, key)
	}
}

// patience is how long an order may wait so that its answer still comes before
// the due-loop gives it again.
func (q *orderQueues) patience() time.Duration {
	round := time.Duration(q.cfg.Machine.AnswerMillis) * time.Millisecond
	return max(round-q.cfg.AnswerTimeout-time.Second, time.Second)
}

// waiting counts the orders that are queued, not in flight.
func (q *orderQueues) waiting() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := 0
	for _, oq := range q.queues {
		n += len(oq.waiting)
	}
	return n
}

func message(o *txn.Order, rollback bool) protocol.Message {
	if rollback {
		return &protocol.BranchRollback{BranchOrder: o.BranchOrder}
	}
	return &protocol.BranchCommit{BranchOrder: o.BranchOrder}
}
