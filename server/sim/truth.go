package sim

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"time"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/server/txn"
	"github.com/qiao-tx/qiao/storage"
)

// decision is which way a transaction went.
type decision uint8

const (
	undecided decision = iota
	commit
	rollback
)

func (d decision) String() string { return [...]string{"undecided", "commit", "rollback"}[d] }

// truth stands before the store of all nodes and follows what becomes durable.
// Every Batch is checked against what came before it and against what really
// happened at the participants; every answer and order against what is durable.
type truth struct {
	storage.Store
	w       *world
	records map[string]*record
	// ids are all that were ever stored, with the XID they belong to.
	ids map[int64]string
	// clock is the latest that a Batch was decided at: the time of the store.
	clock int64
}

// record is what became of one transaction.
type record struct {
	state    storage.State
	decision decision
	// asked: a client wanted this decision; was: it was durable once, which for
	// all but sagas means that it is.
	asked, was [3]bool
	// reported: a saga's client told this end itself.
	reported [3]bool
	// finishedAt is the store's time of the last Batch, movedAt the world's of
	// the latest.
	finishedAt int64
	movedAt    time.Duration
	// branches are all that were ever registered.
	branches map[int64]storage.Branch
}

// saga: its client may change the decision.
func (r *record) saga() bool { return r.state.Global.Name == sagaName }

// parked: it waits for an operator.
func (r *record) parked() bool {
	switch r.state.Global.Status {
	case protocol.StatusCommitFailed, protocol.StatusRollbackFailed, protocol.StatusTimeoutRollbackFailed:
		return !r.state.Finished()
	}
	return false
}

// waits tells whether a branch belongs to a transaction that waits for an
// operator.
func (t *truth) waits(branchID int64) bool {
	r := t.records[t.ids[branchID]]
	return r != nil && r.parked() && r.state.Branch(branchID) != nil
}

func newTruth(w *world, s storage.Store) *truth {
	return &truth{Store: s, w: w, records: make(map[string]*record), ids: make(map[int64]string)}
}

// Apply implements storage.Store.
func (t *truth) Apply(ctx context.Context, b *storage.Batch) error {
	err := t.Store.Apply(ctx, b)
	t.w.logf("store: %s@%d %s: %v", b.XID, b.Revision, describe(b), err)
	if err == nil {
		t.applied(b)
	}
	return err
}

// applied checks a Batch that has become durable.
func (t *truth) applied(b *storage.Batch) {
	r := t.records[b.XID]
	if r == nil && b.Global == nil {
		t.w.violate("store", "%s: applied without a beginning", b.XID)
		return
	}
	if r == nil {
		r = &record{branches: make(map[int64]storage.Branch)}
		t.records[b.XID] = r
		t.used(b.Global.ID, b.XID)
	}
	before := r.state
	after, err := before.Apply(b)
	if err != nil {
		t.w.violate("store", "%s: applied what does not follow from revision %d: %v", b.XID, before.Revision, err)
		return
	}
	if told, err := before.After(b); err != nil || !reflect.DeepEqual(*told, after) {
		t.w.violate("store", "%s@%d: the coordinator takes the Batch to lead elsewhere than it does: %v", b.XID, b.Revision, err)
	}
	if r.parked() && !r.saga() && after.Global.Status != before.Global.Status {
		t.w.violate("I11", "%s: was %s, became %s without an operator", b.XID, before.Global.Status, txn.Status(&after))
	}
	r.state = after
	r.movedAt = t.w.now
	t.clock = max(t.clock, b.At)
	if b.Finish != nil {
		r.finishedAt = b.At
	}
	for _, branch := range b.Add {
		t.added(r, b, branch)
	}
	t.decided(r, b)
	t.checkBranches(r, b, &before)
	for i := range before.Branches {
		if branch := before.Branches[i]; after.Branch(branch.ID) == nil {
			t.removed(r, b, &branch)
		}
	}
	t.checkLocks(r, &before)
	t.checkRows(r, &before)
}

func (t *truth) used(id int64, xid string) {
	if other, dup := t.ids[id]; dup {
		t.w.violate("I8", "id %d of %s was used before, by %s", id, xid, other)
	}
	t.ids[id] = xid
}

func (t *truth) added(r *record, b *storage.Batch, branch storage.Branch) {
	t.used(branch.ID, b.XID)
	if r.decision != undecided {
		t.w.violate("I1", "%s: branch %d was registered after the decision to %s", b.XID, branch.ID, r.decision)
	}
	for _, other := range r.branches {
		if other.RequestKey == branch.RequestKey && branch.RequestKey != "" {
			t.w.violate("I14", "%s: one registration made the branches %d and %d", b.XID, other.ID, branch.ID)
		}
	}
	r.branches[branch.ID] = branch
}

