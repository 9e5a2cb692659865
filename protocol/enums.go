package protocol

import "strconv"

// SeataVersion is the version that both our ends announce.
const SeataVersion = "2.5.0"

// GlobalStatus is the state of a global transaction
// (org.apache.seata.core.model.GlobalStatus). StatusNone stands for an absent one.
type GlobalStatus int8

// Values of GlobalStatus.
const (
	StatusUnKnown                     GlobalStatus = 0
	StatusBegin                       GlobalStatus = 1
	StatusCommitting                  GlobalStatus = 2
	StatusCommitRetrying              GlobalStatus = 3
	StatusRollbacking                 GlobalStatus = 4
	StatusRollbackRetrying            GlobalStatus = 5
	StatusTimeoutRollbacking          GlobalStatus = 6
	StatusTimeoutRollbackRetrying     GlobalStatus = 7
	StatusAsyncCommitting             GlobalStatus = 8
	StatusCommitted                   GlobalStatus = 9
	StatusCommitFailed                GlobalStatus = 10
	StatusRollbacked                  GlobalStatus = 11
	StatusRollbackFailed              GlobalStatus = 12
	StatusTimeoutRollbacked           GlobalStatus = 13
	StatusTimeoutRollbackFailed       GlobalStatus = 14
	StatusFinished                    GlobalStatus = 15
	StatusCommitRetryTimeout          GlobalStatus = 16
	StatusRollbackRetryTimeout        GlobalStatus = 17
	StatusDeleting                    GlobalStatus = 18
	StatusStopCommitOrCommitRetry     GlobalStatus = 19
	StatusStopRollbackOrRollbackRetry GlobalStatus = 20
)

var globalStatusNames = map[GlobalStatus]string{
	StatusUnKnown:                     "UnKnown",
	StatusBegin:                       "Begin",
	StatusCommitting:                  "Committing",
	StatusCommitRetrying:              "CommitRetrying",
	StatusRollbacking:                 "Rollbacking",
	StatusRollbackRetrying:            "RollbackRetrying",
	StatusTimeoutRollbacking:          "TimeoutRollbacking",
	StatusTimeoutRollbackRetrying:     "TimeoutRollbackRetrying",
	StatusAsyncCommitting:             "AsyncCommitting",
	StatusCommitted:                   "Committed",
	StatusCommitFailed:                "CommitFailed",
	StatusRollbacked:                  "Rollbacked",
	StatusRollbackFailed:              "RollbackFailed",
	StatusTimeoutRollbacked:           "TimeoutRollbacked",
	StatusTimeoutRollbackFailed:       "TimeoutRollbackFailed",
	StatusFinished:                    "Finished",
	StatusCommitRetryTimeout:          "CommitRetryTimeout",
	StatusRollbackRetryTimeout:        "RollbackRetryTimeout",
	StatusDeleting:                    "Deleting",
	StatusStopCommitOrCommitRetry:     "StopCommitOrCommitRetry",
	StatusStopRollbackOrRollbackRetry: "StopRollbackOrRollbackRetry",
}

// String is the name that Seata gives the value, or its number.
func (v GlobalStatus) String() string { return nameOf(globalStatusNames, v) }

// StatusNone is the absent status of a GlobalReport.
const StatusNone GlobalStatus = -1

// BranchStatus is the state of a branch (org.apache.seata.core.model.BranchStatus).
type BranchStatus int8

// Values of BranchStatus.
const (
	BranchUnknown                                 BranchStatus = 0
	BranchRegistered                              BranchStatus = 1
	BranchPhaseOneDone                            BranchStatus = 2
	BranchPhaseOneFailed                          BranchStatus = 3
	BranchPhaseOneTimeout                         BranchStatus = 4
	BranchPhaseTwoCommitted                       BranchStatus = 5
	BranchPhaseTwoCommitFailedRetryable           BranchStatus = 6
	BranchPhaseTwoCommitFailedUnretryable         BranchStatus = 7
	BranchPhaseTwoRollbacked                      BranchStatus = 8
	BranchPhaseTwoRollbackFailedRetryable         BranchStatus = 9
	BranchPhaseTwoRollbackFailedUnretryable       BranchStatus = 10
	BranchPhaseTwoCommitFailedXAERNOTARetryable   BranchStatus = 11
	BranchPhaseTwoRollbackFailedXAERNOTARetryable BranchStatus = 12
	BranchPhaseOneRDONLY                          BranchStatus = 13
	BranchStopRetry                               BranchStatus = 14
)

var branchStatusNames = map[BranchStatus]string{
	BranchUnknown:                                 "Unknown",
	BranchRegistered:                              "Registered",
	BranchPhaseOneDone:                            "PhaseOneDone",
	BranchPhaseOneFailed:                          "PhaseOneFailed",
	BranchPhaseOneTimeout:                         "PhaseOneTimeout",
	BranchPhaseTwoCommitted:                       "PhaseTwoCommitted",
	BranchPhaseTwoCommitFailedRetryable:           "PhaseTwoCommitFailedRetryable",
	BranchPhaseTwoCommitFailedUnretryable:         "PhaseTwoCommitFailedUnretryable",
	BranchPhaseTwoRollbacked:                      "PhaseTwoRollbacked",
	BranchPhaseTwoRollbackFailedRetryable:         "PhaseTwoRollbackFailedRetryable",
	BranchPhaseTwoRollbackFailedUnretryable:       "PhaseTwoRollbackFailedUnretryable",
	BranchPhaseTwoCommitFailedXAERNOTARetryable:   "PhaseTwoCommitFailedXAERNOTARetryable",
	BranchPhaseTwoRollbackFailedXAERNOTARetryable: "PhaseTwoRollbackFailedXAERNOTARetryable",
	BranchPhaseOneRDONLY:                          "PhaseOneRDONLY",
	BranchStopRetry:                               "StopRetry",
}

