package raft

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	hraft "github.com/hashicorp/raft"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/xid"
	"github.com/qiao-tx/qiao/storage"
)

var errDisk = errors.New("input/output error")

func TestFirstStorageErrorIsTheLast(t *testing.T) {
	config := small(t.TempDir())
	faults := &diskFaults{}
	faults.under(&config)
	s := open(t, config)
	ctx := context.Background()

	var acknowledged sync.Map
	var ids atomic.Int64
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			for {
				id := ids.Add(1)
				err := s.Apply(ctx, begin(id))
				if err != nil {
					if !errors.Is(err, errDisk) {
						t.Errorf("the error does not name its cause: %v", err)
					}
					return
				}
				acknowledged.Store(id, true)
				if id == 300 {
					faults.failOnce("write", errDisk)
				}
			}
		})
	}
	all.Wait()
	<-s.Failed()
	require.ErrorIs(t, s.Err(), errDisk)
	err := s.Apply(ctx, begin(ids.Add(1)))
	require.ErrorIs(t, err, storage.ErrUnavailable)
	require.ErrorIs(t, err, errDisk)
	_, err = s.Load(ctx, xid.New("127.0.0.1:8091", 1))
	require.NoError(t, err, "reading goes on")
	require.NoError(t, s.Close())

	s = open(t, small(config.Dir))
	acknowledged.Range(func(id, _ any) bool {
		state, err := s.Load(ctx, xid.New("127.0.0.1:8091", id.(int64)))
		require.NoError(t, err)
		require.True(t, state.Exists(), "transaction %d was acknowledged", id)
		return true
	})
	require.NoError(t, s.Close())
}

// Every kind of write takes part: after one has failed none is tried again.
func TestEveryWriteIsLatched(t *testing.T) {
	disk := &failingDisk{}
	for name, write := range map[string]func(*latch) error{
		"append": func(l *latch) error { return latchedLogs{disk, l}.StoreLog(&hraft.Log{Index: 1}) },
		"cut":    func(l *latch) error { return latchedLogs{disk, l}.DeleteRange(1, 2) },
		"create": func(l *latch) error {
			_, err := latchedSnapshots{disk, l}.Create(1, 1, 1, hraft.Configuration{}, 1, nil)
			return err
		},
		"write":  func(l *latch) error { _, err := latchedSink{disk, l}.Write(nil); return err },
		"finish": func(l *latch) error { return latchedSink{disk, l}.Close() },
	} {
		l := newLatch()
		require.ErrorIs(t, write(l), errDisk, name)
		require.ErrorIs(t, l.err(), errDisk, name)
		tried := disk.tried
		require.ErrorIs(t, write(l), errDisk, name)
		require.Equal(t, tried, disk.tried, "%s: a write after the first error", name)
	}
	l := newLatch()
	require.ErrorIs(t, latchedLogs{disk, l}.GetLog(1, &hraft.Log{}), hraft.ErrLogNotFound)
	require.NoError(t, l.err(), "an entry that is not there is no storage error")
}

// An entry that cannot be read makes Raft panic: the read must not come back
// before the store shuts down, and then with nothing to apply.
func TestFailedReadWaitsForTheEnd(t *testing.T) {
	l := newLatch()
	var log hraft.Log
	done := make(chan error)
	go func() { done <- latchedLogs{&failingDisk{}, l}.GetLog(2, &log) }()
	<-l.failed
	require.ErrorIs(t, l.err(), errDisk)
	require.Empty(t, done)
	l.end()
	require.NoError(t, <-done)
	require.Equal(t, hraft.Log{Index: 2, Type: hraft.LogNoop}, log)
}

// failingDisk fails every operation, and has no log entry 1.
type failingDisk struct {
	hraft.LogStore
	hraft.SnapshotStore
	hraft.SnapshotSink
	tried int
}

func (d *failingDisk) failed() error { d.tried++; return errDisk }

func (d *failingDisk) StoreLogs([]*hraft.Log) error     { return d.failed() }
func (d *failingDisk) DeleteRange(uint64, uint64) error { return d.failed() }
func (d *failingDisk) Write([]byte) (int, error)        { return 0, d.failed() }
func (d *failingDisk) Close() error                     { return d.failed() }

func (d *failingDisk) GetLog(index uint64, _ *hraft.Log) error {
	if index == 1 {
		return hraft.ErrLogNotFound
	}
	return d.failed()
}

func (d *failingDisk) Create(hraft.SnapshotVersion, uint64, uint64, hraft.Configuration, uint64, hraft.Transport) (hraft.SnapshotSink, error) {
	return nil, d.failed()
}

