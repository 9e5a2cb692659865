package memory

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/xid"
	"github.com/qiao-tx/qiao/storage"
)

func testXID(id int64) string { return xid.New("127.0.0.1:8091", id) }

func begin(id, at, dueAt int64) *storage.Batch {
	return &storage.Batch{XID: testXID(id), At: at, Global: &storage.Global{
		ID: id, Status: protocol.StatusBegin, Name: "order", BeganAt: at, TimeoutMillis: 60_000, DueAt: dueAt,
	}}
}

func register(id int64, revision uint64, branch int64, lockKey string) *storage.Batch {
	return &storage.Batch{XID: testXID(id), Revision: revision, Add: []storage.Branch{{
		ID: branch, Status: protocol.BranchRegistered, ResourceID: "jdbc:mysql://db:3306/a", LockKey: lockKey, Locked: true,
	}}}
}

func finish(id int64, revision uint64, at int64) *storage.Batch {
	return &storage.Batch{XID: testXID(id), Revision: revision, At: at,
		Finish: &storage.Tombstone{Outcome: protocol.StatusCommitted, ExpiresAt: at + 180_000}}
}

// randomBatch draws a batch that often fits the store, and often does not.
func randomBatch(t *rapid.T, s *Store) *storage.Batch {
	id := rapid.Int64Range(1, 12).Draw(t, "id")
	state, err := s.Load(context.Background(), testXID(id))
	require.NoError(t, err)
	at := s.clock + rapid.Int64Range(0, 4_000).Draw(t, "elapsed")
	if state.Revision == 0 {
		return begin(id, at, rapid.Int64Range(0, 2_000).Draw(t, "due"))
	}
	branch := func() int64 { return id*100 + rapid.Int64Range(1, 4).Draw(t, "branch") }
	b := &storage.Batch{XID: state.XID, Revision: state.Revision, At: at}
	switch rapid.IntRange(0, 6).Draw(t, "kind") {
	case 0, 1, 2:
		rows := rapid.SampledFrom([]string{"t:1", "t:2", "t:1,2", "t:3;u:1", "u:1,1", "", "broken"}).Draw(t, "rows")
		b = register(id, state.Revision, branch(), rows)
		b.Add[0].Locked = rapid.Bool().Draw(t, "locked")
	case 3:
		b.Unlock = []int64{branch()}
	case 4:
		b.Remove = []int64{branch()}
	case 5:
		b.UnlockAll = true
		global := state.Global
		global.DueAt = rapid.Int64Range(0, 2_000).Draw(t, "due")
		b.Global = &global
	case 6:
		b.Finish = &storage.Tombstone{Outcome: protocol.StatusRollbacked, ExpiresAt: at + 10_000}
	}
	return b
}

func snapshotOf(t require.TestingT, s *Store) []byte {
	n, err := s.Snapshot()
	require.NoError(t, err)
	defer n.Release()
	var out bytes.Buffer
	require.NoError(t, n.Write(&out))
	return out.Bytes()
}

// checkIndexes compares locks, due index and counts with what the states say.
func checkIndexes(t *rapid.T, s *Store) {
	holders := map[storage.RowKey]int{}
	var branches, globals int64
	due := map[string]int64{}
	require.NoError(t, s.Scan(context.Background(), 0, func(state storage.State) bool {
		globals++
		branches += int64(len(state.Branches))
		if state.Global.DueAt != 0 {
			due[state.XID] = state.Global.DueAt
		}
		for _, b := range state.Branches {
			if !b.Locked {
				continue
			}
			rows, err := storage.RowKeys(b.ResourceID, b.LockKey)
			require.NoError(t, err)
			for _, row := range rows {
				holders[row]++
				h := s.locks.part(row)[row]
				require.NotNil(t, h.txn, "row %s is not locked", row)
				require.Equal(t, state.XID, h.txn.state.XID)
			}
		}
		return true
	}))
	for row, n := range holders {
		require.Equal(t, n, s.locks.part(row)[row].branches, row)
	}
	stats := s.Stats()
	require.EqualValues(t, len(holders), stats.Locks)
	require.Equal(t, globals, stats.Globals)
	require.Equal(t, branches, stats.Branches)

	xids, err := s.Due(context.Background(), 2_000, 100)
	require.NoError(t, err)
	require.Len(t, xids, len(due))
	for i := 1; i < len(xids); i++ {
		require.LessOrEqual(t, due[xids[i-1]], due[xids[i]])
	}
}

