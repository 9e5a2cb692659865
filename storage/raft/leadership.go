package raft

import (
	"context"
	"fmt"
	"sync"
	"time"

	hraft "github.com/hashicorp/raft"

	"github.com/qiao-tx/qiao/storage"
)

// NotLeader reports that another node leads, or none. Nothing was written. It
// wraps storage.ErrUnavailable: ask again, the leader or later.
type NotLeader struct {
	// Leader is who leads as far as is known here; zero when nobody is known to.
	Leader Member
}

func (e *NotLeader) Error() string {
	if e.Leader.Name == "" {
		return "the cluster has no leader now; ask again"
	}
	return fmt.Sprintf("this node does not lead the cluster; node %s at %s does", e.Leader.Name, e.Leader.Address)
}

func (e *NotLeader) Unwrap() error { return storage.ErrUnavailable }

// Leadership is the store of a cluster while this node leads it, in one term. It
// refuses everything with storage.ErrUnavailable once that is over, and answers
// from memory only as long as no other node can have been elected. Its Close does
// nothing: the Store outlives it.
type Leadership struct {
	store *Store
	term  uint64
	ended chan struct{}
	once  sync.Once
}

var _ storage.Submitter = (*Leadership)(nil)

// Term is Raft's number of this leadership.
func (l *Leadership) Term() uint64 { return l.term }

// Ended is closed when the leadership is over, which may be a while after another
// node was elected: Check tells at once.
func (l *Leadership) Ended() <-chan struct{} { return l.ended }

func (l *Leadership) end() { l.once.Do(func() { close(l.ended) }) }

func (l *Leadership) isOver() bool {
	select {
	case <-l.ended:
		return true
	default:
		return false
	}
}

// Check answers nil if no other node can have been elected yet: what the store
// remembers is then the last word. It is to be asked before anything leaves that
// does not follow from a Batch applied since it was asked for. It waits for
// nothing.
func (l *Leadership) Check() error {
	s := l.store
	switch {
	case s.alone():
		return nil
	case s.closed.Load():
		return storage.ErrClosed
	case l.isOver() || s.raft.State() != hraft.Leader || s.raft.CurrentTerm() != l.term:
		return s.notLeader()
	case s.lease < 0: // a test without it
		return nil
	}
	heard := s.contacts.majority(l.term)
	if now := time.Now(); heard.IsZero() || age(heard, now) >= s.lease {
		return fmt.Errorf("%w: no majority of the cluster has answered this node for %v, so another may lead by now; ask again",
			storage.ErrUnavailable, s.lease)
	}
	return nil
}

// Apply implements storage.Store.
func (l *Leadership) Apply(ctx context.Context, b *storage.Batch) error {
	return applyWith(ctx, b, l.Submit)
}

// Submit implements storage.Submitter.
func (l *Leadership) Submit(b *storage.Batch, done func(error)) error {
	if l.isOver() && !l.store.closed.Load() {
		return l.store.notLeader()
	}
	return l.store.submit(l, b, done)
}

// Load implements storage.Store.
func (l *Leadership) Load(ctx context.Context, xid string) (storage.State, error) {
	if err := l.Check(); err != nil {
		return storage.State{}, err
	}
	return l.store.state.Load(ctx, xid)
}

// CheckLocks implements storage.Store.
func (l *Leadership) CheckLocks(ctx context.Context, xid string, rows []storage.RowKey) error {
	if err := l.Check(); err != nil {
		return err
	}
	return l.store.state.CheckLocks(ctx, xid, rows)
}

// Due implements storage.Store.
func (l *Leadership) Due(ctx context.Context, now int64, limit int) ([]string, error) {
	if err := l.Check(); err != nil {
		return nil, err
	}
	return l.store.state.Due(ctx, now, limit)
}

// Scan implements storage.Store.
func (l *Leadership) Scan(ctx context.Context, after int64, f func(storage.State) bool) error {
	if err := l.Check(); err != nil {
		return err
	}
	return l.store.state.Scan(ctx, after, f)
}

// ScanLocks implements storage.Store.
func (l *Leadership) ScanLocks(ctx context.Context, f func(storage.RowKey, storage.Lock) bool) error {
	if err := l.Check(); err != nil {
		return err
	}
	return l.store.state.ScanLocks(ctx, f)
}

