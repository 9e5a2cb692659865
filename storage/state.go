package storage

import (
	"errors"
	"fmt"
	"slices"

	"github.com/qiao-tx/qiao/protocol"
)

// Global is a global transaction without its branches. Times are milliseconds
// since the Unix epoch.
type Global struct {
	// ID is the number at the end of the XID.
	ID            int64
	Status        protocol.GlobalStatus
	ApplicationID string
	Group         string
	Name          string
	BeganAt       int64
	// TimeoutMillis counts from BeganAt: an undecided transaction is rolled
	// back then.
	TimeoutMillis int32
	// DueAt is when the due-loop has to look at the transaction; 0 means never.
	DueAt int64
	// Attempts counts the rounds of phase two that did not finish it.
	Attempts int32
	// Evidence says why the transaction waits for an operator.
	Evidence string
}

// Deadline is the moment from which an undecided transaction is rolled back.
func (g *Global) Deadline() int64 { return g.BeganAt + int64(g.TimeoutMillis) }

// Branch is one participant's part of a global transaction.
type Branch struct {
	ID         int64
	Type       protocol.BranchType
	Status     protocol.BranchStatus
	ResourceID string
	// ClientID is "applicationId:ip:port" of the channel that registered it.
	ClientID string
	// LockKey lists the locked rows: "table:pk,pk;table2:pk". The branch holds
	// those locks while Locked is true.
	LockKey string
	Locked  bool
	// ApplicationData is the participant's own, opaque here but for JSON keys
	// that Seata defines.
	ApplicationData string
	RegisteredAt    int64
	// RequestKey recognises a repeated registration; empty for Java clients.
	RequestKey string
}

// State is one global transaction. It is a value: Apply returns another and
// never changes the arrays of the one it was called on, so a State may be
// shared freely.
type State struct {
	XID string
	// Revision counts the Batches applied; 0 means there is no transaction.
	Revision uint64
	Global   Global
	// Branches are in the order of their registration.
	Branches []Branch
	// Outcome is set when the transaction has finished: nothing is left of it
	// but its XID and this.
	Outcome protocol.GlobalStatus
}

// Exists tells whether there is, or was, such a transaction.
func (s *State) Exists() bool { return s.Revision > 0 || s.Finished() }

// Finished tells whether only the outcome is left.
func (s *State) Finished() bool { return s.Outcome != protocol.StatusUnKnown }

// Branch returns the branch with the id, or nil.
func (s *State) Branch(id int64) *Branch {
	for i := range s.Branches {
		if s.Branches[i].ID == id {
			return &s.Branches[i]
		}
	}
	return nil
}

// BranchChange replaces parts of a branch.
type BranchChange struct {
	ID     int64
	Status protocol.BranchStatus
	// ApplicationData replaces the branch's when not nil.
	ApplicationData *string
}

// Batch is one transition of one transaction: applied whole and durably, or
// not at all. Its parts take effect in the order of its fields.
type Batch struct {
	XID string
	// Revision is the revision the batch was computed from; 0 begins a new
	// transaction. A store that finds another answers ErrMoved.
	Revision uint64
	// At is the deciding node's clock, in milliseconds since the Unix epoch.
	// Stores take the highest seen as the time by which tombstones expire.
	At int64
	// Global, when not nil, replaces the transaction's own record.
	Global *Global
	// Add registers branches, with their locks when Locked.
	Add []Branch
	// Change alters branches that exist or were just added.
	Change []BranchChange
	// Unlock releases the locks of these branches, which stay; UnlockAll those
	// of every branch.
	Unlock    []int64
	UnlockAll bool
	// Remove deletes branches and releases their locks.
	Remove []int64
	// Finish, when not nil, ends the transaction: its record and all its
	// branches and locks go, and a tombstone stays.
	Finish *Tombstone

	// Resume, in a Batch that begins a transaction, is the revision that it has
	// afterwards: it goes on here as it was in another store (see Whole). 0 is an
	// ordinary beginning.
	Resume uint64
	// Note, when not nil, is all that the Batch has: it concerns no transaction.
	Note *Note

	// next is what After returns, if it is known: see LeadsTo.
	next *State
}

// LeadsTo spares stores a computation: next is what Apply returned for b on the
// state that b was computed from. Neither may be changed any more.
func (b *Batch) LeadsTo(next *State) { b.next = next }

