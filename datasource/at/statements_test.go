package at_test

import (
	"context"
	"database/sql"
	"slices"
	"testing"

	"github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/datasource/at"
	"github.com/qiao-tx/qiao/datasource/meta"
	"github.com/qiao-tx/qiao/datasource/schema"
	"github.com/qiao-tx/qiao/datasource/sqlparse"
	"github.com/qiao-tx/qiao/protocol/xid"
)

var stock = []string{
	"CREATE TABLE stock (id INTEGER NOT NULL PRIMARY KEY, n INTEGER, note VARCHAR(20))",
	"INSERT INTO stock (id, n, note) VALUES (1, 10, 'a'), (2, 20, 'b'), (3, 30, NULL)",
}

const allStock = "SELECT id, n, note FROM stock ORDER BY id"

// Each statement kind alone, and all of them in one branch, is undone.
func TestRollbackUndoesEveryStatement(t *testing.T) {
	for name, statements := range map[string][]string{
		"insert":      {"INSERT INTO stock (id, n, note) VALUES (7, 70, 'x'), (8, 80, NULL)"},
		"update":      {"UPDATE stock SET n = n + 1, note = 'z' WHERE n >= 20"},
		"update none": {"UPDATE stock SET n = 0 WHERE id = 99"},
		"update same": {"UPDATE stock SET n = 10 WHERE id = 1"},
		"delete":      {"DELETE FROM stock WHERE id > 1"},
		"limit":       {"UPDATE stock SET n = 0 ORDER BY n DESC, id LIMIT 2"},
		"all": {
			"INSERT INTO stock VALUES (9, 90, 'new')", "UPDATE stock SET n = n * 2", "UPDATE stock SET n = n + 1 WHERE id <> 2",
			"DELETE FROM stock WHERE id = 9", "INSERT INTO stock VALUES (9, 91, 'again')", "DELETE FROM stock",
		},
	} {
		t.Run(name, func(t *testing.T) {
			onEachDatabase(t, settings{}, stock, func(t *testing.T, e *env) {
				if name == "limit" && e.dialect != schema.MySQL {
					return // SQLite is built without LIMIT on UPDATE
				}
				before := e.dump(allStock)
				ctx, x := e.global()
				tx, err := e.db.BeginTx(ctx, nil)
				require.NoError(t, err)
				for _, statement := range statements {
					_, err := tx.ExecContext(ctx, statement)
					require.NoError(t, err, statement)
				}
				require.NoError(t, tx.Commit())
				if name != "update none" && name != "update same" {
					require.NotEqual(t, before, e.dump(allStock))
				}
				e.tc.rollback(x)
				assert.Equal(t, before, e.dump(allStock))
				assert.Equal(t, "0", e.undoRows())
				e.clean("stock")
			})
		})
	}
}

func TestLockKeysNameTheRows(t *testing.T) {
	onEachDatabase(t, settings{}, stock, func(t *testing.T, e *env) {
		ctx, x := e.global()
		e.exec(ctx, "UPDATE stock SET n = 0 WHERE id <= ?", 2)
		e.exec(ctx, "DELETE FROM stock WHERE id = 3")
		e.exec(ctx, "INSERT INTO stock (n, id) VALUES (?, ?)", 4, 40)
		e.exec(ctx, "DELETE FROM stock WHERE id = 99")
		assert.Equal(t, []string{"stock:1,2", "stock:3", "stock:40"}, e.tc.lockKeys(x), "a statement that changes nothing makes no branch")
		assert.Equal(t, "3", e.undoRows())
	})
}

func TestCommitDeletesUndoRecords(t *testing.T) {
	onEachDatabase(t, settings{}, stock, func(t *testing.T, e *env) {
		ctx, x := e.global()
		e.exec(ctx, "UPDATE stock SET n = 0 WHERE id = 1")
		e.exec(ctx, "UPDATE stock SET n = 0 WHERE id = 2")
		e.tc.commit(x)
		require.NoError(t, e.db.Close(), "closing deletes what waits")
		assert.Equal(t, "0", e.undoRows())
		assert.Equal(t, "1|0|a\n2|0|b\n3|30|<nil>\n", e.dump(allStock))
	})
}

