package meta

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/qiao-tx/qiao/datasource/schema"
)

// readPostgres reads a table of PostgreSQL from pg_catalog. A name without a
// schema is looked up as a statement of the connection would, by search_path.
func readPostgres(ctx context.Context, conn Queryer, n name) (*schema.Table, error) {
	t, err := postgresTable(ctx, conn, n)
	if err != nil {
		return nil, err
	}
	if err := postgresColumns(ctx, conn, t); err != nil {
		return nil, err
	}
	if err := postgresKey(ctx, conn, t); err != nil {
		return nil, err
	}
	if len(t.PrimaryKey) == 0 {
		return nil, noPrimaryKey()
	}
	hazards, err := postgresHazards(ctx, conn, t)
	t.Hazards = append(t.Hazards, hazards...)
	return t, err
}

// postgresKinds names what is no table of its own. The rows of a partitioned
// table, and of one with children, are in other tables.
var postgresKinds = map[string]string{
	"v": "a view", "m": "a materialized view", "S": "a sequence", "i": "an index", "f": "a foreign table",
	"c": "a composite type", "p": "a partitioned table", "t": "a TOAST table", "I": "an index",
}

func postgresTable(ctx context.Context, conn Queryer, n name) (*schema.Table, error) {
	quoted := schema.PostgreSQL.QuoteTable(n.schema, n.table)
	rows, err := conn.Query(ctx, `SELECT c.oid::text, c.relname::text, s.nspname::text, c.relkind::text, c.relpersistence::text,
		(EXISTS (SELECT 1 FROM pg_catalog.pg_inherits AS i WHERE i.inhparent = c.oid))::text
		FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS s ON s.oid = c.relnamespace
		WHERE c.oid = to_regclass($1)::oid`, quoted)
	if err != nil {
		return nil, err
	}
	if len(rows) == 0 {
		return nil, noTable()
	}
	r := record{values: rows[0]}
	t := &schema.Table{Name: r.text(1), Schema: r.text(2)}
	kind := postgresKinds[r.text(3)]
	oid, err := strconv.ParseUint(r.text(0), 10, 32)
	t.OID = uint32(oid)
	switch {
	case r.err != nil:
		return nil, r.err
	case err != nil:
		return nil, fmt.Errorf("the catalogue's number of the table: %w", err)
	case kind != "":
		return nil, notATable(kind)
	case r.text(4) == "t":
		return nil, notATable("a temporary table, which other connections do not see")
	case r.text(5) == "true":
		return nil, notATable("a table whose rows are partly in other tables that inherit from it")
	}
	return t, nil
}

// postgresColumns fills in the columns. Of a domain it takes the type beneath.
func postgresColumns(ctx context.Context, conn Queryer, t *schema.Table) error {
	rows, err := conn.Query(ctx, `WITH RECURSIVE base AS (
			SELECT a.attnum, a.atttypid AS typ, a.atttypmod AS mod, 0 AS depth FROM pg_catalog.pg_attribute AS a
			WHERE a.attrelid = $1::text::oid AND a.attnum > 0 AND NOT a.attisdropped
			UNION ALL
			SELECT b.attnum, y.typbasetype, y.typtypmod, b.depth + 1 FROM base AS b JOIN pg_catalog.pg_type AS y ON y.oid = b.typ
			WHERE y.typtype = 'd')
		SELECT a.attname::text, y.typname::text, y.typtype::text, n.nspname::text, pg_catalog.format_type(b.typ, b.mod)::text,
			b.depth::text, (NOT a.attnotnull)::text, a.attidentity::text, a.attgenerated::text, a.atthasdef::text,
			COALESCE((SELECT NOT k.collisdeterministic FROM pg_catalog.pg_collation AS k WHERE k.oid = a.attcollation), false)::text
		FROM base AS b JOIN pg_catalog.pg_attribute AS a ON a.attrelid = $1::text::oid AND a.attnum = b.attnum
		JOIN pg_catalog.pg_type AS y ON y.oid = b.typ AND y.typtype <> 'd' JOIN pg_catalog.pg_namespace AS n ON n.oid = y.typnamespace
		ORDER BY a.attnum`, strconv.FormatUint(uint64(t.OID), 10))
	if err != nil {
		return err
	}
	seen := map[string]string{}
	for _, row := range rows {
		r := record{values: row}
		c := schema.Column{
			Name: r.text(0), DatabaseType: r.text(1), Cast: r.text(4), Nullable: r.text(6) == "true",
			AutoIncrement: r.text(7) != "" || r.text(9) == "true", Identity: r.text(7) == "a", Generated: r.text(8) != "",
			CaseInsensitive: r.text(1) == "citext" || r.text(10) == "true",
		}
		known := postgresJDBC(&c, r.text(2), r.text(3))
		if r.text(5) != "0" {
			c.JDBCType = schema.JDBCDistinct
		}
		if r.err != nil {
			return r.err
		}
		if !known {
			t.Hazards = append(t.Hazards, unknownType(c))
		}
		if other := seen[strings.ToLower(c.Name)]; other != "" {
			return notATable(fmt.Sprintf("a table whose columns %q and %q differ in letters' case only", other, c.Name))
		}
		seen[strings.ToLower(c.Name)] = c.Name
		t.Columns = append(t.Columns, c)
	}
	return nil
}

