package txn

import (
	"fmt"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/storage"
)

// condition chooses between the rows for one event.
type condition struct {
	name  string
	holds func(*step) bool
}

var (
	timeUp = &condition{"time is up", func(st *step) bool {
		return st.now >= st.s.Global.Deadline()
	}}
	idle = &condition{"no branch needs an order", func(st *step) bool {
		return noOrders(st.s, nothingToDo)
	}}
	idleToCommit = &condition{"no branch needs an order to commit", func(st *step) bool {
		return noOrders(st.s, nothingToCommit)
	}}
	timeUpAndIdle = &condition{"time is up and no branch needs an order", func(st *step) bool {
		return timeUp.holds(st) && idle.holds(st)
	}}
	asynchronous = &condition{"all branches commit asynchronously", func(st *step) bool {
		for i := range st.s.Branches {
			if b := &st.s.Branches[i]; !isAsynchronous(b) && !nothingToCommit(b) {
				return false
			}
		}
		return !isSaga(st.s)
	}}
	due = &condition{"its time has come", func(st *step) bool {
		g := &st.s.Global
		return st.event.(Tick).Forced || g.DueAt != 0 && g.DueAt <= st.now
	}}
	dueAndEmpty = &condition{"its time has come and no branch is left", func(st *step) bool {
		return due.holds(st) && len(st.s.Branches) == 0 && !isSaga(st.s)
	}}
	foreign = &condition{"its time has come: another program wrote the status", func(st *step) bool {
		g := &st.s.Global
		return g.DueAt != 0 && g.DueAt <= st.now
	}}

	repeated = &condition{"the request key is known", func(st *step) bool {
		return st.registered() != nil
	}}
	malformed = &condition{"the registration is malformed", func(st *step) bool {
		return st.event.(Register).check() != nil
	}}
	unknownBranch = &condition{"there is no such branch", func(st *step) bool {
		return st.s.Branch(st.event.(Report).BranchID) == nil
	}}

	answersToRollback = &condition{"they answer a rollback", func(st *step) bool {
		return st.event.(Answers).Rollback
	}}
	answersToCommit = &condition{"they answer a commit", func(st *step) bool {
		return !st.event.(Answers).Rollback
	}}
	nothingNew = &condition{"they say nothing new", func(st *step) bool {
		d := &st.digest
		return len(d.done) == 0 && !d.failed && !d.hopeless && !d.sagaDone
	}}
	hopeless = &condition{"a branch can never obey", func(st *step) bool { return st.digest.hopeless }}
	failed   = &condition{"a branch has to be asked again", func(st *step) bool { return st.digest.failed }}
	allDone  = &condition{"no branch is left", func(st *step) bool {
		return st.digest.sagaDone || st.digest.rest == 0 && !isSaga(st.s)
	}}
	someOutstanding = &condition{"asynchronous answers are outstanding", func(st *step) bool {
		return st.s.Global.Status == protocol.StatusAsyncCommitting
	}}
	asynchronousLeft = &condition{"only asynchronous branches are left", func(st *step) bool {
		return st.digest.sync == 0
	}}

	sagaCompensated = &condition{"the saga was compensated", func(st *step) bool {
		return st.digest.saga == protocol.BranchPhaseTwoRollbacked
	}}
	sagaCompensating = &condition{"the saga has to be compensated", func(st *step) bool {
		return st.digest.saga == protocol.BranchPhaseTwoRollbackFailedRetryable
	}}
	sagaNeverBegan = &condition{"the saga never began", func(st *step) bool {
		return st.digest.saga == protocol.BranchPhaseOneFailed
	}}
	sagaForwarding = &condition{"the saga has to go on", func(st *step) bool {
		return st.digest.saga == protocol.BranchPhaseTwoCommitFailedRetryable
	}}

	notSaga          = &condition{"it is no saga", func(st *step) bool { return !isSaga(st.s) }}
	reportsCommitted = reported("Committed", protocol.StatusCommitted)
	// Java ends a saga that is reported Finished as rolled back.
	reportsRollbacked    = reported("Rollbacked or Finished", protocol.StatusRollbacked, protocol.StatusFinished)
	reportsRollbackRetry = reported("RollbackRetrying, TimeoutRollbackRetrying or UnKnown",
		protocol.StatusRollbackRetrying, protocol.StatusTimeoutRollbackRetrying, protocol.StatusUnKnown)
	reportsCommitRetry = reported("CommitRetrying", protocol.StatusCommitRetrying)
	reportsFailure     = reported("CommitFailed, RollbackFailed or TimeoutRollbackFailed", phases[parked]...)
)

func reported(name string, statuses ...protocol.GlobalStatus) *condition {
	return &condition{"it is " + name, func(st *step) bool {
		for _, s := range statuses {
			if st.event.(SagaReport).Status == s {
				return true
			}
		}
		return false
	}}
}

// noOrders tells whether phase two of the transaction would be empty.
func noOrders(s *storage.State, nothing func(*storage.Branch) bool) bool {
	if isSaga(s) {
		return false
	}
	for i := range s.Branches {
		if !nothing(&s.Branches[i]) {
			return false
		}
	}
	return true
}

// registered is the branch that an earlier copy of the registration added.
func (st *step) registered() *storage.Branch {
	key := st.event.(Register).RequestKey
	if key == "" {
		return nil
	}
	for i := range st.s.Branches {
		if st.s.Branches[i].RequestKey == key {
			return &st.s.Branches[i]
		}
	}
	return nil
}

// maxApplicationData is Java's limit in bytes (server.applicationDataLimit).
const maxApplicationData = 64_000

func (e Register) check() error {
	m, ok := modeOf(e.Type)
	if !ok {
		return fmt.Errorf("branch type %s is not known; known are AT, TCC, SAGA, XA", e.Type)
	}
	if len(e.ApplicationData) > maxApplicationData {
		return fmt.Errorf("application data has %d bytes, at most %d are kept: store large arguments yourself and pass a reference",
			len(e.ApplicationData), maxApplicationData)
	}
	if m.locks {
		return storage.CheckRows(e.ResourceID, e.LockKey)
	}
	return nil
}