// What AT would refuse inside a global transaction goes to the driver outside
// of one, so nothing looks at it.
func TestOutsideNothingIsParsed(t *testing.T) {
	onEachDatabase(t, settings{}, stock, func(t *testing.T, e *env) {
		refused := "REPLACE INTO stock (id, n) VALUES (1, 11)"
		if e.dialect == schema.PostgreSQL {
			refused = "INSERT INTO stock (id, n) VALUES (1, 11) ON CONFLICT (id) DO UPDATE SET n = 11, note = NULL"
		}
		ctx, x := e.global()
		_, err := e.db.ExecContext(ctx, refused)
		require.ErrorIs(t, err, sqlparse.ErrUnsupported)
		assert.Equal(t, "1|10|a\n", e.dump(allStock+" LIMIT 1"), "a refused statement is not executed")

		e.exec(t.Context(), refused)
		assert.Equal(t, "1|11|<nil>\n", e.dump(allStock+" LIMIT 1"))
		inTry := xid.WithBranchType(ctx, xid.TypeTCC) // its cancel gives back what it writes
		e.exec(inTry, "UPDATE stock SET n = 12 WHERE id = 1")
		inside, err := e.db.BeginTx(inTry, nil)
		require.NoError(t, err)
		_, err = inside.ExecContext(inTry, "UPDATE stock SET n = 11 WHERE id = 1")
		require.NoError(t, err)
		require.NoError(t, inside.Commit())
		e.exec(xid.NewContext(ctx, ""), "CREATE TABLE other (x INTEGER)")
		tx, err := e.db.Begin()
		require.NoError(t, err)
		_, err = tx.Exec("INSERT INTO other VALUES (1)")
		require.NoError(t, err)
		require.NoError(t, tx.Commit())
		assert.Empty(t, e.tc.branchesOf(x))
		assert.Equal(t, "0", e.undoRows())
	})
}

// protectedByReturning need not be refused where the database tells which rows
// a statement changed.
var protectedByReturning = map[string]bool{
	"INSERT INTO named (v) VALUES (1)":                      true,
	"INSERT INTO named VALUES (lower('A'), 1)":              true,
	"INSERT INTO stock (id, n) SELECT id + 9, n FROM stock": true,
	"SELECT * FROM stock ORDER BY n LIMIT 1 FOR UPDATE":     true,
}

func TestRefusedStatementsLeaveNothing(t *testing.T) {
	ddl := append(slices.Clone(stock), "CREATE TABLE nokey (v INTEGER)", "CREATE VIEW seen AS SELECT * FROM stock",
		"CREATE TABLE named (k VARCHAR(20) NOT NULL PRIMARY KEY, v INTEGER)")
	onEachDatabase(t, settings{}, ddl, func(t *testing.T, e *env) {
		for statement, want := range map[string]error{
			"INSERT INTO nokey VALUES (1)":                          meta.ErrNoPrimaryKey,
			"UPDATE missing SET v = 1":                              meta.ErrNoTable,
			"DELETE FROM seen":                                      meta.ErrNotATable,
			"UPDATE stock SET id = 5 WHERE id = 1":                  at.ErrPrimaryKeyChanged,
			"INSERT INTO named (v) VALUES (1)":                      sqlparse.ErrUnsupported,
			"INSERT INTO named VALUES (lower('A'), 1)":              sqlparse.ErrUnsupported,
			"INSERT INTO stock (id, n) SELECT id + 9, n FROM stock": sqlparse.ErrUnsupported,
			"DROP TABLE stock":                                      sqlparse.ErrUnsupported,
			"COMMIT":                                                sqlparse.ErrUnsupported,
			"UPDATE stock SET":                                      sqlparse.ErrSyntax,
			"SELECT * FROM stock ORDER BY n LIMIT 1 FOR UPDATE":     sqlparse.ErrUnsupported,
		} {
			if e.dialect == schema.PostgreSQL && protectedByReturning[statement] {
				continue
			}
			before := e.dump(allStock)
			ctx, x := e.global()
			_, err := e.db.ExecContext(ctx, statement)
			require.ErrorIs(t, err, want, statement)

			tx, err := e.db.BeginTx(ctx, nil)
			require.NoError(t, err)
			_, err = tx.ExecContext(ctx, "UPDATE stock SET note = 'kept' WHERE id = 2")
			require.NoError(t, err)
			_, err = tx.ExecContext(ctx, statement)
			require.ErrorIs(t, err, want, statement)
			require.NoError(t, tx.Commit(), "a refusal does not spoil the transaction")
			assert.Len(t, e.tc.branchesOf(x), 1, statement)
			e.tc.rollback(x)
			assert.Equal(t, before, e.dump(allStock), statement)
		}
	})
}

