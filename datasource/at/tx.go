package at

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"

	"github.com/qiao-tx/qiao/datasource/image"
	"github.com/qiao-tx/qiao/datasource/meta"
	"github.com/qiao-tx/qiao/datasource/schema"
	"github.com/qiao-tx/qiao/datasource/sqlparse"
	"github.com/qiao-tx/qiao/datasource/undo"
	"github.com/qiao-tx/qiao/datasource/wrap"
	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/rm"
)

// localTx is a local transaction. Bound to a global one, it collects what its
// statements changed and registers as a branch when it commits.
type localTx struct {
	conn  *conn
	inner driver.Tx
	// xid is the global transaction, "" outside of one.
	xid string
	// alone: the transaction is there for one statement only.
	alone   bool
	entries []undo.Entry
	locks   image.Locks
	// savepoints are those that stand, the latest last.
	savepoints []savepoint
	// lost says why the transaction can only be rolled back; nil while it can
	// be committed.
	lost error
	// mendable: ROLLBACK TO a savepoint takes back what lost stands for.
	mendable bool
}

func (c *conn) begin(ctx context.Context, global string, opts driver.TxOptions) (*localTx, error) {
	tx := &localTx{conn: c, xid: global, locks: image.Locks{Zone: c.res.cfg.JavaZone}}
	var err error
	if global != "" && c.res.cfg.Dialect == schema.SQLite && !opts.ReadOnly {
		tx.inner = sqliteTx{c.res, driverSession{c}}
		err = c.res.awaitFile(ctx, func() error {
			_, err := tx.session().Exec(ctx, c.res.db.begin)
			return err
		})
	} else {
		tx.inner, err = wrap.Begin(ctx, c.inner, opts)
	}
	if err != nil {
		return nil, err
	}
	c.tx = tx
	return tx, nil
}

func (t *localTx) session() session { return driverSession{t.conn} }

// exec runs one statement of a bound transaction.
func (t *localTx) exec(ctx context.Context, st *sqlparse.Statement, args []driver.NamedValue, run func(context.Context) (driver.Result, error)) (result driver.Result, err error) {
	if err := t.usable(st); err != nil {
		return nil, err
	}
	defer func() { t.observe(st, err) }()
	switch st.Kind {
	case sqlparse.Read, sqlparse.Local:
		return run(ctx)
	case sqlparse.SelectForUpdate:
		if t.conn.res.db.returns {
			rows, err := t.lockReturned(ctx, st, args)
			if err != nil {
				return nil, err
			}
			return rows.Affected(), nil
		}
		if err := t.lockRows(ctx, st, args); err != nil {
			return nil, err
		}
		return run(ctx)
	}
	if t.conn.res.db.returns {
		rows, err := t.change(ctx, st, args)
		if err != nil {
			return nil, err
		}
		return rows.Affected(), nil
	}
	return t.protect(ctx, st, args, run)
}

// query runs one query of a bound transaction.
func (t *localTx) query(ctx context.Context, st *sqlparse.Statement, args []driver.NamedValue, run func(context.Context) (driver.Rows, error)) (rows driver.Rows, err error) {
	if err := t.usable(st); err != nil {
		return nil, err
	}
	if changes(st.Kind) && !st.Returns {
		return nil, &sqlparse.Unsupported{Reason: "a statement that changes rows, run as a query", Remedy: "use Exec"}
	}
	defer func() { t.observe(st, err) }()
	switch {
	case changes(st.Kind):
		return anyRows(t.change(ctx, st, args))
	case st.Kind != sqlparse.SelectForUpdate:
	case t.conn.res.db.returns:
		return anyRows(t.lockReturned(ctx, st, args))
	default:
		if err := t.lockRows(ctx, st, args); err != nil {
			return nil, err
		}
	}
	return run(ctx)
}

// changes tells the statements that change rows.
func changes(k sqlparse.Kind) bool {
	return k == sqlparse.Insert || k == sqlparse.Update || k == sqlparse.Delete
}

// anyRows keeps a nil *wrap.KeptRows from becoming rows.
func anyRows(rows *wrap.KeptRows, err error) (driver.Rows, error) {
	if err != nil {
		return nil, err
	}
	return rows, nil
}

// usable tells whether the statement may run. st is nil for the end of the
// transaction.
func (t *localTx) usable(st *sqlparse.Statement) error {
	if t.lost != nil && t.mendable && st != nil && st.Savepoint.Verb == sqlparse.RollbackToSavepoint {
		return nil
	}
	if t.lost != nil {
		return fmt.Errorf("%w: %w", ErrMustRollBack, t.lost)
	}
	return nil
}

// observe looks at the end of a statement: after some errors, the database has
// given the transaction up, and what follows would run outside of it.
func (t *localTx) observe(st *sqlparse.Statement, err error) {
	if err == nil {
		t.follow(st.Savepoint)
		if st.Savepoint.Verb == sqlparse.RollbackToSavepoint {
			t.lost, t.mendable = nil, false
		}
		return
	}
	if t.lost != nil || harmless(err) || t.conn.res.db.statementOnly(err) {
		return
	}
	t.lost, t.mendable = err, t.conn.res.db.mendable(err)
}

