package move

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/xid"
	"github.com/qiao-tx/qiao/storage"
	"github.com/qiao-tx/qiao/storage/memory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	now    = 1_700_000_000_000
	source = "dir:old"
)

// filled is a store with a transaction of each kind, and what a long life leaves.
func filled(t testing.TB) *memory.Store {
	t.Helper()
	s := memory.New()
	apply := func(b *storage.Batch) { require.NoError(t, s.Apply(t.Context(), b)) }
	for i := range int64(20) {
		id := i*10 + 1
		x := xid.New("10.0.0.1:8091", id)
		branch := func(n int64, lockKey string) storage.Branch {
			return storage.Branch{
				ID: id + n, Type: protocol.TypeAT, Status: protocol.BranchRegistered, ResourceID: "jdbc:mysql://db/stock",
				ClientID: "orders:10.0.0.2:1", LockKey: lockKey, Locked: lockKey != "", RegisteredAt: now, RequestKey: fmt.Sprint("r", id, n),
			}
		}
		g := storage.Global{
			ID: id, Status: protocol.StatusBegin, ApplicationID: "orders", Group: "g", Name: "n", BeganAt: now, TimeoutMillis: 1000, DueAt: now + 1000,
		}
		apply(&storage.Batch{XID: x, At: now, Global: &g, Add: []storage.Branch{branch(1, fmt.Sprintf("t:%d,%d", id, id+1)), branch(2, fmt.Sprintf("t:%d", id)), branch(3, "")}})
		later := g
		switch i % 4 {
		case 0:
			later.Status, later.Attempts, later.DueAt = protocol.StatusRollbackRetrying, 3, now+5
			apply(&storage.Batch{XID: x, Revision: 1, At: now, Global: &later, Remove: []int64{id + 3}})
		case 1:
			later.Status, later.Evidence, later.DueAt = protocol.StatusRollbackFailed, "foreign write in row 7", 0
			apply(&storage.Batch{XID: x, Revision: 1, At: now, Global: &later, Unlock: []int64{id + 1}})
		case 2:
			apply(&storage.Batch{XID: x, Revision: 1, At: now, Finish: &storage.Tombstone{Outcome: protocol.StatusCommitted, ExpiresAt: now + 180_000}})
		}
	}
	require.NoError(t, s.PutNote(t.Context(), storage.Group{Name: "g", Namespace: "public", Cluster: "default"}.Note()))
	// The latest id is that of a branch that is gone.
	apply(&storage.Batch{XID: "10.0.0.1:8091:1", Revision: 2, At: now, Add: []storage.Branch{{ID: 900}}})
	apply(&storage.Batch{XID: "10.0.0.1:8091:1", Revision: 3, At: now, Remove: []int64{900}})
	return s
}

func content(t testing.TB, s storage.Movable) Content {
	t.Helper()
	c, err := Look(t.Context(), s, now)
	require.NoError(t, err)
	return c
}

func options() Options { return Options{Source: source, Now: now} }

func TestCopy(t *testing.T) {
	from, to := filled(t), memory.New()
	progress := new(Progress)
	o := options()
	o.Progress = progress
	got, err := Copy(t.Context(), from, to, o)
	require.NoError(t, err)
	require.Equal(t, Content{
		Transactions: 15, Branches: 40, Locks: 25, Outcomes: 5, Groups: 1, LastID: 900,
		Statuses: map[string]int64{"Begin": 5, "RollbackRetrying": 5, "RollbackFailed": 5},
	}, got)
	require.NoError(t, Unfinished(t.Context(), to))
	require.Equal(t, "finish", progress.Step().Stage)
	require.NoError(t, to.Apply(t.Context(), &storage.Batch{XID: "a:1:901", At: now + 1, Global: &storage.Global{ID: 901}}), "the clock goes on")
	require.Equal(t, statesOf(t, from), statesOf(t, to))
}

// statesOf are the transactions that filled made.
func statesOf(t *testing.T, s *memory.Store) []storage.State {
	t.Helper()
	var states []storage.State
	require.NoError(t, s.Scan(t.Context(), 0, func(state storage.State) bool {
		if state.Global.ID < 900 {
			states = append(states, state)
		}
		return true
	}))
	return states
}

// frail is a store that fails after some writes, and that others may have open.
type frail struct {
	*memory.Store
	writes atomic.Int64
	others []storage.Node
}

