//go:build linux

package javapeer

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/datasource"
	"github.com/qiao-tx/qiao/protocol/compress"
)

// documents fills a table with text that every compressor makes somewhat
// shorter, none much.
func (m *mixed) documents(t *testing.T, table string, n, length int) (before string) {
	t.Helper()
	m.run(t, "CREATE TABLE "+table+" (id INT PRIMARY KEY, body LONGTEXT) DEFAULT CHARSET = utf8mb4")
	r := rand.New(rand.NewPCG(1, 2))
	for id := range n {
		body := make([]byte, length)
		for i := range body {
			if body[i] = 'x'; i&128 == 0 {
				body[i] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"[r.IntN(64)]
			}
		}
		_, err := m.plain.Exec("INSERT INTO "+table+" VALUES (?, ?)", id, body)
		require.NoError(t, err)
	}
	return m.digest(t, table)
}

func (m *mixed) digest(t *testing.T, table string) string {
	return m.dump(t, "SELECT id, LENGTH(body), SHA2(body, 256) FROM "+table+" ORDER BY id")
}

// testLong has each side roll back the other's long records: packed by each
// compressor, and split over rows where a packet is too small.
func (m *mixed) testLong(t *testing.T) {
	const changed = "UPDATE %s SET body = 'short'"
	defer func() { m.reopen(t, datasource.Config{}) }()
	for _, split := range []bool{false, true} {
		table, rows := "packed", 1
		if split {
			// Java knows the size of packets from the time when it opened the database.
			table, rows = "split", 12
			defer m.smallPackets(t)()
		}
		before := m.documents(t, table, rows, 200_000)
		statement := fmt.Sprintf(changed, table)
		for _, compressor := range compress.Names() {
			t.Run(fmt.Sprintf("Go's record, %s, split %v", compressor, split), func(t *testing.T) {
				m.reopen(t, datasource.Config{UndoCompressor: compressor})
				x := begin(m.java)
				defer m.end(t, x)
				require.NoError(t, m.inGo(t, x, statement))
				m.stored(t, x, strings.ToUpper(compressor), split)
				assert.Equal(t, javaRolledBack, m.undoInJava(m.branch(t, x)))
				assert.Equal(t, before, m.digest(t, table))
				assert.Equal(t, "0\n", m.dump(t, "SELECT COUNT(*) FROM undo_log WHERE xid = ?", x), "the parts are deleted, too")
			})
		}
		t.Run(fmt.Sprintf("Java's record, split %v", split), func(t *testing.T) {
			x := begin(m.java)
			defer m.end(t, x)
			require.Empty(t, m.inJava(x, statement).Error)
			m.stored(t, x, "ZIP", split)
			_, err := m.resource.Rollback(t.Context(), m.branch(t, x))
			require.NoError(t, err)
			assert.Equal(t, before, m.digest(t, table))
			assert.Equal(t, "0\n", m.dump(t, "SELECT COUNT(*) FROM undo_log WHERE xid = ?", x))
		})
		t.Run(fmt.Sprintf("Java's record is committed by Go, split %v", split), func(t *testing.T) {
			x := begin(m.java)
			defer m.end(t, x)
			require.Empty(t, m.inJava(x, statement).Error)
			_, err := m.resource.Commit(t.Context(), m.branch(t, x))
			require.NoError(t, err)
			assert.Equal(t, "0\n", m.dump(t, "SELECT COUNT(*) FROM undo_log WHERE xid = ?", x))
		})
	}
}

// stored sees that the record of x lies as it should.
func (m *mixed) stored(t *testing.T, x, compressor string, split bool) {
	t.Helper()
	context := m.dump(t, "SELECT context FROM undo_log WHERE xid = ? AND context NOT LIKE 'branchId=%'", x)
	assert.Contains(t, context, "compressorType="+compressor)
	parts := m.dump(t, "SELECT COUNT(*) FROM undo_log WHERE xid = ? AND context LIKE 'branchId=%'", x)
	assert.Equal(t, split, parts != "0\n", "%s parts, %s", parts, context)
}

// smallPackets has the server take packets of a megabyte, and the Java service
// open the database again.
func (m *mixed) smallPackets(t *testing.T) (restore func()) {
	packet := strings.TrimSpace(m.dump(t, "SELECT @@GLOBAL.max_allowed_packet"))
	m.run(t, "SET GLOBAL max_allowed_packet = 1048576")
	m.java.Must(Command{"op": "datasource", "name": javaDB, "url": m.url})
	return func() {
		m.run(t, "SET GLOBAL max_allowed_packet = "+packet)
		m.java.Must(Command{"op": "datasource", "name": javaDB, "url": m.url})
	}
}
