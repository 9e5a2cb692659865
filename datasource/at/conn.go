package at

import (
	"context"
	"database/sql/driver"
	"fmt"

	"github.com/qiao-tx/qiao/datasource/sqlparse"
	"github.com/qiao-tx/qiao/datasource/wrap"
)

// conn is a connection of the user's pool. database/sql lets one goroutine at
// a time use it.
type conn struct {
	inner driver.Conn
	res   *Resource
	// tx is the local transaction that is open, nil when none is.
	tx *localTx
	// statements are those of texts, AT's own and the application's, that were
	// executed in global transactions; parsed is what the latter say.
	statements statements
	parsed     recent[*sqlparse.Statement]
	// broken: the connection could not be put back into a clean state and must
	// leave the pool.
	broken bool
}

// Begin is for callers without a context: outside any global transaction.
func (c *conn) Begin() (driver.Tx, error) {
	return c.BeginTx(context.Background(), driver.TxOptions{})
}

// BeginTx begins a local transaction, bound to the global transaction that ctx
// carries.
func (c *conn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	tx, err := c.begin(ctx, wrap.XID(ctx), opts)
	if err != nil {
		return nil, err
	}
	// driver.Tx has no context; database/sql means that of BeginTx.
	return boundTx{commit: func() error { return tx.commitExplicit(ctx) }, rollback: tx.rollback}, nil
}

// boundTx is a local transaction as database/sql ends it.
type boundTx struct{ commit, rollback func() error }

func (t boundTx) Commit() error   { return t.commit() }
func (t boundTx) Rollback() error { return t.rollback() }

func (c *conn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	global, err := c.judge(ctx, query)
	if err != nil {
		return nil, err
	}
	if global == "" {
		return wrap.ExecText(ctx, c.inner, query, args)
	}
	st, err := c.parse(query)
	if err != nil {
		return nil, err
	}
	return c.exec(ctx, global, st, args, func(ctx context.Context) (driver.Result, error) {
		return c.execInner(ctx, actual(st, query), args)
	})
}

func (c *conn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	global, err := c.judge(ctx, query)
	if err != nil {
		return nil, err
	}
	if global == "" {
		return wrap.QueryText(ctx, c.inner, query, args)
	}
	st, err := c.parse(query)
	if err != nil {
		return nil, err
	}
	return c.query(ctx, global, st, args, func(ctx context.Context) (driver.Rows, error) {
		return c.queryInner(ctx, actual(st, query), args)
	})
}

// actual is the text that the driver is given.
func actual(st *sqlparse.Statement, query string) string {
	if st.Rewritten != "" {
		return st.Rewritten
	}
	return query
}

// Prepare is for callers without a context.
func (c *conn) Prepare(query string) (driver.Stmt, error) {
	return c.PrepareContext(context.Background(), query)
}

// PrepareContext leaves judging the statement to its execution, which may be
// inside a global transaction or not. Only a text that the database itself
// would not take (SQLite's FOR UPDATE) is rewritten now.
func (c *conn) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	global, err := c.global(ctx)
	if err != nil {
		return nil, err
	}
	s := &stmt{conn: c, query: query}
	text := query
	if global != "" {
		if s.parsed, err = c.parse(query); err != nil {
			return nil, err
		}
		text = actual(s.parsed, query)
	}
	if s.inner, err = wrap.Prepare(ctx, c.inner, text); err != nil {
		return nil, err
	}
	return s, nil
}

// judge is global for a text that is about to be executed.
func (c *conn) judge(ctx context.Context, query string) (string, error) {
	c.statements.follow(query)
	return c.global(ctx)
}

// global tells which global transaction work with ctx belongs to.
func (c *conn) global(ctx context.Context) (string, error) {
	if c.tx == nil {
		return wrap.Global(ctx, false, "")
	}
	return wrap.Global(ctx, true, c.tx.xid)
}

