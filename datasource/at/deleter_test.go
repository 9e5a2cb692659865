package at

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// sink takes what a deleter deletes.
type sink struct {
	mu      sync.Mutex
	err     error
	batches []int
	keys    map[undoKey]int
}

func (s *sink) delete(_ context.Context, keys []undoKey) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return s.err
	}
	if s.keys == nil {
		s.keys = map[undoKey]int{}
	}
	s.batches = append(s.batches, len(keys))
	for _, key := range keys {
		s.keys[key]++
	}
	return nil
}

func (s *sink) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

func (s *sink) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.keys)
}

func TestDeleterWorksInBatches(t *testing.T) {
	var s sink
	d := newDeleter(time.Hour, s.delete)
	for i := range 2500 {
		require.True(t, d.add(undoKey{"x", int64(i)}))
	}
	require.NoError(t, d.close())
	assert.Equal(t, []int{1000, 1000, 500}, s.batches)
	assert.Len(t, s.keys, 2500)
	assert.False(t, d.add(undoKey{"x", 1}), "a closed deleter takes nothing")
}

func TestDeleterDoesNotWaitForAFullBatch(t *testing.T) {
	var s sink
	d := newDeleter(time.Millisecond, s.delete)
	require.True(t, d.add(undoKey{"x", 1}))
	require.Eventually(t, func() bool { return s.count() == 1 }, 10*time.Second, time.Millisecond)
	require.NoError(t, d.close())
}

// While the database fails, keys are kept and the queue fills; then new ones
// are turned away, and none that was taken is lost.
func TestDeleterKeepsWhatItTook(t *testing.T) {
	var s sink
	s.fail(errors.New("down"))
	d := newDeleter(time.Millisecond, s.delete)
	taken := 0
	require.Eventually(t, func() bool {
		for d.add(undoKey{"x", int64(taken)}) {
			taken++
		}
		return taken >= queueLen+deleteBatch
	}, 10*time.Second, time.Millisecond)
	assert.False(t, d.add(undoKey{"y", 1}))
	s.fail(nil)
	require.Eventually(t, func() bool { return s.count() == taken }, 10*time.Second, time.Millisecond)
	require.NoError(t, d.close())
}

func TestDeleterTellsWhatItLeaves(t *testing.T) {
	var s sink
	s.fail(errors.New("down"))
	d := newDeleter(time.Hour, s.delete)
	for i := range 7 {
		require.True(t, d.add(undoKey{"x", int64(i)}))
	}
	require.ErrorContains(t, d.close(), "7 undo records")
}
