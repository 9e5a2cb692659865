package at_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/datasource/at"
	"github.com/qiao-tx/qiao/datasource/schema"
	"github.com/qiao-tx/qiao/datasource/undo"
	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/rm"
)

// A row that others changed is never overwritten: the rollback names it and
// gives up for good, and all of the branch stays as it is.
func TestDirtyRowsAreReportedAndLeft(t *testing.T) {
	for name, c := range map[string]struct{ statement, foreign, want string }{
		"updated":                 {"UPDATE stock SET n = 11 WHERE id <= 2", "UPDATE stock SET n = 12 WHERE id = 2", "table stock, row id=2, column n: expected 11, found 12"},
		"deleted":                 {"UPDATE stock SET n = 11 WHERE id = 2", "DELETE FROM stock WHERE id = 2", "table stock, row id=2: expected a row, found none"},
		"inserted again":          {"DELETE FROM stock WHERE id = 2", "INSERT INTO stock (id, n) VALUES (2, 5)", "table stock, row id=2: expected no row, found one"},
		"changed after insert":    {"INSERT INTO stock (id, n, note) VALUES (4, 40, 'x')", "UPDATE stock SET note = NULL WHERE id = 4", `table stock, row id=4, column note: expected "x", found NULL`},
		"one row put back of two": {"UPDATE stock SET n = 11 WHERE id IN (2, 3)", "UPDATE stock SET n = 20 WHERE id = 2", "table stock, row id=2, column n: expected 11, found 20"},
	} {
		t.Run(name, func(t *testing.T) {
			onEachDatabase(t, settings{}, stock, func(t *testing.T, e *env) {
				ctx, x := e.global()
				tx, err := e.db.BeginTx(ctx, nil)
				require.NoError(t, err)
				_, err = tx.Exec(c.statement)
				require.NoError(t, err)
				_, err = tx.Exec("UPDATE stock SET note = 'later' WHERE id = 1")
				require.NoError(t, err)
				require.NoError(t, tx.Commit())
				e.run(c.foreign)
				before := e.dump(allStock)

				for range 2 {
					status, err := e.connector.Resource().Rollback(t.Context(), e.tc.branchesOf(x)[0])
					assert.Equal(t, protocol.BranchPhaseTwoRollbackFailedUnretryable, status)
					require.ErrorIs(t, err, at.ErrDirty)
					require.ErrorContains(t, err, c.want)
					assert.Equal(t, before, e.dump(allStock), "nothing of the branch is undone")
					assert.Equal(t, "1", e.undoRows(), "the record stays as evidence")
				}
			})
		})
	}
}

// Rows that somebody put back by hand are no obstacle.
func TestRowsThatAreBackAlready(t *testing.T) {
	onEachDatabase(t, settings{}, stock, func(t *testing.T, e *env) {
		before := e.dump(allStock)
		ctx, x := e.global()
		e.exec(ctx, "UPDATE stock SET n = 11 WHERE id = 1")
		e.exec(ctx, "DELETE FROM stock WHERE id = 2")
		e.exec(ctx, "INSERT INTO stock (id) VALUES (4)")
		e.run("UPDATE stock SET n = 10 WHERE id = 1")
		e.run("INSERT INTO stock VALUES (2, 20, 'b')")
		e.run("DELETE FROM stock WHERE id = 4")
		e.tc.rollback(x)
		assert.Equal(t, before, e.dump(allStock))
		assert.Equal(t, "0", e.undoRows())
	})
}

// A rollback may come twice, before phase one, or for a branch that never was.
// Phase one cannot commit after it.
func TestRollbackBeforePhaseOne(t *testing.T) {
	onEachDatabase(t, settings{}, stock, func(t *testing.T, e *env) {
		before := e.dump(allStock)
		var late rm.Branch
		ctx, x := e.global()
		tx, err := e.db.BeginTx(ctx, nil)
		require.NoError(t, err)
		late = rm.Branch{XID: x, ID: 1, Type: protocol.TypeAT, ResourceID: e.id}
		for range 2 {
			status, err := e.connector.Resource().Rollback(t.Context(), late)
			if e.dialect == schema.SQLite && err != nil { // the open transaction holds the file
				require.Equal(t, protocol.BranchPhaseTwoRollbackFailedRetryable, status)
				require.NoError(t, tx.Rollback())
				status, err = e.connector.Resource().Rollback(t.Context(), late)
				require.NoError(t, err)
				require.Equal(t, protocol.BranchPhaseTwoRollbacked, status)
				tx, err = e.db.BeginTx(ctx, nil)
				require.NoError(t, err)
				break
			}
			require.NoError(t, err)
			require.Equal(t, protocol.BranchPhaseTwoRollbacked, status)
		}
		assert.Equal(t, undo.Context{}.String()+"|{}|1\n", e.dump("SELECT context, rollback_info, log_status FROM undo_log"))
		_, err = tx.Exec("UPDATE stock SET n = 0")
		require.NoError(t, err)
		require.ErrorIs(t, tx.Commit(), rm.ErrNotActive)
		assert.Equal(t, before, e.dump(allStock))
		assert.Equal(t, protocol.BranchPhaseOneFailed, e.tc.reported()[0].Status)
		assert.Equal(t, "1", e.undoRows())
		e.clean("stock")
	})
}

func TestRollbackTwiceIsRollbackOnce(t *testing.T) {
	onEachDatabase(t, settings{}, stock, func(t *testing.T, e *env) {
		before := e.dump(allStock)
		ctx, x := e.global()
		e.exec(ctx, "UPDATE stock SET n = 0")
		e.tc.rollback(x)
		e.run("UPDATE stock SET n = 77 WHERE id = 1")
		e.tc.rollback(x)
		assert.Equal(t, strings.Replace(before, "1|10", "1|77", 1), e.dump(allStock))
		e.tc.commit(x)
	})
}