// exec carries out a statement inside a global transaction.
func (c *conn) exec(ctx context.Context, global string, st *sqlparse.Statement, args []driver.NamedValue, run func(context.Context) (driver.Result, error)) (driver.Result, error) {
	if err := checkArgs(st, args); err != nil {
		return nil, err
	}
	if c.tx != nil {
		return c.tx.exec(ctx, st, args, run)
	}
	if st.Kind == sqlparse.Read || st.Kind == sqlparse.Local {
		if err := checkAlone(st); err != nil {
			return nil, err
		}
		return run(ctx)
	}
	var result driver.Result
	err := c.alone(ctx, global, func(tx *localTx) (err error) {
		if result, err = tx.exec(ctx, st, args, run); err != nil {
			return err
		}
		return tx.commit(ctx, tx.register)
	})
	if err != nil {
		return nil, err
	}
	return result, nil
}

// query carries out a query inside a global transaction.
func (c *conn) query(ctx context.Context, global string, st *sqlparse.Statement, args []driver.NamedValue, run func(context.Context) (driver.Rows, error)) (driver.Rows, error) {
	if err := checkArgs(st, args); err != nil {
		return nil, err
	}
	if c.tx != nil {
		return c.tx.query(ctx, st, args, run)
	}
	if st.Kind == sqlparse.Read || st.Kind == sqlparse.Local {
		if err := checkAlone(st); err != nil {
			return nil, err
		}
		return run(ctx)
	}
	var rows driver.Rows
	err := c.alone(ctx, global, func(tx *localTx) error {
		inner, err := tx.query(ctx, st, args, run)
		if err != nil {
			return err
		}
		if changes(st.Kind) { // the rows have been read
			rows = inner
			return tx.commit(ctx, tx.register)
		}
		// The local transaction, and with it the row locks, lasts until the
		// caller has read the rows.
		rows = &wrap.OwnedRows{Rows: inner, Release: func(err error) error {
			if err != nil {
				return tx.rollback()
			}
			return tx.commit(ctx, tx.register)
		}}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return rows, nil
}

// alone runs work in a local transaction of its own, again and again while the
// rows are locked by others; no local lock is held in between. Work ends the
// transaction if it succeeds.
func (c *conn) alone(ctx context.Context, global string, work func(*localTx) error) error {
	return c.res.awaitLocks(ctx, func() error {
		tx, err := c.begin(ctx, global, driver.TxOptions{})
		if err != nil {
			return err
		}
		tx.alone = true
		if err := work(tx); err != nil {
			tx.abandon()
			return err
		}
		return nil
	})
}

// checkAlone refuses what makes no sense outside of a local transaction. SQLite
// would begin one for a savepoint, and it would go back to the pool with the
// connection, holding the file's write lock.
func checkAlone(st *sqlparse.Statement) error {
	if st.Savepoint.Verb != 0 {
		return &sqlparse.Unsupported{
			Reason: "a savepoint outside of a local transaction",
			Remedy: "begin one with BeginTx and execute it there",
		}
	}
	return nil
}

// checkArgs refuses arguments that cannot be matched to placeholders.
func checkArgs(st *sqlparse.Statement, args []driver.NamedValue) error {
	for _, arg := range args {
		if arg.Name != "" {
			return &sqlparse.Unsupported{Reason: "the named argument " + arg.Name, Remedy: "use positional arguments"}
		}
	}
	if len(args) != st.Params {
		return fmt.Errorf("the statement has %d placeholders, %d arguments were given", st.Params, len(args))
	}
	return nil
}

// Close closes the connection; the database rolls back what is open.
func (c *conn) Close() error {
	c.statements.close()
	return c.inner.Close()
}

// Ping asks the database whether it is there.
func (c *conn) Ping(ctx context.Context) error {
	if p, ok := c.inner.(driver.Pinger); ok {
		return p.Ping(ctx)
	}
	return nil
}

// ResetSession is called before the connection is used again.
func (c *conn) ResetSession(ctx context.Context) error {
	if c.broken || c.tx != nil {
		return driver.ErrBadConn
	}
	if r, ok := c.inner.(driver.SessionResetter); ok {
		return r.ResetSession(ctx)
	}
	return nil
}

// IsValid is called before the connection goes back to the pool.
func (c *conn) IsValid() bool {
	if c.broken {
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
