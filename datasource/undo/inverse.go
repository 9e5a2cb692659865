package undo

import (
	"fmt"
	"strings"

	"github.com/qiao-tx/qiao/datasource/image"
	"github.com/qiao-tx/qiao/datasource/schema"
	"github.com/qiao-tx/qiao/datasource/sqlparse"
)

// Statement is one statement that puts one row back.
type Statement struct {
	SQL  string
	Args []any
}

// Inverse returns the statements that undo an entry, one for each row, the
// last row first. Generated columns, which Java's images may hold, are left to
// the database. The error says that an image does not fit the table.
func Inverse(d schema.Dialect, t *schema.Table, e Entry) ([]Statement, error) {
	rows, one := e.Before.Rows, deleteRow
	switch e.Kind {
	case sqlparse.Insert:
		rows = e.After.Rows
	case sqlparse.Update:
		one = updateRow
	case sqlparse.Delete:
		one = insertRow
	default:
		return nil, fmt.Errorf("kind %d of table %s has no inverse", e.Kind, e.Table)
	}
	statements := make([]Statement, 0, len(rows))
	for i := len(rows) - 1; i >= 0; i-- {
		key, err := rows[i].Key(t)
		if err != nil {
			return nil, err
		}
		s, err := one(d, t, rows[i], key)
		if err != nil {
			return nil, err
		}
		if s.SQL != "" {
			statements = append(statements, s)
		}
	}
	return statements, nil
}

func deleteRow(d schema.Dialect, t *schema.Table, _ image.Row, key []image.Field) (Statement, error) {
	where, args := whereKey(d, t, key)
	return Statement{SQL: "DELETE FROM " + d.Quote(t.Name) + " WHERE " + where, Args: args}, nil
}

func insertRow(d schema.Dialect, t *schema.Table, row image.Row, _ []image.Field) (Statement, error) {
	var names []string
	var args []any
	for _, f := range row {
		c, write, err := writable(t, f)
		if err != nil {
			return Statement{}, err
		}
		if write {
			names, args = append(names, d.Quote(c.Name)), append(args, image.Arg(c, f.Value))
		}
	}
	marks := strings.TrimSuffix(strings.Repeat("?, ", len(names)), ", ")
	return Statement{SQL: "INSERT INTO " + d.Quote(t.Name) + " (" + strings.Join(names, ", ") + ") VALUES (" + marks + ")", Args: args}, nil
}

// updateRow is empty for a row that was imaged with its key only.
func updateRow(d schema.Dialect, t *schema.Table, row image.Row, key []image.Field) (Statement, error) {
	var set []string
	var args []any
	for _, f := range row {
		c, write, err := writable(t, f)
		if err != nil {
			return Statement{}, err
		}
		if write && !t.IsKey(f.Name) {
			set, args = append(set, d.Quote(c.Name)+" = ?"), append(args, image.Arg(c, f.Value))
		}
	}
	if len(set) == 0 {
		return Statement{}, nil
	}
	where, keyArgs := whereKey(d, t, key)
	return Statement{SQL: "UPDATE " + d.Quote(t.Name) + " SET " + strings.Join(set, ", ") + " WHERE " + where, Args: append(args, keyArgs...)}, nil
}

func whereKey(d schema.Dialect, t *schema.Table, key []image.Field) (string, []any) {
	values := make([]any, len(key))
	for i, f := range key {
		values[i] = f.Value
	}
	return image.WhereKeys(d, t, [][]any{values})
}

func writable(t *schema.Table, f image.Field) (schema.Column, bool, error) {
	c, ok := t.Column(f.Name)
	if !ok {
		return c, false, fmt.Errorf("table %s has no column %s now; the undo record was written when it had", t.Name, f.Name)
	}
	return c, !c.Generated, nil
}