// A term that cannot be written makes Raft panic: the write must not come back
// before the store shuts down.
func TestFailedTermWaitsForTheEnd(t *testing.T) {
	l := newLatch()
	stable := latchedStable{failingStable{}, l}
	done := make(chan error)
	go func() { done <- stable.SetUint64([]byte("CurrentTerm"), 7) }()
	<-l.failed
	require.ErrorIs(t, l.err(), errDisk)
	require.Empty(t, done)
	close(l.ended)
	require.NoError(t, <-done)
}

type failingStable struct{ hraft.StableStore }

func (failingStable) SetUint64([]byte, uint64) error { return errDisk }

func TestNearlyFullDiskRefusesNewWorkOnly(t *testing.T) {
	config := small(t.TempDir())
	s := open(t, config)
	ctx := context.Background()
	first := begin(1)
	require.NoError(t, s.Apply(ctx, first))
	require.NoError(t, s.Close())

	config.ReserveBytes = math.MaxInt64
	s = open(t, config)
	err := s.Apply(ctx, begin(2))
	require.ErrorIs(t, err, storage.ErrFull)
	assert.ErrorContains(t, err, config.Dir)
	require.ErrorIs(t, s.Apply(ctx, register(1, 1, 3)), storage.ErrFull)
	decided := *first.Global
	decided.Status = protocol.StatusCommitting
	require.NoError(t, s.Apply(ctx, &storage.Batch{XID: first.XID, Revision: 1, Global: &decided}))
	require.NoError(t, s.Apply(ctx, &storage.Batch{XID: first.XID, Revision: 2, Finish: &storage.Tombstone{Outcome: protocol.StatusCommitted}}))
	require.NoError(t, s.Close())
}

// lockedBuffer is a log that Raft's goroutines may write while a test reads it.
type lockedBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// Whoever runs the server hears of a full disk from its log, at once and once.
func TestNearlyFullDiskIsLogged(t *testing.T) {
	var log lockedBuffer
	config := small(t.TempDir())
	config.Logger = slog.New(slog.NewTextHandler(&log, nil))
	config.ReserveBytes = math.MaxInt64
	s := open(t, config)
	assert.Contains(t, log.String(), "the disk is nearly full")
	assert.Contains(t, log.String(), config.Dir)
	ask := func() { s.disk.nextAsk.Store(0); s.disk.low() }
	ask()
	assert.Equal(t, 1, strings.Count(log.String(), "nearly full"), "%s", &log)
	s.disk.reserve = 1
	ask()
	assert.Equal(t, 1, strings.Count(log.String(), "room again: transactions"), "%s", &log)
	require.NoError(t, s.Close())
}

func TestOversizedBatch(t *testing.T) {
	s := open(t, small(t.TempDir()))
	b := begin(1)
	b.Global.Evidence = string(make([]byte, maxBatchBytes))
	require.ErrorIs(t, s.Apply(context.Background(), b), storage.ErrInvalidBatch)
	require.NoError(t, s.Err())
	require.NoError(t, s.Close())
}

// Close waits for what is under way: everything is either acknowledged and
// there, or refused as closed.
func TestCloseWaitsForApplies(t *testing.T) {
	config := small(t.TempDir())
	s := open(t, config)
	ctx := context.Background()
	var ids atomic.Int64
	var acknowledged sync.Map
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			for {
				id := ids.Add(1)
				if err := s.Apply(ctx, begin(id)); err != nil {
					if !errors.Is(err, storage.ErrClosed) {
						t.Errorf("refused with %v", err)
					}
					return
				}
				acknowledged.Store(id, true)
				if id == 200 {
					all.Go(func() { _ = s.Close() })
				}
			}
		})
	}
	all.Wait()
	require.NoError(t, s.Close(), "Close may be called again")

	s = open(t, config)
	n := 0
	acknowledged.Range(func(id, _ any) bool {
		n++
		state, err := s.Load(ctx, xid.New("127.0.0.1:8091", id.(int64)))
		require.NoError(t, err)
		require.True(t, state.Exists())
		return true
	})
	require.EqualValues(t, n, s.Stats().Globals, "a batch was refused as closed and applied")
	require.NoError(t, s.Close())
}

// Each batch of a shared entry succeeds or fails alone.
func TestBatchesOfOneEntryFailAlone(t *testing.T) {
	m := newMachine()
	conflict := begin(2)
	conflict.Add = register(2, 0, 3).Add
	first := begin(1)
	first.Add = conflict.Add
	log := &hraft.Log{Index: 1, Data: encoded(first, conflict, begin(1), begin(4))}
	log.Extensions = sealOf(0, log).bytes()
	results := m.Apply(log).([]error)
	require.NoError(t, results[0])
	var held *storage.LockHeld
	require.ErrorAs(t, results[1], &held)
	require.ErrorIs(t, results[2], storage.ErrMoved)
	require.NoError(t, results[3])
	require.EqualValues(t, 2, m.state.Stats().Globals)
}
