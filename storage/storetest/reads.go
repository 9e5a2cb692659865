package storetest

import (
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/storage"
)

func testDue(w *world) {
	at := func(dueAt int64) storage.State {
		b := w.begun()
		b.Global.DueAt = dueAt
		return w.apply(storage.State{}, b)
	}
	due := func(now int64, limit int) []string {
		xids, err := w.store.Due(w.Context(), now, limit)
		require.NoError(w, err)
		return xids
	}
	third, first, second := at(startMillis+70_001), at(startMillis+1), at(startMillis+2)
	at(0)
	w.twice(func() {
		require.Empty(w, due(startMillis, 10))
		require.Equal(w, []string{first.XID}, due(startMillis+1, 10), "due now means not after now")
		require.Equal(w, []string{first.XID, second.XID}, due(startMillis+70_000, 10))
		require.Equal(w, []string{first.XID, second.XID, third.XID}, due(startMillis+100_000, 10))
		require.Equal(w, []string{first.XID, second.XID}, due(startMillis+100_000, 2))
		require.Empty(w, due(startMillis+100_000, 0))
	})
	move := func(s storage.State, dueAt int64) storage.State {
		global := s.Global
		global.DueAt = dueAt
		return w.apply(s, &storage.Batch{Global: &global})
	}
	first, second = move(first, startMillis+200_000), move(second, 0)
	w.apply(third, finishing(protocol.StatusCommitted))
	w.twice(func() { require.Equal(w, []string{first.XID}, due(startMillis+300_000, 10)) })
	move(second, startMillis)
	require.Equal(w, []string{second.XID, first.XID}, due(startMillis+300_000, 10))
}

func testScan(w *world) {
	var live []storage.State
	for i := range 50 {
		s := w.begin("t:" + string(rune('a'+i)))
		if i%5 == 4 {
			w.apply(s, finishing(protocol.StatusCommitted))
			continue
		}
		live = append(live, s)
	}
	scan := func(after int64, limit int) []storage.State {
		var got []storage.State
		require.NoError(w, w.store.Scan(w.Context(), after, func(s storage.State) bool {
			got = append(got, s)
			return len(got) < limit
		}))
		return got
	}
	w.twice(func() {
		require.Equal(w, live, scan(0, 100))
		require.Equal(w, live[:3], scan(0, 3))
		require.Equal(w, live[10:], scan(live[9].Global.ID, 100))
		require.Empty(w, scan(live[len(live)-1].Global.ID, 100))
	})
}

func testScanLocks(w *world) {
	one, two := w.begin("t:1,2", "t:2"), w.begin("t:3")
	w.twice(func() {
		held := w.holders()
		require.Len(w, held, 3)
		lock := storage.Lock{XID: one.XID, BranchID: one.Branches[0].ID, Status: protocol.StatusBegin}
		require.Equal(w, lock, held[storage.NewRowKey(resource, "t", "1")])
		require.Equal(w, one.XID, held[storage.NewRowKey(resource, "t", "2")].XID)
		require.Equal(w, two.XID, held[storage.NewRowKey(resource, "t", "3")].XID)
	})
	calls := 0
	require.NoError(w, w.store.ScanLocks(w.Context(), func(storage.RowKey, storage.Lock) bool { calls++; return false }))
	require.Equal(w, 1, calls)
}

// testLastID: ids that were ever applied are never given again, whatever became
// of their transactions.
func testLastID(w *world) {
	last := func() int64 {
		id, err := w.store.LastID(w.Context())
		require.NoError(w, err)
		return id
	}
	require.Zero(w, last())
	s := w.begin()
	w.twice(func() { require.Equal(w, s.Global.ID, last()) })
	s = w.apply(s, &storage.Batch{Add: []storage.Branch{w.branch("t:1")}})
	w.twice(func() { require.Equal(w, s.Branches[0].ID, last()) })
	w.apply(s, finishing(protocol.StatusCommitted))
	w.twice(func() { require.Equal(w, s.Branches[0].ID, last()) })

	refused := w.begun()
	refused.XID, refused.Revision = s.XID, 99
	require.ErrorIs(w, w.store.Apply(w.Context(), refused), storage.ErrMoved)
	w.twice(func() { require.Equal(w, s.Branches[0].ID, last(), "a refused batch left its id") })
}

func testStats(w *world) {
	one, two := w.begin("t:1,2", "t:2"), w.begin("t:3", "")
	w.apply(one, finishing(protocol.StatusCommitted))
	stats := w.store.Stats()
	require.EqualValues(w, 3, stats.Batches)
	require.LessOrEqual(w, stats.Entries, stats.Batches)
	require.NotZero(w, stats.Entries)
	w.twice(func() {
		stats := w.store.Stats()
		want := storage.Stats{Globals: 1, Branches: 2, Locks: 1, Tombstones: 1, Batches: stats.Batches, Entries: stats.Entries}
		require.Equal(w, want, stats)
	})
	two = w.apply(two, &storage.Batch{Remove: []int64{two.Branches[1].ID}})
	require.EqualValues(w, len(two.Branches), w.store.Stats().Branches)
}
