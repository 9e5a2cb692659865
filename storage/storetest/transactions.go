package storetest

import (
	"context"
	"errors"
	"slices"

	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/storage"
)

func testBegin(w *world) {
	require.False(w, func() bool { s := w.load("127.0.0.1:8091:1"); return s.Exists() }())
	s := w.begin()
	require.EqualValues(w, 1, s.Revision)
	w.twice(func() { require.Equal(w, s, w.load(s.XID)) })
}

func testBeginTwice(w *world) {
	b := w.begun()
	s := w.apply(storage.State{}, b)
	w.twice(func() { require.ErrorIs(w, w.store.Apply(w.Context(), b), storage.ErrMoved) })
	w.apply(s, finishing(protocol.StatusCommitted))
	w.twice(func() {
		require.ErrorIs(w, w.store.Apply(w.Context(), b), storage.ErrMoved, "an XID is used again while its tombstone lasts")
	})
}

func testRevisions(w *world) {
	s := w.begin()
	global := s.Global
	global.Status = protocol.StatusCommitting
	decided := w.apply(s, &storage.Batch{Global: &global})
	for _, revision := range []uint64{0, s.Revision, decided.Revision + 1} {
		late := &storage.Batch{XID: s.XID, Revision: revision, Add: []storage.Branch{w.branch("t:1")}}
		require.ErrorIs(w, w.store.Apply(w.Context(), late), storage.ErrMoved)
	}
	unknown := &storage.Batch{XID: "127.0.0.1:8091:999", Revision: 1, Global: &global}
	require.ErrorIs(w, w.store.Apply(w.Context(), unknown), storage.ErrMoved)
	require.Equal(w, decided, w.load(s.XID))
	require.Empty(w, w.holders())
}

func testInvalidBatch(w *world) {
	s := w.begin("t:1")
	twice := w.branch("t:2")
	twice.ID = s.Branches[0].ID
	for _, b := range []*storage.Batch{
		{Add: []storage.Branch{twice}},
		{Add: []storage.Branch{w.branch("t:3")}, Remove: []int64{999}},
		{Change: []storage.BranchChange{{ID: 999}}},
		{Finish: &storage.Tombstone{}},
	} {
		b.XID, b.Revision = s.XID, s.Revision
		require.ErrorIs(w, w.store.Apply(w.Context(), b), storage.ErrInvalidBatch)
	}
	require.Equal(w, s, w.load(s.XID))
	require.Len(w, w.holders(), 1)
}

// testWholeState takes every field through every kind of change.
func testWholeState(w *world) {
	b := w.begun()
	b.Global.TimeoutMillis = 1_234
	b.Global.DueAt = startMillis + 5
	b.Global.Attempts = 3
	b.Global.Evidence = "row 7 was changed by others ('桥')"
	one, two, three := w.branch("t:1"), w.branch("t:2;u:3"), w.branch("")
	one.Type, one.Status, one.ApplicationData = protocol.TypeTCC, protocol.BranchPhaseOneDone, `{"actionContext":{}}`
	two.RequestKey = "host-1:17"
	b.Add = []storage.Branch{one, two, three}
	s := w.apply(storage.State{}, b)
	w.twice(func() { require.Equal(w, s, w.load(s.XID)) })

	data := `{"k":2}`
	global := s.Global
	global.Status, global.DueAt, global.Evidence = protocol.StatusRollbacking, 0, ""
	s = w.apply(s, &storage.Batch{
		At: startMillis + 1, Global: &global,
		Change: []storage.BranchChange{
			{ID: one.ID, Status: protocol.BranchPhaseTwoRollbacked, ApplicationData: &data},
			{ID: three.ID, Status: protocol.BranchPhaseOneFailed},
		},
		Unlock: []int64{two.ID},
	})
	w.twice(func() { require.Equal(w, s, w.load(s.XID)) })
	s = w.apply(s, &storage.Batch{Remove: []int64{one.ID, two.ID}, Add: []storage.Branch{w.branch("v:1")}, UnlockAll: true})
	w.twice(func() { require.Equal(w, s, w.load(s.XID)) })
}