func TestChangesAsQueriesAndNamedArgumentsAreRefused(t *testing.T) {
	onEachDatabase(t, settings{}, stock, func(t *testing.T, e *env) {
		ctx, _ := e.global()
		_, err := e.db.QueryContext(ctx, "UPDATE stock SET n = 0")
		require.ErrorIs(t, err, sqlparse.ErrUnsupported)
		_, err = e.db.ExecContext(ctx, "UPDATE stock SET n = 0 WHERE id = ?", 1, 2)
		require.Error(t, err)
		_, err = e.db.ExecContext(ctx, "UPDATE stock SET n = 0 WHERE id = :id", sql.Named("id", 1))
		require.Error(t, err)
		assert.Equal(t, "1|10|a\n", e.dump(allStock+" LIMIT 1"))
		e.clean("stock")
	})
}

func TestAFailingStatementLeavesTheTransactionUsable(t *testing.T) {
	onEachDatabase(t, settings{}, stock, func(t *testing.T, e *env) {
		before := e.dump(allStock)
		ctx, x := e.global()
		tx, err := e.db.BeginTx(ctx, nil)
		require.NoError(t, err)
		_, err = tx.ExecContext(ctx, "UPDATE stock SET n = 0 WHERE id = 1")
		require.NoError(t, err)
		_, err = tx.ExecContext(ctx, "INSERT INTO stock (id) VALUES (2)")
		require.Error(t, err, "the key is taken")
		if e.dialect == schema.PostgreSQL { // there it aborts the transaction
			require.ErrorIs(t, tx.Commit(), at.ErrMustRollBack)
			assert.Empty(t, e.tc.branchesOf(x))
			assert.Equal(t, before, e.dump(allStock))
			return
		}
		require.NoError(t, tx.Commit())
		assert.Equal(t, []string{"stock:1"}, e.tc.lockKeys(x))
		e.tc.rollback(x)
		assert.Equal(t, before, e.dump(allStock))
	})
}

// What was taken back by a savepoint is not undone again, nor taken for a
// foreign write.
func TestSavepoints(t *testing.T) {
	for name, statements := range map[string][]string{
		"one row changed before and after": {"UPDATE stock SET n = 11 WHERE id = 1", "SAVEPOINT s", "UPDATE stock SET n = 12 WHERE id = 1", "DELETE FROM stock WHERE id = 2",
			"INSERT INTO stock (id, n) VALUES (4, 4)", "ROLLBACK TO s", "INSERT INTO stock (id, n) VALUES (4, 5)", "UPDATE stock SET n = 13 WHERE id = 1"},
		"one row changed twice": {"UPDATE stock SET n = 11 WHERE id = 2", "SAVEPOINT s", "UPDATE stock SET n = 12 WHERE id = 1", "UPDATE stock SET n = 13 WHERE id = 1", "ROLLBACK TO s"},
		"nested": {"SAVEPOINT a", "UPDATE stock SET n = 11 WHERE id = 1", "SAVEPOINT b", "UPDATE stock SET n = 12 WHERE id = 1", "UPDATE stock SET n = 13 WHERE id = 1",
			"ROLLBACK TO SAVEPOINT B", "UPDATE stock SET n = 14 WHERE id = 1", "ROLLBACK TO b", "RELEASE SAVEPOINT b", "UPDATE stock SET n = 15 WHERE id = 1"},
		"released": {"SAVEPOINT a", "UPDATE stock SET n = 11 WHERE id = 1", "SAVEPOINT b", "UPDATE stock SET n = 12 WHERE id = 1", "RELEASE SAVEPOINT b", "UPDATE stock SET n = 13 WHERE id = 1"},
	} {
		t.Run(name, func(t *testing.T) {
			onEachDatabase(t, settings{}, stock, func(t *testing.T, e *env) {
				before := e.dump(allStock)
				ctx, x := e.global()
				tx, err := e.db.BeginTx(ctx, nil)
				require.NoError(t, err)
				for _, statement := range statements {
					_, err := tx.Exec(statement)
					require.NoError(t, err, statement)
				}
				require.NoError(t, tx.Commit())
				assert.NotEqual(t, before, e.dump(allStock))
				e.tc.rollback(x)
				assert.Equal(t, before, e.dump(allStock))
			})
		})
	}
}

