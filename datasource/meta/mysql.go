package meta

import (
	"context"
	"strings"

	"github.com/qiao-tx/qiao/datasource/schema"
)

// inTable is the condition by which the catalogue's views find a table; its
// arguments are those of tableArgs. Whether letters' case counts is the
// server's affair (lower_case_table_names): its catalogue compares accordingly.
const inTable = ` WHERE table_schema = COALESCE(NULLIF(?, ''), DATABASE()) AND table_name = ?`

func tableArgs(n name) []any { return []any{n.schema, n.table} }

// readMySQL reads a table of MySQL or MariaDB from information_schema.
func readMySQL(ctx context.Context, conn Queryer, n name) (*schema.Table, error) {
	t, err := mysqlTable(ctx, conn, n)
	if err != nil {
		return nil, err
	}
	if t.PrimaryKey, err = mysqlKey(ctx, conn, n); err != nil {
		return nil, err
	}
	if len(t.PrimaryKey) == 0 {
		return nil, noPrimaryKey()
	}
	if t.Columns, err = mysqlColumns(ctx, conn, n); err != nil {
		return nil, err
	}
	hazards, err := mysqlHazards(ctx, conn, n)
	t.Hazards = append(t.Hazards, hazards...)
	return t, err
}

func mysqlTable(ctx context.Context, conn Queryer, n name) (*schema.Table, error) {
	rows, err := conn.Query(ctx, `SELECT table_name, table_type, t.engine,
		(SELECT e.transactions FROM information_schema.engines AS e WHERE e.engine = t.engine)
		FROM information_schema.tables AS t`+inTable, tableArgs(n)...)
	if err != nil {
		return nil, err
	}
	if len(rows) == 0 {
		return nil, noTable()
	}
	r := record{values: rows[0]}
	t := &schema.Table{Name: r.text(0)}
	switch kind := r.text(1); kind {
	case "BASE TABLE", "SYSTEM VERSIONED":
		if engine := r.text(2); !strings.EqualFold(r.text(3), "YES") {
			t.Hazards = append(t.Hazards, noTransactions(engine))
		}
		return t, r.err
	default:
		return nil, notATable("a " + strings.ToLower(kind))
	}
}

func mysqlKey(ctx context.Context, conn Queryer, n name) ([]string, error) {
	rows, err := conn.Query(ctx, `SELECT column_name FROM information_schema.statistics`+inTable+
		` AND index_name = 'PRIMARY' ORDER BY seq_in_index`, tableArgs(n)...)
	if err != nil {
		return nil, err
	}
	key := make([]string, 0, len(rows))
	for _, row := range rows {
		r := record{values: row}
		key = append(key, r.text(0))
		if r.err != nil {
			return nil, r.err
		}
	}
	return key, nil
}

func mysqlColumns(ctx context.Context, conn Queryer, n name) ([]schema.Column, error) {
	rows, err := conn.Query(ctx, `SELECT column_name, data_type, column_type, is_nullable, extra, collation_name
		FROM information_schema.columns`+inTable+` ORDER BY ordinal_position`, tableArgs(n)...)
	if err != nil {
		return nil, err
	}
	columns := make([]schema.Column, 0, len(rows))
	for _, row := range rows {
		r := record{values: row}
		columnType, extra := strings.ToLower(r.text(2)), strings.ToLower(r.text(4))
		columns = append(columns, schema.Column{
			Name:            r.text(0),
			JDBCType:        mysqlJDBC(strings.ToLower(r.text(1)), columnType),
			DatabaseType:    columnType,
			Nullable:        strings.EqualFold(r.text(3), "YES"),
			AutoIncrement:   strings.Contains(extra, "auto_increment"),
			Generated:       mysqlGenerated(extra),
			Hidden:          strings.Contains(extra, "invisible"),
			OnUpdate:        strings.Contains(extra, "on update"),
			CaseInsensitive: strings.HasSuffix(r.text(5), "_ci"),
		})
		if r.err != nil {
			return nil, r.err
		}
	}
	return columns, nil
}

// mysqlGenerated tells a computed column. MySQL 8 says "DEFAULT_GENERATED" of
// one whose default is an expression: that one can be written.
func mysqlGenerated(extra string) bool {
	for _, word := range []string{"virtual generated", "stored generated", "persistent generated"} {
		if strings.Contains(extra, word) {
			return true
		}
	}
	return false
}

// mysqlTypes are the numbers that MySQL Connector/J 8.0 reports with its
// default settings. A JSON column of MariaDB is a longtext.
var mysqlTypes = map[string]int{
	"bit": schema.JDBCBit, "tinyint": schema.JDBCTinyInt, "smallint": schema.JDBCSmallInt,
	"mediumint": schema.JDBCInteger, "int": schema.JDBCInteger, "bigint": schema.JDBCBigInt,
	"decimal": schema.JDBCDecimal, "float": schema.JDBCReal, "double": schema.JDBCDouble,
	"char": schema.JDBCChar, "enum": schema.JDBCChar, "set": schema.JDBCChar,
	"varchar": schema.JDBCVarChar, "tinytext": schema.JDBCVarChar,
	"text": schema.JDBCLongVarChar, "mediumtext": schema.JDBCLongVarChar, "longtext": schema.JDBCLongVarChar,
	"json":   schema.JDBCLongVarChar,
	"binary": schema.JDBCBinary, "varbinary": schema.JDBCVarBinary, "tinyblob": schema.JDBCVarBinary,
	"blob": schema.JDBCLongVarBinary, "mediumblob": schema.JDBCLongVarBinary, "longblob": schema.JDBCLongVarBinary,
	"date": schema.JDBCDate, "year": schema.JDBCDate, "time": schema.JDBCTime,
	"datetime": schema.JDBCTimestamp, "timestamp": schema.JDBCTimestamp,
	"geometry": schema.JDBCBinary, "point": schema.JDBCBinary, "linestring": schema.JDBCBinary,
	"polygon": schema.JDBCBinary, "multipoint": schema.JDBCBinary, "multilinestring": schema.JDBCBinary,
	"multipolygon": schema.JDBCBinary, "geometrycollection": schema.JDBCBinary, "geomcollection": schema.JDBCBinary,
}

// mysqlJDBC is the java.sql.Types number of a column.
func mysqlJDBC(dataType, columnType string) int {
	if columnType == "tinyint(1)" {
		return schema.JDBCBit // taken for a boolean; an unsigned one is not
	}
	if number, known := mysqlTypes[dataType]; known {
		return number
	}
	return schema.JDBCOther
}
