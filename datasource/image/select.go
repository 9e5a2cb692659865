package image

import (
	"strings"

	"github.com/qiao-tx/qiao/datasource/schema"
)

// Columns lists the columns that an image holds: all that can be written.
func Columns(t *schema.Table) []schema.Column {
	columns := make([]schema.Column, 0, len(t.Columns))
	for _, c := range t.Columns {
		if !c.Generated || t.IsKey(c.Name) {
			columns = append(columns, c)
		}
	}
	return columns
}

// SelectList is the select list that reads the columns exactly, whatever the
// driver's settings: MySQL's dates as text, because a driver may turn them
// into a time of some zone; its FLOAT as a double, because the text protocol
// rounds it to six digits; SQLite's values behind a "+", because a driver may
// convert by the declared type of a plain column; PostgreSQL's as texts that no
// setting of the session changes. The names stand behind a qualifier unless that
// is "".
func SelectList(d schema.Dialect, qualifier string, columns []schema.Column) string {
	list := make([]string, len(columns))
	if qualifier != "" {
		qualifier = d.Quote(qualifier) + "."
	}
	for i, c := range columns {
		name := qualifier + d.Quote(c.Name)
		switch {
		case d == schema.PostgreSQL:
			name = postgresSelect(c, name)
		case d == schema.SQLite:
			name = "+" + name
		case baseType(c.DatabaseType) == "float":
			name += "+0e0"
		default:
			switch baseType(c.DatabaseType) {
			case "date", "time", "datetime", "timestamp":
				name = "CAST(" + name + " AS CHAR)"
			}
		}
		list[i] = name
	}
	return strings.Join(list, ", ")
}

// FromRow builds an image row from what a driver returned for SelectList.
func FromRow(d schema.Dialect, t *schema.Table, columns []schema.Column, values []any) (Row, error) {
	row := make(Row, len(columns))
	for i, c := range columns {
		v, err := Typed(d, c, values[i])
		if err != nil {
			return nil, err
		}
		row[i] = Field{Name: c.Name, Type: c.JDBCType, Key: t.IsKey(c.Name), Value: v}
	}
	return row, nil
}

// WhereKeys is a condition that holds for exactly the rows with the given
// keys, and its arguments, of which the first is the statement's argument
// number first, from 1. Each key lists the values of the table's primary key in
// key order.
func WhereKeys(d schema.Dialect, t *schema.Table, keys [][]any, first int) (string, []any) {
	var b strings.Builder
	args := make([]any, 0, len(keys)*len(t.PrimaryKey))
	for i, key := range keys {
		if i > 0 {
			b.WriteString(" OR ")
		}
		b.WriteByte('(')
		for j, name := range t.PrimaryKey {
			if j > 0 {
				b.WriteString(" AND ")
			}
			c, _ := t.Column(name)
			args = append(args, keyArg(d, c, key[j]))
			b.WriteString(d.Quote(name) + " = " + keyPlaceholder(d, c, first+len(args)-1))
		}
		b.WriteByte(')')
	}
	return b.String(), args
}

// keyArg makes a number of a BIT key, which MySQL compares with one: it takes
// bytes for the text of a number.
func keyArg(d schema.Dialect, c schema.Column, v any) any {
	b, ok := v.([]byte)
	if !ok || d != schema.MySQL || baseType(c.DatabaseType) != "bit" || len(b) > 8 {
		return Arg(d, c, v)
	}
	var n uint64
	for _, digit := range b {
		n = n<<8 | uint64(digit)
	}
	return n
}

// keyPlaceholder makes MySQL compare a decimal key as a decimal; a plain text
// argument would be compared as a double, which cannot tell all keys apart.
func keyPlaceholder(d schema.Dialect, c schema.Column, n int) string {
	if base := baseType(c.DatabaseType); d == schema.MySQL && (base == "decimal" || base == "numeric") {
		precision := strings.TrimPrefix(c.DatabaseType, base)
		if i := strings.IndexByte(precision, ')'); i >= 0 {
			precision = precision[:i+1]
		}
		return "CAST(? AS DECIMAL" + precision + ")"
	}
	return Placeholder(d, c, n)
}

// Placeholder is the place of a value of the column, which is the statement's
// argument number n, from 1. PostgreSQL's values are texts, whatever the driver
// would make of the column's type.
func Placeholder(d schema.Dialect, c schema.Column, n int) string {
	if d == schema.PostgreSQL {
		return "CAST(CAST(" + d.Placeholder(n) + " AS text) AS " + c.Cast + ")"
	}
	return d.Placeholder(n)
}