// unknownType is the hazard of a column whose values no image can hold exactly.
func unknownType(c schema.Column) schema.Hazard {
	return schema.Hazard{
		Insert: true, Update: true, Delete: true,
		Reason: fmt.Sprintf("the column %s has the type %s, whose values AT cannot keep exactly", c.Name, c.Cast),
		Remedy: "move the column into a table of its own, or change the table outside global transactions",
	}
}

// postgresTypes are the types that images hold, with the numbers that pgjdbc
// 42.7 reports.
var postgresTypes = map[string]int{
	"int2": schema.JDBCSmallInt, "int4": schema.JDBCInteger, "int8": schema.JDBCBigInt, "oid": schema.JDBCBigInt,
	"numeric": schema.JDBCNumeric, "float4": schema.JDBCReal, "float8": schema.JDBCDouble, "bool": schema.JDBCBit,
	"bpchar": schema.JDBCChar, "char": schema.JDBCChar, "varchar": schema.JDBCVarChar, "text": schema.JDBCVarChar,
	"name": schema.JDBCVarChar, "bytea": schema.JDBCBinary, "bit": schema.JDBCBit, "varbit": schema.JDBCOther,
	"date": schema.JDBCDate, "time": schema.JDBCTime, "timetz": schema.JDBCTime,
	"timestamp": schema.JDBCTimestamp, "timestamptz": schema.JDBCTimestamp, "interval": schema.JDBCOther,
	"uuid": schema.JDBCOther, "json": schema.JDBCOther, "jsonb": schema.JDBCOther, "xml": schema.JDBCSQLXML,
	"inet": schema.JDBCOther, "cidr": schema.JDBCOther, "macaddr": schema.JDBCOther, "macaddr8": schema.JDBCOther,
	"int4range": schema.JDBCOther, "int8range": schema.JDBCOther, "numrange": schema.JDBCOther,
	"tsvector": schema.JDBCOther, "tsquery": schema.JDBCOther,
	"_int2": schema.JDBCArray, "_int4": schema.JDBCArray, "_int8": schema.JDBCArray, "_numeric": schema.JDBCArray,
	"_bool": schema.JDBCArray, "_text": schema.JDBCArray, "_varchar": schema.JDBCArray, "_uuid": schema.JDBCArray,
}

// postgresJDBC sets the java.sql.Types number of a column, and tells whether
// images hold its type.
func postgresJDBC(c *schema.Column, kind, namespace string) bool {
	switch {
	case kind == "e": // an enumeration
		c.JDBCType, c.DatabaseType = schema.JDBCVarChar, "enum"
		return true
	case c.DatabaseType == "citext" && kind == "b":
		c.JDBCType = schema.JDBCVarChar
		return true
	}
	number, known := postgresTypes[c.DatabaseType]
	if known = known && namespace == "pg_catalog"; !known {
		number = schema.JDBCOther
	}
	c.JDBCType = number
	return known
}

func postgresKey(ctx context.Context, conn Queryer, t *schema.Table) error {
	rows, err := conn.Query(ctx, `SELECT a.attname::text FROM pg_catalog.pg_index AS i
		CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, place)
		JOIN pg_catalog.pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
		WHERE i.indrelid = $1::text::oid AND i.indisprimary AND k.place <= i.indnkeyatts ORDER BY k.place`,
		strconv.FormatUint(uint64(t.OID), 10))
	if err != nil {
		return err
	}
	for _, row := range rows {
		r := record{values: row}
		t.PrimaryKey = append(t.PrimaryKey, r.text(0))
		if r.err != nil {
			return r.err
		}
	}
	return nil
}
