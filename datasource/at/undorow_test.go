package at_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/datasource/at"
	"github.com/qiao-tx/qiao/datasource/undo"
	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/compress"
)

// noise is text that every compressor makes somewhat shorter, none much.
func noise(n int) string {
	r := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, n)
	for i := range b {
		if b[i] = 'x'; i&128 == 0 {
			b[i] = `"\abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789`[r.IntN(64)]
		}
	}
	return string(b)
}

var documents = []string{"CREATE TABLE doc (id INTEGER PRIMARY KEY, body LONGTEXT)"}

const allDocuments = "SELECT id, body FROM doc ORDER BY id"

// fill makes n documents of the given length.
func (e *env) fill(n, length int) (before string) {
	for i := range n {
		e.run("INSERT INTO doc VALUES (?, ?)", i, noise(length))
	}
	return e.dump(allDocuments)
}

// smallPackets has the servers take packets of a megabyte, the least that Java
// was made for, in the connections that are opened from now on.
func (e *env) smallPackets() {
	e.t.Helper()
	packet := strings.TrimSpace(e.dump("SELECT @@GLOBAL.max_allowed_packet"))
	e.run("SET GLOBAL max_allowed_packet = 1048576")
	e.t.Cleanup(func() {
		_, err := e.plain.Exec("SET GLOBAL max_allowed_packet = " + packet)
		require.NoError(e.t, err)
	})
}

func TestLongRecordsArePacked(t *testing.T) {
	for _, c := range []struct {
		compressor string
		threshold  int
		context    string
	}{
		{"", 0, "serializer=jackson&compressorType=ZIP&by=qiao"},
		{"GZIP", 1000, "serializer=jackson&compressorType=GZIP&by=qiao"},
		{"zstd", 1000, "serializer=jackson&compressorType=ZSTD&by=qiao"},
		{"Bzip2", 1000, "serializer=jackson&compressorType=BZIP2&by=qiao"},
		{"lz4", 1000, "serializer=jackson&compressorType=LZ4&by=qiao"},
		{"deflater", 1000, "serializer=jackson&compressorType=DEFLATER&by=qiao"},
		{"none", 1, "serializer=jackson&compressorType=NONE&by=qiao"},
		{"zip", 1 << 20, "serializer=jackson&compressorType=NONE&by=qiao"},
	} {
		t.Run(fmt.Sprintf("%q above %d", c.compressor, c.threshold), func(t *testing.T) {
			configure := settings{config: func(cfg *at.Config) { cfg.UndoCompressor, cfg.UndoThreshold = c.compressor, c.threshold }}
			onEachDatabase(t, configure, documents, func(t *testing.T, e *env) {
				before := e.fill(3, 25_000)
				ctx, x := e.global()
				e.exec(ctx, "UPDATE doc SET body = 'short'")
				assert.Equal(t, c.context+"\n", e.dump("SELECT context FROM undo_log"))
				if compressed := !strings.Contains(c.context, "NONE"); compressed {
					assert.Less(t, atoi(t, e.dump("SELECT LENGTH(rollback_info) FROM undo_log")), 70_000)
				}
				e.tc.rollback(x)
				assert.Equal(t, before, e.dump(allDocuments))
				assert.Equal(t, "0", e.undoRows())
			})
		})
	}
}

// No compressor refuses a long record that it packed itself.
func TestLongestRecordsAreExpanded(t *testing.T) {
	for _, compressor := range compress.Names() {
		t.Run(compressor, func(t *testing.T) {
			e := onSQLite(t, settings{config: func(cfg *at.Config) { cfg.UndoCompressor = compressor }}, documents...)
			before := e.fill(1, 9<<20)
			ctx, x := e.global()
			e.exec(ctx, "DELETE FROM doc")
			e.tc.rollback(x)
			require.True(t, before == e.dump(allDocuments))
		})
	}
}

func TestSettingsOfRecordsThatAreRefused(t *testing.T) {
	e := onSQLite(t, settings{}, documents...)
	for want, c := range map[string]at.Config{
		`unsupported compressor "sevenz"`: {UndoCompressor: "sevenz"},
		`unsupported compressor "brotli"`: {UndoCompressor: "brotli"},
		"UndoThreshold is -1":             {UndoThreshold: -1},
		`JavaPackage is "com.alibaba"`:    {JavaPackage: "com.alibaba"},
	} {
		c.Dialect, c.Coordinator = e.dialect, e.tc
		_, err := at.Open(t.Context(), sqliteConnector{"unused"}, c)
		require.ErrorContains(t, err, want)
	}
}

