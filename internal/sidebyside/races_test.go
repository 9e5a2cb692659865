//go:build linux

package sidebyside

import (
	"database/sql"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/internal/javapeer"
)

// hold begins a SQL transaction in the store that statements of the Java coordinator
// have to wait for.
func (w *world) hold(statement string, args ...any) *sql.Tx {
	w.t.Helper()
	tx, err := w.store.BeginTx(w.t.Context(), nil)
	require.NoError(w.t, err)
	w.t.Cleanup(func() { _ = tx.Rollback() }) // after the test's own it does nothing
	_, err = tx.ExecContext(w.t.Context(), statement, args...)
	require.NoError(w.t, err)
	return tx
}

// waiting waits until so many SQL transactions wait for a row lock in the store.
func (w *world) waiting(n int64) {
	w.t.Helper()
	require.Eventually(w.t, func() bool {
		return w.number(w.store, "SELECT COUNT(*) FROM information_schema.innodb_trx WHERE trx_state='LOCK WAIT'") >= n
	}, patience, 250*time.Millisecond, "nobody waits") // the table stays as it is while it is read more often than every 100 ms
}

// lateBranch: Java looks at a transaction, finds it open, and registers a branch
// after this coordinator has ended the transaction. The branch is rolled back like
// the others; Java alone, in such a place, leaves it and its locks for ever.
func (w *world) lateBranch(java, ours *side) {
	w.run("a branch that Java registers after the end", func() {
		before := w.money(6)
		x := ours.begin(time.Minute)
		row := "^^^account^^^6"
		resource := w.resource()
		tx := w.hold(`INSERT INTO lock_table (row_key,xid,branch_id,resource_id,table_name,pk) VALUES (?,'nobody',1,?,'account','6')`, resource+row, resource)
		java.peer.Write(javapeer.Command{"op": "sql", "xid": x, "datasource": source, "statements": []string{
			"UPDATE account SET money = money + 100 WHERE id = 6",
		}})
		w.waiting(1)
		require.Equal(w.t, "Rollbacked", ours.decide(x, "rollback"))
		require.NoError(w.t, tx.Rollback())
		require.Empty(w.t, java.peer.Read().Error, "Java has registered it, and the client commits its local transaction")
		w.settled(x)
		require.Equal(w.t, before, w.money(6))
	})
}

// resource is the resource id of the books: their URL without its parameters.
func (w *world) resource() string {
	url, _, _ := strings.Cut(w.booksURL, "?")
	return url
}

// overtaken: Java's commit looks at a transaction, finds it in time, and writes its
// decision seconds after this coordinator has timed the transaction out. That is a
// race of Java's own, with the time-outs of a second Java coordinator as with ours:
// the client is told that the transaction is committed. Here the decision stands that
// was first, so that no half of the transaction is there; nothing can take back what
// the client was told.
func (w *world) overtaken(java, ours *side) {
	w.run("a commit of Java's that the time-out overtakes", func() {
		before := w.money(7)
		x := ours.begin(2 * time.Second)
		require.Empty(w.t, java.add(x, 7, 1).Error)
		require.Empty(w.t, ours.add(x, 8, 1).Error)
		tx := w.hold("UPDATE lock_table SET pk=pk WHERE xid=?", x)
		java.peer.Write(javapeer.Command{"op": "commit", "xid": x})
		w.waiting(1)
		w.waiting(2) // with the decision to roll back
		require.NoError(w.t, tx.Rollback())
		told := java.peer.Read().Status
		w.settled(x)
		w.t.Logf("the client was told %s", told)
		require.Equal(w.t, before, w.money(7))
	})
}
