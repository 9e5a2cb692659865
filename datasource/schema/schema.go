// Package schema describes tables and columns as AT needs them.
//
// Job: Dialect, Table, Column and quoting, as plain values.
// Owner: datasource/meta fills them from a database's catalogue.
// It must not know: connections, SQL statements, images.
package schema

// Dialect is the SQL a database speaks.
type Dialect uint8

// The dialects. MariaDB is MySQL here.
const (
	MySQL Dialect = iota + 1
	SQLite
)

// Table is one table of one database.
type Table struct {
	// Name is the table's own spelling in the catalogue.
	Name    string
	Columns []Column
	// PrimaryKey lists column names in the order of the key.
	PrimaryKey []string
}

// Column is one column.
type Column struct {
	Name string
	// JDBCType is the java.sql.Types number that Java's driver reports.
	JDBCType int
	// DatabaseType is the declared type, in lower case ("bigint unsigned").
	DatabaseType string
	Nullable     bool
	// AutoIncrement: the database generates the value when none is given.
	AutoIncrement bool
	// Generated: the value is computed from other columns and cannot be written.
	Generated bool
	// OnUpdate: the database changes the value whenever the row is updated.
	OnUpdate bool
	// CaseInsensitive: the column's collation takes letters of either case as
	// equal, so equal keys may be spelled differently.
	CaseInsensitive bool
}
