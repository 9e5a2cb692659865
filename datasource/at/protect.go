package at

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/qiao-tx/qiao/datasource/image"
	"github.com/qiao-tx/qiao/datasource/schema"
	"github.com/qiao-tx/qiao/datasource/sqlparse"
	"github.com/qiao-tx/qiao/datasource/undo"
)

// errColumns: the statement names columns that the table does not have.
var errColumns = errors.New("the statement does not fit the table's columns")

// protect runs a statement between its images. Errors before run leave nothing
// changed; after it, whatever keeps the change from being recorded makes the
// transaction one that can only be rolled back.
func (t *localTx) protect(ctx context.Context, st *sqlparse.Statement, args []driver.NamedValue, run func(context.Context) (driver.Result, error)) (driver.Result, error) {
	table, err := t.table(ctx, st)
	if err != nil {
		return nil, err
	}
	if st.Kind == sqlparse.Insert {
		return t.insert(ctx, table, st, args, run)
	}
	before, err := t.matching(ctx, table, st, args, image.Columns(table), locking(t.dialect()))
	if err != nil {
		t.conn.res.tables.Invalidate(st.Schema, st.Table)
		return nil, fmt.Errorf("before image of table %s: %w", table.Name, err)
	}
	result, err := run(ctx)
	if err != nil {
		return nil, err
	}
	if err := t.recordChange(ctx, table, st.Kind, before, result); err != nil {
		t.lost = err
		return nil, err
	}
	return result, nil
}

// recordChange takes the after image of an UPDATE or DELETE, and sees that the
// statement changed the rows that were imaged and no others.
func (t *localTx) recordChange(ctx context.Context, table *schema.Table, kind sqlparse.Kind, before image.Image, result driver.Result) error {
	affected, err := result.RowsAffected()
	if err != nil {
		return fmt.Errorf("table %s: count the rows changed: %w", table.Name, err)
	}
	imaged := int64(len(before.Rows))
	if affected > imaged || kind == sqlparse.Delete && affected != imaged {
		return fmt.Errorf("%w: table %s: %d rows changed, %d were imaged", ErrRowsMoved, table.Name, affected, imaged)
	}
	if imaged == 0 {
		return nil
	}
	e := undo.Entry{Kind: kind, Before: before, After: image.Image{Table: table.Name}}
	if kind == sqlparse.Update {
		keys, err := keysOf(table, before)
		if err != nil {
			return err
		}
		if e.After, err = readKeys(ctx, t.session(), t.dialect(), table, keys); err != nil {
			return fmt.Errorf("after image of table %s: %w", table.Name, err)
		}
		if len(e.After.Rows) != len(before.Rows) {
			return fmt.Errorf("%w: table %s: %d rows before, %d after", ErrRowsMoved, table.Name, len(before.Rows), len(e.After.Rows))
		}
		if err := t.seeWhatChanged(ctx, table, e, keys[:1], affected); err != nil {
			return err
		}
	}
	return t.record(table, e)
}

// seeWhatChanged refuses an UPDATE that changed more rows than the images show
// as changed: beside an imaged row that stayed as it was there is room in the
// count for one that was not imaged.
func (t *localTx) seeWhatChanged(ctx context.Context, table *schema.Table, e undo.Entry, one [][]any, affected int64) error {
	if !t.conn.res.db.rowLocks {
		return nil // nobody else writes the file meanwhile
	}
	changed, err := image.Changed(table, e.Before, e.After)
	if err != nil || affected <= int64(changed) {
		return err
	}
	// MySQL counts the rows that an UPDATE found if the client asked for that
	// (clientFoundRows), else those it changed. Which, an UPDATE without effect tells.
	where, args := image.WhereKeys(t.dialect(), table, one, 1)
	key := t.dialect().Quote(table.PrimaryKey[0])
	found, err := t.session().Exec(ctx, "UPDATE "+t.dialect().Quote(table.Name)+" SET "+key+" = "+key+" WHERE "+where, args...)
	if err != nil {
		return fmt.Errorf("table %s: find out how rows are counted: %w", table.Name, err)
	}
	if found == 0 {
		return fmt.Errorf("%w: table %s: %d rows changed, %d of the imaged ones did", ErrRowsMoved, table.Name, affected, changed)
	}
	return nil
}

// record keeps what a statement did until the transaction commits. The table's
// name is quoted, as in a statement whose author was careful: Java puts it into
// its undo SQL as it stands.
func (t *localTx) record(table *schema.Table, e undo.Entry) error {
	locked := e.After
	if e.Kind == sqlparse.Delete {
		locked = e.Before
	}
	if err := t.locks.Add(table, locked); err != nil {
		return err
	}
	e.Table = table.Quoted(t.dialect())
	t.entries = append(t.entries, e)
	return nil
}

