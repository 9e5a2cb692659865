//go:build linux

package redis

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/internal/testenv"
	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/xid"
	"github.com/qiao-tx/qiao/storage"
)

func open(t *testing.T, cfg Config) *Store {
	t.Helper()
	s, err := Open(t.Context(), cfg)
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// onOne opens a store on a Redis of the test's own.
func onOne(t *testing.T, options ...string) (*Store, *testenv.RedisServer) {
	t.Helper()
	server := testenv.Redis(t, options...)
	return open(t, Config{Address: server.Addr(), Lease: time.Second}), server
}

func begun(id int64) *storage.Batch {
	return &storage.Batch{XID: xid.New("10.0.0.1:8091", id), At: 1, Global: &storage.Global{
		ID: id, Status: protocol.StatusBegin, ApplicationID: "orders", Group: "g", Name: "n", BeganAt: 1, TimeoutMillis: 1000, DueAt: 1001,
	}}
}

// begin applies a new transaction with one branch that locks a row.
func begin(t *testing.T, s *Store, id int64, row string) storage.State {
	t.Helper()
	b := begun(id)
	b.Add = []storage.Branch{locking(id+1, row)}
	require.NoError(t, s.Apply(t.Context(), b))
	return load(t, s, b.XID)
}

func locking(id int64, row string) storage.Branch {
	return storage.Branch{
		ID: id, Type: protocol.TypeAT, Status: protocol.BranchRegistered, ResourceID: "db", ClientID: "orders:10.0.0.9:1",
		LockKey: row, Locked: true, RegisteredAt: 1,
	}
}

func load(t *testing.T, s *Store, x string) storage.State {
	t.Helper()
	state, err := s.Load(t.Context(), x)
	require.NoError(t, err)
	return state
}

// decided is a Batch that decides to commit.
func decided(s storage.State) *storage.Batch {
	global := s.Global
	global.Status = protocol.StatusAsyncCommitting
	return &storage.Batch{XID: s.XID, Revision: s.Revision, Global: &global, UnlockAll: true}
}

func finished(s storage.State) *storage.Batch {
	return &storage.Batch{XID: s.XID, Revision: s.Revision, Finish: &storage.Tombstone{Outcome: protocol.StatusCommitted, ExpiresAt: 1 << 40}}
}

// Nodes on one Redis have worker ids of their own, know and see each other, and share
// what is due; what a dead one had is another's when its lease has ended.
func TestNodesShareARedis(t *testing.T) {
	cfg := Config{Address: testenv.Redis(t).Addr(), Lease: time.Second, Node: "one:1"}
	one := open(t, cfg)
	cfg.Node = "two:1"
	two := open(t, cfg)
	require.NotEqual(t, one.WorkerID(), two.WorkerID())
	require.NoError(t, one.node.discover(t.Context())) // sooner than by itself
	nodes := []storage.Node{{Worker: 0, Address: "one:1"}, {Worker: 1, Address: "two:1"}}
	require.Equal(t, nodes, one.Nodes())
	require.Equal(t, nodes, two.Nodes())
	var all []string
	for i := range 40 {
		row := "t:" + string(rune('A'+i))
		s := begin(t, one, int64(100+10*i), row)
		all = append(all, s.XID)
		var held *storage.LockHeld
		require.ErrorAs(t, two.CheckLocks(t.Context(), "", []storage.RowKey{storage.NewRowKey("db", "t", row[2:])}), &held)
		require.Equal(t, s.XID, held.Holder.XID)
	}
	due := func(s *Store) []string {
		xids, err := s.Due(t.Context(), 2000, 100)
		require.NoError(t, err)
		return xids
	}
	ofOne, ofTwo := due(one), due(two)
	require.NotEmpty(t, ofOne)
	require.NotEmpty(t, ofTwo)
	require.ElementsMatch(t, all, append(ofOne, ofTwo...))
	few, err := one.Due(t.Context(), 2000, 3)
	require.NoError(t, err)
	require.Equal(t, ofOne[:3], few, "the first are found although others' are between them")

	_, err = Open(t.Context(), cfg)
	require.ErrorIs(t, err, ErrConfig)
	require.ErrorContains(t, err, "two:1")
	kill(t, two)
	require.Eventually(t, func() bool { return len(due(one)) == len(all) }, 20*time.Second, 20*time.Millisecond)
}

// kill ends a node without its giving anything back.
func kill(t *testing.T, s *Store) {
	t.Helper()
	s.node.mu.Lock()
	s.node.err = ErrLeaseLost // so that it gives back nothing
	s.node.mu.Unlock()
	require.NoError(t, s.Close())
}

// A node whose worker id is another's writes nothing: Redis refuses it, before the node
// itself has noticed; then it says so.
func TestALostLeaseEndsTheNode(t *testing.T) {
	s, server := onOne(t)
	state := begin(t, s, 100, "t:1")
	server.Do(t, "SET QIAO_LEASE_0 another")
	server.Do(t, "HSET QIAO_WORKERS 0 another")
	err := s.Apply(t.Context(), decided(state))
	require.ErrorIs(t, err, storage.ErrUnavailable)
	select {
	case <-s.Failed():
	case <-time.After(20 * time.Second):
		require.Fail(t, "it did not notice")
	}
	require.ErrorIs(t, s.Err(), ErrLeaseLost)
	require.ErrorIs(t, s.Apply(t.Context(), decided(state)), ErrLeaseLost)
	require.Equal(t, state, load(t, s, state.XID), "it may read")
}

// A lease that ended while nobody took the worker id, or that Redis lost, is taken up
// again; when another node had the id in between it is not.
func TestALeaseThatEnded(t *testing.T) {
	s, server := onOne(t)
	state := begin(t, s, 100, "t:1")
	for _, loss := range []string{"DEL QIAO_LEASE_0", "DEL QIAO_LEASE_0 QIAO_WORKERS"} {
		server.Do(t, loss)
		var err error
		require.Eventually(t, func() bool {
			err = s.Apply(t.Context(), &storage.Batch{XID: state.XID, Revision: state.Revision, Add: []storage.Branch{locking(state.Global.ID+int64(state.Revision)+5, "t:1")}})
			return err == nil
		}, 20*time.Second, 10*time.Millisecond, "%v", err)
		state = load(t, s, state.XID)
	}
	server.Do(t, "DEL QIAO_LEASE_0")
	server.Do(t, "HSET QIAO_WORKERS 0 left")
	select {
	case <-s.Failed():
	case <-time.After(20 * time.Second):
		require.Fail(t, "it did not notice")
	}
}

// What another program writes under Seata's keys moves the transaction: a Batch from
// before is refused, and what follows is decided on what is true.
func TestWhatAnotherProgramWritesIsNoticed(t *testing.T) {
	s, server := onOne(t)
	state := begin(t, s, 100, "t:1")
	for _, command := range []string{ // as Java does
		"HSET SEATA_GLOBAL_100 status 4", "LREM SEATA_STATUS_1 0 " + state.XID, "RPUSH SEATA_STATUS_4 " + state.XID,
		"ZREM SEATA_BEGIN_TRANSACTIONS SEATA_GLOBAL_100",
	} {
		server.Do(t, command)
	}
	require.ErrorIs(t, s.Apply(t.Context(), decided(state)), storage.ErrMoved)
	rolling := load(t, s, state.XID)
	require.Equal(t, protocol.StatusRollbacking, rolling.Global.Status)
	require.Equal(t, state.Revision+1, rolling.Revision)
	require.Equal(t, rolling, load(t, s, state.XID), "noticed once")

	branch := func(id int) {
		server.Do(t, fmt.Sprintf("HSET SEATA_BRANCH_%d xid %s transactionId 100 branchId %d resourceId db branchType TCC status 1 clientId java:10.0.0.7:1", id, state.XID, id))
		server.Do(t, fmt.Sprintf("RPUSH SEATA_BRANCHES_%s SEATA_BRANCH_%d", state.XID, id))
	}
	branch(500)
	finish := finished(rolling)
	require.ErrorIs(t, s.Apply(t.Context(), finish), storage.ErrMoved, "with a branch that it does not know")
	after := load(t, s, state.XID)
	require.Len(t, after.Branches, 2)
	require.Equal(t, protocol.TypeTCC, after.Branch(500).Type)
	server.Do(t, "DEL SEATA_BRANCH_500") // half of what Java does to remove it
	require.Len(t, load(t, s, state.XID).Branches, 1)
	require.Equal(t, ":1\r\n", server.Do(t, "LLEN SEATA_BRANCHES_"+state.XID))
	require.NoError(t, s.Apply(t.Context(), finished(load(t, s, state.XID))))
	server.Do(t, "DEL QIAO_TOMBSTONES QIAO_IDS QIAO_COUNTS QIAO_WORKERS QIAO_LEASE_0")
	require.Equal(t, ":0\r\n", server.Do(t, "DBSIZE"), "nothing else is left")
}

// What a transaction leaves when it ends is a tombstone, in every way it may have gone.
func TestNothingIsLeftBehind(t *testing.T) {
	s, server := onOne(t)
	state := begin(t, s, 100, "t:1,2")
	apply := func(b *storage.Batch) {
		require.NoError(t, s.Apply(t.Context(), b))
		state = load(t, s, state.XID)
	}
	apply(&storage.Batch{XID: state.XID, Revision: state.Revision, Add: []storage.Branch{locking(102, "t:2,3"), locking(103, "")}})
	global := state.Global
	global.Status = protocol.StatusRollbacking
	apply(&storage.Batch{XID: state.XID, Revision: state.Revision, Global: &global})
	require.Equal(t, "1", server.Do(t, "HGET SEATA_ROW_LOCK_db^^^t^^^3 status"), "as Java marks it")
	apply(&storage.Batch{XID: state.XID, Revision: state.Revision, Remove: []int64{101}})
	require.Equal(t, "102", server.Do(t, "HGET SEATA_ROW_LOCK_db^^^t^^^2 branchId"), "the row is the other branch's now")
	apply(&storage.Batch{XID: state.XID, Revision: state.Revision, Unlock: []int64{102}})
	apply(finished(state))
	require.Equal(t, ":5\r\n", server.Do(t, "DBSIZE"), "tombstone, id, count and the node")
	last, err := s.LastID(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 103, last)
}

// Redis forgets scripts: a Batch brings them back.
func TestScriptsThatRedisForgot(t *testing.T) {
	s, server := onOne(t)
	for i := range int64(20) {
		server.Do(t, "SCRIPT FLUSH")
		begin(t, s, 100+10*i, "t:"+strconv.Itoa(int(i)))
		server.Do(t, "SCRIPT FLUSH")
		require.NoError(t, s.Scan(t.Context(), 0, func(storage.State) bool { return true }))
	}
}

// Without memory nothing begins, and everything comes to its end.
func TestWithoutMemory(t *testing.T) {
	s, server := onOne(t)
	state := begin(t, s, 100, "t:1")
	server.Do(t, "CONFIG SET maxmemory 1")
	require.ErrorIs(t, s.Apply(t.Context(), begun(200)), storage.ErrFull)
	add := &storage.Batch{XID: state.XID, Revision: state.Revision, Add: []storage.Branch{locking(102, "t:2")}}
	require.ErrorIs(t, s.Apply(t.Context(), add), storage.ErrFull)
	require.NoError(t, s.Apply(t.Context(), decided(state)))
	state = load(t, s, state.XID)
	require.NoError(t, s.Apply(t.Context(), finished(state)))
	server.Do(t, "CONFIG SET maxmemory 0")
	begin(t, s, 300, "t:1")
}

// While Redis takes no writes nothing is written, and the error says that.
func TestARedisThatTakesNoWrites(t *testing.T) {
	s, server := onOne(t)
	state := begin(t, s, 100, "t:1")
	refused := func() {
		require.ErrorIs(t, s.Apply(t.Context(), decided(state)), storage.ErrUnavailable)
		require.ErrorIs(t, s.Apply(t.Context(), begun(200)), storage.ErrUnavailable)
	}
	server.Do(t, "CONFIG SET min-replicas-to-write 1")
	refused()
	server.Do(t, "CONFIG SET min-replicas-to-write 0")
	server.Do(t, "REPLICAOF 127.0.0.1 1")
	refused()
	server.Do(t, "REPLICAOF NO ONE")
	require.NoError(t, s.Apply(t.Context(), decided(load(t, s, state.XID))))
	server.Kill()
	require.ErrorIs(t, s.Apply(t.Context(), begun(300)), storage.ErrUnavailable)
	server.Restart()
	require.NoError(t, s.Apply(t.Context(), begun(300)))
}

// A Batch that too few replicas have is never a success, although it is written.
func TestTooFewReplicas(t *testing.T) {
	primary := testenv.Redis(t)
	s := open(t, Config{Address: primary.Addr(), WaitReplicas: 1, WaitTimeout: 200 * time.Millisecond})
	err := s.Apply(t.Context(), begun(100))
	require.ErrorIs(t, err, errUnknown)
	require.NotErrorIs(t, err, storage.ErrUnavailable)
	require.ErrorContains(t, err, "store.redis.wait-replicas")
	state := load(t, s, begun(100).XID)
	require.True(t, state.Exists())
	testenv.RedisReplica(t, primary)
	require.NoError(t, s.Apply(t.Context(), finished(state)))
}

// A Redis that came back without what it had acknowledged: nothing is decided on what
// is lost, and the ids that were used are not used again.
func TestARedisThatLostItsData(t *testing.T) {
	server := testenv.Redis(t, "--appendonly", "no")
	var log bytes.Buffer
	s := open(t, Config{Address: server.Addr(), Logger: slog.New(slog.NewTextHandler(&log, nil)), Lease: time.Minute})
	state := begin(t, s, 100, "t:1")
	server.Kill()
	server.Restart()
	require.Eventually(t, func() bool { // its connections break one after the other
		return s.server.client.Load().Ping(t.Context()).Err() == nil
	}, 20*time.Second, time.Millisecond)
	require.NoError(t, s.node.renew())
	last, err := s.LastID(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 101, last)
	err = s.Apply(t.Context(), decided(state))
	require.ErrorIs(t, err, storage.ErrMoved)
	now := load(t, s, state.XID)
	require.False(t, now.Exists())
	require.NoError(t, s.Close())
	require.Contains(t, log.String(), "has no append-only file")
	require.Contains(t, log.String(), "another process than before")
	require.Contains(t, log.String(), "taken up again")
}

// A revision that comes a second time with another content, as after a fail-over that
// lost the first, is not taken for the first.
func TestARevisionOfAnotherHistory(t *testing.T) {
	s, server := onOne(t)
	state := begin(t, s, 100, "t:1")
	server.Do(t, `HSET SEATA_GLOBAL_100 qiao_mark "1 other.1 1 1"`)
	err := s.Apply(t.Context(), decided(state))
	require.ErrorIs(t, err, storage.ErrMoved)
}

// A node whose clock is an hour ahead ends no other's lease and makes nothing due: times
// come with Batches and questions. Only tombstones go by the latest clock.
func TestClocksThatDiffer(t *testing.T) {
	cfg := Config{Address: testenv.Redis(t).Addr(), Lease: time.Second}
	one, two := open(t, cfg), open(t, cfg)
	const now, hour = 1_700_000_000_000, 3_600_000
	first, second := begun(100), begun(200)
	first.At, first.Global.DueAt = now, now+1000
	second.At, second.Global.DueAt = now+hour, now+hour+1000
	require.NoError(t, one.Apply(t.Context(), first))
	require.NoError(t, two.Apply(t.Context(), second))
	var due []string
	for _, s := range []*Store{one, two} {
		xids, err := s.Due(t.Context(), now+1000, 10)
		require.NoError(t, err)
		due = append(due, xids...)
	}
	require.Contains(t, due, first.XID)
	require.NotContains(t, due, second.XID)
	require.NoError(t, one.node.renew())
	require.NoError(t, two.node.renew())
	require.Len(t, one.Nodes(), 2)
}

// A Batch may not keep Redis from everything else.
func TestTooManyRows(t *testing.T) {
	s, _ := onOne(t)
	var rows strings.Builder
	for i := range maxRows {
		fmt.Fprintf(&rows, ",%d", i)
	}
	b := begun(100)
	b.Add = []storage.Branch{locking(101, "t:"+rows.String()[1:]+",more")}
	require.ErrorIs(t, s.Apply(t.Context(), b), ErrTooManyRows)
	b.Add = []storage.Branch{locking(101, "t:"+rows.String()[1:])}
	require.NoError(t, s.Apply(t.Context(), b))
	require.EqualValues(t, maxRows, s.Stats().Locks)
	require.NoError(t, s.Apply(t.Context(), decided(load(t, s, b.XID))))
	require.Zero(t, s.Stats().Locks)
}

// What Redis may lose is said, and what would lose transactions by itself is refused.
func TestDurability(t *testing.T) {
	for _, test := range []struct {
		Durability
		wait int
		want []string
	}{
		{Durability{AOF: true, Fsync: "always"}, 0, nil},
		{Durability{AOF: true, Fsync: "everysec"}, 0, []string{"appendfsync is everysec"}},
		{Durability{AOF: true}, 0, []string{"does not tell its appendfsync"}},
		{Durability{}, 0, []string{"no append-only file"}},
		{Durability{AOF: true, Fsync: "always", Replicas: 1}, 0, []string{"store.redis.wait-replicas"}},
		{Durability{AOF: true, Fsync: "always", Replicas: 1}, 1, nil},
		{Durability{AOF: true, Fsync: "always"}, 1, []string{"0 replicas are connected"}},
	} {
		warnings := test.warnings(test.wait)
		require.Len(t, warnings, len(test.want), "%+v", test)
		for i, want := range test.want {
			require.Contains(t, warnings[i], want)
		}
	}
	require.ErrorContains(t, Durability{Version: "6.2.1"}.check(), "want 7 or later")
	require.NoError(t, Durability{Version: "7.0.15", MaxMemory: 1, Policy: "noeviction"}.check())
	require.NoError(t, Durability{Version: "8.0.0", Policy: "allkeys-lru"}.check(), "without a limit")
	server := testenv.Redis(t, "--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru")
	_, err := Open(context.Background(), Config{Address: server.Addr()})
	require.ErrorIs(t, err, ErrConfig)
	require.ErrorContains(t, err, "noeviction")
}
