package raft

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	hraft "github.com/hashicorp/raft"
	wal "github.com/hashicorp/raft-wal"
	walfs "github.com/hashicorp/raft-wal/fs"
	"github.com/hashicorp/raft-wal/segment"
	"github.com/hashicorp/raft-wal/types"

	"github.com/qiao-tx/qiao/storage"
	"github.com/qiao-tx/qiao/storage/memory"
)

// Store implements storage.Store on a log. What it has acknowledged is on the disk,
// in a cluster on those of a majority. After a storage error it takes nothing more:
// Failed is closed, and the process should exit and be started again.
//
// In a cluster it works on the node that leads, and answers *NotLeader on others.
// What remembers things from one call to the next, as a coordinator does, must go
// through the Leadership of one term.
type Store struct {
	dir       *directory
	cluster   *Cluster // nil for a node alone
	logger    *slog.Logger
	state     *memory.Store
	machine   *machine
	latch     *latch
	remover   *remover
	log       *wal.WAL
	raft      *hraft.Raft
	queue     *queue
	requests  sync.Pool // of *request
	underWay  underWay
	disk      diskReserve
	batches   atomic.Uint64
	entries   atomic.Uint64
	writing   sync.WaitGroup
	snapshots sync.WaitGroup

	// Of a cluster only, but for node.
	node     atomic.Pointer[hraft.Raft] // raft, for who may ask before it is set
	guard    *guard
	contacts *contacts
	lease    time.Duration
	standing standing
	lost     map[hraft.ServerID]bool // the others that do not answer; of watch
	watching sync.WaitGroup
	closed   atomic.Bool

	closing  sync.Once
	closeErr error
}

var (
	_ storage.Submitter = (*Store)(nil)
	_ storage.Movable   = (*Store)(nil)
)

// Open opens the store in config.Dir and returns when it has caught up with its
// log; as a node of a cluster it returns before that, and Lead tells when it leads.
// Errors name what is wrong and what to do; those about damaged data wrap
// ErrDamaged, those about a directory in use by another process ErrInUse.
func Open(config Config) (*Store, error) {
	config, err := config.withDefaults()
	if err != nil {
		return nil, err
	}
	began := time.Now()
	dir, err := openDirectory(config.Dir, config.Cluster)
	if err != nil {
		return nil, fmt.Errorf("open the store: %w", err)
	}
	s := &Store{
		dir:      dir,
		cluster:  config.Cluster,
		logger:   config.Logger,
		state:    memory.New(),
		latch:    newLatch(),
		queue:    newQueue(),
		requests: sync.Pool{New: func() any { return new(request) }},
		disk:     diskReserve{dir: config.Dir, reserve: config.ReserveBytes, log: config.Logger},
		standing: standing{changed: make(chan struct{})},
		lost:     make(map[hraft.ServerID]bool),
	}
	s.remover = newRemover(s.latch)
	s.remover.start()
	if err := s.start(config); err != nil {
		if errors.Is(err, ErrDamaged) {
			err = fmt.Errorf("%w; restore the directory from a copy, or start with an empty one, which forgets all transactions", err)
		}
		return nil, errors.Join(fmt.Errorf("open the store in %s: %w", config.Dir, err), s.Close())
	}
	config.Logger.Info("the store is open", "dir", config.Dir, "node", s.raftID(), "worker", dir.identity.WorkerID,
		"epoch", dir.identity.Epoch, "transactions", s.Stats().Globals, "took", time.Since(began).Round(time.Millisecond))
	s.disk.low() // says so now if it is, not with the first refusal
	return s, nil
}

// start brings up log, Raft and writer. Close undoes what it did when it fails.
func (s *Store) start(config Config) error {
	logger := hclogAdapter{config.Logger, config.Cluster != nil}
	snapshots, err := openSnapshots(s.dir.path, logger)
	if err != nil {
		return err
	}
	chain := &chain{}
	chain.snapshotIndex, chain.held, err = checkSnapshots(s.dir.path, snapshots, string(s.raftID()))
	if err != nil {
		return err
	}
	if err := s.openLog(config, chain, logger); err != nil {
		return err
	}
	sealed := &sealedLogs{LogStore: s.log, lastIndex: chain.end.index, last: chain.end.checksum, verify: s.cluster != nil}
	fsm := &machine{
		state: s.state, latch: s.latch, underWay: &s.underWay,
		snapshotBytes: config.SnapshotBytes, snapshotDue: make(chan struct{}, 1),
	}
	s.machine = fsm
	paced := &pacedSnapshots{SnapshotStore: snapshots, path: filepath.Join(s.dir.path, snapshotsDir), remover: s.remover, writeOut: writeOut}
	logs, latched := hraft.LogStore(latchedLogs{sealed, s.latch}), latchedSnapshots{paced, s.latch}
	if s.cluster == nil {
		err = s.startAlone(config.electionTimeout, logger, fsm, logs, latched)
	} else {
		err = s.startMember(config, logger, fsm, logs, latched, paced)
	}
	if err != nil {
		return err
	}
	s.snapshots.Go(func() { s.takeSnapshots(fsm.snapshotDue) })
	s.writing.Go(s.write)
	return nil
}