// Two stores fed the same batches answer the same and have equal snapshots; a
// refused batch changes nothing; a snapshot taken earlier does not change.
func TestEqualBatchesMakeEqualStores(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		one, two := New(), New()
		var early *Snapshot
		var want []byte
		for range rapid.IntRange(1, 60).Draw(t, "batches") {
			if early == nil && rapid.IntRange(0, 9).Draw(t, "snapshot") == 0 {
				want = snapshotOf(t, one)
				var err error
				early, err = one.Snapshot()
				require.NoError(t, err)
			}
			b := randomBatch(t, one)
			check := one.Check(b)
			before := one.Stats()
			err := one.Apply(context.Background(), b)
			errs := []error{nil}
			two.ApplyAll([]*storage.Batch{b}, errs)
			require.Equal(t, err, errs[0])
			if check != nil {
				require.Error(t, err, "Check refused (%v) what Apply took", check)
			}
			if err != nil {
				require.Equal(t, before, one.Stats())
			}
			checkIndexes(t, one)
		}
		if early != nil {
			var got bytes.Buffer
			require.NoError(t, early.Write(&got))
			require.Equal(t, want, got.Bytes())
			early.Release()
		}
		image := snapshotOf(t, one)
		require.Equal(t, image, snapshotOf(t, two))
		three := New()
		require.NoError(t, three.Restore(bytes.NewReader(image)))
		require.Equal(t, image, snapshotOf(t, three))
		checkIndexes(t, three)
	})
}

func TestRestoreRefusesEveryTruncation(t *testing.T) {
	s := New()
	for _, b := range []*storage.Batch{
		begin(1, 5, 100), register(1, 1, 11, "t:1,2"), begin(2, 6, 0), finish(2, 1, 7), begin(3, 7, 9),
	} {
		require.NoError(t, s.Apply(context.Background(), b))
	}
	image := snapshotOf(t, s)
	for n := range image {
		err := New().Restore(bytes.NewReader(image[:n]))
		require.ErrorIs(t, err, ErrBadSnapshot, "%d of %d bytes", n, len(image))
	}
	require.ErrorIs(t, New().Restore(bytes.NewReader(append(image, 0))), ErrBadSnapshot)
}

// A shard of any size is listed in small parts, and what happens between them
// does not reach the snapshot: here transactions end, change and begin at every
// opportunity.
func TestSnapshotLetsBatchesInBetween(t *testing.T) {
	const live = 10*listChunk + 1
	s := New()
	var ids []int64
	for id := int64(1); len(ids) < live; id++ {
		if shardOf(id) == 0 {
			ids = append(ids, id)
			require.NoError(t, s.Apply(context.Background(), begin(id, 1, 0)))
		}
	}
	finished := ids[live-1] + 1
	require.NoError(t, s.Apply(context.Background(), begin(finished, 1, 0)))
	require.NoError(t, s.Apply(context.Background(), finish(finished, 1, 1)))
	want := snapshotOf(t, s)

	n, err := s.Snapshot()
	require.NoError(t, err)
	parts, next, newest := 0, 0, finished
	n.between = func() {
		parts++
		require.True(t, s.mu.TryLock(), "the store is locked between two parts")
		s.mu.Unlock()
		for range min(100, live-next) {
			id := ids[next]
			next++
			b := finish(id, 1, 1)
			if id%3 == 0 {
				b = register(id, 1, -id, fmt.Sprintf("t:%d", id))
			}
			require.NoError(t, s.Apply(context.Background(), b))
		}
		for newest++; shardOf(newest) != 0; newest++ {
		}
		require.NoError(t, s.Apply(context.Background(), begin(newest, 1, 0)))
	}
	var got bytes.Buffer
	require.NoError(t, n.Write(&got))
	require.Equal(t, live, next)
	require.True(t, bytes.Equal(want, got.Bytes()))
	require.GreaterOrEqual(t, parts, live/listChunk+live/statesAtOnce)
	n.Release()
	require.NotEqual(t, want, snapshotOf(t, s))
}

