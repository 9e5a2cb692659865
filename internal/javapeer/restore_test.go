//go:build linux

package javapeer

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/protocol/xid"
	"github.com/qiao-tx/qiao/rm"
)

// How Java's resource manager answers an order.
const (
	javaRolledBack = "PhaseTwo_Rollbacked"
	javaTriesAgain = "PhaseTwo_RollbackFailed_Retryable"
)

// run executes statements outside of any global transaction.
func (m *mixed) run(t *testing.T, statements ...string) {
	t.Helper()
	conn, err := m.plain.Conn(t.Context())
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close()) }()
	// Zero dates are data of old applications.
	_, err = conn.ExecContext(t.Context(), "SET SESSION sql_mode = ''")
	require.NoError(t, err)
	for _, s := range statements {
		_, err := conn.ExecContext(t.Context(), s)
		require.NoError(t, err, s)
	}
	_, err = conn.ExecContext(t.Context(), "SET SESSION sql_mode = DEFAULT")
	require.NoError(t, err)
}

// dump shows the rows of a query, a line each.
func (m *mixed) dump(t *testing.T, query string, args ...any) string {
	t.Helper()
	rows, err := m.plain.Query(query, args...)
	require.NoError(t, err, query)
	defer func() { require.NoError(t, rows.Close()) }()
	columns, err := rows.Columns()
	require.NoError(t, err)
	var b strings.Builder
	for rows.Next() {
		row, into := make([]string, len(columns)), make([]any, len(columns))
		for i := range row {
			into[i] = &row[i]
		}
		require.NoError(t, rows.Scan(into...))
		b.WriteString(strings.Join(row, " ") + "\n")
	}
	require.NoError(t, rows.Err())
	return b.String()
}

// inGo and inJava run statements as one branch of x.
func (m *mixed) inGo(t *testing.T, x string, statements ...string) error {
	ctx := xid.NewContext(t.Context(), x)
	tx, err := m.goDB.BeginTx(ctx, nil)
	require.NoError(t, err)
	for _, s := range statements {
		if _, err := tx.ExecContext(ctx, s); err != nil {
			require.NoError(t, tx.Rollback())
			return err
		}
	}
	return tx.Commit()
}

func (m *mixed) inJava(x string, statements ...string) Answer {
	return m.java.Do(Command{"op": "sql", "xid": x, "datasource": javaDB, "statements": statements})
}

// branch is the only branch of x here.
func (m *mixed) branch(t *testing.T, x string) rm.Branch {
	t.Helper()
	b := rm.Branch{XID: x, ResourceID: m.resource.ID()}
	require.NoError(t, m.plain.QueryRow("SELECT branch_id FROM undo_log WHERE xid = ? AND context NOT LIKE 'branchId=%'", x).Scan(&b.ID))
	return b
}

// undoInJava orders Java's resource manager to undo a branch.
func (m *mixed) undoInJava(b rm.Branch) (status string) {
	return m.java.Must(Command{"op": "undo", "datasource": javaDB, "xid": b.XID, "branch": b.ID}).Status
}

// end ends x, whose branches are undone already.
func (m *mixed) end(t *testing.T, x string) {
	t.Helper()
	require.Equal(t, "Rollbacked", m.java.Must(Command{"op": "rollback", "xid": x}).Status)
	m.run(t, "DELETE FROM undo_log WHERE log_status = 1")
}

// testForeignRecord: a record that only Java reads leaves the transaction in
// sight, to be rolled back when somebody can.
func (m *mixed) testForeignRecord(t *testing.T) {
	before := accounts(t, m.plain)
	x := begin(m.java)
	require.NoError(t, m.inGo(t, x, "UPDATE account SET money = money + 1"))
	b := m.branch(t, x)
	context := strings.TrimSpace(m.dump(t, "SELECT context FROM undo_log WHERE branch_id = ?", b.ID))
	set := func(context string) {
		_, err := m.plain.Exec("UPDATE undo_log SET context = ? WHERE branch_id = ?", context, b.ID)
		require.NoError(t, err)
	}
	set("serializer=kryo&compressorType=NONE&map=16777216")
	require.Equal(t, "RollbackRetrying", m.java.Must(Command{"op": "rollback", "xid": x}).Status)
	assert.NotEqual(t, before, accounts(t, m.plain))
	assert.Equal(t, "1\n", m.dump(t, "SELECT COUNT(*) FROM undo_log WHERE xid = ?", x), "the record stays")
	set(context)
	require.Eventually(t, func() bool {
		return m.java.Must(Command{"op": "status", "xid": x}).Status == "Rollbacked"
	}, 30*time.Second, 50*time.Millisecond)
	assert.Equal(t, before, accounts(t, m.plain))
	m.noUndoLeft(t)
}

// testColumns has each side roll back what the other wrote, for every type of
// column.
func (m *mixed) testColumns(t *testing.T, server string) {
	captures := newCaptures(t, server)
	for i, c := range columns {
		table := fmt.Sprintf("column%d", i)
		m.run(t, append([]string{"CREATE TABLE " + table + " (id BIGINT PRIMARY KEY, v " + c.declared + ")"}, c.rows(table, 1)...)...)
		before := m.dump(t, c.shown(table))
		t.Run(c.name+", Go's record", func(t *testing.T) { m.testGoRecord(t, c, table, before, server) })
		t.Run(c.name+", Java's record", func(t *testing.T) { m.testJavaRecord(t, c, table, before, captures) })
	}
	captures.close(t)
}

// testGoRecord: Java restores exactly what Go wrote down, also where its own
// record would have lost it.
func (m *mixed) testGoRecord(t *testing.T, c column, table, before, server string) {
	x := begin(m.java)
	defer m.end(t, x)
	statements := c.changes(table)
	if c.unreadable {
		statements = statements[len(statements)-1:]
	}
	require.NoError(t, m.inGo(t, x, statements...))
	require.NotEqual(t, before, m.dump(t, c.shown(table)))
	b := m.branch(t, x)
	if c.strict == server {
		require.Equal(t, javaTriesAgain, m.undoInJava(b))
		_, err := m.resource.Rollback(t.Context(), b)
		require.NoError(t, err)
	} else {
		assert.Equal(t, javaRolledBack, m.undoInJava(b))
	}
	assert.Equal(t, before, m.dump(t, c.shown(table)))
	assert.Equal(t, "0\n", m.dump(t, "SELECT COUNT(*) FROM undo_log WHERE xid = ?", x))
}

// testJavaRecord: Go restores all that is in Java's record.
func (m *mixed) testJavaRecord(t *testing.T, c column, table, before string, captures *captures) {
	x := begin(m.java)
	defer m.end(t, x)
	written := m.inJava(x, c.changes(table)...)
	if c.unreadable {
		require.NotEmpty(t, written.Error, "Java's driver reads it now")
		require.Equal(t, before, m.dump(t, c.shown(table)))
		return
	}
	require.Empty(t, written.Error)
	require.NotEqual(t, before, m.dump(t, c.shown(table)))
	b := m.branch(t, x)
	captures.add(t, m, c, b)
	_, err := m.resource.Rollback(t.Context(), b)
	require.NoError(t, err)
	assert.Equal(t, c.withLosses(before), m.dump(t, c.shown(table)))
	assert.Equal(t, "0\n", m.dump(t, "SELECT COUNT(*) FROM undo_log WHERE xid = ?", x))
}
