package at

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/qiao-tx/qiao/datasource/schema"
	"github.com/qiao-tx/qiao/datasource/undo"
)

// States of a row of undo_log.
const (
	undoNormal = 0
	// undoFinished marks the defence row that a rollback leaves when it found
	// no record: should phase one come later, its record hits the unique key.
	undoFinished = 1
)

// undoKey names a row of undo_log.
type undoKey struct {
	xid      string
	branchID int64
}

func (r *Resource) insertUndo(ctx context.Context, s session, key undoKey, undoContext string, content []byte, state int) error {
	_, err := s.Exec(ctx, "INSERT INTO undo_log (branch_id, xid, context, rollback_info, log_status, log_created, log_modified)"+
		" VALUES ("+r.marks(1, 5)+", "+r.db.now+", "+r.db.now+")",
		key.branchID, key.xid, undoContext, content, int64(state))
	return err
}

// marks are the places of n arguments, the first of which is number first.
func (r *Resource) marks(first, n int) string {
	marks := make([]string, n)
	for i := range marks {
		marks[i] = r.cfg.Dialect.Placeholder(first + i)
	}
	return strings.Join(marks, ", ")
}

// undoRow is what phase two needs of a row.
type undoRow struct {
	context string
	content []byte
	state   int64
}

// readUndo reads and locks a row; nil when there is none.
func (r *Resource) readUndo(ctx context.Context, s session, key undoKey) (*undoRow, error) {
	rows, err := s.Query(ctx, "SELECT context, rollback_info, log_status FROM undo_log WHERE xid = "+r.marks(1, 1)+" AND branch_id = "+r.marks(2, 1)+
		locking(r.cfg.Dialect), key.xid, key.branchID)
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	row := &undoRow{context: text(rows[0][0]), content: []byte(text(rows[0][1]))}
	_, err = fmt.Sscan(text(rows[0][2]), &row.state)
	return row, err
}

// text is a driver's text or number as text.
func text(v any) string {
	switch v := v.(type) {
	case []byte:
		return string(v)
	case nil:
		return ""
	}
	return fmt.Sprint(v)
}

// deleteUndo deletes the rows of finished branches. Each way of naming them is
// the one that the database looks up in the index: MariaDB reads, and locks,
// the whole table for a single tuple behind IN, and SQLite takes no more than
// a thousand terms of OR.
func (r *Resource) deleteUndo(ctx context.Context, s session, keys []undoKey) error {
	where, args := whereUndo(keys)
	switch r.cfg.Dialect {
	case schema.SQLite:
		where = "(xid, branch_id) IN (VALUES " + strings.TrimSuffix(strings.Repeat("(?, ?), ", len(keys)), ", ") + ")"
	case schema.PostgreSQL:
		rows := make([]string, len(keys))
		for i := range rows {
			rows[i] = fmt.Sprintf("(CAST($%d AS varchar), CAST($%d AS bigint))", 2*i+1, 2*i+2)
		}
		where = "(xid, branch_id) IN (VALUES " + strings.Join(rows, ", ") + ")"
	}
	_, err := s.Exec(ctx, "DELETE FROM undo_log WHERE "+where, args...)
	return err
}

// deleteCommitted deletes the rows of committed branches, and the rows that
// hold more of their records. Those are looked for first, without a lock: a
// condition on the context would lock every row of the transaction.
func (r *Resource) deleteCommitted(ctx context.Context, s session, keys []undoKey) error {
	if r.db.largestPacket != "" {
		where, args := whereUndo(keys)
		rows, err := s.Query(ctx, "SELECT xid, context FROM undo_log WHERE ("+where+") AND context LIKE '%subId=%'", args...)
		if err != nil {
			return err
		}
		for _, row := range rows {
			form, err := undo.ParseContext(text(row[1]))
			if err != nil {
				return err
			}
			for _, id := range form.Parts {
				keys = append(keys, undoKey{text(row[0]), id})
			}
		}
	}
	return r.deleteUndo(ctx, s, keys)
}

// whereUndo names rows one by one.
func whereUndo(keys []undoKey) (string, []any) {
	args := make([]any, 0, 2*len(keys))
	for _, key := range keys {
		args = append(args, key.xid, key.branchID)
	}
	return strings.TrimSuffix(strings.Repeat("(xid = ? AND branch_id = ?) OR ", len(keys)), " OR "), args
}

// deleteBatch bounds the rows that one statement deletes.
const deleteBatch = 1000

// DeleteUndo deletes the undo records that are older than age, in batches. It
// may be repeated.
func (r *Resource) DeleteUndo(ctx context.Context, age time.Duration) error {
	s, done, err := r.borrow(ctx)
	if err != nil {
		return err
	}
	defer done()
	statement := fmt.Sprintf("DELETE FROM undo_log WHERE log_created <= %s LIMIT %d", r.db.ago, deleteBatch)
	switch r.cfg.Dialect {
	case schema.SQLite:
		statement = fmt.Sprintf("DELETE FROM undo_log WHERE rowid IN (SELECT rowid FROM undo_log WHERE log_created <= %s LIMIT %d)", r.db.ago, deleteBatch)
	case schema.PostgreSQL:
		statement = fmt.Sprintf("DELETE FROM undo_log WHERE id IN (SELECT id FROM undo_log WHERE log_created <= %s LIMIT %d)", r.db.ago, deleteBatch)
	}
	for {
		var n int64
		err := r.awaitFile(ctx, func() (err error) {
			n, err = s.Exec(ctx, statement, int64(age/time.Second))
			return err
		})
		if err != nil {
			return fmt.Errorf("delete undo records older than %v: %w", age, err)
		}
		if n < deleteBatch {
			return nil
		}
	}
}
