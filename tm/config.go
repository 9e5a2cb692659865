package tm

import (
	"context"
	"log/slog"
	"time"
)

// Config says what a Manager does beside beginning and deciding. The zero value
// adds nothing.
type Config struct {
	// Hooks are told of every transaction that the Manager begins.
	Hooks []Hook
	// OnFailure, when not nil, hears of every transaction that did not begin, or
	// did not end as it was asked to, on the goroutine that asked. It is the place
	// for an alarm; the caller gets the error all the same.
	OnFailure func(ctx context.Context, f Failure)
	// Guard, when not nil, is asked before a transaction begins.
	Guard Guard
	// DegradeCheck, when not nil, lets Run go on without global transactions while
	// no coordinator answers. Read its comment first.
	DegradeCheck *DegradeCheck
	// Logger hears of hooks that panic and of degrading. Nil means slog.Default.
	Logger *slog.Logger
}

// Info is what is known of a transaction where it began.
type Info struct {
	// Name and Timeout are those of the Options, with the default filled in.
	Name    string
	Timeout time.Duration
	// XID is empty before the transaction has begun.
	XID string
}

// Hook is told of the steps of a transaction, on the goroutine that takes them.
// Functions that are nil are skipped. A hook watches: it has no error to return,
// and one that panics is logged and passed over. To rule a commit out, call
// SetRollbackOnly in BeforeCommit.
//
// The context of BeforeCommit and BeforeRollback carries the transaction, those
// of the others do not: what is done there is not part of it.
type Hook struct {
	BeforeBegin, AfterBegin func(ctx context.Context, t Info)
	// BeforeCommit is called for every transaction whose commit is asked for,
	// also when it will turn into a rollback. AfterCommit is called when the
	// coordinator has decided to commit, and then only.
	BeforeCommit, AfterCommit func(ctx context.Context, t Info)
	// AfterRollback is called when the coordinator has decided to roll back;
	// branches may still be carrying it out.
	BeforeRollback, AfterRollback func(ctx context.Context, t Info)
	// AfterCompletion is called once, as the last, when the transaction has
	// been decided or given up. err is what the caller is told: nil after a
	// commit, and after a Tx.Rollback that went well. A Tx.Commit whose answer
	// was lost counts as given up; one that is repeated may still bring an
	// AfterCommit.
	AfterCompletion func(ctx context.Context, t Info, err error)
}

// AddHook adds a hook to the one transaction that ctx carries, behind those that
// there are: its AfterCommit is the place for what must happen only if the
// transaction commits, such as a mail. It returns false, and has no effect, when
// this process did not begin that transaction.
func AddHook(ctx context.Context, h Hook) bool {
	t := launcher(ctx)
	if t == nil {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.hooks = append(t.hooks[:len(t.hooks):len(t.hooks)], h)
	return true
}

// Guard protects a service, or its coordinator, from more transactions than it
// can bear: a rate limit, a circuit breaker, Alibaba's Sentinel.
type Guard interface {
	// Enter is asked before a transaction begins, with its name. An error
	// refuses: nothing is begun, and the caller gets the error with
	// ErrProtected. Otherwise exit is called once, when the transaction has been
	// decided or given up, with what its caller is told; it must not be nil.
	Enter(ctx context.Context, name string) (exit func(err error), err error)
}

// FailureKind says what went wrong with a transaction.
type FailureKind uint8

// The kinds of failure.
const (
	// BeginFailed: nothing was begun, or nobody knows of it and its time-out ends it.
	BeginFailed FailureKind = iota + 1
	// CommitFailed: commit was asked for, and the transaction is rolled back, ended
	// in a heuristic way, or its outcome is unknown.
	CommitFailed
	// RollbackFailed: rollback was asked for and did not succeed, or not for certain.
	RollbackFailed
	// RollingBack: rollback is decided, and some branch has not obeyed yet. The
	// coordinator asks it again until it does.
	RollingBack
)

var failureNames = [...]string{"", "begin failed", "commit failed", "rollback failed", "rolling back"}

func (k FailureKind) String() string {
	if int(k) >= len(failureNames) {
		return "unknown failure"
	}
	return failureNames[k]
}

// Failure is what Config.OnFailure hears of.
type Failure struct {
	Kind FailureKind
	Info
	// Err is what the caller is told of it; nil for RollingBack, of which the
	// caller is told nothing.
	Err error
}