// LastID implements storage.Store. All that was applied in earlier terms counts.
func (l *Leadership) LastID(ctx context.Context) (int64, error) {
	if err := l.Check(); err != nil {
		return 0, err
	}
	return l.store.state.LastID(ctx)
}

// Stats implements storage.Store.
func (l *Leadership) Stats() storage.Stats { return l.store.Stats() }

// Close implements storage.Store; it does nothing.
func (l *Leadership) Close() error { return nil }

// standing is who leads, as far as this node knows.
type standing struct {
	mu      sync.Mutex
	leads   *Leadership // nil unless this node does
	leader  Member
	changed chan struct{} // closed with each change
}

// set changes the standing and wakes who waits for that.
func (s *standing) set(change func(*standing)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s)
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *standing) get() (*Leadership, Member, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.leads, s.leader, s.changed
}

// Lead waits until this node leads and has applied all that was committed before,
// and returns that leadership; the same again as long as it lasts. It ends with
// ctx's error, and with storage.ErrClosed when the store closes.
func (s *Store) Lead(ctx context.Context) (*Leadership, error) {
	for {
		leads, _, changed := s.standing.get()
		if leads != nil {
			return leads, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-s.latch.ended:
			return nil, storage.ErrClosed
		}
	}
}

// Leader returns who leads, as far as this node knows, and a channel that is closed
// when that changes. The zero Member is nobody. This node is named only when it
// has applied all that came before, and may act.
func (s *Store) Leader() (Member, <-chan struct{}) {
	leads, leader, changed := s.standing.get()
	if s.cluster != nil && leads == nil && leader.Name == s.cluster.Self {
		leader = Member{}
	}
	return leader, changed
}

func (s *Store) notLeader() error {
	leader, _ := s.Leader()
	if s.cluster != nil && leader.Name == s.cluster.Self {
		leader = Member{} // it is on its way out
	}
	return &NotLeader{Leader: leader}
}

// watch follows Raft's elections until the store ends.
func (s *Store) watch(led <-chan bool, observed <-chan hraft.Observation) {
	for {
		select {
		case leads := <-led:
			s.standing.set(func(now *standing) {
				if now.leads != nil {
					now.leads.end()
					now.leads = nil
				}
			})
			if leads {
				s.takeLead()
			}
		case o := <-observed:
			s.observe(o)
		case <-s.latch.ended:
			return
		}
	}
}

// takeLead makes the leadership usable that was just won: all that was committed
// before is applied.
func (s *Store) takeLead() {
	s.guard.join()
	term := s.raft.CurrentTerm()
	if err := s.raft.Barrier(0).Error(); err != nil || s.raft.CurrentTerm() != term {
		return // it is lost already, of which word is on its way
	}
	s.logger.Info("this node leads the cluster", "node", s.cluster.Self, "term", term)
	s.standing.set(func(now *standing) {
		now.leads = &Leadership{store: s, term: term, ended: make(chan struct{})}
		now.leader = s.cluster.member(s.cluster.Self)
	})
}

// observe takes what Raft tells of itself.
func (s *Store) observe(o hraft.Observation) {
	switch o := o.Data.(type) {
	case hraft.LeaderObservation:
		_, id := s.raft.LeaderWithID()
		s.standing.set(func(now *standing) { now.leader = s.cluster.member(string(id)) })
		if id != "" && string(id) != s.cluster.Self {
			s.logger.Info("another node leads the cluster", "node", s.cluster.Self, "leader", string(id), "term", s.raft.CurrentTerm())
		}
	case hraft.FailedHeartbeatObservation:
		if !s.lost[o.PeerID] {
			s.lost[o.PeerID] = true
			s.logger.Warn("a node of the cluster does not answer", "node", string(o.PeerID), "since", age(o.LastContact, time.Now()).Round(time.Millisecond))
		}
	case hraft.ResumedHeartbeatObservation:
		if s.lost[o.PeerID] {
			delete(s.lost, o.PeerID)
			s.logger.Info("a node of the cluster answers again", "node", string(o.PeerID))
		}
	}
}