// lockRows is what SELECT … FOR UPDATE does beyond the database's own locks: it
// waits until no other global transaction holds the rows.
func (t *localTx) lockRows(ctx context.Context, st *sqlparse.Statement, args []driver.NamedValue) error {
	table, err := t.table(ctx, st)
	if err != nil {
		return err
	}
	suffix := ""
	if t.dialect() == schema.MySQL {
		suffix = " " + st.ForUpdateSuffix
	}
	rows, err := t.matching(ctx, table, st, args, keyColumns(table), suffix)
	if err != nil {
		return err
	}
	return t.checkLocks(ctx, table, rows)
}

// matching reads the rows that the statement's own clauses choose.
func (t *localTx) matching(ctx context.Context, table *schema.Table, st *sqlparse.Statement, args []driver.NamedValue, columns []schema.Column, suffix string) (image.Image, error) {
	d := t.dialect()
	from := d.Quote(st.Table)
	if d == schema.PostgreSQL {
		from = table.Quoted(d) // whatever search_path is
	}
	if st.Alias != "" {
		from += " AS " + d.Quote(st.Alias)
	}
	var values []any
	for _, clause := range []struct {
		keyword string
		sqlparse.Expr
	}{{" WHERE ", st.Where}, {" ORDER BY ", st.OrderBy}, {" LIMIT ", st.Limit}} {
		if clause.SQL == "" {
			continue
		}
		from += clause.keyword + clause.SQL
		for _, p := range clause.Params {
			values = append(values, args[p].Value)
		}
	}
	return readImage(ctx, t.session(), d, table, columns, from+suffix, values)
}

// table finds the statement's table and refuses what cannot be protected there.
func (t *localTx) table(ctx context.Context, st *sqlparse.Statement) (*schema.Table, error) {
	r := t.conn.res
	if t.dialect() == schema.MySQL && st.Schema != "" && st.Schema != r.database {
		return nil, &sqlparse.Unsupported{
			Reason: fmt.Sprintf("the table %s.%s is not in the connection's database %s, whose locks are kept", st.Schema, st.Table, r.database),
			Remedy: "use a data source of that database",
		}
	}
	table, err := r.tables.Table(ctx, t.session(), st.Schema, st.Table)
	if err != nil {
		return nil, err
	}
	if !fits(table, st) { // the schema may have changed since it was read
		r.tables.Invalidate(st.Schema, st.Table)
		if table, err = r.tables.Table(ctx, t.session(), st.Schema, st.Table); err != nil {
			return nil, err
		}
		if !fits(table, st) {
			return nil, fmt.Errorf("%w: table %s", errColumns, table.Name)
		}
	}
	if err := refuseHazards(table, st); err != nil {
		return nil, err
	}
	return table, refuseKeys(table, st)
}

// refuseHazards refuses a statement that would change more than its images show.
func refuseHazards(table *schema.Table, st *sqlparse.Statement) error {
	for _, h := range table.Hazards {
		if h.Insert && st.Kind == sqlparse.Insert || h.Delete && st.Kind == sqlparse.Delete ||
			h.Update && st.Kind == sqlparse.Update && (h.Column == "" || slices.ContainsFunc(st.Set, func(set string) bool { return strings.EqualFold(set, h.Column) })) {
			return &sqlparse.Unsupported{Reason: "table " + table.Name + ": " + h.Reason, Remedy: h.Remedy}
		}
	}
	return nil
}

// fits tells whether the table has all columns that the statement writes.
func fits(table *schema.Table, st *sqlparse.Statement) bool {
	for _, names := range [][]string{st.Set, st.Columns} {
		for _, name := range names {
			if _, ok := table.Column(name); !ok {
				return false
			}
		}
	}
	return st.Kind != sqlparse.Insert || st.Columns != nil || len(st.Rows) == 0 || len(st.Rows[0]) == len(table.InsertColumns())
}

// refuseKeys refuses changed keys, and a LIMIT that may mean other rows when it
// runs again.
func refuseKeys(table *schema.Table, st *sqlparse.Statement) error {
	for _, name := range st.Set {
		if table.IsKey(name) {
			return fmt.Errorf("%w: table %s, column %s: delete the row and insert it anew", ErrPrimaryKeyChanged, table.Name, name)
		}
		if c, _ := table.Column(name); c.Identity {
			return &sqlparse.Unsupported{
				Reason: fmt.Sprintf("table %s: an UPDATE of the identity column %s, to which no UPDATE can give its value back", table.Name, c.Name),
				Remedy: "leave the column out",
			}
		}
	}
	if st.Limit.SQL == "" {
		return nil
	}
	ordered := map[string]bool{}
	for _, name := range st.OrderColumns {
		if c, ok := table.Column(name); ok {
			ordered[c.Name] = true
		}
	}
	for _, name := range table.PrimaryKey {
		if !ordered[name] {
			return &sqlparse.Unsupported{
				Reason: "LIMIT with an ORDER BY in which rows may tie",
				Remedy: "add the primary key to ORDER BY",
			}
		}
	}
	return nil
}

func (t *localTx) dialect() schema.Dialect { return t.conn.res.cfg.Dialect }
