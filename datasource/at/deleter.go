package at

import (
	"context"
	"errors"
	"sync"
)

// errDeleterClosed: the data source was closed; another process, or this one
// when it has opened the database again, gets the order again.
var errDeleterClosed = errors.New("the data source is closed")

// deletion is one undo record that somebody waits to see deleted.
type deletion struct {
	key  undoKey
	done chan error // capacity 1
}

// deleter deletes the undo records of committed branches in batches: one
// statement takes what has gathered while the statement before it ran.
type deleter struct {
	delete func(context.Context, []undoKey) error
	queue  chan deletion
	closed chan struct{}
	once   sync.Once
	done   sync.WaitGroup
}

func newDeleter(del func(context.Context, []undoKey) error) *deleter {
	d := &deleter{delete: del, queue: make(chan deletion, deleteBatch), closed: make(chan struct{})}
	d.done.Go(d.run)
	return d
}

// remove returns when the record is deleted, for good. On an error it may still
// be there; the same record may be removed again.
func (d *deleter) remove(ctx context.Context, key undoKey) error {
	w := deletion{key, make(chan error, 1)}
	select {
	case d.queue <- w:
	case <-d.closed:
		return errDeleterClosed
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-w.done:
		return err
	case <-d.closed:
		return errDeleterClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

// close ends the goroutine, after the statement that runs.
func (d *deleter) close() {
	d.once.Do(func() { close(d.closed) })
	d.done.Wait()
}

func (d *deleter) run() {
	var batch []deletion
	var keys []undoKey
	for {
		select {
		case <-d.closed:
			return
		case first := <-d.queue:
			batch = append(batch[:0], first)
		}
		for len(batch) < deleteBatch && len(d.queue) > 0 {
			batch = append(batch, <-d.queue)
		}
		keys = keys[:0]
		for _, w := range batch {
			keys = append(keys, w.key)
		}
		ctx, cancel := context.WithTimeout(context.Background(), cleanupWait)
		err := d.delete(ctx, keys)
		cancel()
		for _, w := range batch {
			w.done <- err
		}
	}
}
