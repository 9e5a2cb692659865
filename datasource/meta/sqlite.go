package meta

import (
	"context"
	"fmt"
	"strings"

	"github.com/qiao-tx/qiao/datasource/schema"
)

// readSQLite reads a table of the connection's main file. Other schemas are
// refused: temporary and attached ones belong to a connection, and the one that
// rolls back does not see them.
func readSQLite(ctx context.Context, conn Queryer, n name) (*schema.Table, error) {
	t, err := sqliteTable(ctx, conn, n)
	if err != nil {
		return nil, err
	}
	if err := sqliteColumns(ctx, conn, t); err != nil {
		return nil, err
	}
	if len(t.PrimaryKey) == 0 {
		return nil, noPrimaryKey()
	}
	if err := sqliteKey(ctx, conn, t); err != nil {
		return nil, err
	}
	t.Hazards, err = sqliteHazards(ctx, conn, t)
	return t, err
}

func sqliteTable(ctx context.Context, conn Queryer, n name) (*schema.Table, error) {
	rows, err := conn.Query(ctx, `SELECT schema, name, type FROM pragma_table_list
		WHERE name = ?1 COLLATE NOCASE AND (?2 = '' OR schema = ?2 COLLATE NOCASE)
		ORDER BY schema = 'temp' DESC, schema = 'main' DESC`, n.table, n.schema)
	if err != nil {
		return nil, err
	}
	if len(rows) == 0 {
		return nil, noTable()
	}
	r := record{values: rows[0]}
	home, kind := r.text(0), r.text(2)
	t := &schema.Table{Name: r.text(1)}
	switch {
	case r.err != nil:
		return nil, r.err
	case !strings.EqualFold(home, "main"):
		return nil, notATable(fmt.Sprintf("a table of the schema %q, which other connections do not see", home))
	case kind != "table":
		return nil, notATable("of the kind " + kind)
	}
	return t, nil
}

// Values of pragma_table_xinfo's column "hidden".
const (
	sqliteVirtualColumn = 2
	sqliteStoredColumn  = 3
)

// sqliteColumns fills in the columns and the primary key.
func sqliteColumns(ctx context.Context, conn Queryer, t *schema.Table) error {
	rows, err := conn.Query(ctx, `SELECT name, type, "notnull", pk, hidden FROM pragma_table_xinfo(?, 'main') ORDER BY cid`, t.Name)
	if err != nil {
		return err
	}
	key := map[int64]string{}
	for _, row := range rows {
		r := record{values: row}
		declared, hidden := strings.ToLower(r.text(1)), r.number(4)
		generated := hidden == sqliteVirtualColumn || hidden == sqliteStoredColumn
		c := schema.Column{
			Name:         r.text(0),
			JDBCType:     sqliteJDBC(declared),
			DatabaseType: declared,
			Nullable:     r.number(2) == 0,
			Generated:    generated,
			Hidden:       generated,
		}
		if place := r.number(3); place > 0 {
			key[place] = c.Name
		}
		if r.err != nil {
			return r.err
		}
		t.Columns = append(t.Columns, c)
	}
	for place := int64(1); key[place] != ""; place++ {
		t.PrimaryKey = append(t.PrimaryKey, key[place])
	}
	return nil
}

// sqliteKey settles what the key's columns are. A key without an index of its
// own is the row id, which SQLite generates; elsewhere the index tells the
// collation.
func sqliteKey(ctx context.Context, conn Queryer, t *schema.Table) error {
	rows, err := conn.Query(ctx, `SELECT x.name, x.coll FROM pragma_index_list(?, 'main') AS l
		JOIN pragma_index_xinfo(l.name, 'main') AS x WHERE l.origin = 'pk' AND x.key = 1`, t.Name)
	if err != nil {
		return err
	}
	collations := map[string]string{}
	for _, row := range rows {
		r := record{values: row}
		collations[strings.ToLower(r.text(0))] = r.text(1)
		if r.err != nil {
			return r.err
		}
	}
	rowid := len(rows) == 0
	for i := range t.Columns {
		c := &t.Columns[i]
		if !t.IsKey(c.Name) {
			continue
		}
		if rowid {
			c.AutoIncrement, c.Nullable = true, false // NULL asks for a generated value
		}
		collation, indexed := collations[strings.ToLower(c.Name)]
		c.CaseInsensitive = indexed && !strings.EqualFold(collation, "BINARY")
	}
	return nil
}

// sqliteJDBC is a java.sql.Types number for a declared type, by SQLite's rules
// of affinity and in their order; dates and booleans have none of their own. A
// value may still be of any storage class.
func sqliteJDBC(declared string) int {
	has := func(parts ...string) bool {
		for _, part := range parts {
			if strings.Contains(declared, part) {
				return true
			}
		}
		return false
	}
	switch {
	case has("int"):
		return schema.JDBCBigInt
	case has("char", "clob", "text"):
		return schema.JDBCVarChar
	case has("blob"), declared == "":
		return schema.JDBCLongVarBinary
	case has("real", "floa", "doub"):
		return schema.JDBCDouble
	default:
		return schema.JDBCDecimal
	}
}
