package hessian

import "github.com/qiao-tx/qiao/protocol"

// enum is a value of an enumeration of Java's: a class with a name in it.
type enum struct {
	// class lacks the Java package and ".core.".
	class string
	// nameOf is Java's name of a value, or "".
	nameOf func(v int) string
	// highest is the highest value.
	highest int
	get     func() int
	set     func(v int)
}

// enumOf returns the enumeration to which value points, if it is one.
func enumOf(value any) (enum, bool) {
	switch v := value.(type) {
	case *protocol.GlobalStatus:
		return enumFor(v, "model.GlobalStatus", int(protocol.StatusStopRollbackOrRollbackRetry),
			func(n int) string { return protocol.GlobalStatus(n).String() }), true
	case *protocol.BranchStatus:
		return enumFor(v, "model.BranchStatus", int(protocol.BranchStopRetry), branchStatusName), true
	case *protocol.BranchType:
		return enumFor(v, "model.BranchType", int(protocol.TypeSagaAnnotation),
			func(n int) string { return protocol.BranchType(n).String() }), true
	case *protocol.ExceptionCode:
		return enumFor(v, "exception.TransactionExceptionCode", int(protocol.ExceptionBroken), exceptionName), true
	case *protocol.ResultCode:
		return enumFor(v, "protocol.ResultCode", int(protocol.ResultSuccess),
			func(n int) string { return protocol.ResultCode(n).String() }), true
	}
	return enum{}, false
}

func enumFor[T ~int8 | ~uint8](v *T, class string, highest int, nameOf func(int) string) enum {
	return enum{class, nameOf, highest, func() int { return int(*v) }, func(n int) { *v = T(n) }}
}

// valueOf is the value of the name, or -1.
func (e enum) valueOf(name string) int {
	for v := 0; v <= e.highest; v++ {
		if e.nameOf(v) == name {
			return v
		}
	}
	return -1
}

// branchStatusName is Java's name, which has underscores.
func branchStatusName(v int) string {
	switch s := protocol.BranchStatus(v); s {
	case protocol.BranchUnknown, protocol.BranchRegistered:
		return s.String()
	case protocol.BranchPhaseTwoCommitFailedRetryable:
		return "PhaseTwo_CommitFailed_Retryable"
	case protocol.BranchPhaseTwoCommitFailedUnretryable:
		return "PhaseTwo_CommitFailed_Unretryable"
	case protocol.BranchPhaseTwoRollbackFailedRetryable:
		return "PhaseTwo_RollbackFailed_Retryable"
	case protocol.BranchPhaseTwoRollbackFailedUnretryable:
		return "PhaseTwo_RollbackFailed_Unretryable"
	case protocol.BranchPhaseTwoCommitFailedXAERNOTARetryable:
		return "PhaseTwo_CommitFailed_XAER_NOTA_Retryable"
	case protocol.BranchPhaseTwoRollbackFailedXAERNOTARetryable:
		return "PhaseTwo_RollbackFailed_XAER_NOTA_Retryable"
	case protocol.BranchStopRetry:
		return "STOP_RETRY"
	default:
		const phase = len("PhaseOne")
		return s.String()[:phase] + "_" + s.String()[phase:]
	}
}

func exceptionName(v int) string {
	code := protocol.ExceptionCode(v)
	switch code {
	case protocol.ExceptionBranchRollbackFailedRetriable:
		return "BranchRollbackFailed_Retriable"
	case protocol.ExceptionBranchRollbackFailedUnretriable:
		return "BranchRollbackFailed_Unretriable"
	}
	return code.String()
}
