// Package schema describes tables and columns as AT needs them.
//
// Job: Dialect, Table, Column and quoting, as plain values.
// Owner: datasource/meta fills them from a database's catalogue.
// It must not know: connections, SQL statements, images.
package schema

import (
	"strconv"
	"strings"
)

// Dialect is the SQL a database speaks.
type Dialect uint8

// The dialects. MariaDB is MySQL here.
const (
	MySQL Dialect = iota + 1
	SQLite
	PostgreSQL
)

// String is the dialect's name for messages.
func (d Dialect) String() string {
	switch d {
	case MySQL:
		return "MySQL"
	case SQLite:
		return "SQLite"
	case PostgreSQL:
		return "PostgreSQL"
	default:
		return "an unknown dialect"
	}
}

// Quote writes an identifier so that the dialect takes it literally, whatever
// letters and quotes are in it. SQLite takes backquotes too; between double
// quotes it would take a name that it does not know for a text.
func (d Dialect) Quote(identifier string) string {
	if d == PostgreSQL {
		return `"` + strings.ReplaceAll(identifier, `"`, `""`) + `"`
	}
	return "`" + strings.ReplaceAll(identifier, "`", "``") + "`"
}

// QuoteTable writes a table's name behind its schema, where there is one.
func (d Dialect) QuoteTable(schemaName, table string) string {
	if schemaName == "" {
		return d.Quote(table)
	}
	return d.Quote(schemaName) + "." + d.Quote(table)
}

// Placeholder writes the place of the n-th argument, from 1, where arguments
// come in their order.
func (d Dialect) Placeholder(n int) string {
	if d == PostgreSQL {
		return "$" + strconv.Itoa(n)
	}
	return "?"
}

// Table is one table of one database. A Table that is shared is not changed.
type Table struct {
	// Name is the table's own spelling in the catalogue.
	Name string
	// Schema is where PostgreSQL has the table; "" in the other dialects, whose
	// tables are all in the connection's database.
	Schema string
	// OID is PostgreSQL's number for the table: what a name means there depends
	// on a session's search_path, the number does not. 0 in the other dialects.
	OID     uint32
	Columns []Column
	// PrimaryKey lists column names in the order of the key.
	PrimaryKey []string
	// Hazards are why some changes of the table cannot be undone.
	Hazards []Hazard
}

// FullName is the table's name in lock keys and images, the same as Java's: the
// schema stands before it unless that is PostgreSQL's "public".
func (t *Table) FullName() string {
	if t.Schema == "" || t.Schema == "public" {
		return t.Name
	}
	return t.Schema + "." + t.Name
}

// Quoted is the table's name for SQL, with its schema where there is one.
func (t *Table) Quoted(d Dialect) string { return d.QuoteTable(t.Schema, t.Name) }

// Hazard makes the database change other rows than a statement names, or keep
// a change that was rolled back.
type Hazard struct {
	// Insert, Update, Delete tell which statements it concerns.
	Insert, Update, Delete bool
	// Column narrows Update to statements that assign this column; "" does not.
	Column string
	// Reason names it, Remedy says what to do instead.
	Reason, Remedy string
}

// Column finds a column by name. The letters' case does not count: MySQL and
// SQLite compare column names so, and tables of PostgreSQL whose columns differ
// in nothing else are refused.
func (t *Table) Column(name string) (Column, bool) {
	for _, c := range t.Columns {
		if strings.EqualFold(c.Name, name) {
			return c, true
		}
	}
	return Column{}, false
}

// IsKey tells whether a column belongs to the primary key.
func (t *Table) IsKey(column string) bool {
	for _, name := range t.PrimaryKey {
		if strings.EqualFold(name, column) {
			return true
		}
	}
	return false
}

// InsertColumns lists the columns that the values of an INSERT without a
// column list go to, in their order.
func (t *Table) InsertColumns() []string {
	names := make([]string, 0, len(t.Columns))
	for _, c := range t.Columns {
		if !c.Hidden {
			names = append(names, c.Name)
		}
	}
	return names
}

// Column is one column.
type Column struct {
	Name string
	// JDBCType is the java.sql.Types number that Java's driver reports.
	JDBCType int
	// DatabaseType is the declared type, in lower case ("bigint unsigned"). On
	// PostgreSQL it is the type's own name ("int8"), of a domain the name of the
	// type beneath it.
	DatabaseType string
	// Cast is how PostgreSQL's type is written behind CAST(… AS; "" in the other
	// dialects.
	Cast     string
	Nullable bool
	// AutoIncrement: the database generates the value when none is given.
	AutoIncrement bool
	// Generated: the value is computed from other columns and cannot be written.
	Generated bool
	// Identity: PostgreSQL always generates the value; a statement can write
	// another only as OVERRIDING SYSTEM VALUE of an INSERT.
	Identity bool
	// Hidden: an INSERT without a column list gives the column no value. So are
	// MySQL's invisible columns and SQLite's generated ones.
	Hidden bool
	// OnUpdate: the database changes the value whenever the row is updated.
	OnUpdate bool
	// CaseInsensitive: the column's collation takes letters of either case as
	// equal, so equal keys may be spelled differently.
	CaseInsensitive bool
}