// openLog scans the log and opens it.
func (s *Store) openLog(config Config, chain *chain, logger hclogAdapter) error {
	var files types.VFS = dataFiles{walfs.New(), s.remover}
	if config.wrapFiles != nil {
		files = config.wrapFiles(files)
	}
	var meta types.MetaStore = &metaFile{}
	if config.wrapMeta != nil {
		meta = config.wrapMeta(meta)
	}
	path := s.dir.logPath()
	if err := scanLog(path, meta, chain, config.Logger); err != nil {
		return err
	}
	segments := latchedSegments{segment.NewFiler(path, files), s.latch}
	var err error
	s.log, err = wal.Open(path, wal.WithLogger(logger), wal.WithSegmentSize(config.segmentBytes),
		wal.WithSegmentFiler(segments), wal.WithMetaStore(latchedMeta{meta, s.latch}))
	if err != nil {
		return wrap("open the log", err)
	}
	last, err := s.log.LastIndex()
	if err == nil && last != chain.end.index {
		err = fmt.Errorf("%w: the log ends at entry %d, raft-wal reads %d", ErrDamaged, chain.end.index, last)
	}
	return err
}

const (
	// leaderTimeout bounds the wait for our own election.
	leaderTimeout = 30 * time.Second
	// trailingLogs is what stays of the log after a snapshot: enough to tell
	// that both belong together.
	trailingLogs = 128
	// never is for what Raft would do by itself on a timer.
	never = 365 * 24 * time.Hour
)

// alone tells whether the node is no part of a cluster.
func (s *Store) alone() bool { return s.cluster == nil }

// raftID is how Raft calls this node.
func (s *Store) raftID() hraft.ServerID {
	if s.cluster != nil {
		return hraft.ServerID(s.cluster.Self)
	}
	return hraft.ServerID(s.dir.identity.NodeID)
}

// raftConfig is what nodes alone and in a cluster have in common.
func (s *Store) raftConfig(electionTimeout time.Duration, logger hclogAdapter) *hraft.Config {
	config := hraft.DefaultConfig()
	config.LocalID = s.raftID()
	config.Logger = logger
	config.HeartbeatTimeout = electionTimeout
	config.ElectionTimeout = electionTimeout
	config.LeaderLeaseTimeout = electionTimeout
	config.NoLegacyTelemetry = true
	config.TrailingLogs = trailingLogs
	config.SnapshotInterval = never // takeSnapshots goes by bytes
	return config
}

// startAlone starts the only node of its log and waits until it is usable.
func (s *Store) startAlone(electionTimeout time.Duration, logger hclogAdapter, fsm *machine, logs hraft.LogStore, snapshots hraft.SnapshotStore) error {
	config := s.raftConfig(electionTimeout, logger)
	config.PreVoteDisabled = true
	_, transport := hraft.NewInmemTransport(hraft.ServerAddress(config.LocalID))
	self := hraft.Configuration{Servers: []hraft.Server{{ID: config.LocalID, Address: transport.LocalAddr()}}}
	if err := s.begin(config, self, logs, snapshots, transport); err != nil {
		return wrap("begin the log", errors.Join(err, s.latch.err()))
	}
	if err := s.newRaft(config, fsm, logs, snapshots, transport); err != nil {
		return err
	}
	return s.catchUp()
}

// newRaft starts Raft.
func (s *Store) newRaft(config *hraft.Config, fsm *machine, logs hraft.LogStore, snapshots hraft.SnapshotStore, transport hraft.Transport) error {
	// A term that cannot be written would keep Raft waiting for the end before it
	// has begun.
	var err error
	started := make(chan struct{})
	go func() {
		defer close(started)
		defer func() {
			if cause := recover(); cause != nil { // of an entry that it cannot read
				err = fmt.Errorf("%v", cause)
			}
		}()
		s.raft, err = hraft.NewRaft(config, fsm, logs, latchedStable{s.log, s.latch}, snapshots, transport)
	}()
	select {
	case <-started:
	case <-s.latch.failed:
		s.latch.end()
		<-started
	}
	if err = errors.Join(err, s.latch.err()); err != nil {
		return wrap("start Raft", err)
	}
	s.node.Store(s.raft)
	return nil
}

