package storetest

import (
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/storage"
)

// movable is the store, if its content can be moved to another.
func (w *world) movable() storage.Movable {
	w.Helper()
	m, ok := w.store.(storage.Movable)
	if !ok {
		w.Skipf("%T is no storage.Movable", w.store)
	}
	return m
}

// testWhole: a transaction that comes whole, from another store, is what it was
// there, and goes on.
func testWhole(w *world) {
	w.movable()
	s := storage.State{XID: "10.1.2.3:8091:4503599627370497", Revision: 17, Global: storage.Global{
		ID: 4503599627370497, Status: protocol.StatusRollbackRetrying, ApplicationID: "orders", Group: "g", Name: "place order",
		BeganAt: startMillis, TimeoutMillis: 60_000, DueAt: startMillis + 7, Attempts: 3, Evidence: "why",
	}}
	first, second := w.branch("t:1,2"), w.branch("t:3")
	first.ID, second.ID, second.Locked = s.Global.ID+9, s.Global.ID+4, false
	first.RegisteredAt = second.RegisteredAt // the order is that of the list all the same
	s.Branches = []storage.Branch{first, second}
	require.NoError(w, w.store.Apply(w.Context(), storage.Whole(&s)))
	w.twice(func() {
		require.Equal(w, s, w.load(s.XID))
		require.Len(w, w.holders(), 2)
		w.requireHeld(w.store.CheckLocks(w.Context(), "", []storage.RowKey{storage.NewRowKey(resource, "t", "2")}),
			storage.NewRowKey(resource, "t", "2"), s, first.ID)
		due, err := w.store.Due(w.Context(), startMillis+7, 10)
		require.NoError(w, err)
		require.Equal(w, []string{s.XID}, due)
		last, err := w.store.LastID(w.Context())
		require.NoError(w, err)
		require.Equal(w, first.ID, last)
		require.ErrorIs(w, w.store.Apply(w.Context(), storage.Whole(&s)), storage.ErrMoved, "it came twice")
	})
	late := s.Global
	late.Attempts++
	next := w.apply(s, &storage.Batch{Global: &late, Remove: []int64{second.ID}})
	require.EqualValues(w, 18, next.Revision)
	w.twice(func() { require.Equal(w, next, w.load(s.XID)) })

	thief := w.begun()
	thief.Resume = 5
	thief.Add = []storage.Branch{w.branch("t:2")}
	var held *storage.LockHeld
	require.ErrorAs(w, w.store.Apply(w.Context(), thief), &held, "another transaction comes with a lock that is held")
	again := &storage.Batch{XID: s.XID, Revision: next.Revision, Resume: 3, Global: &late}
	require.ErrorIs(w, w.store.Apply(w.Context(), again), storage.ErrInvalidBatch)
}

// testGraves: finished transactions are listed, and can be put into another store.
func testGraves(w *world) {
	list := func() map[int64]protocol.GlobalStatus {
		found := make(map[int64]protocol.GlobalStatus)
		require.NoError(w, w.movable().Graves(w.Context(), func(g storage.Grave) bool {
			require.GreaterOrEqual(w, g.ExpiresAt, int64(startMillis+retention))
			require.LessOrEqual(w, g.ExpiresAt, int64(startMillis+retention+60_000))
			found[g.ID] = g.Outcome
			return true
		}))
		return found
	}
	require.Empty(w, list())
	s := w.begin("t:1")
	w.apply(s, finishing(protocol.StatusRollbacked))
	w.begin("t:2")
	came := storage.Grave{ID: 4503599627370497, Tombstone: storage.Tombstone{Outcome: protocol.StatusCommitted, ExpiresAt: startMillis + retention}}
	require.NoError(w, w.store.Apply(w.Context(), came.Whole()))
	w.twice(func() {
		require.Equal(w, map[int64]protocol.GlobalStatus{
			s.Global.ID: protocol.StatusRollbacked, came.ID: protocol.StatusCommitted,
		}, list())
		require.Equal(w, protocol.StatusCommitted, w.load("10.9.9.9:8091:4503599627370497").Outcome, "it is found by its id")
		last, err := w.store.LastID(w.Context())
		require.NoError(w, err)
		require.Equal(w, came.ID, last)
	})
	seen := 0
	require.NoError(w, w.movable().Graves(w.Context(), func(storage.Grave) bool { seen++; return false }))
	require.Equal(w, 1, seen)
}

// testNotes: notes stay, each in its kind, until they are taken back.
func testNotes(w *world) {
	put := func(n storage.Note) { require.NoError(w, w.movable().PutNote(w.Context(), n)) }
	notes := func(kind string) []storage.Note {
		list, err := w.movable().Notes(w.Context(), kind)
		require.NoError(w, err)
		return list
	}
	groups := []storage.Group{{Name: "a", Namespace: "public", Cluster: "default"}, {Name: "b", Namespace: "public", Cluster: "west"}}
	first := storage.Note{Kind: storage.NoteMove, Key: "dir:/old", Value: "begun"}
	second := storage.Note{Kind: storage.NoteMove, Key: "dir:/older", Value: "Ω"}

	put(second)
	put(first)
	put(groups[1].Note())
	put(groups[0].Note())
	put(groups[0].Note())
	w.twice(func() {
		require.Equal(w, []storage.Note{first, second}, notes(storage.NoteMove))
		require.Len(w, notes(storage.NoteGroup), 2)
		for i, n := range notes(storage.NoteGroup) {
			g, err := storage.ParseGroup(n)
			require.NoError(w, err)
			require.Equal(w, groups[i], g)
		}
	})
	require.Zero(w, w.store.Stats().Globals)
	first.Value = "other"
	put(first)
	second.Value = ""
	put(second)
	put(second)
	put(groups[0].Gone())
	w.twice(func() {
		require.Equal(w, []storage.Note{first}, notes(storage.NoteMove))
		require.Equal(w, []storage.Note{groups[1].Note()}, notes(storage.NoteGroup))
	})
	put(groups[1].Gone())
	first.Value = ""
	put(first)
	require.Empty(w, notes(storage.NoteMove))
	require.Empty(w, notes(storage.NoteGroup))
	others, err := w.movable().Others(w.Context())
	require.NoError(w, err)
	require.Empty(w, others, "nobody else has it open")
}
