package sim

import (
	"bytes"
	"context"
	"slices"
	"time"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/storage"
	"github.com/qiao-tx/qiao/storage/memory"
)

// election says which node leads, in worlds whose nodes keep the store between
// them, as those of a Raft cluster do: one node at a time decides, the others pass
// requests on to the one that they take for the leader.
type election struct {
	w *world
	// term numbers the elections. What an earlier term's leader proposes is never
	// applied, and it may not answer from what it holds: by the time there is a new
	// leader, its lease has ended.
	term   int
	leader *node
}

// campaign has a leader elected a little later, unless a further election comes
// first.
func (e *election) campaign() {
	term := e.term
	e.w.after(e.w.between(500*time.Millisecond, 2*time.Second), func() {
		if e.term == term {
			e.elect()
		}
	})
}

// elect makes some node the leader that is there and awake; another than before,
// if there is one.
func (e *election) elect() {
	candidates := slices.DeleteFunc(slices.Clone(e.w.nodes), func(n *node) bool { return !n.alive || n.stillUntil > e.w.now })
	others := slices.DeleteFunc(slices.Clone(candidates), func(n *node) bool { return n == e.leader })
	switch {
	case len(candidates) == 0:
		e.campaign()
		return
	case len(others) == 0:
		others = candidates
	}
	if e.leader != nil {
		e.leader.depose()
	}
	e.term++
	e.leader = others[e.w.rng.IntN(len(others))]
	e.w.logf("node %d leads in term %d", e.leader.index, e.term)
	for _, n := range e.w.nodes {
		leader := e.leader
		e.w.after(e.w.latency(), func() { n.believes = leader })
	}
	e.leader.lead()
}

// fallen is for a node that has crashed or stands still: if it led, another is
// elected.
func (e *election) fallen(n *node) {
	if e != nil && (e.leader == n || e.leader == nil) {
		e.campaign()
	}
}

// depose takes the leadership from a node that does not know it yet: for a while
// it goes on with what it held.
func (n *node) depose() {
	n.stale = n.w.truth.copy()
	life := n.life
	n.w.after(n.w.between(0, 3*time.Second), func() {
		n.awake(func() {
			if n.life == life && n.w.election.leader != n {
				n.w.logf("node %d notices that it does not lead", n.index)
				n.stop()
			}
		})
	})
}

// copy is what the store holds now.
func (t *truth) copy() storage.Store {
	var held bytes.Buffer
	snapshot, err := t.Store.(*memory.Store).Snapshot()
	if err != nil {
		panic(err) // one at a time
	}
	defer snapshot.Release()
	frozen := memory.New()
	if err := snapshot.Write(&held); err != nil {
		panic(err) // a buffer takes everything
	}
	if err := frozen.Restore(&held); err != nil {
		panic(err)
	}
	return frozen
}

// forward passes a request on to the node that this one takes for the leader.
func (n *node) forward(r request, answer func(protocol.Message, map[string]string)) {
	if to := n.believes; to != nil && to != n && !r.forwarded {
		r.forwarded = true
		to.request(r, answer)
	}
}

// fencedStore applies what the leader of a term proposes only in that term.
type fencedStore struct {
	storage.Store
	e    *election
	term int
}

func (s *fencedStore) Apply(ctx context.Context, b *storage.Batch) error {
	if s.e.term != s.term {
		return errUnknownOutcome
	}
	return s.Store.Apply(ctx, b)
}

// ledStore is the store of a leader as its coordinator sees it: without a lease it
// answers nothing.
type ledStore struct {
	storage.Submitter
	n    *node
	term int
}

// held is what the leader may read: what all hold while it has the lease.
func (s *ledStore) held() (storage.Store, error) {
	switch {
	case s.n.w.election.term == s.term:
		return s.Submitter, nil
	case s.n.mutant == StaleReads && s.n.stale != nil:
		return s.n.stale, nil
	}
	return nil, storage.ErrUnavailable
}

func (s *ledStore) Load(ctx context.Context, xid string) (storage.State, error) {
	from, err := s.held()
	if err != nil {
		return storage.State{}, err
	}
	return from.Load(ctx, xid)
}

func (s *ledStore) CheckLocks(ctx context.Context, xid string, rows []storage.RowKey) error {
	from, err := s.held()
	if err != nil {
		return err
	}
	return from.CheckLocks(ctx, xid, rows)
}

func (s *ledStore) Due(ctx context.Context, now int64, limit int) ([]string, error) {
	from, err := s.held()
	if err != nil {
		return nil, err
	}
	return from.Due(ctx, now, limit)
}

func (s *ledStore) Submit(b *storage.Batch, done func(error)) error {
	if s.n.w.election.term == s.term {
		return s.Submitter.Submit(b, done)
	}
	if s.n.w.rng.IntN(2) == 0 {
		return storage.ErrUnavailable // it has noticed that it does not lead
	}
	s.n.spawn(func() {
		s.n.w.park()
		done(errUnknownOutcome)
	})
	return nil
}
