package sqldb

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/qiao-tx/qiao/storage"
)

// comparison is how lock_table.row_key is compared. Rows that the database takes
// for one are one here as well, or a lock could be lost: two transactions then
// exclude each other that need not.
type comparison struct {
	// collation is "" when different texts are different keys.
	collation string
	// padded: spaces at the end do not count.
	padded bool
	// folded: texts count as one for other reasons than spaces, as 'A' and 'a' do.
	folded bool
	// characters is the length of the column.
	characters int64
}

// compares asks the database how it compares the column.
func (w widths) compares(ctx context.Context, q querier, d *dialect) (comparison, error) {
	column := w["lock_table.row_key"]
	if column.collation == "" {
		return comparison{}, nil
	}
	c := comparison{collation: column.collation, characters: column.characters, folded: !strings.HasSuffix(column.collation, "_bin")}
	st := d.statement("SELECT ").add(c.text(d, "a")).add("=").add(c.text(d, "a "))
	err := query(ctx, q, st, func(rows *sql.Rows) error { return rows.Scan(&c.padded) })
	if err != nil {
		return c, fmt.Errorf("%w: find out how lock_table.row_key is compared: %w", ErrConfig, err)
	}
	return c, nil
}

// text is an expression for a text as the column has it.
func (c comparison) text(d *dialect, text string) string {
	charset, _, _ := strings.Cut(c.collation, "_")
	return d.statement("CONVERT(").string(text).add(" USING " + charset + ") COLLATE " + c.collation).text.String()
}

// warning tells people what to change, or nothing.
func (c comparison) warning() string {
	if !c.folded {
		return ""
	}
	return fmt.Sprintf("lock_table.row_key has the collation %s, which takes different rows for one: transactions wait for each other that need not, "+
		"and each step costs a statement more. When no transaction is open: ALTER TABLE lock_table MODIFY row_key VARCHAR(%d) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL",
		c.collation, c.characters)
}

// classes maps each row to the one that stands for all that the database takes for
// the same. nil: each for itself.
type classes map[storage.RowKey]storage.RowKey

// of is the row that stands for row.
func (c classes) of(row storage.RowKey) storage.RowKey {
	if c == nil {
		return row
	}
	return c[row]
}

// maxWeights is how many rows one statement weighs.
const maxWeights = 100

// classes finds the classes among the rows.
func (c comparison) classes(ctx context.Context, q querier, d *dialect, rows []storage.RowKey) (classes, error) {
	if !c.folded && !c.padded {
		return nil, nil
	}
	slices.Sort(rows)
	rows = slices.Compact(rows)
	weights := make([]string, 0, len(rows))
	if !c.folded {
		for _, row := range rows {
			weights = append(weights, strings.TrimRight(string(row), " "))
		}
	}
	for part := range slices.Chunk(rows, maxWeights) {
		if !c.folded {
			break
		}
		more, err := c.weigh(ctx, q, d, part)
		if err != nil {
			return nil, fmt.Errorf("compare the rows: %w", err)
		}
		weights = append(weights, more...)
	}
	first, all := make(map[string]storage.RowKey, len(rows)), make(classes, len(rows))
	for i, row := range rows {
		if _, known := first[weights[i]]; !known {
			first[weights[i]] = row
		}
		all[row] = first[weights[i]]
	}
	return all, nil
}

// weigh has the database reduce rows to what it compares.
func (c comparison) weigh(ctx context.Context, q querier, d *dialect, rows []storage.RowKey) ([]string, error) {
	length := ""
	if c.padded {
		length = fmt.Sprintf(" AS CHAR(%d)", c.characters)
	}
	st := d.statement("")
	for i, row := range rows {
		if i > 0 {
			st.add(" UNION ALL ")
		}
		st.add("SELECT ").number(int64(i)).add(",HEX(WEIGHT_STRING(" + c.text(d, string(row)) + length + "))")
	}
	weights, found := make([]string, len(rows)), 0
	err := query(ctx, q, st, func(r *sql.Rows) error {
		var i int
		var weight string
		if err := r.Scan(&i, &weight); err != nil {
			return err
		}
		weights[i] = weight
		found++
		return nil
	})
	if err == nil && found != len(rows) {
		err = fmt.Errorf("%d of %d rows were compared", found, len(rows))
	}
	return weights, err
}

// classify makes the rows that the group has to do with comparable: those it wants,
// those its transactions hold, and those that stand in lock_table.
func (g *group) classify(ctx context.Context, q querier, d *dialect, c comparison) error {
	rows := g.rows()
	for row := range g.holders {
		rows = append(rows, row)
	}
	for _, r := range g.before {
		for row := range lockedRows(&r.State, nil) {
			rows = append(rows, row)
		}
	}
	var err error
	if g.classes, err = c.classes(ctx, q, d, rows); err != nil {
		return err
	}
	g.holders = g.classes.holders(g.holders)
	g.found = maps.Clone(g.holders)
	wanted := make(map[storage.RowKey]struct{}, len(g.wantedRows))
	for row := range g.wantedRows {
		wanted[g.classes.of(row)] = struct{}{}
	}
	g.wantedRows = wanted
	return nil
}

// holders has each class's holder under the row that stands for it.
func (c classes) holders(all map[storage.RowKey]holder) map[storage.RowKey]holder {
	if c == nil {
		return all
	}
	by := make(map[storage.RowKey]holder, len(all))
	for row, h := range all {
		by[c.of(row)] = h
	}
	return by
}
