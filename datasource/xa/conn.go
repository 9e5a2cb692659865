package xa

import (
	"context"
	"database/sql/driver"
	"errors"

	"github.com/qiao-tx/qiao/datasource/wrap"
)

// conn is a connection of the user's pool. database/sql lets one goroutine at a
// time use it.
type conn struct {
	res *Resource
	*session
	// tx is the local transaction that is open, nil when none is.
	tx *localTx
	// detached: the session has gone with a prepared branch. The pool gets rid of
	// the connection and opens another.
	detached bool
}

// Begin is for callers without a context: outside any global transaction.
func (c *conn) Begin() (driver.Tx, error) {
	return c.BeginTx(context.Background(), driver.TxOptions{})
}

// BeginTx begins a local transaction. Inside a global one it is a branch,
// unless it is read-only.
func (c *conn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	x := wrap.XID(ctx)
	var tx *localTx
	var err error
	if x == "" || opts.ReadOnly {
		tx, err = c.beginPlain(ctx, x, opts)
	} else {
		tx, err = c.begin(ctx, x, opts)
	}
	if err != nil {
		return nil, err
	}
	// driver.Tx has no context; database/sql means that of BeginTx.
	return boundTx{commit: func() error { return tx.commit(ctx) }, rollback: func() error { return tx.rollback(ctx) }}, nil
}

// boundTx is a local transaction as database/sql ends it.
type boundTx struct{ commit, rollback func() error }

func (t boundTx) Commit() error   { return t.commit() }
func (t boundTx) Rollback() error { return t.rollback() }

// call runs one call of the driver.
func (c *conn) call(run func() error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return run()
}

func (c *conn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	return c.exec(ctx, query, func(ctx context.Context) (driver.Result, error) {
		result, err := wrap.ExecText(ctx, c.inner, query, args)
		if !errors.Is(err, driver.ErrSkip) || !c.bound(ctx) {
			return result, err
		}
		s, err := wrap.Prepare(ctx, c.inner, query)
		if err != nil {
			return nil, err
		}
		result, err = wrap.ExecStmt(ctx, s, args)
		return result, errors.Join(err, s.Close())
	})
}

func (c *conn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	return c.query(ctx, query, func(ctx context.Context) (driver.Rows, error) {
		rows, err := wrap.QueryText(ctx, c.inner, query, args)
		if !errors.Is(err, driver.ErrSkip) || !c.bound(ctx) {
			return rows, err
		}
		s, err := wrap.Prepare(ctx, c.inner, query)
		if err != nil {
			return nil, err
		}
		if rows, err = wrap.QueryStmt(ctx, s, args); err != nil {
			return nil, errors.Join(err, s.Close())
		}
		return &wrap.OwnedRows{Rows: rows, Release: func(error) error { return s.Close() }}, nil
	})
}

// bound tells work inside a global transaction: a text that the driver must
// prepare first is prepared at once there, so that one statement alone is one
// branch.
func (c *conn) bound(ctx context.Context) bool {
	global, _ := c.global(ctx)
	return global != ""
}

// exec runs a statement, in the global transaction that it belongs to.
func (c *conn) exec(ctx context.Context, query string, run func(context.Context) (driver.Result, error)) (result driver.Result, err error) {
	global, err := c.global(ctx)
	if err != nil {
		return nil, err
	}
	work := func() (err error) {
		result, err = run(ctx)
		return err
	}
	switch {
	case global == "":
		err = c.call(work)
	case c.tx != nil:
		err = c.tx.run(ctx, query, work)
	default:
		err = c.alone(ctx, global, query, work)
	}
	if err != nil {
		return nil, err
	}
	return result, nil
}

