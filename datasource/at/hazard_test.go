package at_test

import (
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/datasource/sqlparse"
)

// A statement by which the database changes more than the rows it names is
// refused before it runs.
func TestChangesThatNoImageShowsAreRefused(t *testing.T) {
	shared := []string{
		"CREATE TABLE parent (id INTEGER NOT NULL PRIMARY KEY, code INTEGER UNIQUE, v INTEGER)",
		"CREATE TABLE child (id INTEGER NOT NULL PRIMARY KEY, parent INTEGER, code INTEGER, " +
			"FOREIGN KEY (parent) REFERENCES parent (id) ON DELETE CASCADE, FOREIGN KEY (code) REFERENCES parent (code) ON UPDATE SET NULL)",
		"CREATE TABLE plain (id INTEGER NOT NULL PRIMARY KEY)",
		"CREATE TABLE referrer (id INTEGER NOT NULL PRIMARY KEY, plain INTEGER, FOREIGN KEY (plain) REFERENCES plain (id))",
		"CREATE TABLE audited (id INTEGER NOT NULL PRIMARY KEY, v INTEGER)", "CREATE TABLE trail (v INTEGER)",
		"INSERT INTO parent VALUES (1, 1, 1)", "INSERT INTO child VALUES (1, 1, 1)", "INSERT INTO plain VALUES (1)", "INSERT INTO audited VALUES (1, 1)",
	}
	allowed := []string{"INSERT INTO parent VALUES (2, 2, 2)", "UPDATE parent SET v = 2", "DELETE FROM child", "DELETE FROM plain"}
	refused := map[string]string{
		"DELETE FROM parent":                    "ON DELETE CASCADE",
		"UPDATE parent SET v = 1, CODE = 3":     "ON UPDATE SET NULL",
		"INSERT INTO audited VALUES (2, 2)":     "trigger watch",
		"DELETE FROM audited":                   "trigger watch",
		"UPDATE audited SET v = 2 WHERE id = 1": "trigger watch",
	}
	check := func(t *testing.T, e *env, allowed []string, refused map[string]string) {
		ctx, x := e.global()
		for statement, reason := range refused {
			_, err := e.db.ExecContext(ctx, statement)
			require.ErrorIs(t, err, sqlparse.ErrUnsupported, statement)
			assert.ErrorContains(t, err, reason)
		}
		assert.Empty(t, e.tc.branchesOf(x))
		for _, statement := range allowed {
			e.exec(ctx, statement)
		}
		e.tc.rollback(x)
		assert.Equal(t, "1|1|1\n", e.dump("SELECT * FROM child"))
	}
	onMySQL(t, settings{}, append(slices.Clone(shared), "CREATE TABLE untold (id INT PRIMARY KEY) ENGINE = MyISAM",
		"CREATE TRIGGER watch AFTER DELETE ON audited FOR EACH ROW INSERT INTO trail VALUES (OLD.v)"), func(t *testing.T, e *env) {
		here := map[string]string{"INSERT INTO untold VALUES (1)": "MyISAM has no transactions"}
		maps.Copy(here, refused)
		delete(here, "UPDATE audited SET v = 2 WHERE id = 1") // the trigger is another statement's
		check(t, e, append(slices.Clone(allowed), "UPDATE audited SET v = 2 WHERE id = 1"), here)
	})
	t.Run("SQLite", func(t *testing.T) {
		e := onSQLite(t, settings{dsnSuffix: "&_pragma=foreign_keys(1)"}, append(slices.Clone(shared),
			"CREATE TRIGGER watch AFTER UPDATE ON audited BEGIN INSERT INTO trail VALUES (1); END",
			"CREATE TABLE replacing (id INTEGER PRIMARY KEY, v UNIQUE ON CONFLICT REPLACE)")...)
		here := map[string]string{"INSERT INTO replacing VALUES (1, 1)": "ON CONFLICT REPLACE"}
		maps.Copy(here, refused)
		check(t, e, allowed, here)
	})
	t.Run("SQLite without foreign keys", func(t *testing.T) {
		e := onSQLite(t, settings{}, shared...)
		check(t, e, []string{"DELETE FROM parent"}, nil)
	})
}
