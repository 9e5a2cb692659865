package storetest

import (
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/storage"
)

func testLockConflict(w *world) {
	holder := w.begin("t:1,2", "u:1")
	other := w.begin()
	w.twice(func() {
		for row, branch := range map[string]int64{
			"t:1": holder.Branches[0].ID, "t:9,2": holder.Branches[0].ID, "v:1;u:1": holder.Branches[1].ID,
		} {
			b := &storage.Batch{XID: other.XID, Revision: other.Revision, Add: []storage.Branch{w.branch(row)}}
			var held *storage.LockHeld
			err := w.store.Apply(w.Context(), b)
			require.ErrorAs(w, err, &held)
			w.requireHeld(err, held.Key, holder, branch)
		}
	})
	w.apply(other, &storage.Batch{Add: []storage.Branch{w.branch("t:3"), func() storage.Branch {
		elsewhere := w.branch("t:1")
		elsewhere.ResourceID = resource + "2"
		return elsewhere
	}()}})
}

// testLockConflictStatus: the holder's status is the one it has now.
func testLockConflictStatus(w *world) {
	holder := w.begin("t:1")
	global := holder.Global
	global.Status = protocol.StatusRollbacking
	holder = w.apply(holder, &storage.Batch{Global: &global})
	b := w.begun()
	b.Add = []storage.Branch{w.branch("t:1")}
	w.twice(func() {
		w.requireHeld(w.store.Apply(w.Context(), b), storage.NewRowKey(resource, "t", "1"), holder, holder.Branches[0].ID)
	})
}

func testLockConflictWritesNothing(w *world) {
	w.begin("t:1")
	other := w.begin("u:1")
	before, stats := w.holders(), w.store.Stats()
	global := other.Global
	global.Status = protocol.StatusCommitting
	b := &storage.Batch{
		XID: other.XID, Revision: other.Revision, Global: &global,
		Add: []storage.Branch{w.branch("v:1"), w.branch("v:2;t:1")}, UnlockAll: true,
	}
	var held *storage.LockHeld
	require.ErrorAs(w, w.store.Apply(w.Context(), b), &held)
	begin := w.begun()
	begin.Add = []storage.Branch{w.branch("t:1")}
	require.ErrorAs(w, w.store.Apply(w.Context(), begin), &held)
	w.twice(func() {
		require.Equal(w, other, w.load(other.XID))
		gone := w.load(begin.XID)
		require.False(w, gone.Exists())
		require.Equal(w, before, w.holders())
		after := w.store.Stats()
		require.Equal(w, stats.Locks, after.Locks)
		require.Equal(w, stats.Branches, after.Branches)
		require.Equal(w, stats.Globals, after.Globals)
	})
}

// testLocksAreReentrant: a row is free when the last branch that names it has
// let go, whichever came first.
func testLocksAreReentrant(w *world) {
	row := storage.NewRowKey(resource, "t", "1")
	other := w.begin()
	for _, first := range []int{0, 1} {
		s := w.begin("t:1,2", "t:2,1")
		w.twice(func() { require.Len(w, w.holders(), 2) })
		s = w.apply(s, &storage.Batch{Unlock: []int64{s.Branches[first].ID}})
		w.twice(func() {
			w.requireHeld(w.store.CheckLocks(w.Context(), other.XID, []storage.RowKey{row}), row, s, s.Branches[1-first].ID)
			require.Len(w, w.holders(), 2)
		})
		// Unlocking again releases nothing that others hold.
		s = w.apply(s, &storage.Batch{Unlock: []int64{s.Branches[first].ID}})
		require.Len(w, w.holders(), 2)
		w.apply(s, &storage.Batch{Remove: []int64{s.Branches[1-first].ID}})
		w.twice(func() { require.Empty(w, w.holders()) })
	}
}

func testLocksAreReleased(w *world) {
	for name, release := range map[string]func(storage.State) *storage.Batch{
		"unlock": func(s storage.State) *storage.Batch {
			return &storage.Batch{Unlock: []int64{s.Branches[0].ID, s.Branches[1].ID}}
		},
		"unlock all": func(storage.State) *storage.Batch { return &storage.Batch{UnlockAll: true} },
		"remove": func(s storage.State) *storage.Batch {
			return &storage.Batch{Remove: []int64{s.Branches[1].ID, s.Branches[0].ID}}
		},
		"finish": func(storage.State) *storage.Batch { return finishing(protocol.StatusRollbacked) },
	} {
		s := w.begin("t:1", "t:2,3")
		w.apply(s, release(s))
		w.twice(func() { require.Empty(w, w.holders(), name) })
		other := w.begin("t:1,2,3")
		w.apply(other, finishing(protocol.StatusCommitted))
	}
}

func testUnlockedBranchesLockNothing(w *world) {
	b := w.begun()
	free := w.branch("t:1")
	free.Locked = false
	b.Add = []storage.Branch{free}
	w.apply(storage.State{}, b)
	w.twice(func() { require.Empty(w, w.holders()) })
	w.begin("t:1")
}

func testBadLockKey(w *world) {
	b := w.begun()
	b.Add = []storage.Branch{w.branch("no table")}
	require.ErrorIs(w, w.store.Apply(w.Context(), b), storage.ErrBadLockKey)
	gone := w.load(b.XID)
	require.False(w, gone.Exists())
}

func testCheckLocks(w *world) {
	s := w.begin("t:1,2")
	other := w.begin()
	free := storage.NewRowKey(resource, "t", "3")
	row := storage.NewRowKey(resource, "t", "2")
	w.twice(func() {
		require.NoError(w, w.store.CheckLocks(w.Context(), other.XID, []storage.RowKey{free}))
		require.NoError(w, w.store.CheckLocks(w.Context(), s.XID, []storage.RowKey{free, row}))
		w.requireHeld(w.store.CheckLocks(w.Context(), other.XID, []storage.RowKey{free, row}), row, s, s.Branches[0].ID)
		w.requireHeld(w.store.CheckLocks(w.Context(), "", []storage.RowKey{row}), row, s, s.Branches[0].ID)
	})
}