// A transaction whose changes were all taken back is no branch.
func TestASavepointMayTakeEverythingBack(t *testing.T) {
	onEachDatabase(t, settings{}, stock, func(t *testing.T, e *env) {
		ctx, x := e.global()
		tx, err := e.db.BeginTx(ctx, nil)
		require.NoError(t, err)
		for _, statement := range []string{"SAVEPOINT s", "DELETE FROM stock", "ROLLBACK TO s"} {
			_, err := tx.Exec(statement)
			require.NoError(t, err, statement)
		}
		require.NoError(t, tx.Commit())
		assert.Empty(t, e.tc.branchesOf(x))
		assert.Equal(t, "0", e.undoRows())
	})
}

// On SQLite a savepoint outside of a transaction begins one, which would hold
// the file's write lock on a connection that goes back to the pool.
func TestSavepointsNeedALocalTransaction(t *testing.T) {
	onEachDatabase(t, settings{}, stock, func(t *testing.T, e *env) {
		ctx, x := e.global()
		for _, statement := range []string{"SAVEPOINT s", "ROLLBACK TO s", "RELEASE SAVEPOINT s"} {
			_, err := e.db.ExecContext(ctx, statement)
			require.ErrorIs(t, err, sqlparse.ErrUnsupported, statement)
			require.ErrorContains(t, err, "BeginTx")
			_, err = e.db.QueryContext(ctx, statement)
			require.ErrorIs(t, err, sqlparse.ErrUnsupported, statement)
		}
		e.exec(ctx, "UPDATE stock SET n = 0 WHERE id = 1")
		assert.Len(t, e.tc.branchesOf(x), 1)
	})
}

func TestPreparedStatements(t *testing.T) {
	onEachDatabase(t, settings{}, stock, func(t *testing.T, e *env) {
		before := e.dump(allStock)
		ctx, x := e.global()
		s, err := e.db.PrepareContext(t.Context(), "UPDATE stock SET n = ? WHERE id = ?")
		require.NoError(t, err)
		defer s.Close()
		_, err = s.ExecContext(ctx, 1, 1)
		require.NoError(t, err)
		tx, err := e.db.BeginTx(ctx, nil)
		require.NoError(t, err)
		_, err = tx.StmtContext(ctx, s).ExecContext(ctx, 2, 2)
		require.NoError(t, err)
		_, err = tx.Stmt(s).Exec(3, 3)
		require.NoError(t, err, "without a context it belongs to its transaction")
		require.NoError(t, tx.Commit())
		assert.Equal(t, []string{"stock:1", "stock:2,3"}, e.tc.lockKeys(x))
		e.tc.rollback(x)
		assert.Equal(t, before, e.dump(allStock))

		_, err = s.Exec(99, 1)
		require.NoError(t, err)
		assert.Equal(t, "99\n", e.dump("SELECT n FROM stock WHERE id = 1"))
		assert.Len(t, e.tc.branchesOf(x), 2, "outside it is not protected")
		text := "REPLACE INTO stock (id) VALUES (?)"
		if e.dialect == schema.PostgreSQL {
			text = "INSERT INTO stock (id) VALUES (?) ON CONFLICT (id) DO UPDATE SET n = 1"
		}
		refused, err := e.db.PrepareContext(t.Context(), text)
		require.NoError(t, err)
		defer refused.Close()
		_, err = refused.ExecContext(ctx, 1)
		require.ErrorIs(t, err, sqlparse.ErrUnsupported)
	})
}

func TestALocalTransactionBelongsToOneGlobalTransaction(t *testing.T) {
	onEachDatabase(t, settings{}, stock, func(t *testing.T, e *env) {
		ctx, x := e.global()
		other, _ := e.global()
		tx, err := e.db.Begin()
		require.NoError(t, err)
		_, err = tx.ExecContext(ctx, "UPDATE stock SET n = 0")
		require.ErrorIs(t, err, at.ErrMismatch, "begun outside")
		_, err = tx.PrepareContext(ctx, "UPDATE stock SET n = 0")
		require.ErrorIs(t, err, at.ErrMismatch)
		require.NoError(t, tx.Rollback())

		tx, err = e.db.BeginTx(ctx, nil)
		require.NoError(t, err)
		_, err = tx.ExecContext(other, "UPDATE stock SET n = 0")
		require.ErrorIs(t, err, at.ErrMismatch, "begun in another")
		_, err = tx.QueryContext(other, "SELECT * FROM stock")
		require.ErrorIs(t, err, at.ErrMismatch)
		_, err = tx.Exec("UPDATE stock SET n = 5 WHERE id = 1")
		require.NoError(t, err)
		require.NoError(t, tx.Commit())
		assert.Equal(t, []string{"stock:1"}, e.tc.lockKeys(x), "a statement without a context is protected")
	})
}

