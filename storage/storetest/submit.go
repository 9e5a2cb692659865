package storetest

import (
	"sync"
	"sync/atomic"

	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/storage"
)

// testSubmit: a Submitter answers every Batch once, conflicts and moves
// included, and what it acknowledged is there.
func testSubmit(w *world) {
	s, ok := w.store.(storage.Submitter)
	if !ok {
		return // the other tests say all about this store
	}
	holder := w.begin("t:1")
	var batches []*storage.Batch
	for range 300 {
		taken := w.begun()
		taken.Add = []storage.Branch{w.branch("t:1")}
		moved := &storage.Batch{XID: holder.XID, Revision: holder.Revision + 1, UnlockAll: true}
		batches = append(batches, w.begun(), taken, moved)
	}
	answers := make([]atomic.Int64, len(batches))
	errs := make([]error, len(batches))
	var open sync.WaitGroup
	for i, b := range batches {
		open.Add(1)
		err := s.Submit(b, func(err error) {
			errs[i] = err
			if answers[i].Add(1) == 1 {
				open.Done()
			}
		})
		if err != nil { // refused at once: done is not called
			errs[i] = err
			open.Done()
		}
	}
	open.Wait()
	require.NoError(w, s.Close()) // a second answer would have come by now
	w.closed = true
	for i := range batches {
		require.LessOrEqual(w, answers[i].Load(), int64(1))
		var held *storage.LockHeld
		switch i % 3 {
		case 0:
			require.NoError(w, errs[i])
		case 1:
			require.ErrorAs(w, errs[i], &held)
		case 2:
			require.ErrorIs(w, errs[i], storage.ErrMoved)
		}
	}
	if w.factory.Durable {
		w.open()
		require.Equal(w, holder, w.load(holder.XID))
		for i := 0; i < len(batches); i += 3 {
			require.EqualValues(w, 1, w.load(batches[i].XID).Revision)
		}
	}
}

// testSubmitClosed: Close answers what is under way, and nothing comes after it.
func testSubmitClosed(w *world) {
	s, ok := w.store.(storage.Submitter)
	if !ok {
		return
	}
	const batches = 200
	var mu sync.Mutex
	var acknowledged []string
	answered := 0
	for range batches {
		b := w.begun()
		require.NoError(w, s.Submit(b, func(err error) {
			mu.Lock()
			defer mu.Unlock()
			answered++
			if err == nil {
				acknowledged = append(acknowledged, b.XID)
			}
		}))
	}
	require.NoError(w, s.Close())
	w.closed = true
	require.Equal(w, batches, answered)
	err := s.Submit(w.begun(), func(error) { w.Error("a batch after Close was answered") })
	require.ErrorIs(w, err, storage.ErrClosed)
	if w.factory.Durable {
		w.open()
		for _, x := range acknowledged {
			require.EqualValues(w, 1, w.load(x).Revision)
		}
	}
}
