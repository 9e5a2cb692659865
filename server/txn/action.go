package txn

import (
	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/storage"
)

// action is one part of a transition. Its name is what docs/states.md prints.
type action struct {
	name string
	run  func(*step)
	// to is where the action moves a transaction; nil when it stays.
	to func(from protocol.GlobalStatus) protocol.GlobalStatus
	// effect: the action adds to the Effects, not to the Batch.
	effect bool
}

// What goes into the Batch.
var (
	open = action{name: "open until the time-out", to: always(protocol.StatusBegin), run: func(st *step) {
		e := st.event.(Begin)
		timeout := e.TimeoutMillis
		if timeout < 1 {
			timeout = st.DefaultTimeoutMillis
		}
		*st.global() = storage.Global{
			ID: e.ID, Status: protocol.StatusBegin,
			ApplicationID: e.ApplicationID, Group: e.Group, Name: e.Name,
			BeganAt: st.now, TimeoutMillis: timeout, DueAt: st.now + int64(timeout),
		}
	}}
	addBranch = action{name: "add the branch and its row locks", run: func(st *step) {
		e := st.event.(Register)
		m, _ := modeOf(e.Type)
		st.batch.Add = []storage.Branch{{
			ID: e.ID, Type: e.Type, Status: protocol.BranchRegistered,
			ResourceID: e.ResourceID, ClientID: e.ClientID,
			LockKey: e.LockKey, Locked: m.locks && e.LockKey != "",
			ApplicationData: e.ApplicationData, RegisteredAt: st.now, RequestKey: e.RequestKey,
		}}
		st.changed = true
	}}
	changeBranch = action{name: "change the branch's status and data", run: func(st *step) {
		e := st.event.(Report)
		change := storage.BranchChange{ID: e.BranchID, Status: e.Status}
		if e.ApplicationData != "" {
			change.ApplicationData = &e.ApplicationData
		}
		st.batch.Change = []storage.BranchChange{change}
		st.changed = true
	}}
	dropIdle  = action{name: "drop branches that need no order", run: func(st *step) { st.drop(nothingToDo) }}
	dropFinal = action{name: "drop branches that need no order to commit", run: func(st *step) { st.drop(nothingToCommit) }}
	unlock    = action{name: "release all row locks", run: func(st *step) {
		for i := range st.s.Branches {
			if st.s.Branches[i].Locked {
				st.batch.UnlockAll = true
				return
			}
		}
	}}
	removeDone = action{name: "remove the branches that obeyed, with their locks", run: func(st *step) {
		st.batch.Remove = append(st.batch.Remove, st.digest.done...)
		st.changed = true
	}}
	becomeRetrying = action{name: "become …Retrying (AsyncCommitting stays)", to: retrying, run: func(st *step) {
		g := st.global()
		g.Status = retrying(g.Status)
		g.Evidence = st.digest.evidence
	}}
	later = action{name: "try again after a growing wait", run: func(st *step) {
		g := st.global()
		g.Attempts++
		g.DueAt = st.now + st.backoff(g.Attempts)
	}}
	awaitAnswers = action{name: "look again should no answer come", run: func(st *step) {
		st.global().DueAt = st.now + st.AnswerMillis
	}}
	park = action{name: "become …Failed with the evidence, locks kept", to: failureOf, run: func(st *step) {
		g := st.global()
		g.Status = failureOf(g.Status)
		g.Evidence = st.digest.evidence
		g.DueAt = 0
		st.emit(Ended{Status: g.Status, Evidence: g.Evidence})
	}}
	parkAsReported = action{name: "become what was reported", run: func(st *step) {
		g := st.global()
		g.Status = st.event.(SagaReport).Status
		g.Evidence = "the saga's application reported " + g.Status.String()
		g.DueAt = 0
		st.emit(Ended{Status: g.Status, Evidence: g.Evidence})
	}}
	setAside = action{name: "look no more, and say why", run: func(st *step) {
		g := st.global()
		g.Evidence = "another program left the transaction as " + g.Status.String() + ", of which nothing follows here"
		g.DueAt = 0
		st.emit(Ended{Status: g.Status, Evidence: g.Evidence})
	}}
	finishAsDecided = action{name: "finish with the outcome decided", to: outcomeOf, run: func(st *step) {
		finishWith(st, outcomeOf(st.s.Global.Status))
	}}
)

func always(to protocol.GlobalStatus) func(protocol.GlobalStatus) protocol.GlobalStatus {
	return func(protocol.GlobalStatus) protocol.GlobalStatus { return to }
}

