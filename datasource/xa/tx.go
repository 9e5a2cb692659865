package xa

import (
	"context"
	"crypto/rand"
	"database/sql/driver"
	"errors"
	"fmt"
	"time"

	"github.com/qiao-tx/qiao/datasource/wrap"
	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/rm"
)

// localTx is a local transaction; a branch of a global one, or a plain one of
// the driver's.
type localTx struct {
	conn *conn
	// xid is the global transaction, "" outside of one.
	xid string
	// plain is the driver's transaction when it is no branch.
	plain driver.Tx
	// branch is what the transaction is to the coordinator, nil when it is none.
	branch *branch
	// began is when the branch was registered, or shortly before.
	began time.Time
	// open: the session is in the branch's transaction. ended: it is no more, of
	// which lost says why.
	open  bool
	ended bool
	lost  error
}

// beginPlain begins a transaction that is no branch: outside of global ones,
// or one that only reads.
func (c *conn) beginPlain(ctx context.Context, x string, opts driver.TxOptions) (*localTx, error) {
	t := &localTx{conn: c, xid: x}
	err := c.call(func() (err error) {
		t.plain, err = wrap.Begin(ctx, c.inner, opts)
		return err
	})
	if err != nil {
		return nil, err
	}
	c.tx = t
	return t, nil
}

// begin begins a branch: what must be asked of the session first, the
// registration, the start. An error leaves the session as it was, or broken.
func (c *conn) begin(ctx context.Context, x string, opts driver.TxOptions) (*localTx, error) {
	r := c.res
	if err := (name{xid: x}).check(); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.at == nil {
		at, err := r.db.locate(ctx, c.session)
		if err != nil {
			return nil, fmt.Errorf("ask the session for its number: %w", err)
		}
		c.at = &at
	}
	opened, err := r.db.open(ctx, c.session, opts)
	if err != nil {
		return nil, err
	}
	t := &localTx{conn: c, xid: x, began: time.Now(), open: opened}
	t.branch = r.branches.begin(t, x, *c.at)
	id, err := r.cfg.Coordinator.RegisterBranch(ctx, rm.Registration{
		XID: x, Type: protocol.TypeXA, ResourceID: r.cfg.ResourceID,
		ApplicationData: t.branch.origin.String(), RequestKey: rand.Text(),
	})
	if err != nil {
		t.undo(ctx)
		return nil, fmt.Errorf("register the branch of %s: %w", x, wrap.NotRepeatable(err))
	}
	t.branch.name.id = id
	if err := r.db.start(ctx, c.session, t.branch.name, opts); err != nil {
		c.broken = true // it may have been started, or got an isolation level
		t.undo(ctx)
		r.report(ctx, t.branch, protocol.BranchPhaseOneFailed)
		return nil, err
	}
	t.open = true
	if t.branch.doomed.Load() {
		t.undo(ctx)
		return nil, t.lost
	}
	c.tx = t
	return t, nil
}

// run runs one statement inside a global transaction: of a branch, or of a local
// transaction that only reads.
func (t *localTx) run(ctx context.Context, query string, work func() error) error {
	r, s := t.conn.res, t.conn.session
	s.mu.Lock()
	defer s.mu.Unlock()
	if t.branch == nil {
		if err := r.db.leaves(query); err != nil {
			return err
		}
		return work()
	}
	if err := t.usable(ctx); err != nil {
		return err
	}
	if err := r.db.forbids(query); err != nil {
		return err
	}
	if err := work(); err != nil {
		if t.usable(ctx) != nil { // and so the statement was interrupted
			return fmt.Errorf("%w (%w)", t.lost, wrap.NotRepeatable(err))
		}
		return r.db.explain(err)
	}
	return nil
}

// usable tells whether the branch may go on. The caller holds the session.
func (t *localTx) usable(ctx context.Context) error {
	if !t.ended && t.branch.doomed.Load() && t.conn.reading == 0 {
		t.undo(ctx)
	}
	return t.lost
}

// errDoomed is why a branch that phase two was ordered for is not prepared.
var errDoomed = fmt.Errorf("%w: it is rolling back, and the local transaction was rolled back with it", rm.ErrNotActive)

// undo rolls back a branch that is not prepared, and ends phase one. The caller
// holds the session, or is the session's only user.
func (t *localTx) undo(ctx context.Context) {
	if t.ended {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupWait)
	defer cancel()
	s := t.conn.session
	t.ended = true
	t.lost = fmt.Errorf("%w: it was rolled back", ErrMustRollBack)
	if t.branch.doomed.Load() {
		t.lost = errDoomed
	}
	switch {
	case s.broken:
		_ = s.inner.Close() // then the database rolls back
	case t.open && t.conn.res.db.rollback(ctx, s, t.branch.name) != nil:
		s.broken = true
		_ = s.inner.Close()
	}
	t.conn.res.branches.fail(t.branch)
}

