//go:build linux

package redis

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/internal/testenv"
	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/xid"
	"github.com/qiao-tx/qiao/storage"
)

// writers are goroutines that begin transactions and add branches.
type writers struct {
	t       *testing.T
	s       *Store
	stop    context.CancelFunc
	all     sync.WaitGroup
	applied atomic.Int64
	failed  atomic.Int64
	mu      sync.Mutex
	states  []storage.State // as acknowledged
	strange error
}

func startWriters(t *testing.T, s *Store) *writers {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	w := &writers{t: t, s: s, stop: stop}
	for n := range int64(8) {
		w.all.Go(func() { w.write(ctx, n) })
	}
	return w
}

// end stops the writers, and checks that everything acknowledged is there.
func (w *writers) end() {
	w.t.Helper()
	w.stop()
	w.all.Wait()
	require.NoError(w.t, w.strange)
	require.NotEmpty(w.t, w.states)
	for _, want := range w.states {
		got := load(w.t, w.s, want.XID)
		require.GreaterOrEqual(w.t, got.Revision, want.Revision)
		for i := range want.Branches {
			require.Equal(w.t, want.Branches[i], *got.Branch(want.Branches[i].ID))
		}
		require.LessOrEqual(w.t, len(got.Branches), 3)
		var held *storage.LockHeld
		if len(want.Branches) > 0 {
			require.ErrorAs(w.t, w.s.CheckLocks(w.t.Context(), "", []storage.RowKey{storage.NewRowKey("db", "t", want.XID)}), &held)
		}
	}
	w.t.Logf("%d transactions were acknowledged in %d steps, %d steps failed", len(w.states), w.applied.Load(), w.failed.Load())
}

// more waits until as many more steps were acknowledged.
func (w *writers) more(n int64) {
	w.t.Helper()
	before := w.applied.Load()
	require.Eventually(w.t, func() bool { return w.applied.Load() >= before+n }, time.Minute, 2*time.Millisecond, "the store goes on")
}

func (w *writers) write(ctx context.Context, writer int64) {
	for n := int64(1); ctx.Err() == nil; n++ {
		state := storage.State{}
		first := writer<<40 + n<<8 + 1
		x := xid.New("10.0.0.1:8091", first)
		b := &storage.Batch{XID: x, Global: &storage.Global{ID: first, Status: protocol.StatusBegin, BeganAt: 1, TimeoutMillis: 1}}
		for i := range int64(3) {
			if err := w.s.Apply(context.Background(), b); err != nil {
				w.failed.Add(1)
				if !errors.Is(err, storage.ErrUnavailable) && !errors.Is(err, errUnknown) {
					w.mu.Lock()
					w.strange = err
					w.mu.Unlock()
				}
				break
			}
			w.applied.Add(1)
			state, _ = state.Apply(b)
			b = &storage.Batch{XID: x, Revision: state.Revision, Add: []storage.Branch{{
				ID: first + i + 1, Type: protocol.TypeAT, ResourceID: "db", LockKey: "t:" + x, Locked: true, RegisteredAt: 1,
			}}}
		}
		if state.Exists() {
			w.mu.Lock()
			w.states = append(w.states, state)
			w.mu.Unlock()
		}
	}
}

// A Redis that is killed under load loses nothing that was acknowledged, if it syncs
// every write, and the store goes on by itself when it is back.
func TestRedisIsKilled(t *testing.T) {
	s, server := onOne(t, "--appendfsync", "always")
	w := startWriters(t, s)
	for range 3 {
		w.more(200)
		server.Kill()
		server.Restart()
	}
	w.more(200)
	w.end()
}

// Connections that break while Batches are under way are nobody's concern: each Batch is
// sent again and applied once.
func TestConnectionsBreak(t *testing.T) {
	s, server := onOne(t)
	w := startWriters(t, s)
	for range 40 {
		w.more(20)
		server.Do(t, "CLIENT KILL TYPE normal")
	}
	w.more(100)
	w.end()
	require.Zero(t, w.failed.Load())
}

// The sentinels make a replica the primary: the store finds it, and what a replica had
// when it was acknowledged is there.
func TestFailOver(t *testing.T) {
	primary := testenv.Redis(t)
	testenv.RedisReplica(t, primary)
	testenv.RedisReplica(t, primary) // one of the two is a replica afterwards
	sentinel := testenv.RedisSentinel(t, primary)
	sentinel.Await(t, "INFO sentinel", "slaves=2")
	s := open(t, Config{
		Mode: Sentinel, MasterName: "main", Sentinels: []string{sentinel.Addr()},
		WaitReplicas: 1, Timeout: time.Second, WaitTimeout: 300 * time.Millisecond, Lease: time.Second,
	})
	w := startWriters(t, s)
	w.more(500)
	primary.Kill()
	w.more(500)
	w.end()
	require.NoError(t, s.Err(), "the node goes on although its lease ended meanwhile")
}

// All keys of a store in a cluster are in one shard. When that moves, the store follows.
func TestTheShardMoves(t *testing.T) {
	servers := testenv.RedisCluster(t, 3)
	s := open(t, Config{Mode: Cluster, Nodes: []string{servers[0].Addr()}, HashTag: "shop", Lease: time.Minute})
	begin(t, s, 100, "t:1")
	has := func() (index int) {
		index = -1
		for i, server := range servers {
			if server.Do(t, "DBSIZE") != ":0\r\n" {
				require.Equal(t, -1, index, "more than one shard has keys")
				index = i
			}
		}
		return index
	}
	was := has()
	to := (was + 1) % len(servers)
	slot := strings.Trim(servers[0].Do(t, "CLUSTER KEYSLOT {shop}x"), ":\r\n")
	id := servers[to].Do(t, "CLUSTER MYID")
	servers[was].Do(t, "FLUSHALL") // this is about the way there, not about the data
	for _, server := range servers {
		server.Do(t, fmt.Sprintf("CLUSTER SETSLOT %s NODE %s", slot, id))
	}
	require.Eventually(t, func() bool {
		if err := s.Apply(t.Context(), begun(300)); err != nil {
			require.ErrorIs(t, err, storage.ErrUnavailable) // until it has a lease there
			return false
		}
		return true
	}, 20*time.Second, 10*time.Millisecond)
	require.Equal(t, to, has())
}
