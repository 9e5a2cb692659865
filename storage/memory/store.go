package memory

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/qiao-tx/qiao/protocol/xid"
	"github.com/qiao-tx/qiao/storage"
)

// Store implements storage.Store in memory. What it holds is a function of the
// batches applied, in their order.
type Store struct {
	mu     sync.RWMutex
	closed bool

	// live holds the transactions by id, sharded by shardOf: a shard of a
	// million transactions is small enough to be listed within a batch's time.
	live       [shardCount]map[int64]*txn
	locks      *lockTable
	due        dueIndex
	tombstones tombstones
	lastID     int64
	clock      int64 // the highest Batch.At
	snapshot   *Snapshot

	globals, branches int64
	batches           uint64
}

var _ storage.Store = (*Store)(nil)

const shardCount = 256

// txn is a live transaction with its places in the indexes.
type txn struct {
	state *storage.State // replaced, never changed
	held  []branchRows

	dueAt            int64
	dueNext, duePrev *txn
}

// New returns an empty store.
func New() *Store {
	s := &Store{}
	s.clear()
	return s
}

func (s *Store) clear() {
	for i := range s.live {
		s.live[i] = make(map[int64]*txn)
	}
	s.locks = newLockTable()
	s.due = newDueIndex()
	s.tombstones = tombstones{cap: tombstoneCap}
	s.lastID, s.clock = 0, 0
	s.globals, s.branches = 0, 0
}

// shardOf is the index of the shard for a transaction id.
func shardOf(id int64) int { return int(spread(id) >> 56) }

// find returns the live transaction, or nil, and the id in its XID, or 0 when
// the XID has none.
func (s *Store) find(x string) (*txn, int64) {
	_, id, err := xid.Parse(x)
	if err != nil {
		return nil, 0
	}
	t := s.live[shardOf(id)][id]
	if t != nil && t.state.XID != x {
		return nil, id
	}
	return t, id
}

// Apply implements storage.Store.
func (s *Store) Apply(ctx context.Context, b *storage.Batch) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%w: %w", storage.ErrUnavailable, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return storage.ErrClosed
	}
	return s.apply(b)
}

// chunk is how many batches are applied before readers get their turn.
const chunk = 64

// ApplyAll applies batches in order, each by itself, and puts their results
// into errs, which has the same length. It works on a closed store too: a log
// goes on until it has come to an end.
func (s *Store) ApplyAll(batches []*storage.Batch, errs []error) {
	for len(batches) > 0 {
		n := min(chunk, len(batches))
		s.mu.Lock()
		for i, b := range batches[:n] {
			errs[i] = s.apply(b)
		}
		s.mu.Unlock()
		batches, errs = batches[n:], errs[n:]
	}
}

// Check answers what Apply would answer to b now, and changes nothing.
func (s *Store) Check(b *storage.Batch) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return storage.ErrClosed
	}
	t, id := s.find(b.XID)
	if (t == nil && (b.Revision != 0 || s.buried(id))) || (t != nil && t.state.Revision != b.Revision) {
		return storage.ErrMoved
	}
	for i := range b.Add {
		if err := s.checkBranch(b.XID, &b.Add[i]); err != nil {
			return err
		}
	}
	return nil
}

// checkBranch looks for conflicts without building the row keys that only a
// branch without conflicts needs.
func (s *Store) checkBranch(xid string, branch *storage.Branch) error {
	if !branch.Locked || branch.LockKey == "" {
		return nil
	}
	var scratch [128]byte
	return storage.EachRow(branch.LockKey, func(table, pk string) error {
		key := storage.AppendRowKey(scratch[:0], branch.ResourceID, table, pk)
		h := s.locks.holder(key)
		if h.txn == nil || h.txn.state.XID == xid {
			return nil
		}
		row := storage.RowKey(key)
		return &storage.LockHeld{Key: row, Holder: h.lock(row)}
	})
}

// buried tells whether id has a tombstone. An id later than all that were ever seen
// has none.
func (s *Store) buried(id int64) bool {
	return storage.LaterID(s.lastID, id) == s.lastID && s.tombstones.find(id) != 0
}

// apply checks everything that can be refused before it changes anything.
func (s *Store) apply(b *storage.Batch) error {
	t, id := s.find(b.XID)
	var state storage.State
	if t != nil {
		state = *t.state
	} else if err := s.checkBegin(b, id); err != nil {
		return err
	}
	next, err := state.Apply(b)
	if err != nil {
		return err
	}
	wanted, err := s.wanted(b)
	if err != nil {
		return err
	}

	s.keepForSnapshot(shardOf(id))
	s.batches++
	s.lastID = storage.LaterID(s.lastID, next.Global.ID)
	for i := range b.Add {
		s.lastID = storage.LaterID(s.lastID, b.Add[i].ID)
	}
	if b.At > s.clock {
		s.clock = b.At
		s.tombstones.expire(s.clock)
	}
	if t == nil {
		t = &txn{}
		s.live[shardOf(id)][id] = t
		s.globals++
	}
	t.state = &next
	s.branches += int64(len(next.Branches) - len(state.Branches))
	for _, w := range wanted {
		s.locks.acquire(t, w)
	}
	s.releaseFor(b, t)
	if b.Finish != nil {
		s.due.move(t, 0)
		delete(s.live[shardOf(id)], id)
		s.globals--
		s.tombstones.add(id, *b.Finish)
	} else {
		s.due.move(t, next.Global.DueAt)
	}
	return nil
}

