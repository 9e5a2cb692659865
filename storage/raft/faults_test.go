package raft

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"github.com/hashicorp/raft-wal/types"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/storage"
)

// diskFaults fails one operation of the log's files or metadata, and only that
// one: a disk that comes back must not be believed.
type diskFaults struct {
	mu        sync.Mutex
	operation string // which to fail, or "" for none
	countdown int    // how many of these pass before
	err       error
	half      bool // a failing write writes half
	seen      map[string]int
}

// under puts the faults under a store's log.
func (d *diskFaults) under(config *Config) {
	d.seen = make(map[string]int)
	config.wrapFiles = func(files types.VFS) types.VFS { return faultyFiles{files, d} }
	config.wrapMeta = func(meta types.MetaStore) types.MetaStore { return faultyMeta{meta, d} }
}

func (d *diskFaults) failOnce(operation string, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.operation, d.err = operation, err
}

// before returns the error of an operation, or nil.
func (d *diskFaults) before(operation string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.seen[operation]++
	if d.operation != operation {
		return nil
	}
	if d.countdown > 0 {
		d.countdown--
		return nil
	}
	d.operation = ""
	return fmt.Errorf("%s: %w", operation, d.err)
}

type faultyFiles struct {
	types.VFS
	faults *diskFaults
}

func (f faultyFiles) Create(dir, name string, size uint64) (types.WritableFile, error) {
	if err := f.faults.before("create"); err != nil {
		return nil, err
	}
	return f.writable(f.VFS.Create(dir, name, size))
}

func (f faultyFiles) OpenWriter(dir, name string) (types.WritableFile, error) {
	return f.writable(f.VFS.OpenWriter(dir, name))
}

func (f faultyFiles) OpenReader(dir, name string) (types.ReadableFile, error) {
	file, err := f.VFS.OpenReader(dir, name)
	if err != nil {
		return nil, err
	}
	return readableFile{file, f.faults}, nil
}

func (f faultyFiles) writable(file types.WritableFile, err error) (types.WritableFile, error) {
	if err != nil {
		return nil, err
	}
	return faultyFile{file, f.faults}, nil
}

type faultyFile struct {
	types.WritableFile
	faults *diskFaults
}

func (f faultyFile) WriteAt(p []byte, offset int64) (int, error) {
	if err := f.faults.before("write"); err != nil {
		n := 0
		if f.faults.half {
			n, _ = f.WritableFile.WriteAt(p[:len(p)/2], offset)
		}
		return n, err
	}
	return f.WritableFile.WriteAt(p, offset)
}

func (f faultyFile) Sync() error {
	if err := f.faults.before("sync"); err != nil {
		return err
	}
	return f.WritableFile.Sync()
}

func (f faultyFile) ReadAt(p []byte, offset int64) (int, error) {
	if err := f.faults.before("read"); err != nil {
		return 0, err
	}
	return f.WritableFile.ReadAt(p, offset)
}

type readableFile struct {
	types.ReadableFile
	faults *diskFaults
}

func (f readableFile) ReadAt(p []byte, offset int64) (int, error) {
	if err := f.faults.before("read"); err != nil {
		return 0, err
	}
	return f.ReadableFile.ReadAt(p, offset)
}

type faultyMeta struct {
	types.MetaStore
	faults *diskFaults
}

func (m faultyMeta) CommitState(state types.PersistentState) error {
	if err := m.faults.before("commit"); err != nil {
		return err
	}
	return m.MetaStore.CommitState(state)
}

func (m faultyMeta) SetStable(key, value []byte) error {
	if err := m.faults.before("set"); err != nil {
		return err
	}
	return m.MetaStore.SetStable(key, value)
}

// requireTransactions checks that transactions 1 to n are there, and at most
// extra more.
func requireTransactions(t *testing.T, s *Store, n, extra int64) {
	for id := range n {
		state, err := s.Load(context.Background(), begin(id+1).XID)
		require.NoError(t, err)
		require.True(t, state.Exists(), "transaction %d", id+1)
	}
	require.GreaterOrEqual(t, n+extra, s.Stats().Globals)
}

