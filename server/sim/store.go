package sim

import (
	"context"
	"errors"
	"slices"

	"github.com/qiao-tx/qiao/storage"
)

// store is the way of one life to the store that all share.
func (n *node) store(life int) storage.Store {
	var s storage.Store = n.w.truth
	if n.mutant != NoMutant {
		s = &brokenStore{Store: s, w: n.w, mutant: n.mutant}
	}
	e := n.w.election
	if e != nil {
		s = &fencedStore{Store: s, e: e, term: e.term}
	}
	distant := &distantStore{Store: s, n: n, life: life}
	s = distant
	if n.w.plan.NearStore {
		s = &nearStore{Store: distant.Store, distant: distant}
	}
	if e != nil {
		s = &ledStore{Submitter: s.(storage.Submitter), n: n, term: e.term}
	}
	if n.mutant == EffectsBeforePersist {
		s = &hastyStore{Store: s, n: n}
	}
	return s
}

var (
	errUnknownOutcome = errors.New("the connection to the store broke: outcome unknown")
	errCrashed        = errors.New("this process has crashed")
)

// distantStore parks the task at every call, fails now and then, and, when the
// node crashes meanwhile, leaves it to the seed whether the call was carried out.
type distantStore struct {
	storage.Store
	n    *node
	life int
}

// arrives tells whether a call gets to the store, and with which error it
// returns otherwise.
func (s *distantStore) arrives() error {
	w := s.n.w
	w.park()
	switch {
	case s.n.life != s.life && w.rng.IntN(2) == 0:
		return errCrashed
	case w.chance(w.plan.StoreRefuses):
		return storage.ErrUnavailable
	case w.chance(w.plan.StoreFails / 2):
		return errUnknownOutcome
	}
	return nil
}

// returns tells whether the answer gets back.
func (s *distantStore) returns() error {
	w := s.n.w
	if s.n.life == s.life && w.chance(w.plan.Standstill) {
		s.n.standStill()
	}
	w.park()
	switch {
	case s.n.life != s.life:
		return errCrashed
	case w.chance(w.plan.StoreFails / 2):
		return errUnknownOutcome
	}
	return nil
}

func (s *distantStore) Load(ctx context.Context, xid string) (storage.State, error) {
	if err := s.arrives(); err != nil {
		return storage.State{}, err
	}
	state, err := s.Store.Load(ctx, xid)
	if lost := s.returns(); lost != nil {
		return storage.State{}, lost
	}
	return state, err
}

func (s *distantStore) Apply(ctx context.Context, b *storage.Batch) error {
	if err := s.arrives(); err != nil {
		return err
	}
	if b.Finish == nil && (b.Revision == 0 || len(b.Add) > 0) && s.n.w.chance(s.n.w.plan.StoreRefuses) {
		return storage.ErrFull
	}
	err := s.Store.Apply(ctx, b)
	if lost := s.returns(); lost != nil {
		return lost
	}
	return err
}

func (s *distantStore) CheckLocks(ctx context.Context, xid string, rows []storage.RowKey) error {
	if err := s.arrives(); err != nil {
		return err
	}
	return s.Store.CheckLocks(ctx, xid, rows)
}

func (s *distantStore) Due(ctx context.Context, now int64, limit int) ([]string, error) {
	if err := s.arrives(); err != nil {
		return nil, err
	}
	due, err := s.Store.Due(ctx, now, limit)
	return slices.Clone(due), errors.Join(err, s.returns())
}

func (s *distantStore) Scan(ctx context.Context, after int64, f func(storage.State) bool) error {
	if err := s.arrives(); err != nil {
		return err
	}
	return s.Store.Scan(ctx, after, f)
}

func (s *distantStore) LastID(ctx context.Context) (int64, error) {
	if err := s.arrives(); err != nil {
		return 0, err
	}
	return s.Store.LastID(ctx)
}

// nearStore is the default store as a coordinator sees it: it answers reads at
// once and takes Batches without waiting.
type nearStore struct {
	storage.Store
	distant *distantStore
}

var _ storage.Submitter = (*nearStore)(nil)

func (s *nearStore) Apply(ctx context.Context, b *storage.Batch) error {
	return s.distant.Apply(ctx, b)
}

func (s *nearStore) Submit(b *storage.Batch, done func(error)) error {
	n := s.distant.n
	switch {
	case n.life != s.distant.life:
		return errCrashed
	case n.w.chance(n.w.plan.StoreRefuses):
		return storage.ErrUnavailable
	}
	n.spawn(func() { done(s.Apply(context.Background(), b)) })
	return nil
}
