package gateway

import (
	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/server/peers"
)

// Versions in which Seata's clients learned to read an answer.
var (
	versionFailFast = peers.NewVersion(1, 5, 0) // brought LockKeyConflictFailFast, as 19
	versionRaft     = peers.NewVersion(2, 0, 0) // put NotRaftLeader before it
	versionTimeout  = peers.NewVersion(1, 6, 0) // looks at the answer to a commit, for a time-out alone
	versionOutcome  = peers.NewVersion(1, 7, 0) // looks at every outcome
)

// forVersion puts an answer into the words of a client's version. A code that
// the client lacks would not be read as unknown: its decoder throws, and the
// request waits for an answer until its time-out.
func forVersion(v peers.Version, answer protocol.Message) protocol.Message {
	switch m := answer.(type) {
	case *protocol.BranchRegisterResult:
		m.Exception = exceptionFor(v, m.Exception)
	case *protocol.GlobalLockQueryResult:
		m.Exception = exceptionFor(v, m.Exception)
	case *protocol.GlobalCommitResult:
		m.Status = commitFor(v, m.Status)
	}
	return answer
}

// exceptionFor is a code of this coordinator as the version numbers it.
func exceptionFor(v peers.Version, code protocol.ExceptionCode) protocol.ExceptionCode {
	switch {
	case code != protocol.ExceptionLockKeyConflictFailFast || v >= versionRaft:
		return code
	case v >= versionFailFast:
		return code - 1
	default: // it tries again, as it did with the coordinators of its time
		return protocol.ExceptionLockKeyConflict
	}
}

// commitFor is an answer to a commit that the version does not take for success
// unless it is one (invariant I10). The template of 1.6 makes an exception of
// TimeoutRollbacking and TimeoutRollbacked, and of nothing else. That of an
// older version looks at no answer, so that none helps.
func commitFor(v peers.Version, s protocol.GlobalStatus) protocol.GlobalStatus {
	if v < versionTimeout || v >= versionOutcome {
		return s
	}
	switch s {
	case protocol.StatusTimeoutRollbackFailed, protocol.StatusFinished:
		return protocol.StatusTimeoutRollbacking
	default:
		return s
	}
}