func TestSnapshotLetsBatchesInBetweenTombstones(t *testing.T) {
	g := newGrave(1)
	for id := range int64(10 * tombstonesAtOnce) {
		g.add(id+1, protocol.StatusCommitted)
	}
	parts := 0
	require.NoError(t, g.write(bufio.NewWriter(io.Discard), func() { parts++ }))
	require.GreaterOrEqual(t, parts, 10)
}

func TestOneSnapshotAtATime(t *testing.T) {
	s := New()
	n, err := s.Snapshot()
	require.NoError(t, err)
	_, err = s.Snapshot()
	require.ErrorIs(t, err, ErrSnapshotTaken)
	n.Release()
	n, err = s.Snapshot()
	require.NoError(t, err)
	n.Release()
}

func TestBeginUnderAnotherCoordinatorsID(t *testing.T) {
	s := New()
	require.NoError(t, s.Apply(context.Background(), begin(7, 1, 0)))
	twin := begin(7, 1, 0)
	twin.XID = xid.New("10.0.0.2:8091", 7)
	err := s.Apply(context.Background(), twin)
	require.ErrorIs(t, err, storage.ErrInvalidBatch)
	assert.ErrorContains(t, err, testXID(7))

	wrong := begin(8, 1, 0)
	wrong.Global.ID = 9
	require.ErrorIs(t, s.Apply(context.Background(), wrong), storage.ErrInvalidBatch)
}

func TestTombstonesAreCapped(t *testing.T) {
	stones := tombstones{cap: 10}
	for id := int64(1); id <= 12; id++ {
		stones.add(id, storage.Tombstone{Outcome: protocol.StatusCommitted, ExpiresAt: id * graveWidthMillis})
	}
	assert.Equal(t, 10, stones.count)
	assert.Zero(t, stones.find(2), "the oldest must go first")
	assert.Equal(t, protocol.StatusCommitted, stones.find(3))
	stones.expire(4 * graveWidthMillis)
	assert.Zero(t, stones.find(4))
	assert.Equal(t, protocol.StatusCommitted, stones.find(5))
}

func TestTombstonesKeepEveryOutcome(t *testing.T) {
	stones := tombstones{cap: 1 << 30}
	const n = graveCap + 1000 // a second grave of the same time
	for id := int64(1); id <= n; id++ {
		stones.add(id<<22, storage.Tombstone{Outcome: protocol.GlobalStatus(1 + id%15), ExpiresAt: 1})
	}
	require.Len(t, stones.graves, 2)
	for id := int64(1); id <= n; id++ {
		if got := stones.find(id << 22); got != protocol.GlobalStatus(1+id%15) {
			t.Fatalf("transaction %d: %d", id, got)
		}
		if got := stones.find(id<<22 + 1); got != 0 {
			t.Fatalf("a tombstone of %d that never was: %d", id<<22+1, got)
		}
	}
}

func TestDueIndexLeavesNoGarbage(t *testing.T) {
	s := New()
	for id := int64(1); id <= 20_000; id++ {
		require.NoError(t, s.Apply(context.Background(), begin(id, id, id+60_000)))
		require.NoError(t, s.Apply(context.Background(), finish(id, 1, id)))
	}
	assert.Empty(t, s.due.buckets)
	assert.Empty(t, s.due.keys)
}

func ExampleStore() {
	s := New()
	ctx := context.Background()
	_ = s.Apply(ctx, begin(1, 1, 0))
	_ = s.Apply(ctx, register(1, 1, 11, "product:1"))
	_ = s.Apply(ctx, begin(2, 1, 0))
	fmt.Println(s.Apply(ctx, register(2, 1, 12, "product:1")))
	// Output: row product:1 of jdbc:mysql://db:3306/a is locked by global transaction 127.0.0.1:8091:1, branch 11 (Begin)
}
