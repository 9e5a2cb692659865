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
// convert by the declared type of a plain column.
func SelectList(d schema.Dialect, columns []schema.Column) string {
	list := make([]string, len(columns))
	for i, c := range columns {
		name := d.Quote(c.Name)
		switch {
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
// keys, and its arguments. Each key lists the values of the table's primary
// key in key order.
func WhereKeys(d schema.Dialect, t *schema.Table, keys [][]any) (string, []any) {
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
			b.WriteString(d.Quote(name) + " = " + keyPlaceholder(d, c))
			args = append(args, keyArg(c, key[j]))
		}
		b.WriteByte(')')
	}
	return b.String(), args
}

// keyArg makes a number of a BIT key, which MySQL compares with one: it takes
// bytes for the text of a number.
func keyArg(c schema.Column, v any) any {
	b, ok := v.([]byte)
	if !ok || baseType(c.DatabaseType) != "bit" || len(b) > 8 {
		return Arg(c, v)
	}
	var n uint64
	for _, digit := range b {
		n = n<<8 | uint64(digit)
	}
	return n
}

// keyPlaceholder makes MySQL compare a decimal key as a decimal; a plain text
// argument would be compared as a double, which cannot tell all keys apart.
func keyPlaceholder(d schema.Dialect, c schema.Column) string {
	if base := baseType(c.DatabaseType); d == schema.MySQL && (base == "decimal" || base == "numeric") {
		precision := strings.TrimPrefix(c.DatabaseType, base)
		if i := strings.IndexByte(precision, ')'); i >= 0 {
			precision = precision[:i+1]
		}
		return "CAST(? AS DECIMAL" + precision + ")"
	}
	return "?"
}
