package at

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// queueLen bounds the branches that wait for their undo records to be deleted.
const queueLen = 10000

// deleter deletes the undo records of committed branches in batches, behind the
// coordinator's back: it has its answer already. What it could not delete when
// it was closed is left to the daily DeleteUndo.
type deleter struct {
	delete func(context.Context, []undoKey) error
	wait   time.Duration
	queue  chan undoKey
	cancel context.CancelFunc
	done   chan error

	mu     sync.RWMutex // held for reading while a key is put into the queue
	closed bool
}

func newDeleter(wait time.Duration, del func(context.Context, []undoKey) error) *deleter {
	ctx, cancel := context.WithCancel(context.Background())
	d := &deleter{delete: del, wait: wait, queue: make(chan undoKey, queueLen), cancel: cancel, done: make(chan error, 1)}
	go func() { d.done <- d.run(ctx) }()
	return d
}

// add takes a key over, or answers false: the queue is full or closed.
func (d *deleter) add(key undoKey) bool {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if d.closed {
		return false
	}
	select {
	case d.queue <- key:
		return true
	default:
		return false
	}
}

// close deletes what was taken over and ends the goroutine.
func (d *deleter) close() error {
	d.mu.Lock()
	d.closed = true
	d.mu.Unlock()
	d.cancel()
	return <-d.done
}

// run gathers keys and deletes them. After a failure it keeps them and takes
// no more than a batch, so that the queue fills and its users notice.
func (d *deleter) run(ctx context.Context) error {
	tick := time.NewTicker(d.wait)
	defer tick.Stop()
	var batch []undoKey
	for {
		queue := d.queue
		if len(batch) >= deleteBatch {
			queue = nil
		}
		full := false
		select {
		case <-ctx.Done():
			return d.drain(ctx, batch)
		case key := <-queue:
			batch = append(batch, key)
			if full = len(batch) == deleteBatch; !full {
				continue
			}
		case <-tick.C:
		}
		if len(batch) > 0 && d.flush(ctx, batch) == nil {
			batch = batch[:0]
		}
	}
}

func (d *deleter) drain(ctx context.Context, batch []undoKey) error {
	for len(d.queue) > 0 {
		batch = append(batch, <-d.queue)
	}
	for len(batch) > 0 {
		n := min(len(batch), deleteBatch)
		if err := d.flush(ctx, batch[:n]); err != nil {
			return fmt.Errorf("%d undo records of committed branches are left to the daily deletion: %w", len(batch), err)
		}
		batch = batch[n:]
	}
	return nil
}

// flush outlives ctx, for a bounded time: closing waits for it.
func (d *deleter) flush(ctx context.Context, batch []undoKey) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupWait)
	defer cancel()
	return d.delete(ctx, batch)
}
