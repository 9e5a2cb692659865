package tm

import (
	"errors"
	"fmt"

	"github.com/qiao-tx/qiao/protocol"
)

// Errors of a transaction manager. Match them with errors.Is; one error may
// match several.
var (
	// ErrTimedOut: the transaction outlived its time-out and is rolled back.
	ErrTimedOut = errors.New("the global transaction timed out")
	// ErrRolledBack: commit was asked for, but rollback had been decided.
	ErrRolledBack = errors.New("the global transaction is rolled back")
	// ErrRollbackOnly: a participant ruled commit out, so the transaction was
	// rolled back. The participant's reason is wrapped as well.
	ErrRollbackOnly = errors.New("a participant allows only rollback")
	// ErrHeuristic: the transaction did not end as decided, in whole or in
	// part: a branch failed for good in phase two, or an operator stopped it.
	// Somebody has to look at the coordinator's console.
	ErrHeuristic = errors.New("the global transaction did not end as decided")
	// ErrNotFound: the coordinator does not know the transaction, or no longer.
	ErrNotFound = errors.New("the coordinator does not know the global transaction")
	// ErrOutcomeUnknown: whether the transaction commits or rolls back could not
	// be learned. Manager.Status may tell later.
	ErrOutcomeUnknown = errors.New("the outcome of the global transaction is unknown")
	// ErrUnavailable: no coordinator answered; the error is an *Unavailable.
	ErrUnavailable = errors.New("no coordinator answered")
	// ErrPropagation: the Propagation of a Run does not fit what its context
	// carries. Nothing was run.
	ErrPropagation = errors.New("the propagation forbids it")
	// ErrProtected: the Guard let no transaction begin. Nothing was run; it may
	// be tried again later.
	ErrProtected = errors.New("refused by the guard of global transactions")
	// ErrRefused: the coordinator refused the request for another reason.
	ErrRefused = errors.New("the coordinator refused")
)

// Unavailable is the error of a request that no coordinator answered.
type Unavailable struct {
	// Op names the request: "begin", "commit", "rollback", "status".
	Op string
	// SafeToRetry: the request was certainly not carried out. Otherwise it may
	// have been, with the answer lost.
	SafeToRetry bool
	Cause       error
}

func (e *Unavailable) Error() string {
	carried := "it may have been carried out"
	if e.SafeToRetry {
		carried = "it was not carried out"
	}
	return fmt.Sprintf("%s: %v; %s: %v", e.Op, ErrUnavailable, carried, e.Cause)
}

// Is makes errors.Is(err, ErrUnavailable) true.
func (e *Unavailable) Is(target error) bool { return target == ErrUnavailable }

func (e *Unavailable) Unwrap() error { return e.Cause }

// Outcome is the error of a transaction that ended, or stands, otherwise than
// its caller asked for.
type Outcome struct {
	XID string
	// Asked is "commit" or "rollback".
	Asked string
	// Status is what the coordinator answered.
	Status protocol.GlobalStatus
	// kinds are the sentinels that the error matches.
	kinds []error
}

func (e *Outcome) Error() string {
	return fmt.Sprintf("%s of %s: %v (status %s)", e.Asked, e.XID, e.kinds[0], e.Status)
}

// Unwrap returns the sentinels that describe the outcome.
func (e *Outcome) Unwrap() []error { return e.kinds }

// commitOutcome is nil when status says that the transaction commits. Java's
// transaction manager takes several other statuses for success; they are
// errors here.
func commitOutcome(x string, status protocol.GlobalStatus) error {
	var kinds []error
	switch status {
	case protocol.StatusCommitted, protocol.StatusAsyncCommitting,
		protocol.StatusCommitting, protocol.StatusCommitRetrying:
		return nil
	case protocol.StatusTimeoutRollbacking, protocol.StatusTimeoutRollbackRetrying,
		protocol.StatusTimeoutRollbacked:
		kinds = []error{ErrTimedOut, ErrRolledBack}
	case protocol.StatusTimeoutRollbackFailed:
		kinds = []error{ErrTimedOut, ErrHeuristic}
	case protocol.StatusRollbacking, protocol.StatusRollbackRetrying, protocol.StatusRollbacked:
		kinds = []error{ErrRolledBack}
	case protocol.StatusRollbackFailed, protocol.StatusRollbackRetryTimeout,
		protocol.StatusStopRollbackOrRollbackRetry, protocol.StatusCommitFailed,
		protocol.StatusCommitRetryTimeout, protocol.StatusStopCommitOrCommitRetry:
		kinds = []error{ErrHeuristic}
	case protocol.StatusFinished:
		kinds = []error{ErrNotFound, ErrOutcomeUnknown}
	default:
		kinds = []error{ErrOutcomeUnknown}
	}
	return &Outcome{XID: x, Asked: "commit", Status: status, kinds: kinds}
}

// rollbackOutcome is nil when status says that the transaction rolls back, or
// is unknown to the coordinator: what nobody asked to commit and no longer
// exists is rolled back.
func rollbackOutcome(x string, status protocol.GlobalStatus, asked bool) error {
	var kinds []error
	switch status {
	case protocol.StatusFinished:
		if !asked {
			return nil
		}
		kinds = []error{ErrNotFound, ErrOutcomeUnknown}
	case protocol.StatusRollbacked, protocol.StatusRollbacking, protocol.StatusRollbackRetrying,
		protocol.StatusTimeoutRollbacked, protocol.StatusTimeoutRollbacking,
		protocol.StatusTimeoutRollbackRetrying:
		return nil
	case protocol.StatusRollbackFailed, protocol.StatusTimeoutRollbackFailed,
		protocol.StatusRollbackRetryTimeout, protocol.StatusStopRollbackOrRollbackRetry,
		protocol.StatusCommitted, protocol.StatusAsyncCommitting, protocol.StatusCommitting,
		protocol.StatusCommitRetrying, protocol.StatusCommitFailed,
		protocol.StatusCommitRetryTimeout, protocol.StatusStopCommitOrCommitRetry:
		kinds = []error{ErrHeuristic}
	default:
		kinds = []error{ErrOutcomeUnknown}
	}
	return &Outcome{XID: x, Asked: "rollback", Status: status, kinds: kinds}
}
