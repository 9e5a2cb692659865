// Package image holds rows as they were before and after a statement.
//
// Job: typed values that survive the way through a driver, an undo record and
// back into the database; comparison of images; the text of global lock keys.
// Owner: datasource/at takes images and compares them, datasource/undo writes
// them down.
// It must not know: connections, JSON, or when a transaction commits.
package image

import (
	"fmt"
	"strings"

	"github.com/qiao-tx/qiao/datasource/schema"
)

// Field is one column of one row.
type Field struct {
	// Name is the column's own spelling in the catalogue.
	Name string
	// Type is the java.sql.Types number of the column.
	Type int
	// Key: the column belongs to the primary key.
	Key bool
	// Value is nil or one of the types that Typed returns.
	Value any
}

// Row is one row, or as much of it as was imaged.
type Row []Field

// Image is a set of rows of one table.
type Image struct {
	Table string
	Rows  []Row
}

// Field returns the field of a column, its name in any letter case.
func (r Row) Field(name string) (Field, bool) {
	for _, f := range r {
		if strings.EqualFold(f.Name, name) {
			return f, true
		}
	}
	return Field{}, false
}

// Key returns the row's primary key in the order of the table's key.
func (r Row) Key(t *schema.Table) ([]Field, error) {
	key := make([]Field, 0, len(t.PrimaryKey))
	for _, name := range t.PrimaryKey {
		f, ok := r.Field(name)
		if !ok {
			return nil, fmt.Errorf("image of table %s lacks the primary key column %s", t.Name, name)
		}
		if f.Value == nil {
			return nil, fmt.Errorf("table %s: primary key column %s is NULL: AT cannot tell such rows apart", t.Name, name)
		}
		key = append(key, f)
	}
	if len(key) == 0 {
		return nil, fmt.Errorf("table %s has no primary key: AT cannot name its rows", t.Name)
	}
	return key, nil
}

// identity is text that is equal for equal keys within one table, whatever
// their values contain.
func identity(key []Field) string {
	var b strings.Builder
	for _, f := range key {
		text := canonical(f.Value)
		fmt.Fprintf(&b, "%d:%s", len(text), text)
	}
	return b.String()
}