// Then is the one batch that does what b and next do in turn, where next was
// computed from the state that b leads to. Neither is changed. After a batch
// that releases all locks none may add a branch: its locks would go too.
func (b *Batch) Then(next *Batch) *Batch {
	both := *b
	both.next = nil
	both.At = max(b.At, next.At)
	if next.Global != nil {
		both.Global = next.Global
	}
	both.Add = slices.Concat(b.Add, next.Add)
	both.Change = slices.Concat(b.Change, next.Change)
	both.Unlock = slices.Concat(b.Unlock, next.Unlock)
	both.UnlockAll = b.UnlockAll || next.UnlockAll
	both.Remove = slices.Concat(b.Remove, next.Remove)
	both.Finish = next.Finish
	return &both
}

// Tombstone is what a finished transaction leaves.
type Tombstone struct {
	Outcome protocol.GlobalStatus
	// ExpiresAt is in milliseconds since the Unix epoch.
	ExpiresAt int64
}

// ErrInvalidBatch reports a Batch that contradicts the state it names: a
// mistake of the program that built it, never of a caller's data. It must not
// be retried.
var ErrInvalidBatch = errors.New("batch contradicts the state")

// Apply returns the state after b. It fails with ErrMoved when b was computed
// from another revision, and with ErrInvalidBatch; s is unchanged always. It
// does not look at other transactions' locks: that is the store's part.
func (s State) Apply(b *Batch) (State, error) {
	if s.Finished() || s.Revision != b.Revision {
		return s, ErrMoved
	}
	if s.Revision > 0 && s.XID != b.XID {
		return s, fmt.Errorf("%w: a batch of %s applied to %s", ErrInvalidBatch, b.XID, s.XID)
	}
	if s.Revision == 0 && b.Global == nil {
		return s, fmt.Errorf("%w: %s: the first batch has no global record", ErrInvalidBatch, b.XID)
	}
	next := s
	next.XID = b.XID
	next.Revision++
	if b.Resume > 0 {
		if s.Revision > 0 {
			return s, fmt.Errorf("%w: %s is there already and cannot be resumed", ErrInvalidBatch, b.XID)
		}
		next.Revision = b.Resume
	}
	if b.Global != nil {
		next.Global = *b.Global
	}
	if b.Finish != nil {
		next.Outcome = b.Finish.Outcome
		next.Branches = nil
		if next.Outcome == protocol.StatusUnKnown {
			return s, fmt.Errorf("%w: %s: finished without an outcome", ErrInvalidBatch, b.XID)
		}
		return next, nil
	}
	branches, err := b.branches(s.Branches)
	if err != nil {
		return s, err
	}
	next.Branches = branches
	return next, nil
}

// After is Apply for who keeps the result, which must not be changed. What
// LeadsTo told is taken for it: a transaction has one state at each revision.
func (s *State) After(b *Batch) (*State, error) {
	if b.next != nil && !s.Finished() && s.Revision == b.Revision && (s.Revision == 0 || s.XID == b.XID) {
		return b.next, nil
	}
	next, err := s.Apply(b)
	if err != nil {
		return nil, err
	}
	return &next, nil
}

// branches computes the branches after b, copying before the first change.
func (b *Batch) branches(old []Branch) ([]Branch, error) {
	if len(b.Add)+len(b.Change)+len(b.Unlock)+len(b.Remove) == 0 && !b.UnlockAll {
		return old, nil
	}
	branches := make([]Branch, 0, len(old)+len(b.Add))
	branches = append(append(branches, old...), b.Add...)
	find := func(id int64) (int, error) {
		i := slices.IndexFunc(branches, func(x Branch) bool { return x.ID == id })
		if i < 0 {
			return 0, fmt.Errorf("%w: %s has no branch %d", ErrInvalidBatch, b.XID, id)
		}
		return i, nil
	}
	for i := len(old); i < len(branches); i++ {
		if first, _ := find(branches[i].ID); first != i {
			return nil, fmt.Errorf("%w: %s has branch %d already", ErrInvalidBatch, b.XID, branches[i].ID)
		}
	}
	for _, c := range b.Change {
		i, err := find(c.ID)
		if err != nil {
			return nil, err
		}
		branches[i].Status = c.Status
		if c.ApplicationData != nil {
			branches[i].ApplicationData = *c.ApplicationData
		}
	}
	for _, id := range b.Unlock {
		i, err := find(id)
		if err != nil {
			return nil, err
		}
		branches[i].Locked = false
	}
	if b.UnlockAll {
		for i := range branches {
			branches[i].Locked = false
		}
	}
	for _, id := range b.Remove {
		i, err := find(id)
		if err != nil {
			return nil, err
		}
		branches = slices.Delete(branches, i, i+1)
	}
	if len(branches) == 0 {
		return nil, nil
	}
	return branches, nil
}