func TestRecordsThatCannotBeUndone(t *testing.T) {
	for name, c := range map[string]struct {
		change string
		status protocol.BranchStatus
		want   error
	}{
		"damaged":         {"UPDATE undo_log SET rollback_info = 'garbage'", protocol.BranchPhaseTwoRollbackFailedUnretryable, undo.ErrUndecodable},
		"other branch":    {"UPDATE undo_log SET rollback_info = REPLACE(rollback_info, '\"branchId\":1', '\"branchId\":2')", protocol.BranchPhaseTwoRollbackFailedUnretryable, undo.ErrUndecodable},
		"written by kryo": {"UPDATE undo_log SET context = 'serializer=kryo&compressorType=NONE'", protocol.BranchPhaseTwoRollbackFailedRetryable, undo.ErrForeign},
		"table is gone":   {"DROP TABLE stock", protocol.BranchPhaseTwoRollbackFailedRetryable, nil},
		"column is gone":  {"ALTER TABLE stock DROP COLUMN note", protocol.BranchPhaseTwoRollbackFailedRetryable, nil},
	} {
		t.Run(name, func(t *testing.T) {
			onEachDatabase(t, settings{}, stock, func(t *testing.T, e *env) {
				ctx, x := e.global()
				e.exec(ctx, "UPDATE stock SET n = 0")
				change := c.change
				if name == "other branch" && e.dialect == schema.PostgreSQL {
					change = "UPDATE undo_log SET rollback_info = convert_to(replace(convert_from(rollback_info, 'UTF8'), '\"branchId\":1', '\"branchId\":2'), 'UTF8')"
				}
				e.run(change)
				status, err := e.connector.Resource().Rollback(t.Context(), e.tc.branchesOf(x)[0])
				require.Error(t, err)
				if c.want != nil {
					require.ErrorIs(t, err, c.want)
				}
				assert.Equal(t, c.status, status)
				assert.Equal(t, "1", e.undoRows())
			})
		})
	}
}

// Orders for one branch that arrive at the same time end in the same state.
func TestConcurrentRollbacks(t *testing.T) {
	onEachDatabase(t, settings{}, stock, func(t *testing.T, e *env) {
		before := e.dump(allStock)
		ctx, x := e.global()
		e.exec(ctx, "UPDATE stock SET n = 0")
		e.exec(ctx, "DELETE FROM stock WHERE id = 3")
		branches := e.tc.branchesOf(x)
		for i := len(branches) - 1; i >= 0; i-- {
			var all sync.WaitGroup
			for range 8 {
				all.Go(func() {
					_, _ = e.connector.Resource().Rollback(t.Context(), branches[i])
				})
			}
			all.Wait()
		}
		e.tc.rollback(x)
		assert.Equal(t, before, e.dump(allStock))
	})
}

func TestOldUndoRecordsAreDeleted(t *testing.T) {
	onEachDatabase(t, settings{}, stock, func(t *testing.T, e *env) {
		ctx, _ := e.global()
		e.exec(ctx, "UPDATE stock SET n = 0 WHERE id = 1")
		e.run("UPDATE undo_log SET log_created = '2001-01-01 00:00:00'")
		e.exec(ctx, "UPDATE stock SET n = 0 WHERE id = 2")
		cleaner := rm.UndoCleaner(e.connector.Resource())
		require.NoError(t, cleaner.DeleteUndo(t.Context(), time.Hour))
		assert.Equal(t, "1", e.undoRows())
	})
}

// Java writes and reads the same record: ours is in Java's form, quoted table
// name and all.
func TestTheRecordIsInJavasForm(t *testing.T) {
	onMySQL(t, settings{}, stock, func(t *testing.T, e *env) {
		ctx, x := e.global()
		e.exec(ctx, "UPDATE stock SET n = 0 WHERE id = 1")
		assert.Equal(t, undo.Context{}.String()+"|0\n", e.dump("SELECT context, log_status FROM undo_log"))
		record := e.dump("SELECT rollback_info FROM undo_log")
		for _, part := range []string{
			`{"@class":"org.apache.seata.rm.datasource.undo.BranchUndoLog","xid":"` + x + `","branchId":1,"sqlUndoLogs":["java.util.ArrayList",[`,
			"\"sqlType\":\"UPDATE\",\"tableName\":\"`stock`\"",
			`{"@class":"org.apache.seata.rm.datasource.sql.struct.Field","name":"id","keyType":"PRIMARY_KEY","type":4,"value":1}`,
			`{"@class":"org.apache.seata.rm.datasource.sql.struct.Field","name":"n","keyType":"NULL","type":4,"value":10}`,
		} {
			assert.Contains(t, record, part)
		}
	})
}

// Undoing one branch looks at its record only: a lock on another record is no
// obstacle.
func TestRollbackTouchesItsOwnRecordOnly(t *testing.T) {
	onMySQL(t, settings{}, stock, func(t *testing.T, e *env) {
		ctx, x := e.global()
		e.exec(ctx, "UPDATE stock SET n = 0 WHERE id = 1")
		other, y := e.global()
		e.exec(other, "UPDATE stock SET n = 0 WHERE id = 2")
		holder, err := e.plain.Begin()
		require.NoError(t, err)
		defer func() { require.NoError(t, holder.Rollback()) }()
		_, err = holder.Exec("UPDATE undo_log SET log_modified = NOW(6) WHERE xid = ? AND branch_id = 2", y)
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		status, err := e.connector.Resource().Rollback(ctx, e.tc.branchesOf(x)[0])
		require.NoError(t, err)
		assert.Equal(t, protocol.BranchPhaseTwoRollbacked, status)
	})
}
