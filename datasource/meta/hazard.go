package meta

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	"github.com/qiao-tx/qiao/datasource/schema"
)

// trigger is the hazard of a trigger. An INSERT is undone by a DELETE and a
// DELETE by an INSERT, so each is concerned by the other's triggers.
func trigger(name string, update bool) schema.Hazard {
	return schema.Hazard{
		Insert: !update, Delete: !update, Update: update,
		Reason: fmt.Sprintf("the trigger %s changes what no image shows, and would run again on rollback", name),
		Remedy: "do its work in the program, or change the table outside global transactions",
	}
}

// acts tells whether a foreign key's rule changes the rows that refer.
func acts(rule string) bool {
	switch strings.ToUpper(rule) {
	case "CASCADE", "SET NULL", "SET DEFAULT":
		return true
	}
	return false
}

// references lists the hazards of a foreign key of the table child that refers
// to a column ("" for the primary key) of the table at hand.
func references(child, onDelete, onUpdate, column string) (hazards []schema.Hazard) {
	hazard := func(clause, rule string) schema.Hazard {
		return schema.Hazard{
			Reason: fmt.Sprintf("a foreign key of table %s has %s %s, which changes rows that no image shows", child, clause, strings.ToUpper(rule)),
			Remedy: fmt.Sprintf("make the foreign key RESTRICT and change the rows of %s with a statement of their own", child),
		}
	}
	if acts(onDelete) {
		h := hazard("ON DELETE", onDelete)
		h.Delete = true
		hazards = append(hazards, h)
	}
	if acts(onUpdate) && column != "" { // AT refuses to change a primary key anyhow
		h := hazard("ON UPDATE", onUpdate)
		h.Update, h.Column = true, column
		hazards = append(hazards, h)
	}
	return hazards
}

func mysqlHazards(ctx context.Context, conn Queryer, n name) (hazards []schema.Hazard, err error) {
	rows, err := conn.Query(ctx, `SELECT trigger_name, event_manipulation FROM information_schema.triggers
		WHERE event_object_schema = COALESCE(NULLIF(?, ''), DATABASE()) AND event_object_table = ?`, tableArgs(n)...)
	if err != nil {
		return nil, err
	}
	for _, row := range rows {
		r := record{values: row}
		hazards = append(hazards, trigger(r.text(0), strings.EqualFold(r.text(1), "UPDATE")))
		if r.err != nil {
			return nil, r.err
		}
	}
	rows, err = conn.Query(ctx, `SELECT c.table_name, c.delete_rule, c.update_rule, k.referenced_column_name
		FROM information_schema.referential_constraints AS c JOIN information_schema.key_column_usage AS k
		ON k.constraint_schema = c.constraint_schema AND k.constraint_name = c.constraint_name AND k.table_name = c.table_name
		WHERE c.constraint_schema = COALESCE(NULLIF(?, ''), DATABASE()) AND k.constraint_schema = COALESCE(NULLIF(?, ''), DATABASE())
		AND c.referenced_table_name = ?`, n.schema, n.schema, n.table)
	if err != nil {
		return nil, err
	}
	for _, row := range rows {
		r := record{values: row}
		hazards = append(hazards, references(r.text(0), r.text(1), r.text(2), r.text(3))...)
		if r.err != nil {
			return nil, r.err
		}
	}
	return hazards, nil
}

// noTransactions is the hazard of storage engines such as MyISAM.
func noTransactions(engine string) schema.Hazard {
	return schema.Hazard{
		Insert: true, Update: true, Delete: true,
		Reason: fmt.Sprintf("the table's engine %s has no transactions", engine),
		Remedy: "convert the table to InnoDB, or change it outside global transactions",
	}
}

// sqliteOnConflict finds the clauses of CREATE TABLE by which a plain statement
// replaces or skips rows, or ends the transaction.
var sqliteOnConflict = regexp.MustCompile(`(?i)\bON\s+CONFLICT\s+(REPLACE|IGNORE|FAIL|ROLLBACK)\b`)

func sqliteHazards(ctx context.Context, conn Queryer, t *schema.Table) (hazards []schema.Hazard, err error) {
	rows, err := conn.Query(ctx, `SELECT type, name, sql FROM main.sqlite_schema WHERE type IN ('table', 'trigger') AND tbl_name = ? COLLATE NOCASE`, t.Name)
	if err != nil {
		return nil, err
	}
	for _, row := range rows {
		r := record{values: row}
		if kind, name := r.text(0), r.text(1); kind == "trigger" {
			hazards = append(hazards, trigger(name, false), trigger(name, true)) // its event is in its text only
		} else if clause := sqliteOnConflict.FindString(r.text(2)); clause != "" {
			hazards = append(hazards, schema.Hazard{
				Insert: true, Update: true,
				Reason: fmt.Sprintf("the table is defined with %s, so a plain statement does not only change the rows it names", strings.ToUpper(clause)),
				Remedy: "leave that clause out of the table's definition",
			})
		}
		if r.err != nil {
			return nil, r.err
		}
	}
	rows, err = conn.Query(ctx, `SELECT m.name, f.on_delete, f.on_update, f."to" FROM main.sqlite_schema AS m, pragma_foreign_key_list(m.name, 'main') AS f
		WHERE m.type = 'table' AND f."table" = ? COLLATE NOCASE AND (SELECT foreign_keys FROM pragma_foreign_keys)`, t.Name)
	if err != nil {
		return nil, err
	}
	for _, row := range rows {
		r := record{values: row}
		hazards = append(hazards, references(r.text(0), r.text(1), r.text(2), r.text(3))...)
		if r.err != nil {
			return nil, r.err
		}
	}
	return hazards, nil
}
