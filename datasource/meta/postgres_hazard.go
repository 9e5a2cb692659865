package meta

import (
	"context"
	"fmt"
	"strconv"

	"github.com/qiao-tx/qiao/datasource/schema"
)

// Bits of pg_trigger.tgtype.
const (
	triggerInsert = 1 << 2
	triggerDelete = 1 << 3
	triggerUpdate = 1 << 4
)

// postgresRules are the rewrite rules by their event.
var postgresRules = map[string]schema.Hazard{"2": {Update: true}, "3": {Insert: true, Delete: true}, "4": {Insert: true, Delete: true}}

// postgresActions are the letters of foreign keys' rules that change rows.
var postgresActions = map[string]string{"c": "CASCADE", "n": "SET NULL", "d": "SET DEFAULT"}

func postgresHazards(ctx context.Context, conn Queryer, t *schema.Table) (hazards []schema.Hazard, err error) {
	oid := strconv.FormatUint(uint64(t.OID), 10)
	rows, err := conn.Query(ctx, `SELECT tgname::text, tgtype::text FROM pg_catalog.pg_trigger
		WHERE tgrelid = $1::text::oid AND NOT tgisinternal AND tgenabled <> 'D' ORDER BY 1`, oid)
	if err != nil {
		return nil, err
	}
	for _, row := range rows {
		r := record{values: row}
		events := r.number(1)
		if events&(triggerInsert|triggerDelete) != 0 {
			hazards = append(hazards, trigger(r.text(0), false))
		}
		if events&triggerUpdate != 0 {
			hazards = append(hazards, trigger(r.text(0), true))
		}
		if r.err != nil {
			return nil, r.err
		}
	}
	rows, err = conn.Query(ctx, `SELECT rulename::text, ev_type::text FROM pg_catalog.pg_rewrite
		WHERE ev_class = $1::text::oid AND ev_enabled <> 'D' ORDER BY 1`, oid)
	if err != nil {
		return nil, err
	}
	for _, row := range rows {
		r := record{values: row}
		h := postgresRules[r.text(1)]
		h.Reason = fmt.Sprintf("the rule %s replaces or adds statements, whose changes no image shows", r.text(0))
		h.Remedy = "do its work in the program, or change the table outside global transactions"
		hazards = append(hazards, h)
		if r.err != nil {
			return nil, r.err
		}
	}
	keys, err := postgresReferences(ctx, conn, t, oid)
	return append(hazards, keys...), err
}

// postgresReferences are the hazards of the foreign keys that refer to the
// table: one row for each column that is referred to.
func postgresReferences(ctx context.Context, conn Queryer, t *schema.Table, oid string) (hazards []schema.Hazard, err error) {
	rows, err := conn.Query(ctx, `SELECT k.conrelid::regclass::text, k.confdeltype::text, k.confupdtype::text, a.attname::text
		FROM pg_catalog.pg_constraint AS k CROSS JOIN LATERAL unnest(k.confkey) AS f (attnum)
		JOIN pg_catalog.pg_attribute AS a ON a.attrelid = k.confrelid AND a.attnum = f.attnum
		WHERE k.contype = 'f' AND k.confrelid = $1::text::oid ORDER BY 1, 4`, oid)
	if err != nil {
		return nil, err
	}
	for _, row := range rows {
		r := record{values: row}
		column := r.text(3)
		if t.IsKey(column) {
			column = "" // AT refuses to change it anyhow
		}
		hazards = append(hazards, references(r.text(0), postgresActions[r.text(1)], postgresActions[r.text(2)], column)...)
		if r.err != nil {
			return nil, r.err
		}
	}
	return hazards, nil
}
