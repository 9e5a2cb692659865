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
	where, args := whereKey(d, t, key, 1)
	return Statement{SQL: "DELETE FROM " + t.Quoted(d) + " WHERE " + where, Args: args}, nil
}

func insertRow(d schema.Dialect, t *schema.Table, row image.Row, _ []image.Field) (Statement, error) {
	var names, marks []string
	var args []any
	for _, f := range row {
		c, write, err := writable(t, f)
		if err != nil {
			return Statement{}, err
		}
		if write {
			names, args = append(names, d.Quote(c.Name)), append(args, image.Arg(d, c, f.Value))
			marks = append(marks, image.Placeholder(d, c, len(args)))
		}
	}
	overriding := ""
	if d == schema.PostgreSQL {
		overriding = "OVERRIDING SYSTEM VALUE " // an identity column gets back what it was
	}
	return Statement{SQL: "INSERT INTO " + t.Quoted(d) + " (" + strings.Join(names, ", ") + ") " + overriding + "VALUES (" + strings.Join(marks, ", ") + ")", Args: args}, nil
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
		if write && !t.IsKey(f.Name) && !c.Identity { // no UPDATE has changed an identity column
			args = append(args, image.Arg(d, c, f.Value))
			set = append(set, d.Quote(c.Name)+" = "+image.Placeholder(d, c, len(args)))
		}
	}
	if len(set) == 0 {
		return Statement{}, nil
	}
	where, keyArgs := whereKey(d, t, key, len(args)+1)
	return Statement{SQL: "UPDATE " + t.Quoted(d) + " SET " + strings.Join(set, ", ") + " WHERE " + where, Args: append(args, keyArgs...)}, nil
}

func whereKey(d schema.Dialect, t *schema.Table, key []image.Field, first int) (string, []any) {
	values := make([]any, len(key))
	for i, f := range key {
		values[i] = f.Value
	}
	return image.WhereKeys(d, t, [][]any{values}, first)
}

func writable(t *schema.Table, f image.Field) (schema.Column, bool, error) {
	c, ok := t.Column(f.Name)
	if !ok {
		return c, false, fmt.Errorf("table %s has no column %s now; the undo record was written when it had", t.Name, f.Name)
	}
	return c, !c.Generated, nil
}