// decided follows the decision, which may be taken once.
func (t *truth) decided(r *record, b *storage.Batch) {
	now := decisionOf(txn.Status(&r.state))
	if now == r.decision {
		return
	}
	if r.decision != undecided && !r.saga() {
		t.w.violate("I1", "%s: decided to %s, now %s", b.XID, r.decision, txn.Status(&r.state))
	}
	r.decision = now
	r.was[now] = true
	switch overdue := b.At >= r.state.Global.Deadline(); {
	case now == commit && !r.asked[commit]:
		t.w.violate("I1", "%s: committed though nobody asked for it", b.XID)
	case now == commit && overdue && !r.saga():
		t.w.violate("I7", "%s: committed after its time-out", b.XID)
	case now == rollback && !r.asked[rollback] && !overdue:
		t.w.violate("I13", "%s: rolled back before its time-out though nobody asked for it", b.XID)
	}
}

// removed checks that a branch is forgotten, and its locks with it, only when
// its participant has done what was decided.
func (t *truth) removed(r *record, batch *storage.Batch, b *storage.Branch) {
	status := b.Status
	for _, c := range batch.Change {
		if c.ID == b.ID {
			status = c.Status
		}
	}
	if status == protocol.BranchPhaseOneFailed {
		return
	}
	p := t.w.participant(b.ResourceID)
	if c, ok := p.(*compensable); ok && r.decision == commit {
		if !c.stands(b.ID) {
			t.w.violate("I1", "%s: committed, and the call of branch %d of %s does not stand", batch.XID, b.ID, b.ResourceID)
		}
		return
	}
	if did := p.outcome(b.ID); did != r.decision {
		t.w.violate("I2", "%s: branch %d of %s is forgotten, decided is %s, its participant did %s",
			batch.XID, b.ID, b.ResourceID, r.decision, did)
	}
}

// checkLocks checks I4 after a Batch: a commit releases everything at once, a
// rollback nothing that is not rolled back (removed checks when that may go).
func (t *truth) checkLocks(r *record, before *storage.State) {
	for i := range r.state.Branches {
		b := &r.state.Branches[i]
		if r.decision == commit && b.Locked {
			t.w.violate("I4", "%s: commit is decided, branch %d still holds its locks", r.state.XID, b.ID)
		}
		if old := before.Branch(b.ID); r.decision == rollback && old != nil && old.Locked && !b.Locked {
			t.w.violate("I4", "%s: branch %d lost its locks before it was rolled back", r.state.XID, b.ID)
		}
	}
}

// decisionOf reads the decision from a status.
func decisionOf(s protocol.GlobalStatus) decision {
	switch s {
	case protocol.StatusCommitting, protocol.StatusCommitRetrying, protocol.StatusAsyncCommitting,
		protocol.StatusCommitted, protocol.StatusCommitFailed:
		return commit
	case protocol.StatusRollbacking, protocol.StatusRollbackRetrying, protocol.StatusRollbacked, protocol.StatusRollbackFailed,
		protocol.StatusTimeoutRollbacking, protocol.StatusTimeoutRollbackRetrying,
		protocol.StatusTimeoutRollbacked, protocol.StatusTimeoutRollbackFailed:
		return rollback
	default: // Begin, or Finished of a transaction that nobody knows
		return undecided
	}
}

// ask notes that a client asks for a decision.
func (t *truth) ask(xid string, d decision) {
	if r := t.records[xid]; r != nil {
		r.asked[d] = true
	}
}

// ordered checks an order as it leaves a node.
func (t *truth) ordered(order protocol.Message) {
	o, d := orderOf(order)
	xid := o.XID
	r := t.records[xid]
	if r == nil || !r.was[d] {
		t.w.violate("I2", "%s: ordered to %s, which is not durable", xid, d)
		return
	}
	t.inTurn(r, o.BranchID, d)
	if age := t.w.now - r.movedAt; age > orderLife && t.w.plan.MaxSkew == 0 {
		t.w.violate("orders", "%s: ordered to %s %s after anything was decided", xid, d, age)
	}
}

// inTurn checks that an order comes after those for the branches before it: a
// commit takes the synchronous branches as they were registered and then the
// others, a rollback takes all in the reverse order. In parallel worlds that
// holds for the branches of each resource.
func (t *truth) inTurn(r *record, id int64, d decision) {
	branches := r.state.Branches
	place := slices.IndexFunc(branches, func(b storage.Branch) bool { return b.ID == id })
	if place < 0 || r.state.Finished() {
		return // a late copy
	}
	asynchronous := func(i int) bool { return d == commit && branches[i].Type == protocol.TypeAT }
	for i := range branches {
		if t.w.plan.Parallel && branches[i].ResourceID != branches[place].ResourceID && !asynchronous(place) {
			continue
		}
		first := i > place
		if d == commit {
			first = !asynchronous(i) && (asynchronous(place) || i < place)
		}
		if first && branches[i].Status != protocol.BranchPhaseOneFailed {
			t.w.violate("orders", "%s: branch %d is ordered to %s before branch %d", r.state.XID, id, d, branches[i].ID)
		}
	}
}