// owned are rows of a branch; until they are closed the session is theirs.
func (t *localTx) owned(ctx context.Context, rows driver.Rows) driver.Rows {
	s := t.conn.session
	s.reading++
	return &wrap.OwnedRows{Rows: rows, Release: func(error) error {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.reading--
		_ = t.usable(ctx) // the next use tells
		return nil
	}}
}

// commit prepares the branch. When it fails, the local transaction has been
// rolled back, but for ErrOutcomeUnknown.
func (t *localTx) commit(ctx context.Context) error {
	c := t.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tx = nil
	if t.branch == nil {
		return t.plain.Commit()
	}
	if err := t.usable(ctx); err != nil {
		return err
	}
	r := c.res
	if time.Since(t.began) > r.cfg.BranchTimeout {
		return t.failed(ctx, t.tooLate())
	}
	// Once it is begun the caller cannot stop it half-way.
	work, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.cfg.BranchTimeout)
	defer cancel()
	how, err := r.db.prepare(work, c.session, t.branch.name)
	switch how {
	case prepared:
		return t.prepared(ctx)
	case readOnly:
		t.ended = true
		r.branches.fail(t.branch)
		r.report(ctx, t.branch, protocol.BranchPhaseOneRDONLY)
		return nil
	case refused:
		return t.failed(ctx, fmt.Errorf("prepare %v: %w", t.branch.name, wrap.NotRepeatable(err)))
	}
	return t.unanswered(ctx, err)
}

func (t *localTx) tooLate() error {
	return fmt.Errorf("%w: %v ran for %v, at most %v are allowed (BranchTimeout)",
		ErrBranchTimeout, t.branch.name, time.Since(t.began).Round(time.Millisecond), t.conn.res.cfg.BranchTimeout)
}

// failed ends a branch that is certainly not prepared.
func (t *localTx) failed(ctx context.Context, err error) error {
	t.undo(ctx)
	t.conn.res.report(ctx, t.branch, protocol.BranchPhaseOneFailed)
	return err
}

// prepared looks at the clock once more: the coordinator may have stopped
// waiting for a branch that took longer to appear, and nobody would end it.
func (t *localTx) prepared(ctx context.Context) error {
	c, r := t.conn, t.conn.res
	t.ended = true
	if time.Since(t.began) > r.cfg.BranchTimeout {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupWait)
		defer cancel()
		if err := r.db.finish(ctx, c.session, t.branch.name, false); err != nil {
			return t.unanswered(ctx, errors.Join(t.tooLate(), err))
		}
		r.branches.fail(t.branch)
		r.report(ctx, t.branch, protocol.BranchPhaseOneFailed)
		return t.tooLate()
	}
	t.branch.end = endedPrepared
	if r.db.attached() {
		c.detached = true
		if r.cfg.Hold < 0 || !r.branches.hold(t.branch, c.session) {
			c.broken = true
			_ = c.inner.Close() // the branch is the server's now
		}
	}
	close(t.branch.over)
	return nil
}

// unanswered finds out what became of a branch whose session broke while it was
// prepared, and rolls it back: nobody has been told that it is prepared.
func (t *localTx) unanswered(ctx context.Context, cause error) error {
	c, r := t.conn, t.conn.res
	t.ended = true
	c.broken = true
	_ = c.inner.Close()
	cause = wrap.NotRepeatable(cause)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupWait)
	defer cancel()
	if err := r.ruleOut(ctx, t.branch); err != nil {
		close(t.branch.over) // phase two settles it
		return fmt.Errorf("%w: prepare %v: %w (and %w)", ErrOutcomeUnknown, t.branch.name, cause, err)
	}
	r.branches.fail(t.branch)
	r.report(ctx, t.branch, protocol.BranchPhaseOneFailed)
	return fmt.Errorf("prepare %v, which is rolled back: %w", t.branch.name, cause)
}

// rollback rolls the local transaction back, as its user wants.
func (t *localTx) rollback(ctx context.Context) error {
	c := t.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tx = nil
	if t.branch == nil {
		err := t.plain.Rollback()
		c.broken = c.broken || err != nil
		return err
	}
	if t.ended {
		return nil
	}
	t.undo(ctx)
	c.res.report(ctx, t.branch, protocol.BranchPhaseOneFailed)
	if c.broken {
		return fmt.Errorf("roll back %v: the session was closed instead", t.branch.name)
	}
	return nil
}