// What one packet cannot carry lies in several rows; all of them go with the
// branch, whichever way it ends.
func TestLongRecordsAreSplit(t *testing.T) {
	for _, c := range []struct {
		compressor  string
		interpolate bool // which makes the text longer than the record
	}{{"none", true}, {"zip", false}} {
		t.Run(c.compressor, func(t *testing.T) {
			onMySQL(t, settings{dsn: func(dsn *mysql.Config) { dsn.InterpolateParams = c.interpolate }}, documents, func(t *testing.T, e *env) {
				e.smallPackets()
				small := e.again(settings{config: func(cfg *at.Config) { cfg.UndoCompressor = c.compressor }})
				before := small.fill(10, 250_000)
				ctx, x := small.global()
				other, y := small.global()
				small.exec(other, "INSERT INTO doc VALUES (99, '')")

				small.exec(ctx, "UPDATE doc SET body = 'short' WHERE id < 99")
				parts := atoi(t, small.undoRows()) - 2
				assert.Greater(t, parts, 1)
				branch := small.tc.branchesOf(x)[0]
				assert.Equal(t, fmt.Sprintln(parts), small.dump("SELECT COUNT(*) FROM undo_log WHERE context = ?", undo.PartContext(branch.ID)))
				small.tc.rollback(x)
				small.tc.rollback(y)
				assert.Equal(t, before, small.dump(allDocuments))
				assert.Equal(t, "0", small.undoRows(), "of the record and its parts nothing is left")

				ctx, x = small.global()
				other, y = small.global()
				small.exec(ctx, "UPDATE doc SET body = 'short'")
				small.exec(other, "INSERT INTO doc VALUES (99, '')")
				small.tc.commit(x)
				assert.Equal(t, "1", small.undoRows(), "the other transaction's record stays")
				small.tc.commit(y)
				assert.Equal(t, "0", small.undoRows())
			})
		})
	}
}

// A record that needs more rows than its context can name is refused at COMMIT.
func TestRecordsThatAreTooLongToSplit(t *testing.T) {
	onMySQL(t, settings{}, documents, func(t *testing.T, e *env) {
		e.smallPackets()
		small := e.again(settings{config: func(cfg *at.Config) { cfg.UndoCompressor = "none" }})
		before := small.fill(30, 250_000)
		ctx, _ := small.global()
		_, err := small.db.ExecContext(ctx, "UPDATE doc SET body = 'short'")
		require.ErrorIs(t, err, undo.ErrUnwritable)
		require.ErrorContains(t, err, "max_allowed_packet")
		assert.Equal(t, before, small.dump(allDocuments))
		assert.Equal(t, "0", small.undoRows())
		assert.Equal(t, protocol.BranchPhaseOneFailed, small.tc.reported()[0].Status)
	})
}

func TestPartsThatAreMissing(t *testing.T) {
	onMySQL(t, settings{}, documents, func(t *testing.T, e *env) {
		e.smallPackets()
		small := e.again(settings{config: func(cfg *at.Config) { cfg.UndoCompressor = "none" }})
		small.fill(10, 250_000)
		ctx, x := small.global()
		small.exec(ctx, "UPDATE doc SET body = 'short'")
		branch := small.tc.branchesOf(x)[0]
		small.run("DELETE FROM undo_log WHERE context = ? LIMIT 1", undo.PartContext(branch.ID))
		rows := small.undoRows()
		status, err := small.connector.Resource().Rollback(t.Context(), branch)
		require.ErrorIs(t, err, undo.ErrUndecodable)
		require.ErrorContains(t, err, "missing")
		assert.Equal(t, protocol.BranchPhaseTwoRollbackFailedUnretryable, status)
		assert.Equal(t, rows, small.undoRows(), "the evidence stays")
	})
}

// A record that only Java reads tells its operator what to set, and is asked
// for again: a Java process may come back.
func TestRecordsOfOtherSerializersAreRefused(t *testing.T) {
	for _, serializer := range []string{"protostuff", "kryo", "fst", "fastjson", "fastjson2", "fury", "fory"} {
		t.Run(serializer, func(t *testing.T) {
			e := onSQLite(t, settings{}, stock...)
			ctx, x := e.global()
			e.exec(ctx, "UPDATE stock SET n = 0")
			e.run("UPDATE undo_log SET context = 'serializer=" + serializer + "&compressorType=NONE&map='")
			status, err := e.connector.Resource().Rollback(t.Context(), e.tc.branchesOf(x)[0])
			require.ErrorIs(t, err, undo.ErrForeign)
			require.ErrorContains(t, err, serializer)
			require.ErrorContains(t, err, "client.undo.logSerialization=jackson")
			assert.Equal(t, protocol.BranchPhaseTwoRollbackFailedRetryable, status)
			assert.Equal(t, "1", e.undoRows())
			e.tc.commit(x)
			assert.Equal(t, "0", e.undoRows(), "a commit reads nothing of it")
		})
	}
}