// begin writes the first entry of a new log, which says who its members are. Raft sets its term first: a crash in between leaves a term and no log,
// which Raft would take for a member that waits for a leader.
func (s *Store) begin(config *hraft.Config, members hraft.Configuration, logs hraft.LogStore, snapshots hraft.SnapshotStore, transport hraft.Transport) error {
	last, err := logs.LastIndex()
	if err != nil || last > 0 {
		return err
	}
	if list, err := snapshots.List(); err != nil || len(list) > 0 {
		return err // a leader's, after which the log has not begun yet
	}
	currentTerm := []byte("CurrentTerm")
	term, err := s.log.GetUint64(currentTerm)
	if err != nil {
		return err
	}
	if term > 1 {
		return fmt.Errorf("%w: the log is empty, though its term is %d already", ErrDamaged, term)
	}
	if err := s.log.SetUint64(currentTerm, 0); err != nil {
		return err
	}
	return hraft.BootstrapCluster(config, logs, s.log, snapshots, transport, members)
}

// catchUp waits until the node leads and the log is applied.
func (s *Store) catchUp() error {
	timer := time.NewTimer(leaderTimeout)
	defer timer.Stop()
	for leads := false; !leads; {
		select {
		case leads = <-s.raft.LeaderCh():
		case <-s.latch.failed:
			return s.latch.err()
		case <-timer.C:
			return fmt.Errorf("this node did not become leader of its own log within %v: is the disk stalled?", leaderTimeout)
		}
	}
	// A barrier behind a read that failed would never be answered.
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for s.raft.AppliedIndex() < s.raft.LastIndex() {
		select {
		case <-tick.C:
		case <-s.latch.failed:
			return s.latch.err()
		}
	}
	err := s.raft.Barrier(0).Error()
	if failed := s.latch.err(); failed != nil {
		return failed
	}
	s.standing.leads = &Leadership{store: s, term: s.raft.CurrentTerm(), ended: make(chan struct{})}
	return wrap("apply the log", err)
}

// takeSnapshots writes a snapshot whenever one is due, until Raft shuts down.
func (s *Store) takeSnapshots(due <-chan struct{}) {
	for {
		select {
		case <-due:
		case <-s.latch.ended:
			return
		}
		// Raft logs a failure, and the latch keeps it when it is the disk's.
		_ = s.raft.Snapshot().Error()
	}
}

// Identity returns who this node is.
func (s *Store) Identity() Identity { return s.dir.identity }

// Failed is closed at the first storage error. What was acknowledged before is
// safe; nothing will be acknowledged any more.
func (s *Store) Failed() <-chan struct{} { return s.latch.failed }

// Err returns the first storage error, or nil.
func (s *Store) Err() error { return s.latch.err() }

// Apply implements storage.Store.
func (s *Store) Apply(ctx context.Context, b *storage.Batch) error {
	return applyWith(ctx, b, s.Submit)
}

func applyWith(ctx context.Context, b *storage.Batch, submit func(*storage.Batch, func(error)) error) error {
	if err := ctx.Err(); err != nil {
		return unavailable(err)
	}
	answered := make(chan error, 1) // the caller may have gone
	if err := submit(b, func(err error) { answered <- err }); err != nil {
		return err
	}
	select {
	case err := <-answered:
		return err
	case <-ctx.Done():
		return unknown(ctx.Err())
	}
}

// present is the leadership that is under way; for a node alone one that never ends.
func (s *Store) present() (*Leadership, error) {
	if s.alone() {
		return s.standing.leads, nil // set once, by Open
	}
	if leads, _, _ := s.standing.get(); leads != nil {
		return leads, nil
	}
	if s.closed.Load() {
		return nil, storage.ErrClosed
	}
	return nil, s.notLeader()
}

// Submit implements storage.Submitter.
func (s *Store) Submit(b *storage.Batch, done func(error)) error {
	leads, err := s.present()
	if err != nil {
		return err
	}
	return leads.Submit(b, done)
}