// checkBegin refuses a batch for a transaction that does not live, unless it
// begins a new one under an id of its own.
func (s *Store) checkBegin(b *storage.Batch, id int64) error {
	if b.Revision != 0 {
		return storage.ErrMoved
	}
	if b.Global == nil || id == 0 || id != b.Global.ID {
		return fmt.Errorf("%w: %q does not begin a transaction: want a global record with the id that ends the XID", storage.ErrInvalidBatch, b.XID)
	}
	if other := s.live[shardOf(id)][id]; other != nil {
		return fmt.Errorf("%w: the id of %s belongs to %s: two coordinators use one identity", storage.ErrInvalidBatch, b.XID, other.state.XID)
	}
	if s.buried(id) {
		return storage.ErrMoved
	}
	return nil
}

// wanted lists the rows that b's new branches lock, or the conflict.
func (s *Store) wanted(b *storage.Batch) ([]branchRows, error) {
	var wanted []branchRows
	for i := range b.Add {
		branch := &b.Add[i]
		if !branch.Locked {
			continue
		}
		rows, err := storage.RowKeys(branch.ResourceID, branch.LockKey)
		if err != nil {
			return nil, fmt.Errorf("branch %d of %s: %w", branch.ID, b.XID, err)
		}
		if err := s.locks.conflict(b.XID, rows); err != nil {
			return nil, err
		}
		if len(rows) > 0 {
			wanted = append(wanted, branchRows{branch: branch.ID, rows: rows})
		}
	}
	return wanted, nil
}

// releaseFor releases the rows that b lets go.
func (s *Store) releaseFor(b *storage.Batch, t *txn) {
	if len(t.held) == 0 {
		return
	}
	if b.UnlockAll || b.Finish != nil {
		for _, held := range t.held {
			s.locks.release(held)
		}
		t.held = nil
		return
	}
	for _, ids := range [2][]int64{b.Unlock, b.Remove} {
		for _, id := range ids {
			i := slices.IndexFunc(t.held, func(h branchRows) bool { return h.branch == id })
			if i >= 0 {
				s.locks.release(t.held[i])
				t.held = slices.Delete(t.held, i, i+1)
			}
		}
	}
}

// open answers why nothing can be read now, or nil; the caller holds mu.
func (s *Store) open(ctx context.Context) error {
	if s.closed {
		return storage.ErrClosed
	}
	return ctx.Err()
}

// Load implements storage.Store.
func (s *Store) Load(ctx context.Context, x string) (storage.State, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if err := s.open(ctx); err != nil {
		return storage.State{}, err
	}
	t, id := s.find(x)
	if t != nil {
		return *t.state, nil
	}
	if outcome := s.tombstones.find(id); outcome != 0 {
		return storage.State{XID: x, Outcome: outcome}, nil
	}
	return storage.State{}, nil
}

// CheckLocks implements storage.Store.
func (s *Store) CheckLocks(ctx context.Context, xid string, rows []storage.RowKey) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if err := s.open(ctx); err != nil {
		return err
	}
	return s.locks.conflict(xid, rows)
}

// Due implements storage.Store.
func (s *Store) Due(ctx context.Context, now int64, limit int) ([]string, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if err := s.open(ctx); err != nil {
		return nil, err
	}
	return s.due.due(now, limit), nil
}

// Scan implements storage.Store. f may call the store.
func (s *Store) Scan(ctx context.Context, after int64, f func(storage.State) bool) error {
	var states []*storage.State
	for i := range s.live {
		s.mu.RLock()
		if err := s.open(ctx); err != nil {
			s.mu.RUnlock()
			return err
		}
		for id, t := range s.live[i] {
			if id > after {
				states = append(states, t.state)
			}
		}
		s.mu.RUnlock()
	}
	sortByID(states)
	for _, state := range states {
		if !f(*state) {
			return nil
		}
	}
	return nil
}

func sortByID(states []*storage.State) {
	slices.SortFunc(states, func(a, b *storage.State) int { return cmp.Compare(a.Global.ID, b.Global.ID) })
}

// ScanLocks implements storage.Store. f may call the store.
func (s *Store) ScanLocks(ctx context.Context, f func(storage.RowKey, storage.Lock) bool) error {
	type held struct {
		row  storage.RowKey
		lock storage.Lock
	}
	var part []held
	for _, rows := range s.locks.rows {
		part = part[:0]
		s.mu.RLock()
		if err := s.open(ctx); err != nil {
			s.mu.RUnlock()
			return err
		}
		for row, h := range rows {
			part = append(part, held{row, h.lock(row)})
		}
		s.mu.RUnlock()
		for _, h := range part {
			if !f(h.row, h.lock) {
				return nil
			}
		}
	}
	return nil
}

// LastID implements storage.Store.
func (s *Store) LastID(ctx context.Context) (int64, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.lastID, s.open(ctx)
}

// Stats implements storage.Store. A batch is an entry of its own here.
func (s *Store) Stats() storage.Stats {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return storage.Stats{
		Globals:    s.globals,
		Branches:   s.branches,
		Locks:      int64(s.locks.count),
		Tombstones: int64(s.tombstones.count),
		Batches:    s.batches,
		Entries:    s.batches,
	}
}

// Close implements storage.Store.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return nil
}
