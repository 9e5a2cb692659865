package tcc

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/xid"
	"github.com/qiao-tx/qiao/rm"
	"github.com/qiao-tx/qiao/rm/action"
)

// ErrNoTransaction: Try was called with a context that carries no global
// transaction, so nothing would ever confirm or cancel it.
var ErrNoTransaction = action.ErrNoTransaction

// Retry says how Confirm and Cancel are repeated; see action.Retry.
type Retry = action.Retry

// Action is a TCC participant with an argument of type T. T must survive
// encoding/json. The fields of a struct become entries of the branch's action
// context, where a Java participant finds them by name.
type Action[T any] struct {
	// Name is the resource id: equal in all processes that can confirm and
	// cancel each other's tries. Required.
	Name string
	// Try reserves. Its context carries the global transaction, so that calls to
	// other services join it, and the branch (see BranchFrom). AT does not protect
	// what it writes, here or in those services: Cancel gives it back. An error
	// leaves the branch registered: when the transaction rolls back, Cancel is called
	// for it as well, since a try may fail half done.
	Try func(ctx context.Context, arg T) error
	// Confirm makes the reservation final. It is called when the transaction
	// commits, and again until it returns nil or an error made by Unretryable.
	// Its context carries the branch but no global transaction.
	Confirm func(ctx context.Context, arg T) error
	// Cancel gives the reservation back, with the rules of Confirm. It may be
	// called although Try has not run.
	Cancel func(ctx context.Context, arg T) error
	// TryTimeout ends the context of a Try; zero leaves it the transaction's
	// time-out. Timeout ends that of one call of Confirm or Cancel; zero leaves it
	// the client's OrderTimeout. Retry says how these two are repeated.
	TryTimeout, Timeout time.Duration
	Retry               Retry
	// Fenced tells peers that serve the same action that its branches are
	// recorded in the fence table. Package fence sets it.
	Fenced bool
}

func (a Action[T]) validate() error {
	switch {
	case a.Name == "":
		return errors.New("register TCC action: it has no Name")
	case a.Try == nil || a.Confirm == nil || a.Cancel == nil:
		return fmt.Errorf("register TCC action %q: Try, Confirm and Cancel are all required", a.Name)
	case a.TryTimeout < 0:
		return fmt.Errorf("register TCC action %q: time-out of the try %v: must not be negative", a.Name, a.TryTimeout)
	}
	if err := a.policy().Validate(); err != nil {
		return fmt.Errorf("register TCC action %q: %w", a.Name, err)
	}
	return nil
}

func (a Action[T]) policy() action.Policy { return action.Policy{Timeout: a.Timeout, Retry: a.Retry} }

// Handle is a registered Action.
type Handle[T any] struct {
	action      Action[T]
	coordinator rm.Coordinator
}

// Register makes the action known to the coordinator, which can then ask this
// process to confirm and cancel its branches. Register an action once, when the
// process starts, also in processes that never call its Try. Errors are those
// of rm.Coordinator.RegisterResource; the call may be repeated.
func Register[T any](ctx context.Context, c rm.Coordinator, a Action[T]) (*Handle[T], error) {
	if err := a.validate(); err != nil {
		return nil, err
	}
	if err := c.RegisterResource(ctx, &resource[T]{a}); err != nil {
		return nil, fmt.Errorf("register TCC action %q: %w", a.Name, err)
	}
	return &Handle[T]{action: a, coordinator: c}, nil
}

// Try registers a branch of the transaction that ctx carries and runs the
// action's Try in it. If it fails, the transaction must be rolled back: return
// the error from the function given to tm.Run. Errors are ErrNoTransaction,
// those of rm.Coordinator.RegisterBranch, and the action's own, wrapped.
func (h *Handle[T]) Try(ctx context.Context, arg T) error {
	branch, err := action.Register(ctx, h.coordinator, protocol.TypeTCC, action.Environment{
		Action: h.action.Name, Fenced: h.action.Fenced, Try: "try", Confirm: "confirm", Cancel: "cancel", Started: time.Now(),
	}, arg)
	if err != nil {
		return fmt.Errorf("try of TCC action %q: %w", h.action.Name, err)
	}
	return h.try(branch, arg)
}

// TryIn runs the action's Try in a branch of the transaction that ctx carries,
// which the caller in another process has registered under the action's name.
// (Java Seata's consumers of TCC services do that up to version 1.8; from 2.0 on
// the provider registers the branch, as Try does.) Errors are ErrNoTransaction and
// the action's own, wrapped.
func (h *Handle[T]) TryIn(ctx context.Context, branchID int64, arg T) error {
	branch := rm.Branch{XID: xid.FromContext(ctx), ID: branchID, Type: protocol.TypeTCC, ResourceID: h.action.Name}
	if branch.XID == "" {
		return fmt.Errorf("try of TCC action %q: %w", h.action.Name, ErrNoTransaction)
	}
	return h.try(action.PhaseOne(ctx, branch), arg)
}

// Name returns the action's name.
func (h *Handle[T]) Name() string { return h.action.Name }

// try runs the action's Try with the context of its phase one.
func (h *Handle[T]) try(ctx context.Context, arg T) error {
	if h.action.TryTimeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, h.action.TryTimeout)
		defer cancel()
	}
	if err := h.action.Try(ctx, arg); err != nil {
		return fmt.Errorf("try of TCC action %q: %w", h.action.Name, err)
	}
	return nil
}

// BranchFrom returns the branch that an action's function was called for; ok is
// false outside of one.
func BranchFrom(ctx context.Context) (b rm.Branch, ok bool) { return action.BranchFrom(ctx) }

// Share replaces the argument that Confirm and Cancel will get; see action.Share.
func Share[T any](ctx context.Context, arg T) error { return action.Share(ctx, arg) }

// Unretryable marks an error of Confirm or Cancel as one that no repetition can
// mend. The coordinator then stops, keeps the transaction with the error's text,
// and somebody has to look. It returns nil for nil.
func Unretryable(err error) error { return action.Unretryable(err) }

// resource hands phase two to the action's functions.
type resource[T any] struct{ action Action[T] }

func (r *resource[T]) ID() string                      { return r.action.Name }
func (r *resource[T]) BranchType() protocol.BranchType { return protocol.TypeTCC }

func (r *resource[T]) Commit(ctx context.Context, b rm.Branch) (protocol.BranchStatus, error) {
	err := action.Obey(ctx, r.action.policy(), b, r.action.Confirm)
	return action.CommitStatus(err), err
}

func (r *resource[T]) Rollback(ctx context.Context, b rm.Branch) (protocol.BranchStatus, error) {
	err := action.Obey(ctx, r.action.policy(), b, r.action.Cancel)
	return action.RollbackStatus(err), err
}
