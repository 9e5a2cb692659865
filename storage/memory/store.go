package memory

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/qiao-tx/qiao/storage"
)

// Store implements storage.Store in memory. What it holds is a function of the
// batches applied, in their order.
type Store struct {
	mu      sync.RWMutex
	closed  bool
	batches uint64
	*content
}

var _ storage.Movable = (*Store)(nil)

// New returns an empty store.
func New() *Store { return &Store{content: newContent()} }

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
	return s.count(s.apply(b))
}

// count counts a batch that was applied.
func (s *Store) count(err error) error {
	if err == nil {
		s.batches++
	}
	return err
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
			errs[i] = s.count(s.apply(b))
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
	return s.check(b)
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
	for i := range shardCount {
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
	for i := range lockParts {
		part = part[:0]
		s.mu.RLock()
		if err := s.open(ctx); err != nil {
			s.mu.RUnlock()
			return err
		}
		for row, h := range s.locks.rows[i] {
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