// testStateIsShared: a loaded State stays what it was.
func testStateIsShared(w *world) {
	s := w.begin("t:1", "t:2")
	loaded := w.load(s.XID)
	copied := loaded
	copied.Branches = slices.Clone(loaded.Branches)
	w.apply(s, &storage.Batch{
		Change: []storage.BranchChange{{ID: s.Branches[0].ID, Status: protocol.BranchPhaseOneFailed}},
		Remove: []int64{s.Branches[1].ID},
	})
	require.Equal(w, copied, loaded)
}

func testFinish(w *world) {
	for _, outcome := range []protocol.GlobalStatus{protocol.StatusCommitted, protocol.StatusTimeoutRollbacked} {
		s := w.begin("t:1", "t:2")
		w.apply(s, finishing(outcome))
		w.twice(func() {
			got := w.load(s.XID)
			require.True(w, got.Finished())
			require.Equal(w, outcome, got.Outcome)
			require.Equal(w, s.XID, got.XID)
			require.Empty(w, got.Branches)
			require.Empty(w, w.holders(), "a finished transaction holds locks")
			late := &storage.Batch{XID: s.XID, Revision: s.Revision + 1, Add: []storage.Branch{w.branch("t:9")}}
			require.ErrorIs(w, w.store.Apply(w.Context(), late), storage.ErrMoved)
		})
	}
}

// testTombstoneExpires: tombstones go by the clock in the batches. A store may
// keep one up to a minute longer.
func testTombstoneExpires(w *world) {
	s := w.begin()
	w.apply(s, finishing(protocol.StatusCommitted))
	later := w.begin()
	later = w.apply(later, &storage.Batch{At: startMillis + retention - 1, Global: &later.Global})
	w.twice(func() { require.Equal(w, protocol.StatusCommitted, w.load(s.XID).Outcome) })
	// A clock that was set back brings nothing to an end, and nothing back.
	later = w.apply(later, &storage.Batch{At: startMillis + retention + 60_000, Global: &later.Global})
	w.apply(later, &storage.Batch{At: startMillis, Global: &later.Global})
	w.twice(func() {
		gone := w.load(s.XID)
		require.False(w, gone.Exists())
		require.Zero(w, w.store.Stats().Tombstones)
	})
}

func testCanceled(w *world) {
	ctx, cancel := context.WithCancel(w.Context())
	cancel()
	b := w.begun()
	err := w.store.Apply(ctx, b)
	require.ErrorIs(w, err, context.Canceled)
	s := w.load(b.XID)
	require.Equal(w, errors.Is(err, storage.ErrUnavailable), !s.Exists(), "ErrUnavailable says that nothing was written")
	_, err = w.store.Load(ctx, b.XID)
	require.ErrorIs(w, err, context.Canceled)
	w.begin("t:1")
}

func testClosed(w *world) {
	s := w.begin("t:1")
	require.NoError(w, w.store.Close())
	w.closed = true
	require.ErrorIs(w, w.store.Apply(w.Context(), w.begun()), storage.ErrClosed)
	_, err := w.store.Load(w.Context(), s.XID)
	require.ErrorIs(w, err, storage.ErrClosed)
	require.ErrorIs(w, w.store.CheckLocks(w.Context(), "", nil), storage.ErrClosed)
	_, err = w.store.Due(w.Context(), startMillis, 1)
	require.ErrorIs(w, err, storage.ErrClosed)
	require.ErrorIs(w, w.store.Scan(w.Context(), 0, func(storage.State) bool { return true }), storage.ErrClosed)
	require.ErrorIs(w, w.store.ScanLocks(w.Context(), func(storage.RowKey, storage.Lock) bool { return true }), storage.ErrClosed)
	_, err = w.store.LastID(w.Context())
	require.ErrorIs(w, err, storage.ErrClosed)
	if w.factory.Durable {
		w.open()
		require.Equal(w, s, w.load(s.XID))
	}
}
