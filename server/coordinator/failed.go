package coordinator

import "github.com/qiao-tx/qiao/protocol"

// Failed is the answer to a request that is not carried out, with the reason, or nil
// for a message that is no request. Where a Java transaction manager looks only at
// the status, that is one it does not take for success.
func Failed(m protocol.Message, why string) protocol.Message {
	because := func(code protocol.ExceptionCode) protocol.TxResult { return protocol.Failure(code, why) }
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

// IsRequest tells whether a message is a request that a Coordinator carries out.
func IsRequest(m protocol.Message) bool {
	switch m.(type) {
	case *protocol.GlobalBegin, *protocol.GlobalCommit, *protocol.GlobalRollback, *protocol.GlobalStatusRequest,
		*protocol.GlobalReport, *protocol.BranchRegister, *protocol.BranchReport, *protocol.GlobalLockQuery:
		return true
	}
	return false
}

// Repeatable tells whether a request may be asked again when it is not known whether
// it was carried out: a begin that was leaves a transaction that times out, and a
// registration is known by its HeadRequest.
func Repeatable(m protocol.Message, head map[string]string) bool {
	if _, registers := m.(*protocol.BranchRegister); registers {
		return head[HeadRequest] != ""
	}
	return IsRequest(m)
}
