package compensation

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/rm"
	"github.com/qiao-tx/qiao/rm/action"
)

// ErrNoTransaction: Call was called with a context that carries no global
// transaction, so nothing would ever compensate it.
var ErrNoTransaction = action.ErrNoTransaction

// Retry says how Compensate is repeated; see action.Retry.
type Retry = action.Retry

// Action is a business call with an argument of type T and a result of type R.
// T must survive encoding/json. The fields of a struct become entries of the
// branch's action context, where a Java participant finds them by name.
type Action[T, R any] struct {
	// Name is the resource id: equal in all processes that can compensate each
	// other's calls, and not that of a TCC action. Required.
	Name string
	// Call does the business. Its context carries the global transaction, so that
	// calls of other services join it, and the branch (see action.BranchFrom). An
	// error leaves the branch registered: when the transaction rolls back,
	// Compensate is called for it as well, since a call may fail half done.
	Call func(ctx context.Context, arg T) (R, error)
	// Compensate takes the call back. It is called when the transaction rolls
	// back, and again until it returns nil or an error made by Unretryable. It
	// may be called although Call has not run. What Call found out, Compensate
	// learns by action.Share.
	Compensate func(ctx context.Context, arg T) error
	// CallTimeout ends the context of a Call; zero leaves it the transaction's
	// time-out. Timeout ends that of one Compensate; zero leaves it the client's
	// OrderTimeout. Retry says how Compensate is repeated.
	CallTimeout, Timeout time.Duration
	Retry                Retry
	// Fenced tells peers that serve the same call that its branches are recorded
	// in the fence table. Package fence sets it.
	Fenced bool
}

func (a Action[T, R]) policy() action.Policy {
	return action.Policy{Timeout: a.Timeout, Retry: a.Retry}
}

func (a Action[T, R]) validate() error {
	switch {
	case a.Name == "":
		return errors.New("it has no Name")
	case a.Call == nil || a.Compensate == nil:
		return errors.New("Call and Compensate are both required")
	case a.CallTimeout < 0:
		return fmt.Errorf("time-out of the call %v: must not be negative", a.CallTimeout)
	}
	return a.policy().Validate()
}

// Handle is a registered Action.
type Handle[T, R any] struct {
	action      Action[T, R]
	coordinator rm.Coordinator
}

// Register makes the action known to the coordinator, which can then ask this
// process to compensate its branches. Register an action once, when the process
// starts, also in processes that never call it. Errors are those of
// rm.Coordinator.RegisterResource; the call may be repeated.
func Register[T, R any](ctx context.Context, c rm.Coordinator, a Action[T, R]) (*Handle[T, R], error) {
	err := a.validate()
	if err == nil {
		err = c.RegisterResource(ctx, &resource[T, R]{a})
	}
	if err != nil {
		return nil, fmt.Errorf("register call %q: %w", a.Name, err)
	}
	return &Handle[T, R]{action: a, coordinator: c}, nil
}

// Call registers a branch of the transaction that ctx carries and makes the call
// in it. If it fails, the transaction must be rolled back: return the error from
// the function given to tm.Run. Errors are ErrNoTransaction, those of
// rm.Coordinator.RegisterBranch, and the action's own, wrapped.
func (h *Handle[T, R]) Call(ctx context.Context, arg T) (result R, err error) {
	ctx, err = action.Register(ctx, h.coordinator, protocol.TypeSagaAnnotation, action.Environment{
		Action: h.action.Name, Fenced: h.action.Fenced, Try: "call", Cancel: "compensate", Started: time.Now(),
	}, arg)
	if err != nil {
		return result, fmt.Errorf("call %q: %w", h.action.Name, err)
	}
	if h.action.CallTimeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, h.action.CallTimeout)
		defer cancel()
	}
	if result, err = h.action.Call(ctx, arg); err != nil {
		return result, fmt.Errorf("call %q: %w", h.action.Name, err)
	}
	return result, nil
}

// Unretryable marks an error of Compensate as one that no repetition can mend;
// see action.Unretryable.
func Unretryable(err error) error { return action.Unretryable(err) }

// resource hands phase two to the compensation.
type resource[T, R any] struct{ action Action[T, R] }

func (r *resource[T, R]) ID() string                      { return r.action.Name }
func (r *resource[T, R]) BranchType() protocol.BranchType { return protocol.TypeSagaAnnotation }

// Commit has nothing left to do. Coordinators do not even ask.
func (r *resource[T, R]) Commit(context.Context, rm.Branch) (protocol.BranchStatus, error) {
	return protocol.BranchPhaseTwoCommitted, nil
}

func (r *resource[T, R]) Rollback(ctx context.Context, b rm.Branch) (protocol.BranchStatus, error) {
	err := action.Obey(ctx, r.action.policy(), b, r.action.Compensate)
	return action.RollbackStatus(err), err
}