// query is exec for queries.
func (c *conn) query(ctx context.Context, query string, run func(context.Context) (driver.Rows, error)) (rows driver.Rows, err error) {
	global, err := c.global(ctx)
	if err != nil {
		return nil, err
	}
	work := func() (err error) {
		rows, err = run(ctx)
		return err
	}
	switch {
	case global == "":
		err = c.call(work)
	case c.tx != nil && c.tx.branch == nil:
		err = c.tx.run(ctx, query, work)
	case c.tx != nil:
		err = c.tx.run(ctx, query, func() error {
			if err := work(); err != nil {
				return err
			}
			rows = c.tx.owned(ctx, rows)
			return nil
		})
	default:
		if c.res.db.reads(query) {
			owned, err := c.readAlone(ctx, run)
			if err == nil || !c.res.db.refusedWrite(err) {
				return owned, err
			}
		}
		err = c.alone(ctx, global, query, func() error {
			if err := work(); err != nil {
				return err
			}
			// They are read before the branch is prepared: Close has no caller who
			// looks at its error.
			kept, _, err := wrap.Keep(rows, 0)
			if err != nil {
				return err
			}
			rows = kept
			return nil
		})
	}
	if err != nil {
		return nil, err
	}
	return rows, nil
}

// global tells which global transaction work with ctx belongs to.
func (c *conn) global(ctx context.Context) (string, error) {
	if c.tx == nil {
		return wrap.Global(ctx, false, "")
	}
	return wrap.Global(ctx, true, c.tx.xid)
}

// alone runs a statement that is not in a local transaction, as a branch of its
// own.
func (c *conn) alone(ctx context.Context, global, query string, work func() error) error {
	tx, err := c.begin(ctx, global, driver.TxOptions{})
	if err != nil {
		return err
	}
	if err := tx.run(ctx, query, work); err != nil {
		_ = tx.rollback(ctx) // on failure the connection leaves the pool
		return err
	}
	return tx.commit(ctx)
}

// readAlone runs a query in a read-only transaction, which lasts until the rows
// are closed.
func (c *conn) readAlone(ctx context.Context, run func(context.Context) (driver.Rows, error)) (driver.Rows, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	tx, err := wrap.Begin(ctx, c.inner, driver.TxOptions{ReadOnly: true})
	if err != nil {
		return nil, err
	}
	rows, err := run(ctx)
	if err != nil {
		if tx.Rollback() != nil {
			c.broken = true
		}
		return nil, err
	}
	return &wrap.OwnedRows{Rows: rows, Release: func(error) error {
		c.mu.Lock()
		defer c.mu.Unlock()
		err := tx.Commit()
		c.broken = c.broken || err != nil
		return err
	}}, nil
}

// Prepare is for callers without a context.
func (c *conn) Prepare(query string) (driver.Stmt, error) {
	return c.PrepareContext(context.Background(), query)
}

// PrepareContext leaves judging the statement to its execution.
func (c *conn) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	s := &stmt{conn: c, query: query}
	err := c.call(func() (err error) {
		s.inner, err = wrap.Prepare(ctx, c.inner, query)
		return err
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// Close closes the connection, unless its session has gone with a branch. The
// database rolls back what is open.
func (c *conn) Close() error {
	if c.detached {
		return nil
	}
	err := c.session.close()
	if c.tx != nil && c.tx.branch != nil && !c.tx.ended {
		c.tx.ended = true
		c.res.branches.fail(c.tx.branch)
	}
	return err
}

// Ping asks the database whether it is there.
func (c *conn) Ping(ctx context.Context) error {
	if p, ok := c.inner.(driver.Pinger); ok {
		return c.call(func() error { return p.Ping(ctx) })
	}
	return nil
}

// ResetSession is called before the connection is used again.
func (c *conn) ResetSession(ctx context.Context) error {
	if c.detached || c.broken || c.tx != nil {
		return driver.ErrBadConn
	}
	return c.call(func() error { return c.session.reset(ctx) })
}

// reset readies a session for its next use. The caller holds mu.
func (s *session) reset(ctx context.Context) error {
	if s.broken {
		return driver.ErrBadConn
	}
	if r, ok := s.inner.(driver.SessionResetter); ok {
		return r.ResetSession(ctx)
	}
	return nil
}

// IsValid is called before the connection goes back to the pool.
func (c *conn) IsValid() bool {
	if c.detached || c.broken {
		return false
	}
	if v, ok := c.inner.(driver.Validator); ok {
		return v.IsValid()
	}
	return true
}

// CheckNamedValue lets the driver convert an argument.
func (c *conn) CheckNamedValue(v *driver.NamedValue) error {
	if n, ok := c.inner.(driver.NamedValueChecker); ok {
		return n.CheckNamedValue(v)
	}
	return driver.ErrSkip
}
