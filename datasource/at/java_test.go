package at_test

import (
	"bufio"
	"context"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/datasource/meta"
	"github.com/qiao-tx/qiao/datasource/schema"
	"github.com/qiao-tx/qiao/datasource/sqlparse"
	"github.com/qiao-tx/qiao/datasource/undo"
	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/compress"
	"github.com/qiao-tx/qiao/rm"
)

// javaRecord is a row of undo_log that Java Seata 2.5.0 wrote, and the tables.
type javaRecord struct {
	Scenario string   `json:"scenario"`
	DDL      []string `json:"ddl"`
	XID      string   `json:"xid"`
	UndoLog  []struct {
		BranchID int64  `json:"branch_id"`
		Context  string `json:"context"`
		Status   int    `json:"log_status"`
		Hex      string `json:"rollback_info_hex"`
	} `json:"undo_log"`
}

func javaRecords(t *testing.T, file string) (ddl []string, records []javaRecord) {
	t.Helper()
	f, err := os.Open(filepath.Join("..", "undo", "testdata", file))
	require.NoError(t, err)
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var r javaRecord
		if json.Unmarshal(lines.Bytes(), &r) != nil {
			continue // a scenario of another shape, without records
		}
		if len(r.DDL) > 0 {
			ddl = r.DDL
		} else if len(r.UndoLog) == 1 && r.UndoLog[0].Status == 0 {
			records = append(records, r)
		}
	}
	require.NoError(t, lines.Err())
	require.Len(t, records, 6)
	return ddl, records
}

// catalogue reads a table's schema.
type catalogue struct{ *sql.DB }

func (c catalogue) Query(ctx context.Context, query string, args ...any) (all [][]any, err error) {
	rows, err := c.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	columns, err := rows.Columns()
	for err == nil && rows.Next() {
		row, into := make([]any, len(columns)), make([]any, len(columns))
		for i := range row {
			into[i] = &row[i]
		}
		err = rows.Scan(into...)
		all = append(all, row)
	}
	return all, errors.Join(err, rows.Err())
}

// A branch that a Java service changed can be rolled back by a Go service on
// the same database: exactly, including what Java itself loses.
func TestJavaBranchesAreUndone(t *testing.T) {
	for _, file := range []string{"undo-jackson.jsonl", "undo-jackson-zip.jsonl"} {
		ddl, records := javaRecords(t, file)
		for _, r := range records {
			t.Run(file+"/"+r.Scenario, func(t *testing.T) {
				onMySQL(t, settings{}, ddl, func(t *testing.T, e *env) {
					content, err := hex.DecodeString(r.UndoLog[0].Hex)
					require.NoError(t, err)
					plain := content
					if file == "undo-jackson-zip.jsonl" {
						var p compress.Pool
						plain, err = p.Expand(nil, compress.Zip, content, undo.MaxSize)
						require.NoError(t, err)
					}
					record, err := undo.Codec{}.Decode(plain)
					require.NoError(t, err)
					e.run("INSERT INTO undo_log VALUES (?, ?, ?, ?, 0, NOW(6), NOW(6))", r.UndoLog[0].BranchID, r.XID, r.UndoLog[0].Context, content)
					before := e.rowsOf(record, func(entry undo.Entry) undo.Entry { return undo.Entry{Kind: sqlparse.Delete, Before: entry.Before} })
					e.rowsOf(record, func(entry undo.Entry) undo.Entry { return undo.Entry{Kind: sqlparse.Delete, Before: entry.After} })

					status, err := e.connector.Resource().Rollback(t.Context(), rm.Branch{XID: r.XID, ID: r.UndoLog[0].BranchID})
					require.NoError(t, err)
					assert.Equal(t, protocol.BranchPhaseTwoRollbacked, status)
					assert.Equal(t, before, e.tables())
					assert.Equal(t, "0", e.undoRows())
					if r.Scenario == "update" {
						assert.Contains(t, before, "2024-05-06 07:08:09.123456", "the fraction that Java loses")
					}
				})
			})
		}
	}
}

// rowsOf makes the tables hold the rows of one side of a record's images.
func (e *env) rowsOf(record undo.Record, side func(undo.Entry) undo.Entry) string {
	e.t.Helper()
	e.run("DELETE FROM t_user")
	e.run("DELETE FROM t_multi")
	tables := meta.New(schema.MySQL)
	for _, entry := range record.Entries {
		name := entry.Before.Table
		table, err := tables.Table(e.t.Context(), catalogue{e.plain}, "", name)
		require.NoError(e.t, err)
		statements, err := undo.Inverse(schema.MySQL, table, side(entry))
		require.NoError(e.t, err)
		for _, s := range statements {
			e.run(s.SQL, s.Args...)
		}
	}
	return e.tables()
}

func (e *env) tables() string {
	e.t.Helper()
	return e.dump("SELECT id, HEX(name), age, tiny, flag, HEX(bits), ubig, balance, score, f + 0e0, CAST(birth AS CHAR), CAST(tm AS CHAR), CAST(dt AS CHAR),"+
		" CAST(ts AS CHAR), HEX(bin), HEX(data), txt, js, en, nul FROM t_user ORDER BY id") + e.dump("SELECT * FROM t_multi ORDER BY k1, k2")
}