// submit queues a batch of a leadership.
func (s *Store) submit(leads *Leadership, b *storage.Batch, done func(error)) error {
	if err := s.latch.err(); err != nil {
		return unavailable(err)
	}
	if (b.Revision == 0 && b.Note == nil || len(b.Add) > 0) && s.disk.low() {
		return fmt.Errorf("%w: less than %d MiB are free in %s: make room or lower the reserve", storage.ErrFull, s.disk.reserve>>20, s.dir.path)
	}
	// A lock conflict is common and needs no entry. The state machine checks
	// again, and refuses the rest.
	if len(b.Add) > 0 {
		if err := s.state.Check(b); err != nil {
			if stale := leads.Check(); stale != nil {
				return stale
			}
			return err
		}
	}
	r := s.requests.Get().(*request)
	r.leads, r.batch, r.done = leads, b, done
	r.encoded = storage.AppendBatch(r.encoded[:0], b)
	if len(r.encoded) > maxBatchBytes {
		return fmt.Errorf("%w: %s: it takes %d bytes, at most %d are allowed", storage.ErrInvalidBatch, b.XID, len(r.encoded), maxBatchBytes)
	}
	if !s.queue.put(r) {
		return storage.ErrClosed
	}
	return nil
}

// Load implements storage.Store.
func (s *Store) Load(ctx context.Context, xid string) (storage.State, error) {
	leads, err := s.present()
	if err != nil {
		return storage.State{}, err
	}
	return leads.Load(ctx, xid)
}

// CheckLocks implements storage.Store.
func (s *Store) CheckLocks(ctx context.Context, xid string, rows []storage.RowKey) error {
	leads, err := s.present()
	if err != nil {
		return err
	}
	return leads.CheckLocks(ctx, xid, rows)
}

// Due implements storage.Store.
func (s *Store) Due(ctx context.Context, now int64, limit int) ([]string, error) {
	leads, err := s.present()
	if err != nil {
		return nil, err
	}
	return leads.Due(ctx, now, limit)
}

// Scan implements storage.Store.
func (s *Store) Scan(ctx context.Context, after int64, f func(storage.State) bool) error {
	leads, err := s.present()
	if err != nil {
		return err
	}
	return leads.Scan(ctx, after, f)
}

// ScanLocks implements storage.Store.
func (s *Store) ScanLocks(ctx context.Context, f func(storage.RowKey, storage.Lock) bool) error {
	leads, err := s.present()
	if err != nil {
		return err
	}
	return leads.ScanLocks(ctx, f)
}

// LastID implements storage.Store.
func (s *Store) LastID(ctx context.Context) (int64, error) {
	leads, err := s.present()
	if err != nil {
		return 0, err
	}
	return leads.LastID(ctx)
}

// Graves implements storage.Movable.
func (s *Store) Graves(ctx context.Context, f func(storage.Grave) bool) error {
	return s.state.Graves(ctx, f)
}

// PutNote implements storage.Movable.
func (s *Store) PutNote(ctx context.Context, n storage.Note) error {
	return s.Apply(ctx, &storage.Batch{Note: &n})
}

// Notes implements storage.Movable.
func (s *Store) Notes(ctx context.Context, kind string) ([]storage.Note, error) {
	return s.state.Notes(ctx, kind)
}

// Others implements storage.Movable.
func (s *Store) Others(ctx context.Context) ([]storage.Node, error) { return s.state.Others(ctx) }

// Stats implements storage.Store.
func (s *Store) Stats() storage.Stats {
	stats := s.state.Stats()
	stats.Batches, stats.Entries = s.batches.Load(), s.entries.Load()
	return stats
}

// Close implements storage.Store. It may be called again.
func (s *Store) Close() error {
	s.closing.Do(func() { s.closeErr = wrap("close the store", s.close()) })
	return s.closeErr
}

func (s *Store) close() error {
	s.closed.Store(true)
	s.queue.close()
	s.endLeadership()
	s.writing.Wait()
	var err error
	var shutdown hraft.Future
	if s.raft != nil {
		shutdown = s.raft.Shutdown()
	}
	s.latch.end()
	if s.guard != nil {
		s.guard.stopServing()
	}
	if shutdown != nil {
		err = shutdown.Error()
	}
	s.watching.Wait()
	s.snapshots.Wait()
	if s.log != nil {
		err = errors.Join(err, s.log.Close())
	}
	s.remover.close()
	return errors.Join(err, s.state.Close(), s.dir.close())
}

// wrap says what was attempted when err is not nil.
func wrap(attempted string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", attempted, err)
}