// harmless tells our own refusals, before anything was executed.
func harmless(err error) bool {
	for _, refusal := range []error{
		sqlparse.ErrUnsupported, rm.ErrLockConflict, ErrPrimaryKeyChanged, errColumns,
		meta.ErrNoTable, meta.ErrNoPrimaryKey, meta.ErrNotATable,
	} {
		if errors.Is(err, refusal) {
			return true
		}
	}
	return false
}

// register makes the transaction a branch.
func (t *localTx) register(ctx context.Context) (int64, error) {
	r := t.conn.res
	return r.cfg.Coordinator.RegisterBranch(ctx, rm.Registration{
		XID: t.xid, Type: protocol.TypeAT, ResourceID: r.id, LockKey: t.locks.String(),
		HoldsLocks: !t.alone, // alone, it lets go of them before it tries again
	})
}

// commitExplicit commits a transaction that the user began.
func (t *localTx) commitExplicit(ctx context.Context) error {
	if t.xid == "" {
		t.conn.tx = nil
		return t.inner.Commit()
	}
	return t.commit(ctx, func(ctx context.Context) (id int64, err error) {
		err = t.conn.res.holdLocks(ctx, func() (err error) {
			id, err = t.register(ctx)
			return err
		})
		return id, err
	})
}

// commit registers the branch, writes its undo record and commits, in this
// order: a branch without a record is undone by doing nothing, a record
// without a branch would never be undone. When it fails, the local transaction
// has been rolled back, but for ErrOutcomeUnknown.
func (t *localTx) commit(ctx context.Context, register func(context.Context) (int64, error)) error {
	if err := t.usable(nil); err != nil {
		return errors.Join(err, t.rollback())
	}
	if len(t.entries) == 0 {
		err := t.inner.Commit()
		if err != nil {
			t.abandon()
		}
		t.conn.tx = nil
		return err
	}
	id, err := register(ctx)
	if err != nil {
		t.abandon()
		return fmt.Errorf("register the branch of %s: %w", t.xid, err)
	}
	if err := t.writeUndo(ctx, id); err != nil {
		t.abandon()
		t.reportFailed(ctx, id)
		return err
	}
	if err := t.inner.Commit(); err != nil {
		return t.commitFailed(ctx, id, err)
	}
	t.conn.tx = nil
	return nil
}

func (t *localTx) writeUndo(ctx context.Context, branchID int64) error {
	r := t.conn.res
	content, err := r.codec.Encode(undo.Record{XID: t.xid, BranchID: branchID, Entries: t.entries})
	if err != nil {
		return err
	}
	err = r.storeRecord(ctx, t.session(), undoKey{t.xid, branchID}, content)
	if r.db.duplicate(err) {
		return fmt.Errorf("%w: branch %d of %s was rolled back before it committed", rm.ErrNotActive, branchID, t.xid)
	}
	if err != nil {
		return fmt.Errorf("write the undo record of branch %d of %s: %w", branchID, t.xid, err)
	}
	return nil
}

// commitFailed finds out what a failed COMMIT left. Its error is never
// driver.ErrBadConn: database/sql would run the statement again.
func (t *localTx) commitFailed(ctx context.Context, branchID int64, cause error) error {
	rolledBack := t.rollback() == nil
	if rolledBack || t.conn.res.db.commitFailed(cause) {
		t.reportFailed(ctx, branchID)
		return fmt.Errorf("commit the branch %d of %s: %w", branchID, t.xid, wrap.NotRepeatable(cause))
	}
	return fmt.Errorf("%w: branch %d of %s: %w", ErrOutcomeUnknown, branchID, t.xid, wrap.NotRepeatable(cause))
}

// reportFailed tells the coordinator that the branch changed nothing. It saves
// work only: without the report the branch is rolled back by finding no record.
func (t *localTx) reportFailed(ctx context.Context, branchID int64) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupWait)
	defer cancel()
	r := t.conn.res
	err := r.cfg.Coordinator.ReportBranch(ctx, rm.Report{
		Branch: rm.Branch{XID: t.xid, ID: branchID, Type: protocol.TypeAT, ResourceID: r.id},
		Status: protocol.BranchPhaseOneFailed,
	})
	if err != nil {
		r.cfg.Log.Warn("a failed branch could not be reported", "xid", t.xid, "branch", branchID, "err", err)
	}
}

// rollback ends the transaction. A connection that cannot roll back leaves the
// pool, which makes the database do so.
func (t *localTx) rollback() error {
	t.conn.tx = nil
	err := t.inner.Rollback()
	if err != nil {
		t.conn.broken = true
	}
	return err
}

// abandon rolls back after an error that is reported itself.
func (t *localTx) abandon() {
	if t.conn.tx == t {
		_ = t.rollback() // on failure the connection leaves the pool
	}
}