// orderLife is how long an order may take to leave: as long as its answer is
// awaited, and a place in the queue.
const orderLife = 5*time.Second + time.Millisecond

// answered checks an answer as it leaves a node.
func (t *truth) answered(r request, answer protocol.Message) {
	switch m := answer.(type) {
	case *protocol.GlobalBeginResult:
		if m.Code == protocol.ResultSuccess && t.records[m.XID] == nil {
			t.w.violate("I2", "%s: its begin was acknowledged and is not durable", m.XID)
		}
	case *protocol.BranchRegisterResult:
		if m.Code != protocol.ResultSuccess {
			return
		}
		if rec := t.records[r.message.(*protocol.BranchRegister).XID]; rec == nil || rec.branches[m.BranchID].ID == 0 {
			t.w.violate("I2", "branch %d was acknowledged and is not durable", m.BranchID)
		}
	case *protocol.GlobalCommitResult:
		xid := r.message.(*protocol.GlobalCommit).XID
		t.remembered(xid, m.TxResult, m.Status)
		t.answeredCommit(xid, m.Status)
	case *protocol.GlobalRollbackResult:
		xid := r.message.(*protocol.GlobalRollback).XID
		t.remembered(xid, m.TxResult, m.Status)
		t.claimed(xid, m.Status)
	case *protocol.GlobalLockQueryResult:
		if m.Code == protocol.ResultSuccess {
			t.answeredLockable(r.message.(*protocol.GlobalLockQuery), m.Lockable)
		}
	case *protocol.GlobalStatusResult:
		xid := r.message.(*protocol.GlobalStatusRequest).XID
		t.remembered(xid, m.TxResult, m.Status)
		t.claimed(xid, m.Status)
	}
}

// remembered checks that nobody is told Finished, which is what an unknown
// transaction answers, of one that is on record and within its retention.
func (t *truth) remembered(xid string, result protocol.TxResult, s protocol.GlobalStatus) {
	r := t.records[xid]
	if s != protocol.StatusFinished || result.Code != protocol.ResultSuccess || r == nil {
		return
	}
	if !r.state.Finished() || t.clock < r.finishedAt+t.w.plan.Retention.Milliseconds() {
		t.w.violate("I10", "%s is %s, a client was told that nobody knows it", xid, txn.Status(&r.state))
	}
}

// answeredCommit reads the answer to a GlobalCommit as Java's transaction
// manager does: 6, 7, 13 and 14 mean that it did not commit, 15 that nobody
// knows, everything else that it did.
func (t *truth) answeredCommit(xid string, s protocol.GlobalStatus) {
	said := commit
	switch s {
	case protocol.StatusFinished:
		return
	case protocol.StatusTimeoutRollbacking, protocol.StatusTimeoutRollbackRetrying,
		protocol.StatusTimeoutRollbacked, protocol.StatusTimeoutRollbackFailed:
		said = rollback
	}
	if r := t.records[xid]; r == nil || !r.was[said] {
		t.w.violate("I10", "%s: a commit was answered %s, which tells Java of a %s", xid, s, said)
	}
}

// claimed checks a status that a client was told.
func (t *truth) claimed(xid string, s protocol.GlobalStatus) {
	said := decisionOf(s)
	if r := t.records[xid]; said != undecided && (r == nil || !r.was[said]) {
		t.w.violate("I10", "%s: a client was told %s, which is not durable", xid, s)
	}
}

// sorted are the records in the order of their XIDs.
func (t *truth) sorted() []*record {
	all := make([]*record, 0, len(t.records))
	for _, xid := range slices.Sorted(maps.Keys(t.records)) {
		all = append(all, t.records[xid])
	}
	return all
}

// describe is a Batch on one line of the trace.
func describe(b *storage.Batch) string {
	var text []byte
	if g := b.Global; g != nil {
		text = fmt.Appendf(text, "%s due %d attempts %d", g.Status, g.DueAt, g.Attempts)
	}
	for i := range b.Add {
		text = fmt.Appendf(text, " add %d %s %s", b.Add[i].ID, b.Add[i].ResourceID, b.Add[i].LockKey)
	}
	for _, c := range b.Change {
		text = fmt.Appendf(text, " change %d to %s", c.ID, c.Status)
	}
	if len(b.Unlock) > 0 {
		text = fmt.Appendf(text, " unlock %d", b.Unlock)
	}
	if b.UnlockAll {
		text = append(text, " unlock all"...)
	}
	if len(b.Remove) > 0 {
		text = fmt.Appendf(text, " remove %d", b.Remove)
	}
	if b.Finish != nil {
		text = fmt.Appendf(text, " finish %s", b.Finish.Outcome)
	}
	return string(text)
}
