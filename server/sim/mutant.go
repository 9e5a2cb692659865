package sim

import (
	"context"
	"errors"
	"slices"
	"strconv"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/server/coordinator"
	"github.com/qiao-tx/qiao/storage"
)

// Mutant is a defect built in at a seam of the coordinator, to show that the
// checker sees it. Production code knows nothing of mutants.
type Mutant uint8

// The mutants.
const (
	NoMutant Mutant = iota
	// NoRevision: the store takes a Batch whatever revision it was computed from.
	NoRevision
	// NoLockCheck: the store gives every row lock, held or not.
	NoLockCheck
	// EffectsBeforePersist: the store acknowledges a Batch before it is durable.
	EffectsBeforePersist
	// MovedSwallowed: the store reports success when the transaction has moved on.
	MovedSwallowed
	// IDsReused: the store does not tell which ids were used.
	IDsReused
	// LocksKept: the decision to commit does not release the locks.
	LocksKept
	// LocksDropped: the decision to roll back releases all locks.
	LocksDropped
	// BranchesDropped: a Batch loses the branch it adds.
	BranchesDropped
	// NeverDue: no transaction is ever due.
	NeverDue
	// RequestKeysIgnored: a repeated registration is not recognised.
	RequestKeysIgnored
	// OrdersForged: an order is answered without being carried out.
	OrdersForged
	// OrdersSwapped: a rollback is ordered as a commit.
	OrdersSwapped
	// TrueStatusToJava: a commit is answered with the true status.
	TrueStatusToJava
	// OutcomesForgotten: a finished transaction is as one that never was.
	OutcomesForgotten
	// EvidenceDropped: a transaction that waits for an operator does not say why.
	EvidenceDropped
	// DirtyRetried: a transaction that waits for an operator is tried again.
	DirtyRetried
	// StaleReads: a leader answers from what it holds when another leads already.
	StaleReads
)

// brokenStore is a store with the mutant's defect.
type brokenStore struct {
	storage.Store
	w      *world
	mutant Mutant
}

func (s *brokenStore) Apply(ctx context.Context, b *storage.Batch) error {
	b = s.change(b)
	err := s.Store.Apply(ctx, b)
	if !errors.Is(err, storage.ErrMoved) {
		return err
	}
	switch s.mutant {
	case NoRevision:
		now, _ := s.Load(ctx, b.XID)
		forced := *b
		forced.Revision = now.Revision
		return s.Store.Apply(ctx, &forced)
	case MovedSwallowed:
		return nil
	}
	return err
}

// change returns the Batch that the mutant makes of b.
func (s *brokenStore) change(b *storage.Batch) *storage.Batch {
	c := *b
	switch s.mutant {
	case NoLockCheck:
		c.Add = slices.Clone(b.Add)
		for i := range c.Add {
			c.Add[i].Locked = false
		}
	case LocksKept:
		c.UnlockAll = false
	case LocksDropped:
		if b.Global != nil && decisionOf(b.Global.Status) == rollback {
			c.UnlockAll = true
		}
	case BranchesDropped:
		if b.Global == nil {
			c.Add = nil
		}
	case EvidenceDropped, DirtyRetried:
		if b.Global != nil && b.Global.Evidence != "" && b.Global.DueAt == 0 {
			g := *b.Global
			g.Evidence = ""
			if s.mutant == DirtyRetried {
				g.Status, g.DueAt = protocol.StatusRollbackRetrying, b.At+1000
			}
			c.Global = &g
		}
	case NeverDue:
		if b.Global != nil {
			g := *b.Global
			g.DueAt = 0
			c.Global = &g
		}
	}
	return &c
}

// Load implements storage.Store.
func (s *brokenStore) Load(ctx context.Context, xid string) (storage.State, error) {
	state, err := s.Store.Load(ctx, xid)
	if s.mutant == OutcomesForgotten && state.Finished() {
		return storage.State{}, err
	}
	return state, err
}

// LastID implements storage.Store.
func (s *brokenStore) LastID(ctx context.Context) (int64, error) {
	if s.mutant == IDsReused {
		return 0, nil
	}
	return s.Store.LastID(ctx)
}

// hastyStore acknowledges a Batch at once and makes it durable later.
type hastyStore struct {
	storage.Store
	n *node
}

func (s *hastyStore) Apply(ctx context.Context, b *storage.Batch) error {
	if !s.n.w.running.dead {
		s.n.spawn(func() { _ = s.Store.Apply(ctx, b) })
	}
	return nil
}

// head returns what the mutant makes of a request's head.
func (m Mutant) head(head map[string]string) map[string]string {
	if m == RequestKeysIgnored {
		return nil
	}
	return head
}

// answer returns what the mutant makes of an answer to a client.
func (m Mutant) answer(a protocol.Message, head map[string]string) protocol.Message {
	c, ok := a.(*protocol.GlobalCommitResult)
	if m != TrueStatusToJava || !ok || head == nil {
		return a
	}
	s, _ := strconv.Atoi(head[coordinator.HeadStatus])
	return &protocol.GlobalCommitResult{TxResult: c.TxResult, Status: protocol.GlobalStatus(s)}
}

// order returns what the mutant makes of an order, or the answer it forges.
func (m Mutant) order(o protocol.Message) (order, forged protocol.Message) {
	body, decided := orderOf(o)
	switch {
	case m == OrdersForged:
		return o, result(body, decided, done(decided), "")
	case m == OrdersSwapped && decided == rollback:
		return &protocol.BranchCommit{BranchOrder: body}, nil
	}
	return o, nil
}