// String is the name that Seata gives the value, or its number.
func (v BranchStatus) String() string { return nameOf(branchStatusNames, v) }

// BranchType is the mode of a branch (org.apache.seata.core.model.BranchType).
type BranchType int8

// Values of BranchType.
const (
	TypeAT             BranchType = 0
	TypeTCC            BranchType = 1
	TypeSaga           BranchType = 2
	TypeXA             BranchType = 3
	TypeSagaAnnotation BranchType = 4
)

var branchTypeNames = map[BranchType]string{
	TypeAT:             "AT",
	TypeTCC:            "TCC",
	TypeSaga:           "SAGA",
	TypeXA:             "XA",
	TypeSagaAnnotation: "SAGA_ANNOTATION",
}

// String is the name that Seata gives the value, or its number.
func (v BranchType) String() string { return nameOf(branchTypeNames, v) }

// ResultCode tells whether a request was carried out.
type ResultCode uint8

// Values of ResultCode.
const (
	ResultFailed  ResultCode = 0
	ResultSuccess ResultCode = 1
)

var resultCodeNames = map[ResultCode]string{
	ResultFailed:  "Failed",
	ResultSuccess: "Success",
}

// String is the name that Seata gives the value, or its number.
func (v ResultCode) String() string { return nameOf(resultCodeNames, v) }

// ExceptionCode says why a request about a transaction failed (TransactionExceptionCode).
type ExceptionCode int8

// Values of ExceptionCode.
const (
	ExceptionUnknown                           ExceptionCode = 0
	ExceptionBeginFailed                       ExceptionCode = 1
	ExceptionLockKeyConflict                   ExceptionCode = 2
	ExceptionIO                                ExceptionCode = 3
	ExceptionBranchRollbackFailedRetriable     ExceptionCode = 4
	ExceptionBranchRollbackFailedUnretriable   ExceptionCode = 5
	ExceptionBranchRegisterFailed              ExceptionCode = 6
	ExceptionBranchReportFailed                ExceptionCode = 7
	ExceptionLockableCheckFailed               ExceptionCode = 8
	ExceptionBranchTransactionNotExist         ExceptionCode = 9
	ExceptionGlobalTransactionNotExist         ExceptionCode = 10
	ExceptionGlobalTransactionNotActive        ExceptionCode = 11
	ExceptionGlobalTransactionStatusInvalid    ExceptionCode = 12
	ExceptionFailedToSendBranchCommitRequest   ExceptionCode = 13
	ExceptionFailedToSendBranchRollbackRequest ExceptionCode = 14
	ExceptionFailedToAddBranch                 ExceptionCode = 15
	ExceptionFailedLockGlobalTransaction       ExceptionCode = 16
	ExceptionFailedWriteSession                ExceptionCode = 17
	ExceptionFailedStore                       ExceptionCode = 18
	ExceptionNotRaftLeader                     ExceptionCode = 19
	ExceptionLockKeyConflictFailFast           ExceptionCode = 20
	ExceptionTransactionTimeout                ExceptionCode = 21
	ExceptionCommitHeuristic                   ExceptionCode = 22
	ExceptionBroken                            ExceptionCode = 23
)

var exceptionCodeNames = map[ExceptionCode]string{
	ExceptionUnknown:                           "Unknown",
	ExceptionBeginFailed:                       "BeginFailed",
	ExceptionLockKeyConflict:                   "LockKeyConflict",
	ExceptionIO:                                "IO",
	ExceptionBranchRollbackFailedRetriable:     "BranchRollbackFailedRetriable",
	ExceptionBranchRollbackFailedUnretriable:   "BranchRollbackFailedUnretriable",
	ExceptionBranchRegisterFailed:              "BranchRegisterFailed",
	ExceptionBranchReportFailed:                "BranchReportFailed",
	ExceptionLockableCheckFailed:               "LockableCheckFailed",
	ExceptionBranchTransactionNotExist:         "BranchTransactionNotExist",
	ExceptionGlobalTransactionNotExist:         "GlobalTransactionNotExist",
	ExceptionGlobalTransactionNotActive:        "GlobalTransactionNotActive",
	ExceptionGlobalTransactionStatusInvalid:    "GlobalTransactionStatusInvalid",
	ExceptionFailedToSendBranchCommitRequest:   "FailedToSendBranchCommitRequest",
	ExceptionFailedToSendBranchRollbackRequest: "FailedToSendBranchRollbackRequest",
	ExceptionFailedToAddBranch:                 "FailedToAddBranch",
	ExceptionFailedLockGlobalTransaction:       "FailedLockGlobalTransaction",
	ExceptionFailedWriteSession:                "FailedWriteSession",
	ExceptionFailedStore:                       "FailedStore",
	ExceptionNotRaftLeader:                     "NotRaftLeader",
	ExceptionLockKeyConflictFailFast:           "LockKeyConflictFailFast",
	ExceptionTransactionTimeout:                "TransactionTimeout",
	ExceptionCommitHeuristic:                   "CommitHeuristic",
	ExceptionBroken:                            "Broken",
}

// String is the name that Seata gives the value, or its number.
func (v ExceptionCode) String() string { return nameOf(exceptionCodeNames, v) }

func nameOf[T interface {
	comparable
	~int8 | ~uint8 | ~int16
}](names map[T]string, v T) string {
	if name, ok := names[v]; ok {
		return name
	}
	return strconv.Itoa(int(v))
}
