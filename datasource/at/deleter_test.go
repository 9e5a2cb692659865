package at

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// gate is a database whose statements take until they are let through.
type gate struct {
	let     chan error
	batches []int
}

func (g *gate) delete(_ context.Context, keys []undoKey) error {
	g.batches = append(g.batches, len(keys))
	return <-g.let
}

// While one statement runs, records gather; the next takes them all, up to its
// bound. Each caller hears of its own record's statement.
func TestDeleterWorksInBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gate{let: make(chan error)}
		d := newDeleter(g.delete)
		var callers sync.WaitGroup
		errs := make([]error, 2500)
		for i := range errs {
			callers.Go(func() { errs[i] = d.remove(t.Context(), undoKey{"x", int64(i)}) })
			if i == 0 {
				synctest.Wait() // its statement runs
			}
		}
		synctest.Wait()
		down := errors.New("down")
		g.let <- nil
		synctest.Wait()
		g.let <- down
		synctest.Wait()
		g.let <- nil
		synctest.Wait()
		g.let <- nil
		callers.Wait()
		d.close()
		assert.Equal(t, []int{1, 1000, 1000, 499}, g.batches)
		failed := 0
		for _, err := range errs {
			if err != nil {
				require.ErrorIs(t, err, down)
				failed++
			}
		}
		assert.Equal(t, 1000, failed)
	})
}

// A caller that gives up, or whose data source is closed, is not told that the
// record is gone.
func TestDeleterNeverAnswersEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gate{let: make(chan error)}
		d := newDeleter(g.delete)
		ctx, cancel := context.WithCancel(t.Context())
		var impatient, faithful error
		var callers sync.WaitGroup
		callers.Go(func() { impatient = d.remove(ctx, undoKey{"x", 1}) })
		synctest.Wait()
		callers.Go(func() { faithful = d.remove(t.Context(), undoKey{"x", 2}) })
		synctest.Wait()
		cancel()
		synctest.Wait()
		require.ErrorIs(t, impatient, context.Canceled)

		callers.Go(d.close)
		synctest.Wait()
		require.ErrorIs(t, faithful, errDeleterClosed)
		close(g.let) // ends the statement that ran
		callers.Wait()
	})
}