var errBroken = errors.New("the cable was pulled")

func (f *frail) Apply(ctx context.Context, b *storage.Batch) error {
	if f.writes.Add(-1) < 0 {
		return errBroken
	}
	return f.Store.Apply(ctx, b)
}

func (f *frail) Others(context.Context) ([]storage.Node, error) { return f.others, nil }

// Wherever a copy stops, the destination is refused, and the next attempt makes it
// whole.
func TestCopyGoesOn(t *testing.T) {
	from := filled(t)
	want := content(t, from)
	for writes := range int64(22) {
		to := &frail{Store: memory.New()}
		to.writes.Store(writes)
		_, err := Copy(t.Context(), from, to, options())
		if writes == 21 {
			require.NoError(t, err)
		} else {
			require.ErrorIs(t, err, errBroken, "%d writes", writes)
			require.ErrorIs(t, Unfinished(t.Context(), to), ErrUnfinished)
			_, err = Copy(t.Context(), from, to.Store, Options{Source: "dir:another", Now: now})
			require.ErrorIs(t, err, ErrNotEmpty)
			require.ErrorContains(t, err, source)
			_, err = Copy(t.Context(), to.Store, memory.New(), Options{Source: "half", Now: now})
			require.ErrorIs(t, err, ErrUnfinished, "half a copy is copied on")
			_, err = Copy(t.Context(), from, to.Store, options())
			require.NoError(t, err, "%d writes", writes)
		}
		require.NoError(t, Unfinished(t.Context(), to))
		require.Equal(t, want, content(t, to))
	}
}

func TestCopyRefuses(t *testing.T) {
	t.Run("a destination with transactions", func(t *testing.T) {
		to := filled(t)
		_, err := Copy(t.Context(), filled(t), to, options())
		require.ErrorIs(t, err, ErrNotEmpty)
		require.NoError(t, Unfinished(t.Context(), to), "it is what it was")
	})
	t.Run("a destination with locks of nobody", func(t *testing.T) {
		_, err := Copy(t.Context(), filled(t), orphaned{memory.New()}, options())
		require.ErrorIs(t, err, ErrNotEmpty)
		require.ErrorContains(t, err, "row locks")
	})
	t.Run("stores in use", func(t *testing.T) {
		used := &frail{Store: filled(t), others: []storage.Node{{Worker: 1, Address: "tc1:8091"}}}
		for _, pair := range [][2]storage.Movable{{used, memory.New()}, {filled(t), used}} {
			_, err := Copy(t.Context(), pair[0], pair[1], options())
			require.ErrorIs(t, err, ErrInUse)
			require.ErrorContains(t, err, "tc1:8091")
		}
	})
	t.Run("a source that went on between two attempts", func(t *testing.T) {
		from := filled(t)
		to := &frail{Store: memory.New()}
		to.writes.Store(14)
		_, err := Copy(t.Context(), from, to, options())
		require.ErrorIs(t, err, errBroken)
		first := to.states(t)[0]
		finish := &storage.Batch{XID: first.XID, Revision: first.Revision, Finish: &storage.Tombstone{Outcome: protocol.StatusRollbacked, ExpiresAt: now + 1}}
		require.NoError(t, from.Apply(t.Context(), finish))
		to.writes.Store(100)
		_, err = Copy(t.Context(), from, to, options())
		require.ErrorIs(t, err, ErrDiffers)
		require.ErrorContains(t, err, first.XID)
		require.ErrorIs(t, Unfinished(t.Context(), to), ErrUnfinished)
	})
	t.Run("when it is called off", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := Copy(ctx, filled(t), memory.New(), options())
		require.ErrorIs(t, err, context.Canceled)
	})
}

func (f *frail) states(t *testing.T) []storage.State { return statesOf(t, f.Store) }

// liar is a store that keeps something else than it was given.
type liar struct {
	*memory.Store
	change func(b *storage.Batch)
}

func (l liar) Apply(ctx context.Context, b *storage.Batch) error {
	if b.Global != nil && b.Finish == nil {
		global := *b.Global
		other := *b
		other.Global, other.Add = &global, append([]storage.Branch(nil), b.Add...)
		l.change(&other)
		b = &other
	} else if b.Finish != nil {
		other := *b
		stone := *b.Finish
		other.Finish = &stone
		l.change(&other)
		b = &other
	}
	return l.Store.Apply(ctx, b)
}

