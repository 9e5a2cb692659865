package txn

import (
	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/storage"
)

// phase groups the statuses in which the same transitions hold.
type phase uint8

const (
	absent phase = iota
	undecided
	committing
	rollingBack
	parked
	finished
)

var phaseNames = [...]string{"absent", "undecided", "committing", "rolling back", "parked", "finished"}

func (p phase) String() string { return phaseNames[p] }

// phases lists the statuses of each phase. A transaction that is absent or
// finished has no status of its own. Committed, Rollbacked and TimeoutRollbacked
// are what a Java coordinator writes just before it removes a transaction: it may
// have died in between, or a branch may have been registered after it looked.
var phases = map[phase][]protocol.GlobalStatus{
	undecided: {protocol.StatusBegin},
	committing: {
		protocol.StatusAsyncCommitting, protocol.StatusCommitting, protocol.StatusCommitRetrying, protocol.StatusCommitted,
	},
	rollingBack: {
		protocol.StatusRollbacking, protocol.StatusRollbackRetrying,
		protocol.StatusTimeoutRollbacking, protocol.StatusTimeoutRollbackRetrying,
		protocol.StatusRollbacked, protocol.StatusTimeoutRollbacked,
	},
	parked: {protocol.StatusCommitFailed, protocol.StatusRollbackFailed, protocol.StatusTimeoutRollbackFailed},
}

// phaseByStatus is indexed by the status as a byte. A transaction with a status
// that another program wrote is parked: touch nothing.
var phaseByStatus = indexPhases()

func indexPhases() (index [256]phase) {
	for i := range index {
		index[i] = parked
	}
	for p, statuses := range phases {
		for _, s := range statuses {
			index[byte(s)] = p
		}
	}
	return index
}

func phaseOfStatus(s protocol.GlobalStatus) phase { return phaseByStatus[byte(s)] }

func phaseOf(s *storage.State) phase {
	switch {
	case s.Finished():
		return finished
	case !s.Exists():
		return absent
	}
	return phaseOfStatus(s.Global.Status)
}

// InPhaseTwo tells whether a decided transaction has orders to give, now or
// later.
func InPhaseTwo(status protocol.GlobalStatus) bool {
	p := phaseOfStatus(status)
	return p == committing || p == rollingBack
}

// retrying is the status of a decided transaction whose round has failed.
func retrying(s protocol.GlobalStatus) protocol.GlobalStatus {
	switch s {
	case protocol.StatusCommitting, protocol.StatusCommitted:
		return protocol.StatusCommitRetrying
	case protocol.StatusRollbacking, protocol.StatusRollbacked:
		return protocol.StatusRollbackRetrying
	case protocol.StatusTimeoutRollbacking, protocol.StatusTimeoutRollbacked:
		return protocol.StatusTimeoutRollbackRetrying
	}
	return s
}

// timedOut tells whether the time-out decided the rollback.
func timedOut(s protocol.GlobalStatus) bool {
	return s == protocol.StatusTimeoutRollbacking || s == protocol.StatusTimeoutRollbackRetrying ||
		s == protocol.StatusTimeoutRollbacked
}

// outcomeOf is how a transaction in phase two ends when all goes well.
func outcomeOf(s protocol.GlobalStatus) protocol.GlobalStatus {
	switch {
	case phaseOfStatus(s) == committing:
		return protocol.StatusCommitted
	case timedOut(s):
		return protocol.StatusTimeoutRollbacked
	default:
		return protocol.StatusRollbacked
	}
}

// failureOf is where a transaction in phase two stops when it cannot go on.
func failureOf(s protocol.GlobalStatus) protocol.GlobalStatus {
	switch {
	case phaseOfStatus(s) == committing:
		return protocol.StatusCommitFailed
	case timedOut(s):
		return protocol.StatusTimeoutRollbackFailed
	default:
		return protocol.StatusRollbackFailed
	}
}

// RollingBack tells whether a rollback has been decided and is not done, or
// failed.
func RollingBack(status protocol.GlobalStatus) bool {
	return phaseOfStatus(status) == rollingBack
}
