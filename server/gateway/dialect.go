package gateway

import (
	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/server/peers"
)

// Versions in which Seata's TransactionExceptionCode changed.
var (
	versionFailFast = peers.NewVersion(1, 5, 0) // brought LockKeyConflictFailFast, as 19
	versionRaft     = peers.NewVersion(2, 0, 0) // put NotRaftLeader before it
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
