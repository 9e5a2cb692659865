package gateway

import (
	"fmt"

	"github.com/qiao-tx/qiao/protocol"
)

// overloaded is the failure that answers a request for which there is no room,
// or nil for a message that is no request. Where a Java transaction manager
// looks only at the status, that is one it does not take for success.
func overloaded(m protocol.Message, limit int64) protocol.Message {
	because := func(code protocol.ExceptionCode) protocol.TxResult {
		return protocol.Failure(code, fmt.Sprintf("the coordinator is overloaded: %d requests are under way; nothing was done, try again later", limit))
	}
	switch m := m.(type) {
	case *protocol.GlobalBegin:
		return &protocol.GlobalBeginResult{TxResult: because(protocol.ExceptionBeginFailed)}
	case *protocol.GlobalCommit:
		return &protocol.GlobalCommitResult{TxResult: because(protocol.ExceptionUnknown), Status: protocol.StatusFinished}
	case *protocol.GlobalRollback:
		return &protocol.GlobalRollbackResult{TxResult: because(protocol.ExceptionUnknown), Status: protocol.StatusUnKnown}
	case *protocol.GlobalStatusRequest:
		return &protocol.GlobalStatusResult{TxResult: because(protocol.ExceptionUnknown), Status: protocol.StatusUnKnown}
	case *protocol.GlobalReport:
		return &protocol.GlobalReportResult{TxResult: because(protocol.ExceptionUnknown), Status: m.Status}
	case *protocol.BranchRegister:
		return &protocol.BranchRegisterResult{TxResult: because(protocol.ExceptionBranchRegisterFailed)}
	case *protocol.BranchReport:
		return &protocol.BranchReportResult{TxResult: because(protocol.ExceptionBranchReportFailed)}
	case *protocol.GlobalLockQuery:
		return &protocol.GlobalLockQueryResult{TxResult: because(protocol.ExceptionLockableCheckFailed)}
	}
	return nil
}