// become moves the transaction to a status and has the due-loop look at it
// again should no answer come.
func become(to protocol.GlobalStatus) action {
	return action{name: "become " + to.String(), to: always(to), run: func(st *step) {
		g := st.global()
		if g.Status == protocol.StatusBegin {
			st.emit(Decided{Status: to})
		}
		g.Status = to
		g.DueAt = st.now + st.AnswerMillis
	}}
}

// finish ends the transaction: only a tombstone with the outcome stays.
func finish(outcome protocol.GlobalStatus) action {
	return action{name: "finish " + outcome.String(), to: always(outcome), run: func(st *step) {
		if st.s.Global.Status == protocol.StatusBegin {
			st.emit(Decided{Status: outcome})
		}
		finishWith(st, outcome)
	}}
}

func finishWith(st *step, outcome protocol.GlobalStatus) {
	st.batch.Finish = &storage.Tombstone{Outcome: outcome, ExpiresAt: st.now + st.RetentionMillis}
	st.changed = true
	st.emit(Ended{Status: outcome})
}

// What leaves once the Batch is durable.
var (
	orderCommit = action{effect: true, name: "order commits", run: func(st *step) { st.order(false) }}

	orderRollback = action{effect: true, name: "order a rollback", run: func(st *step) { st.order(true) }}

	reply = action{effect: true, name: "reply with the status", run: func(st *step) {
		st.emit(Reply{Status: Status(st.s)})
	}}
	replyAfter = action{effect: true, name: "reply with the new status", run: func(st *step) {
		st.emit(Reply{Status: st.statusAfter()})
	}}
	replyReported = action{effect: true, name: "reply with the reported status", run: func(st *step) {
		st.emit(Reply{Status: st.event.(SagaReport).Status})
	}}
	replyBranch = action{effect: true, name: "reply with the branch id", run: func(st *step) {
		st.emit(Reply{Status: st.s.Global.Status, BranchID: st.event.(Register).ID})
	}}
	replyRegistered = action{effect: true, name: "reply with the earlier branch id", run: func(st *step) {
		st.emit(Reply{Status: st.s.Global.Status, BranchID: st.registered().ID})
	}}
	wait = action{effect: true, name: "keep the caller waiting", run: func(st *step) { st.emit(Wait{}) }}

	settle = action{effect: true, name: "answer who waits", run: func(st *step) {
		st.emit(Settled{Status: st.statusAfter()})
	}}

	refuseUnknown = action{effect: true, name: "refuse: no such transaction", run: func(st *step) {
		st.refuse(protocol.ExceptionGlobalTransactionNotExist,
			"global transaction %s does not exist here: it was never begun on this coordinator, or finished", st.s.XID)
	}}
	refuseDuplicate = action{effect: true, name: "refuse: the XID is taken", run: func(st *step) {
		st.refuse(protocol.ExceptionBeginFailed, "global transaction %s exists", st.s.XID)
	}}
	refuseDecided = action{effect: true, name: "refuse: not active", run: func(st *step) {
		st.refuse(protocol.ExceptionGlobalTransactionNotActive,
			"global transaction %s takes no more branches: it is %s", st.s.XID, st.statusAfter())
	}}
	refuseMalformed = action{effect: true, name: "refuse: what is malformed", run: func(st *step) {
		st.refuse(protocol.ExceptionBranchRegisterFailed,
			"branch of %s refused: %v", st.s.XID, st.event.(Register).check())
	}}
	refuseBranch = action{effect: true, name: "refuse: no such branch", run: func(st *step) {
		st.refuse(protocol.ExceptionBranchTransactionNotExist,
			"global transaction %s has no branch %d", st.s.XID, st.event.(Report).BranchID)
	}}
	refuseReport = action{effect: true, name: "refuse: no status of a saga", run: func(st *step) {
		st.refuse(protocol.ExceptionGlobalTransactionStatusInvalid,
			"a saga cannot be reported as %s", st.event.(SagaReport).Status)
	}}
)

// drop forgets the branches that pick names.
func (st *step) drop(pick func(*storage.Branch) bool) {
	for i := range st.s.Branches {
		if b := &st.s.Branches[i]; pick(b) {
			st.batch.Remove = append(st.batch.Remove, b.ID)
		}
	}
}

// order sends the next orders of the state that the batch leads to.
func (st *step) order(rollback bool) {
	orders := st.commitOrders
	if rollback {
		orders = st.rollbackOrders
	}
	st.emit(Send{Rollback: rollback, Orders: orders(st.after())})
}

// backoff is the wait before the next round when attempts have failed.
func (m Machine) backoff(attempts int32) int64 {
	wait := m.RetryMillis
	for i := int32(1); i < attempts && wait < m.RetryMaxMillis; i++ {
		wait *= 2
	}
	return min(wait, m.RetryMaxMillis)
}