// What a destination has lost or changed is found, whatever it is.
func TestCopyIsCompared(t *testing.T) {
	for name, change := range map[string]func(b *storage.Batch){
		"revision": func(b *storage.Batch) { b.Resume++ },
		"due time": func(b *storage.Batch) { b.Global.DueAt++ },
		"evidence": func(b *storage.Batch) { b.Global.Evidence += " " },
		"branch": func(b *storage.Batch) {
			if len(b.Add) > 1 {
				b.Add = b.Add[1:]
			}
		},
		"request key": func(b *storage.Batch) {
			if len(b.Add) > 0 {
				b.Add[0].RequestKey = ""
			}
		},
		"outcome": func(b *storage.Batch) {
			if b.Finish != nil && b.Finish.ExpiresAt > 1 {
				b.Finish.Outcome = protocol.StatusRollbacked
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			to := liar{memory.New(), change}
			_, err := Copy(t.Context(), filled(t), to, options())
			require.ErrorIs(t, err, ErrDiffers)
			require.ErrorIs(t, Unfinished(t.Context(), to), ErrUnfinished)
		})
	}
	t.Run("locks", func(t *testing.T) {
		_, err := Copy(t.Context(), filled(t), lockless{memory.New()}, options())
		require.ErrorIs(t, err, ErrDiffers)
		require.ErrorContains(t, err, "25 rows are locked at the source, 0 at the destination")
		require.ErrorContains(t, err, "is locked by global transaction")
	})
	t.Run("groups", func(t *testing.T) {
		_, err := Copy(t.Context(), filled(t), groupless{memory.New()}, options())
		require.ErrorIs(t, err, ErrDiffers)
		require.ErrorContains(t, err, "transaction group")
	})
}

// groupless keeps no transaction groups.
type groupless struct{ *memory.Store }

func (g groupless) PutNote(ctx context.Context, n storage.Note) error {
	if n.Kind == storage.NoteGroup {
		return nil
	}
	return g.Store.PutNote(ctx, n)
}

// orphaned lists a lock of no transaction.
type orphaned struct{ *memory.Store }

func (orphaned) ScanLocks(_ context.Context, f func(storage.RowKey, storage.Lock) bool) error {
	f(storage.NewRowKey("db", "t", "1"), storage.Lock{XID: "a:1:1"})
	return nil
}

// lockless lists no locks and checks none.
type lockless struct{ *memory.Store }

func (lockless) ScanLocks(context.Context, func(storage.RowKey, storage.Lock) bool) error { return nil }
func (lockless) CheckLocks(context.Context, string, []storage.RowKey) error               { return nil }

// Whatever a state is, there and back again it is the same to the byte.
func TestCopyOfAnyState(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		from, to := memory.New(), memory.New()
		for i := range rapid.IntRange(0, 20).Draw(t, "transactions") {
			id := int64(i)<<rapid.IntRange(0, 53).Draw(t, "shift")*8 + int64(i) + 1
			if id <= 0 {
				continue
			}
			s := storage.State{XID: xid.New("h:1", id), Revision: rapid.Uint64Range(1, 1<<40).Draw(t, "revision"), Global: storage.Global{
				ID: id, Status: protocol.GlobalStatus(rapid.IntRange(1, 20).Draw(t, "status")), Name: rapid.String().Draw(t, "name"),
				DueAt: rapid.Int64Range(0, 1<<50).Draw(t, "due"), Attempts: rapid.Int32().Draw(t, "attempts"),
			}}
			for j := range rapid.IntRange(0, 3).Draw(t, "branches") {
				s.Branches = append(s.Branches, storage.Branch{ID: id + int64(j), LockKey: fmt.Sprintf("t:%d", id), Locked: rapid.Bool().Draw(t, "locked")})
			}
			if err := from.Apply(t.Context(), storage.Whole(&s)); errors.Is(err, storage.ErrMoved) || errors.Is(err, storage.ErrInvalidBatch) {
				continue // the same id again
			}
		}
		_, err := Copy(t.Context(), from, to, options())
		require.NoError(t, err)
		require.True(t, bytes.Equal(image(t, from), image(t, to)))
	})
}

func image(t *rapid.T, s *memory.Store) []byte {
	n, err := s.Snapshot()
	require.NoError(t, err)
	defer n.Release()
	var out bytes.Buffer
	require.NoError(t, n.Write(&out))
	return out.Bytes()
}