func TestGeneratedKeys(t *testing.T) {
	ddl := "CREATE TABLE auto (id BIGINT UNSIGNED AUTO_INCREMENT PRIMARY KEY, v INT)"
	lite := "CREATE TABLE auto (id INTEGER PRIMARY KEY AUTOINCREMENT, v INT)"
	test := func(t *testing.T, e *env, step string) {
		ctx, x := e.global()
		e.exec(ctx, "INSERT INTO auto (v) VALUES (?)", 1)
		e.exec(ctx, "INSERT INTO auto (v) VALUES (2), (3), (4)")
		e.exec(ctx, "INSERT INTO auto (id, v) VALUES (NULL, 5), (NULL, 6)")
		e.exec(ctx, "INSERT INTO auto VALUES (500, 7), (600, 8)")
		assert.Equal(t, step, e.dump("SELECT id, v FROM auto ORDER BY id"))
		_, err := e.db.ExecContext(ctx, "INSERT INTO auto (id, v) VALUES (NULL, 9), (700, 10)")
		require.ErrorIs(t, err, sqlparse.ErrUnsupported, "some keys given, some generated")
		e.tc.rollback(x)
		assert.Empty(t, e.dump("SELECT id, v FROM auto"))
	}
	tens := settings{dsn: func(c *mysql.Config) { c.Params = map[string]string{"auto_increment_increment": "10"} }}
	onMySQL(t, tens, []string{ddl}, func(t *testing.T, e *env) {
		test(t, e, "1|1\n11|2\n21|3\n31|4\n41|5\n51|6\n500|7\n600|8\n")
	})
	t.Run("SQLite", func(t *testing.T) {
		test(t, onSQLite(t, settings{}, lite), "1|1\n2|2\n3|3\n4|4\n5|5\n6|6\n500|7\n600|8\n")
	})
}

// A column that was added after the schema was read is noticed.
func TestChangedSchemaIsNoticed(t *testing.T) {
	onEachDatabase(t, settings{}, stock, func(t *testing.T, e *env) {
		ctx, x := e.global()
		e.exec(ctx, "UPDATE stock SET n = 0 WHERE id = 1")
		e.tc.commit(x)
		e.run("ALTER TABLE stock ADD COLUMN extra VARCHAR(9) DEFAULT 'old'")
		ctx, x = e.global()
		e.exec(ctx, "UPDATE stock SET extra = 'new' WHERE id = 1")
		e.tc.rollback(x)
		assert.Equal(t, "old\n", e.dump("SELECT extra FROM stock WHERE id = 1"))
		_, err := e.db.ExecContext(ctx, "UPDATE stock SET gone = 1")
		require.ErrorContains(t, err, "columns")
	})
}

func TestSelectForUpdateChecksGlobalLocks(t *testing.T) {
	onEachDatabase(t, settings{config: func(c *at.Config) { c.LockWait, c.HoldWait = 30e6, 20e6 }}, stock, func(t *testing.T, e *env) {
		e.tc.hold("other", e.id, "stock:2")
		ctx, x := e.global()
		read := func(q interface {
			QueryContext(context.Context, string, ...any) (*sql.Rows, error)
		}, id int) error {
			rows, err := q.QueryContext(ctx, "SELECT n FROM stock WHERE id = ? FOR UPDATE", id)
			if err != nil {
				return err
			}
			defer rows.Close()
			require.True(t, rows.Next())
			require.NoError(t, rows.Close())
			return rows.Err()
		}
		require.NoError(t, read(e.db, 1))
		require.ErrorContains(t, read(e.db, 2), "held by other")
		tx, err := e.db.BeginTx(ctx, nil)
		require.NoError(t, err)
		require.NoError(t, read(tx, 1))
		require.ErrorContains(t, read(tx, 2), "held by other")
		e.tc.release("other")
		require.NoError(t, read(tx, 2), "the transaction is still usable")
		require.NoError(t, tx.Commit())
		assert.Empty(t, e.tc.branchesOf(x), "reading makes no branch")

		s, err := e.db.PrepareContext(ctx, "SELECT n FROM stock WHERE id = ? FOR UPDATE")
		require.NoError(t, err)
		defer s.Close()
		var n int
		require.NoError(t, s.QueryRowContext(ctx, 3).Scan(&n))
		assert.Equal(t, 30, n)
		e.clean("stock")
	})
}
