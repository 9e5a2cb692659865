package protocol

// New returns an empty message of the type, or nil for a type that is unknown
// or has no body.
func New(code TypeCode) Message {
	switch code {
	case TypeGlobalBegin:
		return new(GlobalBegin)
	case TypeGlobalBeginResult:
		return new(GlobalBeginResult)
	case TypeBranchCommit:
		return new(BranchCommit)
	case TypeBranchCommitResult:
		return new(BranchCommitResult)
	case TypeBranchRollback:
		return new(BranchRollback)
	case TypeBranchRollbackResult:
		return new(BranchRollbackResult)
	case TypeGlobalCommit:
		return new(GlobalCommit)
	case TypeGlobalCommitResult:
		return new(GlobalCommitResult)
	case TypeGlobalRollback:
		return new(GlobalRollback)
	case TypeGlobalRollbackResult:
		return new(GlobalRollbackResult)
	case TypeBranchRegister:
		return new(BranchRegister)
	case TypeBranchRegisterResult:
		return new(BranchRegisterResult)
	case TypeBranchReport:
		return new(BranchReport)
	case TypeBranchReportResult:
		return new(BranchReportResult)
	case TypeGlobalStatus:
		return new(GlobalStatusRequest)
	case TypeGlobalStatusResult:
		return new(GlobalStatusResult)
	case TypeGlobalReport:
		return new(GlobalReport)
	case TypeGlobalReportResult:
		return new(GlobalReportResult)
	case TypeGlobalLockQuery:
		return new(GlobalLockQuery)
	case TypeGlobalLockResult:
		return new(GlobalLockQueryResult)
	case TypeUndoLogDelete:
		return new(UndoLogDelete)
	}
	return newEnvelope(code)
}

// newEnvelope is New for registrations and messages that hold others.
func newEnvelope(code TypeCode) Message {
	switch code {
	case TypeRegisterTM:
		return new(RegisterTM)
	case TypeRegisterTMResult:
		return new(RegisterTMResult)
	case TypeRegisterRM:
		return new(RegisterRM)
	case TypeRegisterRMResult:
		return new(RegisterRMResult)
	case TypeUnregisterRM:
		return new(UnregisterRM)
	case TypeUnregisterRMResult:
		return new(UnregisterRMResult)
	case TypeMerged:
		return new(Merged)
	case TypeMergedResult:
		return new(MergedResult)
	case TypeBatchResult:
		return new(BatchResult)
	}
	return nil
}
