package tm

import (
	"context"
	"errors"
	"fmt"

	"github.com/qiao-tx/qiao/protocol/xid"
)

// Propagation says what Run does when ctx already carries a global transaction.
type Propagation uint8

// The kinds of propagation. A Run that joins a transaction never decides it;
// that is left to the Run that began it, here or in another process.
const (
	// Required joins the transaction, or begins one. When a joined function
	// fails, its error goes to its caller, who may go on; what the enclosing
	// function returns decides. This is Seata's meaning.
	Required Propagation = iota
	// RequiresNew begins a transaction of its own, which is decided when its
	// function ends, whatever becomes of the enclosing one.
	RequiresNew
	// NotSupported works outside of any transaction: one that ctx carries is
	// suspended while the function runs.
	NotSupported
	// Supports joins the transaction, or works without one.
	Supports
	// Never works without a transaction, and refuses to run inside one
	// (ErrPropagation).
	Never
	// Mandatory joins the transaction, and refuses to run without one
	// (ErrPropagation).
	Mandatory
	// Nested joins like Required, but as a part that must succeed: when its
	// function fails or panics, the enclosing transaction can only be rolled
	// back, even if the caller drops the error. (A part cannot be undone
	// alone: Seata has no savepoints.)
	Nested
)

var propagationNames = [...]string{"Required", "RequiresNew", "NotSupported", "Supports", "Never", "Mandatory", "Nested"}

func (p Propagation) String() string {
	if int(p) >= len(propagationNames) {
		return fmt.Sprintf("Propagation(%d)", uint8(p))
	}
	return propagationNames[p]
}

// Run calls fn as a global transaction: it begins one, commits it when fn
// returns nil, and rolls it back when fn returns an error or panics. The panic
// then continues, with its stack. If ctx carries a transaction already,
// opts.Propagation decides; opts.RollbackFor and NoRollbackFor let some errors
// commit.
//
// The context given to fn carries the XID; work done with another context is
// outside of the transaction. It ends when the time-out passes. If ctx ends
// before commit was asked for, Run rolls back.
//
// Run returns nil only when the coordinator has decided to commit. When fn
// fails, Run returns fn's error, joined with that of the rollback if it failed
// too; a failed rollback is repeated by the coordinator. Other errors are
// ErrPropagation and those of Manager.Begin and Tx.Commit.
func (m *Manager) Run(ctx context.Context, opts Options, fn func(ctx context.Context) error) error {
	inside := xid.FromContext(ctx)
	outside := func() error { return fn(xid.NewContext(ctx, "")) }
	switch opts.Propagation {
	case Required, RequiresNew, Nested:
	case Supports:
		return fn(ctx)
	case NotSupported:
		return outside()
	case Never:
		if inside != "" {
			return fmt.Errorf("run global transaction %q: %w: Never, and the context carries %s", opts.Name, ErrPropagation, inside)
		}
		return fn(ctx)
	case Mandatory:
		if inside == "" {
			return fmt.Errorf("run global transaction %q: %w: Mandatory, and the context carries none", opts.Name, ErrPropagation)
		}
		return fn(ctx)
	default:
		return fmt.Errorf("run global transaction %q: unknown propagation %d", opts.Name, opts.Propagation)
	}
	switch {
	case inside != "" && opts.Propagation == Required:
		return fn(ctx)
	case inside != "" && opts.Propagation == Nested:
		return m.nest(ctx, fn)
	case m.Degraded():
		return outside()
	}
	return m.launch(ctx, opts, fn)
}

func (m *Manager) launch(ctx context.Context, opts Options, fn func(ctx context.Context) error) (err error) {
	tx, err := m.Begin(ctx, opts)
	if err != nil {
		return err
	}
	returned := false
	defer func() {
		if !returned { // by a panic or runtime.Goexit, which goes on after this
			err = errors.New("the function panicked")
			_ = tx.rollback(ctx)
		}
		tx.complete(ctx, err)
	}()
	bound, cancel := tx.Bind(ctx)
	defer cancel()
	err = fn(bound)
	returned = true
	return tx.finish(ctx, opts, err)
}

// finish decides as fn's error says, and returns what Run does.
func (t *Tx) finish(ctx context.Context, opts Options, err error) error {
	if err == nil {
		return t.commit(ctx)
	}
	if t.expired() {
		err = errors.Join(err, fmt.Errorf("%s is rolled back: %w", t.XID(), ErrTimedOut))
	} else if !opts.rollsBack(err) {
		if undone := t.commit(ctx); undone != nil {
			return errors.Join(err, undone)
		}
		return err
	}
	if undone := t.rollback(ctx); undone != nil {
		return errors.Join(err, undone)
	}
	return err
}

// nest runs fn inside the transaction of ctx and rules its commit out if fn
// does not return nil.
func (m *Manager) nest(ctx context.Context, fn func(ctx context.Context) error) (err error) {
	returned := false
	defer func() {
		switch {
		case !returned:
			_ = m.ruleOutCommit(ctx, errors.New("a nested part panicked"))
		case err != nil:
			err = errors.Join(err, m.ruleOutCommit(ctx, err))
		}
	}()
	err = fn(ctx)
	returned = true
	return err
}

// ruleOutCommit marks the transaction of ctx where it was begun. A mark cannot
// travel to another process, so such a transaction is rolled back at once.
func (m *Manager) ruleOutCommit(ctx context.Context, cause error) error {
	if SetRollbackOnly(ctx, cause) {
		return nil
	}
	_, err := rollback(ctx, m.coordinator, xid.FromContext(ctx), false)
	return err
}
