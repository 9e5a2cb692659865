package tcc

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/xid"
	"github.com/qiao-tx/qiao/rm"
)

// ErrNoTransaction: Try was called with a context that carries no global
// transaction, so nothing would ever confirm or cancel it.
var ErrNoTransaction = errors.New("no global transaction in the context; call it inside tm.Run, with the context that Run gives")

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
	}
	return nil
}

// Handle is a registered Action.
type Handle[T any] struct {
	action      Action[T]
	coordinator rm.Coordinator
	host        string
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
	host, err := os.Hostname()
	if err != nil {
		host = "unknown" // it is only shown to people
	}
	return &Handle[T]{action: a, coordinator: c, host: host}, nil
}

// Try registers a branch of the transaction that ctx carries and runs the
// action's Try in it. If it fails, the transaction must be rolled back: return
// the error from the function given to tm.Run. Errors are ErrNoTransaction,
// those of rm.Coordinator.RegisterBranch, and the action's own, wrapped.
func (h *Handle[T]) Try(ctx context.Context, arg T) error {
	branch, err := h.register(ctx, arg)
	if err != nil {
		return fmt.Errorf("try of TCC action %q: %w", h.action.Name, err)
	}
	return h.try(ctx, branch, arg)
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
	return h.try(ctx, branch, arg)
}

// Name returns the action's name.
func (h *Handle[T]) Name() string { return h.action.Name }

func (h *Handle[T]) try(ctx context.Context, branch rm.Branch, arg T) error {
	inTry := withBranch(xid.WithBranchType(ctx, xid.TypeTCC), branch)
	if err := h.action.Try(inTry, arg); err != nil {
		return fmt.Errorf("try of TCC action %q: %w", h.action.Name, err)
	}
	return nil
}

func (h *Handle[T]) register(ctx context.Context, arg T) (rm.Branch, error) {
	branch := rm.Branch{XID: xid.FromContext(ctx), Type: protocol.TypeTCC, ResourceID: h.action.Name}
	if branch.XID == "" {
		return branch, ErrNoTransaction
	}
	data, err := encode(environment{
		action: h.action.Name, fenced: h.action.Fenced, host: h.host, started: time.Now(),
	}, arg)
	if err != nil {
		return branch, err
	}
	branch.ApplicationData = data
	branch.ID, err = h.coordinator.RegisterBranch(ctx, rm.Registration{
		XID: branch.XID, Type: branch.Type, ResourceID: branch.ResourceID,
		ApplicationData: data, RequestKey: rand.Text(),
	})
	return branch, err
}

type branchKey struct{}

func withBranch(ctx context.Context, b rm.Branch) context.Context {
	return context.WithValue(ctx, branchKey{}, b)
}

// BranchFrom returns the branch that an action's function was called for; ok is
// false outside of one.
func BranchFrom(ctx context.Context) (b rm.Branch, ok bool) {
	b, ok = ctx.Value(branchKey{}).(rm.Branch)
	return b, ok
}

type unretryable struct{ error }

func (u unretryable) Unwrap() error { return u.error }

// Unretryable marks an error of Confirm or Cancel as one that no repetition can
// mend. The coordinator then stops, keeps the transaction with the error's text,
// and somebody has to look. It returns nil for nil.
func Unretryable(err error) error {
	if err == nil {
		return nil
	}
	return unretryable{err}
}

// resource hands phase two to the action's functions.
type resource[T any] struct{ action Action[T] }

func (r *resource[T]) ID() string                      { return r.action.Name }
func (r *resource[T]) BranchType() protocol.BranchType { return protocol.TypeTCC }

func (r *resource[T]) Commit(ctx context.Context, b rm.Branch) (protocol.BranchStatus, error) {
	err := r.call(ctx, b, r.action.Confirm)
	return statusOf(err, protocol.BranchPhaseTwoCommitted,
		protocol.BranchPhaseTwoCommitFailedRetryable, protocol.BranchPhaseTwoCommitFailedUnretryable), err
}

func (r *resource[T]) Rollback(ctx context.Context, b rm.Branch) (protocol.BranchStatus, error) {
	err := r.call(ctx, b, r.action.Cancel)
	return statusOf(err, protocol.BranchPhaseTwoRollbacked,
		protocol.BranchPhaseTwoRollbackFailedRetryable, protocol.BranchPhaseTwoRollbackFailedUnretryable), err
}

// call decodes the argument first. Data that does not decode counts as
// retryable: the next version of the program may read it.
func (r *resource[T]) call(ctx context.Context, b rm.Branch, fn func(context.Context, T) error) error {
	arg, err := decode[T](b.ApplicationData)
	if err != nil {
		return err
	}
	return fn(withBranch(ctx, b), arg)
}

func statusOf(err error, done, retryable, stop protocol.BranchStatus) protocol.BranchStatus {
	var u unretryable
	switch {
	case err == nil:
		return done
	case errors.As(err, &u):
		return stop
	}
	return retryable
}
