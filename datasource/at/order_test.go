package at_test

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// On the way back the rows of one statement pass the same unique and foreign
// keys as on the way there, in the reverse order.
func TestRowsAreUndoneInReverse(t *testing.T) {
	for name, c := range map[string]struct {
		ddl       []string
		statement string
	}{
		"unique key": {[]string{"CREATE TABLE t (id INT PRIMARY KEY, u INT UNIQUE)", "INSERT INTO t VALUES (1, 1), (2, 2), (3, 3)"},
			"UPDATE t SET u = u + 1 ORDER BY u DESC"},
		"unique key, from below": {[]string{"CREATE TABLE t (id INT PRIMARY KEY, u INT UNIQUE)", "INSERT INTO t VALUES (1, 1), (2, 2), (3, 3)"},
			"UPDATE t SET u = u - 1 ORDER BY u"},
		"a tree's leaves first": {[]string{"CREATE TABLE t (id INT PRIMARY KEY, up INT, FOREIGN KEY (up) REFERENCES t (id))", "INSERT INTO t VALUES (1, NULL), (2, 1), (3, 2)"},
			"DELETE FROM t ORDER BY id DESC"},
	} {
		t.Run(name, func(t *testing.T) {
			onMySQL(t, settings{}, c.ddl, func(t *testing.T, e *env) {
				before := e.dump("SELECT * FROM t ORDER BY id")
				ctx, x := e.global()
				e.exec(ctx, c.statement)
				require.NotEqual(t, before, e.dump("SELECT * FROM t ORDER BY id"))
				e.tc.rollback(x)
				require.Equal(t, before, e.dump("SELECT * FROM t ORDER BY id"))
			})
		})
	}
}

// SQLite looks at foreign keys when a statement ends: one DELETE may take a
// tree as a whole, and the rollback's INSERTs have to put it back row by row.
func TestRowsThatReferToEachOtherAreRestored(t *testing.T) {
	e := onSQLite(t, settings{dsnSuffix: "&_pragma=foreign_keys(1)"},
		"CREATE TABLE t (id INTEGER PRIMARY KEY, up INT REFERENCES t (id))", "INSERT INTO t VALUES (1, NULL), (2, 1), (3, 2)")
	before := e.dump("SELECT * FROM t ORDER BY id")
	ctx, x := e.global()
	e.exec(ctx, "DELETE FROM t")
	e.tc.rollback(x)
	require.Equal(t, before, e.dump("SELECT * FROM t ORDER BY id"))
}
