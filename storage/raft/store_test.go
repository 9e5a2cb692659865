package raft

import (
	"context"
	"flag"
	"fmt"
	"math"
	"os"
	"testing"
	"time"

	hraft "github.com/hashicorp/raft"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/xid"
	"github.com/qiao-tx/qiao/storage"
	"github.com/qiao-tx/qiao/storage/memory"
	"github.com/qiao-tx/qiao/storage/storetest"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(victimDir); dir != "" {
		os.Exit(victim(dir))
	}
	if spec := os.Getenv(memberSpec); spec != "" {
		os.Exit(member(spec))
	}
	// The cluster's tests wait for elections more than they compute.
	if err := flag.Set("test.parallel", "4"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

// small is a configuration for tests: segments that are soon full, no waiting
// for an election, and no reserve, so that a full disk of the machine is not the
// test's business.
func small(dir string) Config {
	return Config{Dir: dir, ReserveBytes: -1, segmentBytes: 16 << 10, electionTimeout: 5 * time.Millisecond}
}

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

// newMachine is a state machine by itself.
func newMachine() *machine {
	return &machine{
		underWay: &underWay{},
		state:    memory.New(), latch: newLatch(),
		snapshotBytes: math.MaxInt64, snapshotDue: make(chan struct{}, 1),
	}
}

// encoded is an entry of these batches.
func encoded(batches ...*storage.Batch) []byte { return encodedFor(0, batches...) }

// encodedFor is an entry of these batches for a term.
func encodedFor(term uint64, batches ...*storage.Batch) []byte {
	var requests []*request
	for _, b := range batches {
		requests = append(requests, &request{encoded: storage.AppendBatch(nil, b)})
	}
	return appendEntry(nil, term, requests)
}

func FuzzDecodeEntry(f *testing.F) {
	f.Add(encoded(begin(1), register(1, 1, 2)))
	f.Add(encodedFor(1<<40, begin(1)))
	f.Add([]byte{entryVersion, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01})
	f.Fuzz(func(t *testing.T, data []byte) {
		decode := func(data []byte) (uint64, []*storage.Batch, error) {
			term, encoded, err := entryTerm(data)
			if err != nil {
				return 0, nil, err
			}
			batches, err := decodeBatches(nil, encoded)
			return term, batches, err
		}
		term, batches, err := decode(data)
		if err != nil {
			require.ErrorIs(t, err, errBadEntry)
			return
		}
		termAgain, again, err := decode(encodedFor(term, batches...))
		require.NoError(t, err)
		require.Equal(t, term, termAgain)
		require.Equal(t, batches, again)
	})
}

// A snapshot cuts the log, and a restart needs both: the transactions of the
// snapshot, then those of the log after it.
func TestRestartFromSnapshotAndLog(t *testing.T) {
	config := small(t.TempDir())
	s := open(t, config)
	ctx := context.Background()
	const before, after = 300, 20
	for id := int64(1); id <= before; id++ {
		require.NoError(t, s.Apply(ctx, begin(id)))
	}
	require.NoError(t, s.Apply(ctx, &storage.Batch{XID: begin(1).XID, Revision: 1, At: 5,
		Finish: &storage.Tombstone{Outcome: protocol.StatusRollbacked, ExpiresAt: 1_000_000}}))
	require.NoError(t, s.raft.Snapshot().Error())
	first, err := s.log.FirstIndex()
	require.NoError(t, err)
	require.Greater(t, first, uint64(1), "the log was not cut")
	for id := int64(before + 1); id <= before+after; id++ {
		require.NoError(t, s.Apply(ctx, begin(id)))
	}
	require.NoError(t, s.Close())

	s = open(t, config)
	require.EqualValues(t, before+after-1, s.Stats().Globals)
	state, err := s.Load(ctx, begin(1).XID)
	require.NoError(t, err)
	require.Equal(t, protocol.StatusRollbacked, state.Outcome)
	last, err := s.LastID(ctx)
	require.NoError(t, err)
	require.EqualValues(t, before+after, last)
	require.NoError(t, s.Close())
}

// sealedEntry is an entry of the log as the log has it.
func sealedEntry(index, term uint64, data []byte) *hraft.Log {
	log := &hraft.Log{Index: index, Term: term, Data: data}
	log.Extensions = sealOf(0, log).bytes()
	return log
}
