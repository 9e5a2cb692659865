//go:build linux

package javapeer

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/datasource"
	"github.com/qiao-tx/qiao/internal/testenv"
)

// Services of io.seata's and Go's restore each other's rows: Go reads the old
// names of classes, and writes them where it is told to.
func TestGoAndOldJavaTogether(t *testing.T) {
	for _, version := range []string{"1.4.2", "1.8.0"} {
		t.Run(version, func(t *testing.T) {
			m := &mixed{tc: startCoordinator(t), dsn: testenv.MariaDB(t)}
			m.url, m.plain = database(t, m.dsn)
			m.java = StartOld(t, version, m.tc.address, "java-service", "user.timezone="+javaZone)
			m.java.Must(Command{"op": "datasource", "name": javaDB, "url": m.url})
			m.startGo(t, datasource.Config{JavaPackage: "io.seata"})
			t.Cleanup(func() { m.stopGo(t) })
			m.testOldColumns(t, version)
		})
	}
}

func (m *mixed) testOldColumns(t *testing.T, version string) {
	for i, c := range columns {
		if c.unreadable {
			continue
		}
		if version == "1.4.2" && strings.HasPrefix(c.declared, "DATETIME") {
			// This version cannot write or read the class that Connector/J since 8.0.23
			// gives the column.
			c.unreadable, c.strict = true, "MariaDB"
		}
		table := fmt.Sprintf("old%d", i)
		m.run(t, append([]string{"CREATE TABLE " + table + " (id BIGINT PRIMARY KEY, v " + c.declared + ")"}, c.rows(table, 1)...)...)
		before := m.dump(t, c.shown(table))
		t.Run(c.name+", Go's record", func(t *testing.T) { m.testGoRecord(t, c, table, before, "MariaDB") })
		t.Run(c.name+", Java's record", func(t *testing.T) { m.testOldRecord(t, c, table, before) })
	}
}

func (m *mixed) testOldRecord(t *testing.T, c column, table, before string) {
	x := begin(m.java)
	defer m.end(t, x)
	written := m.inJava(x, c.changes(table)...)
	if c.unreadable {
		require.NotEmpty(t, written.Error, "this version can do it")
		require.Equal(t, before, m.dump(t, c.shown(table)))
		return
	}
	require.Empty(t, written.Error)
	record := m.dump(t, "SELECT rollback_info FROM undo_log WHERE xid = ?", x)
	assert.Contains(t, record, `{"@class":"io.seata.rm.datasource.undo.BranchUndoLog"`)
	_, err := m.resource.Rollback(t.Context(), m.branch(t, x))
	require.NoError(t, err)
	assert.Equal(t, c.withLosses(before), m.dump(t, c.shown(table)))
}
