package storetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"

	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/storage"
)

const (
	workers = 16
	rounds  = 40
)

// together runs f in workers goroutines and waits; the first error fails the
// test.
func (w *world) together(f func(worker int) error) {
	w.Helper()
	errs := make([]error, workers)
	var all sync.WaitGroup
	for i := range workers {
		all.Go(func() { errs[i] = f(i) })
	}
	all.Wait()
	require.NoError(w, errors.Join(errs...))
}

// testConcurrentRevisions: of batches computed from one revision exactly one
// wins, and none of the winners is lost.
func testConcurrentRevisions(w *world) {
	s := w.begin()
	var won atomic.Int64
	w.together(func(int) error {
		for range rounds {
			now, err := w.store.Load(w.Context(), s.XID)
			if err != nil {
				return err
			}
			branch := w.branch("")
			err = w.store.Apply(w.Context(), &storage.Batch{XID: s.XID, Revision: now.Revision, Add: []storage.Branch{branch}})
			if err == nil {
				won.Add(1)
			} else if !errors.Is(err, storage.ErrMoved) {
				return err
			}
		}
		return nil
	})
	require.NotZero(w, won.Load())
	w.twice(func() {
		got := w.load(s.XID)
		require.EqualValues(w, 1+won.Load(), got.Revision)
		require.Len(w, got.Branches, int(won.Load()))
	})
}

// testConcurrentLocks: a row has one holder at any moment.
func testConcurrentLocks(w *world) {
	var holding atomic.Int64
	var acquired atomic.Int64
	w.together(func(int) error {
		for range rounds {
			b := w.begun()
			b.Add = []storage.Branch{w.branch("t:1")}
			err := w.store.Apply(w.Context(), b)
			var held *storage.LockHeld
			if errors.As(err, &held) {
				continue
			}
			if err != nil {
				return err
			}
			acquired.Add(1)
			if n := holding.Add(1); n != 1 {
				return fmt.Errorf("%d transactions hold one row", n)
			}
			holding.Add(-1)
			done := finishing(protocol.StatusCommitted)
			done.XID, done.Revision = b.XID, 1
			if err := w.store.Apply(w.Context(), done); err != nil {
				return err
			}
		}
		return nil
	})
	require.NotZero(w, acquired.Load())
	w.twice(func() { require.Empty(w, w.holders()) })
}

// testConcurrentTransactions lets each worker take transactions of its own
// through random lives over shared rows. Afterwards, and after reopening, each
// is exactly what was acknowledged, and the locks are those of the branches.
func testConcurrentTransactions(w *world) {
	expected := make([][]storage.State, workers)
	w.together(func(worker int) (err error) {
		expected[worker], err = w.live(w.Context(), rand.New(rand.NewPCG(1, uint64(worker))))
		return err
	})
	w.twice(func() {
		held := make(map[storage.RowKey]string)
		globals := 0
		for _, states := range expected {
			for _, want := range states {
				got := w.load(want.XID)
				require.Equal(w, want.Outcome, got.Outcome)
				if want.Finished() {
					continue
				}
				globals++
				require.Equal(w, want, got)
				for _, row := range lockedRows(w, want) {
					held[row] = want.XID
				}
			}
		}
		found := w.holders()
		require.Len(w, found, len(held))
		for row, xid := range held {
			require.Equal(w, xid, found[row].XID, row)
		}
		stats := w.store.Stats()
		require.EqualValues(w, globals, stats.Globals)
		require.EqualValues(w, len(held), stats.Locks)
	})
}

func lockedRows(w *world, s storage.State) []storage.RowKey {
	var all []storage.RowKey
	for _, branch := range s.Branches {
		if branch.Locked {
			rows, err := storage.RowKeys(branch.ResourceID, branch.LockKey)
			require.NoError(w, err)
			all = append(all, rows...)
		}
	}
	return all
}

// live takes a few transactions through rounds random batches and returns their
// states by what was acknowledged.
func (w *world) live(ctx context.Context, random *rand.Rand) ([]storage.State, error) {
	states := make([]storage.State, 0, rounds)
	for range rounds {
		var s storage.State
		at := len(states)
		if at > 0 && random.IntN(4) > 0 {
			at = random.IntN(at)
			s = states[at]
		}
		b := w.randomBatch(random, s)
		if b == nil {
			continue
		}
		next, err := s.Apply(b)
		if err != nil {
			return nil, err
		}
		err = w.store.Apply(ctx, b)
		var held *storage.LockHeld
		switch {
		case errors.As(err, &held) && held.Holder.XID != b.XID:
		case err != nil:
			return nil, fmt.Errorf("%s at revision %d: %w", b.XID, b.Revision, err)
		case at == len(states):
			states = append(states, next)
		default:
			states[at] = next
		}
	}
	return states, nil
}

func (w *world) randomBatch(random *rand.Rand, s storage.State) *storage.Batch {
	if s.Finished() {
		return nil
	}
	if !s.Exists() {
		return w.begun()
	}
	b := &storage.Batch{XID: s.XID, Revision: s.Revision, At: startMillis}
	var branch int64
	if len(s.Branches) > 0 {
		branch = s.Branches[random.IntN(len(s.Branches))].ID
	}
	switch kind := random.IntN(8); {
	case kind < 4 || branch == 0:
		b.Add = []storage.Branch{w.branch(fmt.Sprintf("t:%d,%d", random.IntN(40), random.IntN(40)))}
	case kind == 4:
		b.Unlock = []int64{branch}
	case kind == 5:
		b.Remove = []int64{branch}
	case kind == 6:
		global := s.Global
		global.Status = protocol.StatusCommitting
		b.Global, b.UnlockAll = &global, true
	default:
		b.Finish = &storage.Tombstone{Outcome: protocol.StatusCommitted, ExpiresAt: startMillis + retention}
	}
	return b
}
