package at

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"strconv"

	"github.com/qiao-tx/qiao/datasource/image"
	"github.com/qiao-tx/qiao/datasource/schema"
	"github.com/qiao-tx/qiao/datasource/sqlparse"
	"github.com/qiao-tx/qiao/datasource/undo"
	"github.com/qiao-tx/qiao/datasource/wrap"
	"github.com/qiao-tx/qiao/protocol"
)

// errUnrecorded: a statement of PostgreSQL ran, and what it did cannot be
// recorded. A savepoint set before it takes it back.
var errUnrecorded = errors.New("the change cannot be recorded")

// returned is what a statement answered beside the columns of its own.
type returned struct {
	// rows are those of the statement's own columns.
	rows *wrap.KeptRows
	// image holds our columns of the same rows.
	image image.Image
}

// extended runs a statement of PostgreSQL with further result columns: those
// given, and the number of the table in which each row is. A name can mean
// another table in each session; the number shows whether it is the one that
// we know.
func (t *localTx) extended(ctx context.Context, table *schema.Table, st *sqlparse.Statement, args []driver.NamedValue, columns []schema.Column) (returned, error) {
	qualifier := st.Alias
	if qualifier == "" {
		qualifier = st.Table
	}
	d := t.dialect()
	list := image.SelectList(d, qualifier, columns) + ", CAST(" + d.Quote(qualifier) + ".tableoid AS text)"
	inner, err := t.conn.queryInner(ctx, st.Head+list+st.Tail, args)
	if err != nil {
		return returned{}, err
	}
	rows, ours, err := wrap.Keep(inner, len(columns)+1)
	if err != nil {
		return returned{}, err
	}
	if !st.Returns {
		rows.Hide()
	}
	img := image.Image{Table: table.FullName()}
	for _, values := range ours {
		if oid := text(values[len(columns)]); oid != strconv.FormatUint(uint64(table.OID), 10) {
			t.conn.res.tables.Invalidate(st.Schema, st.Table)
			return returned{}, fmt.Errorf("%w: %s is not the table that it was when its schema was read (number %s, then %d): another search_path, or it was made anew; try the transaction again",
				errUnrecorded, table.Name, oid, table.OID)
		}
		row, err := image.FromRow(d, table, columns, values[:len(columns)])
		if err != nil {
			return returned{}, fmt.Errorf("%w: %w", errUnrecorded, err)
		}
		img.Rows = append(img.Rows, row)
	}
	return returned{rows, img}, nil
}

// change runs an INSERT, UPDATE or DELETE of PostgreSQL, which itself answers
// with the rows that it changed: new ones as they are now, deleted ones as they
// were. Only what an UPDATE found has to be read before.
func (t *localTx) change(ctx context.Context, st *sqlparse.Statement, args []driver.NamedValue) (*wrap.KeptRows, error) {
	table, err := t.table(ctx, st)
	if err != nil {
		return nil, err
	}
	columns := image.Columns(table)
	e := undo.Entry{Kind: st.Kind, Before: image.Image{Table: table.FullName()}, After: image.Image{Table: table.FullName()}}
	var before image.Image
	if st.Kind == sqlparse.Update {
		// The UPDATE itself locks no more than this, unless it changes a key.
		if before, err = t.matching(ctx, table, st, args, columns, " FOR NO KEY UPDATE"); err != nil {
			t.conn.res.tables.Invalidate(st.Schema, st.Table)
			return nil, fmt.Errorf("before image of table %s: %w", table.Name, err)
		}
	}
	r, err := t.extended(ctx, table, st, args, columns)
	if err != nil {
		return nil, err
	}
	switch st.Kind {
	case sqlparse.Delete:
		e.Before = r.image
	case sqlparse.Update:
		e.After = r.image
		e.Before, err = image.Matching(table, before, r.image)
	default:
		e.After = r.image
	}
	if err == nil && len(r.image.Rows) > 0 {
		err = t.record(table, e)
	}
	if errors.Is(err, image.ErrNoRow) {
		return nil, fmt.Errorf("%w: %w", ErrRowsMoved, err)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errUnrecorded, err)
	}
	return r.rows, nil
}

// lockReturned runs a SELECT … FOR UPDATE of PostgreSQL and waits until no other
// global transaction holds the rows that it gave.
func (t *localTx) lockReturned(ctx context.Context, st *sqlparse.Statement, args []driver.NamedValue) (*wrap.KeptRows, error) {
	table, err := t.table(ctx, st)
	if err != nil {
		return nil, err
	}
	r, err := t.extended(ctx, table, st, args, keyColumns(table))
	if err != nil {
		return nil, err
	}
	return r.rows, t.checkLocks(ctx, table, r.image)
}

// keyColumns are the columns of the primary key.
func keyColumns(table *schema.Table) []schema.Column {
	key := make([]schema.Column, 0, len(table.PrimaryKey))
	for _, name := range table.PrimaryKey {
		c, _ := table.Column(name)
		key = append(key, c)
	}
	return key
}

// checkLocks waits until no other global transaction holds the rows.
func (t *localTx) checkLocks(ctx context.Context, table *schema.Table, rows image.Image) error {
	r := t.conn.res
	locks := image.Locks{Zone: r.cfg.JavaZone}
	if err := locks.Add(table, rows); err != nil || locks.Empty() {
		return err
	}
	check := func() error {
		return r.cfg.Coordinator.CheckLocks(ctx, t.xid, protocol.TypeAT, r.id, locks.String())
	}
	if t.alone {
		return check() // the caller drops the local locks before it tries again
	}
	return r.holdLocks(ctx, check)
}
