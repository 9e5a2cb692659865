package sqldb

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/internal/testenv"
	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/xid"
	"github.com/qiao-tx/qiao/storage"
)

// A database that is killed under load loses nothing that was acknowledged, and the
// store goes on by itself when it is back.
func TestTheDatabaseIsKilled(t *testing.T) {
	server, dsn := testenv.OwnMariaDB(t)
	s := open(t, Config{Type: "mariadb", DSN: dsn, CreateTables: true, Lease: time.Minute})
	ctx, stop := context.WithCancel(t.Context())
	const writers = 8
	acknowledged := make([][]storage.State, writers)
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() { acknowledged[w] = writeUntil(ctx, s, int64(w)) })
	}
	for range 3 {
		time.Sleep(time.Duration(200+rand.IntN(300)) * time.Millisecond) // of load
		server.Kill()
		server.Restart()
	}
	before := s.Stats().Batches
	require.Eventually(t, func() bool { return s.Stats().Batches > before+100 }, time.Minute, 10*time.Millisecond, "it goes on")
	stop()
	all.Wait()
	found := 0
	for _, states := range acknowledged {
		for _, want := range states {
			got, err := s.Load(t.Context(), want.XID)
			require.NoError(t, err)
			require.GreaterOrEqual(t, got.Revision, want.Revision)
			require.GreaterOrEqual(t, len(got.Branches), len(want.Branches))
			found++
		}
	}
	require.NotZero(t, found)
	t.Logf("%d transactions were acknowledged", found)
}

// writeUntil begins transactions and adds branches until ctx ends, and returns what
// was acknowledged.
func writeUntil(ctx context.Context, s *Store, writer int64) []storage.State {
	var states []storage.State
	for id := int64(1); ctx.Err() == nil; id++ {
		state := storage.State{}
		first := writer<<40 + id<<8 + 1
		x := xid.New("10.0.0.1:8091", first)
		b := &storage.Batch{XID: x, Global: &storage.Global{ID: first, Status: protocol.StatusBegin, BeganAt: 1, TimeoutMillis: 1}}
		for n := range int64(3) {
			err := s.Apply(context.Background(), b)
			if err != nil {
				if !errors.Is(err, storage.ErrUnavailable) && !errors.Is(err, errUnknown) {
					panic(err)
				}
				break
			}
			state, _ = state.Apply(b)
			b = &storage.Batch{XID: x, Revision: state.Revision, Add: []storage.Branch{{
				ID: first + n + 1, Type: protocol.TypeAT, ResourceID: "db", LockKey: "t:" + x, Locked: true,
			}}}
		}
		if state.Exists() {
			states = append(states, state)
		}
	}
	return states
}