// Each operation of the disk fails once, at each of its first occurrences: while
// the store opens, while it appends, while it begins a new segment. The store
// stops, and what it had acknowledged is there when the disk works again.
func TestEveryDiskOperationFails(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	for operation, occurrences := range map[string]int{
		"create": 3, "write": 12, "sync": 12, "commit": 4, "set": 4, "read": 1,
	} {
		for n := range occurrences {
			for _, fault := range []*diskFaults{
				{operation: operation, countdown: n, err: syscall.EIO},
				{operation: operation, countdown: n, err: syscall.ENOSPC, half: true},
			} {
				config := small(t.TempDir())
				config.segmentBytes = 1 << 10
				fault.under(&config)
				acknowledged := int64(0)
				s, err := Open(config)
				if err == nil {
					for err == nil && acknowledged < 100 {
						if err = s.Apply(ctx, begin(acknowledged+1)); err == nil {
							acknowledged++
						}
					}
					require.Error(t, err, "%s %d never came", operation, n)
					<-s.Failed()
					require.ErrorIs(t, s.Err(), fault.err)
					refused := s.Apply(ctx, begin(acknowledged+2))
					require.ErrorIs(t, refused, storage.ErrUnavailable)
					require.ErrorIs(t, refused, fault.err)
					_ = s.Close()
				}
				require.ErrorContains(t, err, fault.err.Error(), "%s %d", operation, n)

				s = open(t, small(config.Dir))
				requireTransactions(t, s, acknowledged, 1)
				require.NoError(t, s.Apply(ctx, begin(acknowledged+2)))
				require.NoError(t, s.Close())
			}
		}
	}
}

// While a store opens Raft reads the whole log. Whichever read fails, Open says
// so, and nothing panics or goes on without the entry.
func TestEveryReadOfTheLogFails(t *testing.T) {
	t.Parallel()
	const n = 60
	config := small(t.TempDir())
	config.segmentBytes = 4 << 10
	reads := &diskFaults{}
	s := open(t, config)
	for id := int64(1); id <= n; id++ {
		require.NoError(t, s.Apply(context.Background(), begin(id)))
	}
	require.NoError(t, s.Close())
	files := contentsOf(t, config.Dir)
	reads.under(&config)
	require.NoError(t, open(t, config).Close())
	count := reads.seen["read"]
	require.Greater(t, count, n)

	for failing := 0; failing < count; failing += 1 + failing/8 {
		files.put(t, config.Dir) // each start adds to the log
		fault := &diskFaults{operation: "read", countdown: failing, err: syscall.EIO}
		fault.under(&config)
		_, err := Open(config)
		require.ErrorContains(t, err, syscall.EIO.Error(), "read %d", failing)
	}
	s = open(t, config)
	requireTransactions(t, s, n, 0)
	require.NoError(t, s.Close())
}

// The same flips as in the log, through the whole start: a store with segments,
// metadata and snapshots.
func TestFlippedBitsInADirectory(t *testing.T) {
	t.Parallel()
	const before, after = 60, 40
	config := small(t.TempDir())
	config.segmentBytes = 4 << 10
	s := open(t, config)
	for id := int64(1); id <= before+after; id++ {
		require.NoError(t, s.Apply(context.Background(), begin(id)))
		if id == before/2 || id == before {
			require.NoError(t, s.raft.Snapshot().Error())
		}
	}
	require.NoError(t, s.Close())
	files := contentsOf(t, config.Dir)
	random := rand.New(rand.NewPCG(4, 4))
	outcomes := make(map[string]int)
	for _, name := range files.names() {
		if dir := filepath.Dir(name); dir == "." {
			continue // TestDamagedIdentity; the lock and the form are compared whole
		}
		for range 25 {
			at := random.IntN(len(files[name]))
			flipped := bytes.Clone(files[name])
			flipped[at] ^= 1 << random.IntN(8)
			files.with(name, flipped).put(t, config.Dir)
			var said bytes.Buffer
			config.Logger = slog.New(slog.NewTextHandler(&said, &slog.HandlerOptions{Level: slog.LevelWarn}))
			s, err := Open(config)
			if err != nil {
				require.ErrorIs(t, err, ErrDamaged, "%s, byte %d", name, at)
				outcomes["found"]++
				continue
			}
			if bytes.Contains(said.Bytes(), []byte("was cut")) {
				outcomes["cut"]++
				requireTransactions(t, s, before+after-1, 1)
			} else {
				outcomes["harmless"]++
				requireTransactions(t, s, before+after, 0)
			}
			require.NoError(t, s.Close())
		}
	}
	t.Logf("%v", outcomes)
	require.Greater(t, outcomes["found"], outcomes["harmless"])
}
