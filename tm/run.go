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
	// Nested joins like Required, but as a part that must succeed: when its
	// function fails or panics, the enclosing transaction can only be rolled
	// back, even if the caller drops the error. (A part cannot be undone
	// alone: Seata has no savepoints.)
	Nested
)

// Run calls fn as a global transaction: it begins one, commits it when fn
// returns nil, and rolls it back when fn returns an error or panics. The panic
// then continues, with its stack. If ctx carries a transaction already,
// opts.Propagation decides.
//
// The context given to fn carries the XID; work done with another context is
// outside of the transaction. It ends when the time-out passes. If ctx ends
// before commit was asked for, Run rolls back.
//
// Run returns nil only when the coordinator has decided to commit. When fn
// fails, Run returns fn's error, joined with that of the rollback if it failed
// too; a failed rollback is repeated by the coordinator. Other errors are those
// of Manager.Begin and Tx.Commit.
func (m *Manager) Run(ctx context.Context, opts Options, fn func(ctx context.Context) error) error {
	if opts.Propagation > Nested {
		return fmt.Errorf("run global transaction %q: unknown propagation %d", opts.Name, opts.Propagation)
	}
	if xid.FromContext(ctx) == "" || opts.Propagation == RequiresNew {
		return m.launch(ctx, opts, fn)
	}
	if opts.Propagation == Nested {
		return m.nest(ctx, fn)
	}
	return fn(ctx)
}

func (m *Manager) launch(ctx context.Context, opts Options, fn func(ctx context.Context) error) error {
	tx, err := m.Begin(ctx, opts)
	if err != nil {
		return err
	}
	returned := false
	defer func() {
		if !returned { // by a panic or runtime.Goexit, which goes on after this
			_ = tx.Rollback(ctx)
		}
	}()
	bound, cancel := tx.Bind(ctx)
	defer cancel()
	err = fn(bound)
	returned = true
	if err == nil {
		return tx.Commit(ctx)
	}
	if tx.expired() {
		err = errors.Join(err, fmt.Errorf("%s is rolled back: %w", tx.XID(), ErrTimedOut))
	}
	if undone := tx.Rollback(ctx); undone != nil {
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
	return rollback(ctx, m.coordinator, xid.FromContext(ctx), false)
}
