package txn

import "github.com/qiao-tx/qiao/protocol"

// CommitAnswer is the status that a Java transaction manager is given for a
// GlobalCommit when the true one is s. Java takes every status for success but
// 6, 7, 13, 14 and 15 (TransactionalTemplate.commitTransaction of 1.7 and later;
// the gateway sees to older versions), so a transaction that is not committed
// never answers another. GlobalRollback needs
// no such care: Java reports 11, 13 and 15 as done, 4 to 7 as going on, 12, 14
// and 17 as failed, and warns of every other status.
func CommitAnswer(s protocol.GlobalStatus) protocol.GlobalStatus {
	switch s {
	case protocol.StatusAsyncCommitting, protocol.StatusCommitted:
		return protocol.StatusCommitted
	case protocol.StatusCommitting, protocol.StatusCommitRetrying:
		return s
	case protocol.StatusRollbacking, protocol.StatusRollbackRetrying,
		protocol.StatusTimeoutRollbacking, protocol.StatusTimeoutRollbackRetrying:
		return protocol.StatusTimeoutRollbacking
	case protocol.StatusRollbacked, protocol.StatusTimeoutRollbacked:
		return protocol.StatusTimeoutRollbacked
	case protocol.StatusRollbackFailed, protocol.StatusTimeoutRollbackFailed:
		return protocol.StatusTimeoutRollbackFailed
	default: // a failed commit, a transaction nobody knows, a status of others
		return protocol.StatusFinished
	}
}
