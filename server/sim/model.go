package sim

import (
	"context"
	"errors"
	"slices"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/server/txn"
	"github.com/qiao-tx/qiao/storage"
)

// The records say what a store must answer. Whatever it keeps beside the
// transactions (row locks, the order of due times) follows from them.

// Due implements storage.Store.
func (t *truth) Due(ctx context.Context, now int64, limit int) ([]string, error) {
	due, err := t.Store.Due(ctx, now, limit)
	if err != nil || len(due) == limit {
		return due, err
	}
	for _, r := range t.sorted() {
		g := &r.state.Global
		want := !r.state.Finished() && g.DueAt != 0 && g.DueAt <= now
		if got := slices.Contains(due, r.state.XID); got != want {
			t.w.violate("store", "%s is due at %d; at %d the store says %t", r.state.XID, g.DueAt, now, got)
		}
	}
	return due, nil
}

// checkRows checks that the store holds the row locks of the transaction's
// branches, and none that they have not.
func (t *truth) checkRows(r *record, before *storage.State) {
	for _, b := range slices.Concat(before.Branches, r.state.Branches) {
		rows, err := storage.RowKeys(b.ResourceID, b.LockKey)
		if err != nil || len(rows) == 0 {
			continue
		}
		var held *storage.LockHeld
		got := errors.As(t.Store.CheckLocks(context.Background(), "", rows), &held) && held.Holder.XID == r.state.XID
		if want := locks(&r.state, b.ResourceID, b.LockKey); got != want {
			t.w.violate("I4", "%s: row %s of %s: locked is %t, should be %t", r.state.XID, b.LockKey, b.ResourceID, got, want)
		}
	}
}

// locks tells whether a branch of the transaction holds the row.
func locks(s *storage.State, resource, key string) bool {
	return slices.ContainsFunc(s.Branches, func(b storage.Branch) bool {
		return b.Locked && b.ResourceID == resource && b.LockKey == key
	})
}

// answeredLockable checks the answer to a question for a row, at the moment it
// is given.
func (t *truth) answeredLockable(q *protocol.GlobalLockQuery, lockable bool) {
	want := true
	for xid, r := range t.records {
		want = want && (xid == q.XID || !locks(&r.state, q.ResourceID, q.LockKey))
	}
	if lockable != want {
		t.w.violate("I4", "%s was told that %s of %s is lockable: %t", q.XID, q.LockKey, q.ResourceID, lockable)
	}
}

// checkBranches checks what a Batch makes of branches as a whole.
func (t *truth) checkBranches(r *record, b *storage.Batch, before *storage.State) {
	status := txn.Status(&r.state)
	for i := range r.state.Branches {
		branch := &r.state.Branches[i]
		old := before.Branch(branch.ID)
		switch {
		case status == protocol.StatusAsyncCommitting && branch.Type != protocol.TypeAT:
			t.w.violate("commit", "%s commits without its caller although branch %d is %s", b.XID, branch.ID, branch.Type)
		case decisionOf(before.Global.Status) == undecided && r.decision != undecided &&
			old != nil && old.Status == protocol.BranchPhaseOneFailed:
			t.w.violate("orders", "%s: phase one of branch %d failed, its decision keeps it", b.XID, branch.ID)
		}
	}
	if b.Finish != nil && r.saga() && r.decision != undecided {
		if xid := b.XID; !r.reported[r.decision] && !t.w.saga.did[xid][r.decision] {
			t.w.violate("I1", "%s: ends as %s, which neither its client nor its application did", xid, status)
		}
	}
}

// report notes that a saga's client tells how it ended.
func (t *truth) report(xid string, s protocol.GlobalStatus) {
	if r := t.records[xid]; r != nil && (s == protocol.StatusCommitted || s == protocol.StatusRollbacked) {
		r.reported[decisionOf(s)] = true
	}
}
