package at

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"

	"github.com/qiao-tx/qiao/datasource/image"
	"github.com/qiao-tx/qiao/datasource/schema"
	"github.com/qiao-tx/qiao/datasource/sqlparse"
	"github.com/qiao-tx/qiao/datasource/undo"
	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/rm"
)

// Commit answers when the undo record is deleted, so that a process which is
// killed leaves none behind: its order is repeated elsewhere. Nobody waits for
// this answer; the change itself was committed in phase one.
func (r *Resource) Commit(ctx context.Context, b rm.Branch) (protocol.BranchStatus, error) {
	if err := r.deleter.remove(ctx, undoKey{b.XID, b.ID}); err != nil {
		return protocol.BranchPhaseTwoCommitFailedRetryable, fmt.Errorf("delete the undo record of branch %d of %s: %w", b.ID, b.XID, err)
	}
	return protocol.BranchPhaseTwoCommitted, nil
}

func (r *Resource) deleteNow(ctx context.Context, keys []undoKey) error {
	s, done, err := r.borrow(ctx)
	if err != nil {
		return err
	}
	defer done()
	return r.awaitFile(ctx, func() error { return r.deleteCommitted(ctx, s, keys) })
}

// undoAttempts bounds how often a rollback starts again that meets phase one's
// late record or a deadlock.
const undoAttempts = 5

// Rollback undoes the branch in one local transaction, or proves that there is
// nothing to undo. It is idempotent. A record that Java alone can read, and any
// error of the database, is retryable; rows that others changed are not.
func (r *Resource) Rollback(ctx context.Context, b rm.Branch) (protocol.BranchStatus, error) {
	var err error
	for range undoAttempts {
		err = r.inTransaction(ctx, func(s session) error { return r.undo(ctx, s, undoKey{b.XID, b.ID}) })
		if !r.db.duplicate(err) && !r.db.deadlock(err) {
			break
		}
	}
	switch {
	case err == nil:
		return protocol.BranchPhaseTwoRollbacked, nil
	case errors.Is(err, ErrDirty), errors.Is(err, undo.ErrUndecodable):
		return protocol.BranchPhaseTwoRollbackFailedUnretryable, fmt.Errorf("roll back branch %d of %s: %w", b.ID, b.XID, err)
	}
	return protocol.BranchPhaseTwoRollbackFailedRetryable, fmt.Errorf("roll back branch %d of %s: %w", b.ID, b.XID, err)
}

// undo undoes a branch within the transaction of s.
func (r *Resource) undo(ctx context.Context, s session, key undoKey) error {
	row, err := r.readUndo(ctx, s, key)
	if err != nil {
		return err
	}
	if row == nil {
		return r.insertUndo(ctx, s, key, undo.Context{}.String(), []byte(undo.EmptyContent), undoFinished)
	}
	if row.state != undoNormal {
		return nil // an earlier call left the defence row
	}
	record, instants, form, err := r.loadRecord(ctx, s, key, row)
	if err != nil {
		return err
	}
	if record.XID != key.xid || record.BranchID != key.branchID {
		return fmt.Errorf("%w: it names branch %d of %s", undo.ErrUndecodable, record.BranchID, record.XID)
	}
	if r.db.lenient != "" {
		if _, err := s.Exec(ctx, r.db.lenient); err != nil {
			return fmt.Errorf("put off the check of foreign keys: %w", err)
		}
	}
	for i := len(record.Entries) - 1; i >= 0; i-- {
		if err := r.undoEntry(ctx, s, record.Entries[i], instants.Entries[i], form.Java); err != nil {
			return err
		}
	}
	keys := []undoKey{key}
	for _, id := range form.Parts {
		keys = append(keys, undoKey{key.xid, id})
	}
	return r.deleteUndo(ctx, s, keys)
}

// undoEntry puts the rows of one statement back, if they are as it left them.
// Rows that are as they were before are left alone. instants is the entry with
// its moments in UTC. An entry of Java's shows rows as Java reads them.
func (r *Resource) undoEntry(ctx context.Context, s session, e, instants undo.Entry, java bool) error {
	diff := image.Diff
	if java && r.cfg.Dialect == schema.MySQL {
		diff = image.DiffAsJava
	}
	shown := e.After // the image that has rows
	if e.Kind == sqlparse.Delete {
		shown = e.Before
	}
	schemaName, name := "", shown.Table
	if r.cfg.Dialect == schema.PostgreSQL {
		schemaName, name = recordedName(e.Table, shown.Table)
	}
	table, err := r.tables.Table(ctx, s, schemaName, name)
	if err != nil {
		return err
	}
	if r.cfg.Dialect == schema.PostgreSQL {
		if e.Before, err = retyped(table, e.Before, instants.Before); err != nil {
			return err
		}
		if e.After, err = retyped(table, e.After, instants.After); err != nil {
			return err
		}
		if shown = e.After; e.Kind == sqlparse.Delete {
			shown = e.Before
		}
	}
	if same, err := image.Diff(table, e.Before, e.After); err != nil || same == nil {
		return err
	}
	keys, err := keysOf(table, shown)
	if err != nil {
		return err
	}
	current, err := readKeys(ctx, s, r.cfg.Dialect, table, keys)
	if err != nil {
		r.tables.Invalidate(schemaName, name)
		return fmt.Errorf("read the rows of table %s as they are: %w", table.Name, err)
	}
	dirty, err := diff(table, e.After, current)
	if err != nil {
		return err
	}
	if dirty != nil {
		if undone, err := diff(table, e.Before, current); err != nil || undone == nil {
			return err
		}
		return &DirtyError{*dirty}
	}
	statements, err := undo.Inverse(r.cfg.Dialect, table, e)
	if err != nil {
		return err
	}
	for _, st := range statements {
		if _, err := s.Exec(ctx, st.SQL, st.Args...); err != nil {
			return fmt.Errorf("undo a change of table %s: %w", table.Name, err)
		}
	}
	return nil
}

// inTransaction runs work in a transaction on a connection of our own.
func (r *Resource) inTransaction(ctx context.Context, work func(session) error) error {
	s, done, err := r.borrow(ctx)
	if err != nil {
		return err
	}
	defer done()
	if err := r.awaitFile(ctx, func() error {
		_, err := s.Exec(ctx, r.db.begin)
		return err
	}); err != nil {
		return err
	}
	err = work(s)
	if err == nil {
		if err = r.awaitFile(ctx, func() error {
			_, err := s.Exec(ctx, "COMMIT")
			return err
		}); err == nil {
			return nil
		}
	}
	rollback, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupWait)
	defer cancel()
	if _, failed := s.Exec(rollback, "ROLLBACK"); failed != nil {
		s.drop()
	}
	return err
}

// borrow takes a connection of the resource's own pool.
func (r *Resource) borrow(ctx context.Context) (s poolSession, done func(), err error) {
	c, err := r.pool.Conn(ctx)
	if err != nil {
		return poolSession{}, nil, err
	}
	return poolSession{c}, func() { _ = c.Close() }, nil // a dropped connection is closed already
}

// drop makes the pool throw the connection away, transaction and all.
func (s poolSession) drop() {
	_ = s.conn.Raw(func(any) error { return driver.ErrBadConn }) // that is the answer it gives back
}
