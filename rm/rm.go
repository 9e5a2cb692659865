// Package rm is the resource manager's side of a global transaction.
//
// Job: the Resource interface; registering resources, branches and reports
// with the coordinator; handing phase-two orders to the resource they name.
// Owner: datasource and rm/tcc build Resources on it; client joins it to the wire.
// It must not know: connections, SQL, or who began the transaction.
package rm

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/qiao-tx/qiao/protocol"
)

// Errors of a resource manager. Match them with errors.Is.
var (
	// ErrLockConflict: a row is locked by another global transaction; the error
	// is a *LockConflict. The local transaction must be rolled back; the work
	// may be tried again.
	ErrLockConflict = errors.New("global lock conflict")
	// ErrNotActive: the global transaction is unknown, decided, or timed out:
	// it takes no new branch. Do not retry within it.
	ErrNotActive = errors.New("the global transaction is not active")
	// ErrUnavailable: no coordinator answered. An *Unavailable tells whether
	// the request may have been carried out.
	ErrUnavailable = errors.New("no coordinator answered")
	// ErrRefused: the coordinator refused the request for another reason.
	ErrRefused = errors.New("the coordinator refused")
)

// Unavailable is the error of a request that no coordinator answered.
type Unavailable struct {
	// Op names the request, such as "register branch".
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

// LockConflict is the error of a registration or lock check that met another
// transaction's lock.
type LockConflict struct {
	// Holder is the XID that holds the row, when the coordinator told it.
	Holder string
	// FailFast: the holder is rolling back and may need rows that the caller's
	// local transaction holds; waiting with them held cannot help.
	FailFast bool
	Message  string
}

func (e *LockConflict) Error() string {
	if e.Holder == "" {
		return fmt.Sprintf("global lock conflict: %s", e.Message)
	}
	return fmt.Sprintf("global lock conflict: held by %s: %s", e.Holder, e.Message)
}

// Is makes errors.Is(err, ErrLockConflict) true.
func (e *LockConflict) Is(target error) bool { return target == ErrLockConflict }

// Branch is a branch as phase two names it.
type Branch struct {
	XID             string
	ID              int64
	Type            protocol.BranchType
	ResourceID      string
	ApplicationData string
}

// Resource takes part in global transactions: a database under AT or XA, a TCC
// action. Its methods are called concurrently.
type Resource interface {
	// ID names the resource to the coordinator: equal for all processes that
	// can finish each other's branches.
	ID() string
	BranchType() protocol.BranchType
	// Commit carries out phase two of a committed transaction, and may be
	// called again for a branch that is finished. It returns
	// BranchPhaseTwoCommitted, ...CommitFailedRetryable,
	// ...CommitFailedUnretryable, or ...CommitFailedXAERNOTARetryable for a branch
	// that is not there and may still appear. An error counts as retryable unless the
	// status says otherwise, and its text goes to the coordinator as evidence. A
	// saga, which its application drives, may answer with any status: an order to
	// go forward may end in compensation.
	Commit(ctx context.Context, b Branch) (protocol.BranchStatus, error)
	// Rollback does the same for a transaction that rolls back, with
	// BranchPhaseTwoRollbacked, ...RollbackFailedRetryable,
	// ...RollbackFailedUnretryable or ...RollbackFailedXAERNOTARetryable.
	Rollback(ctx context.Context, b Branch) (protocol.BranchStatus, error)
}

// Closable is implemented by resources that may end before the process does.
// Once Closed is true another resource may take over the type and id, such as
// the same database opened again.
type Closable interface {
	Closed() bool
}

// UndoCleaner is a Resource that keeps undo logs.
type UndoCleaner interface {
	// DeleteUndo removes undo logs that are older than age.
	DeleteUndo(ctx context.Context, age time.Duration) error
}

// Registration asks for a branch.
type Registration struct {
	XID        string
	Type       protocol.BranchType
	ResourceID string
	// LockKey lists the rows to lock: "table:pk,pk;table2:pk".
	LockKey         string
	ApplicationData string
	// HoldsLocks: the caller keeps locks of the database until it is answered, so
	// that waiting for a holder that rolls back cannot help (LockConflict.FailFast).
	HoldsLocks bool
	// RequestKey, when not empty, lets a coordinator that understands it
	// recognise the same registration sent twice.
	RequestKey string
}

// Report tells how phase one of a branch ended.
type Report struct {
	Branch
	Status protocol.BranchStatus
}

// Coordinator is what the resource manager asks of the transaction
// coordinator. client implements it over the wire.
type Coordinator interface {
	// RegisterResource makes the resource known on every coordinator, now and
	// after each reconnection. It returns when one connected coordinator
	// knows it, or with an error that wraps ErrUnavailable when ctx ends first.
	RegisterResource(ctx context.Context, r Resource) error
	// RegisterBranch returns the new branch's id; *LockConflict,
	// ErrNotActive, ErrUnavailable, ErrRefused.
	RegisterBranch(ctx context.Context, r Registration) (int64, error)
	// ReportBranch tells how phase one ended. Idempotent.
	ReportBranch(ctx context.Context, r Report) error
	// CheckLocks returns a *LockConflict when one of the rows is locked by a
	// transaction other than xid.
	CheckLocks(ctx context.Context, xid string, t protocol.BranchType, resourceID, lockKey string) error
}
