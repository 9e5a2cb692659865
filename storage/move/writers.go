package move

import (
	"context"
	"sync"
)

// writers carries out several writes at once until one fails.
type writers struct {
	free   chan struct{}
	failed chan struct{} // closed by the first error
	once   sync.Once
	err    error
	busy   sync.WaitGroup
}

func newWriters(n int) *writers {
	return &writers{free: make(chan struct{}, n), failed: make(chan struct{})}
}

// write has f called, and waits while too many are; false means that one failed.
func (w *writers) write(ctx context.Context, f func() error) bool {
	select {
	case w.free <- struct{}{}:
	case <-w.failed:
		return false
	case <-ctx.Done():
		w.fail(ctx.Err())
		return false
	}
	w.busy.Go(func() {
		defer func() { <-w.free }()
		if err := f(); err != nil {
			w.fail(err)
		}
	})
	return true
}

func (w *writers) fail(err error) {
	w.once.Do(func() {
		w.err = err
		close(w.failed)
	})
}

// wait returns the first error when all are done.
func (w *writers) wait() error {
	w.busy.Wait()
	return w.err
}
