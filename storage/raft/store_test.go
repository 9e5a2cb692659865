package raft

import (
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/xid"
	"github.com/qiao-tx/qiao/storage"
	"github.com/qiao-tx/qiao/storage/storetest"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(victimDir); dir != "" {
		os.Exit(victim(dir))
	}
	goleak.VerifyTestMain(m)
}

// small is a configuration for tests: no reserve, so that a full disk of the
// machine is not the test's business.
func small(dir string) Config { return Config{Dir: dir, ReserveBytes: -1} }

func open(t testing.TB, config Config) *Store {
	t.Helper()
	s, err := Open(config)
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close() }) // a test that asks for the error closes itself
	return s
}

func begin(id int64) *storage.Batch {
	return &storage.Batch{XID: xid.New("127.0.0.1:8091", id), At: id, Global: &storage.Global{
		ID: id, Status: protocol.StatusBegin, ApplicationID: "bench", Group: "default_tx_group", Name: "bench",
		BeganAt: 1_700_000_000_000, TimeoutMillis: 60_000, DueAt: 1_700_000_060_000,
	}}
}

func register(id int64, revision uint64, branch int64) *storage.Batch {
	return &storage.Batch{XID: xid.New("127.0.0.1:8091", id), Revision: revision, Add: []storage.Branch{{
		ID: branch, Status: protocol.BranchRegistered, ResourceID: "jdbc:mysql://127.0.0.1:3306/bench",
		ClientID: "bench:127.0.0.1:50123", LockKey: fmt.Sprintf("account:%d", branch), Locked: true,
	}}}
}

func TestConformance(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Factory {
		dir := t.TempDir()
		return storetest.Factory{
			Durable: true,
			Open:    func(t *testing.T) storage.Store { return open(t, small(dir)) },
		}
	})
}

// The same suite with a snapshot after nearly every entry: what reopening finds
// comes from snapshots.
func TestConformanceFromSnapshots(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Factory {
		config := small(t.TempDir())
		config.SnapshotBytes = 1
		return storetest.Factory{
			Durable: true,
			Open:    func(t *testing.T) storage.Store { return open(t, config) },
		}
	})
}
