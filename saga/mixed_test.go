package saga_test

import (
	"context"
	"database/sql"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/client"
	"github.com/qiao-tx/qiao/datasource"
	"github.com/qiao-tx/qiao/datasource/schema"
	"github.com/qiao-tx/qiao/saga"
	"github.com/qiao-tx/qiao/saga/machine"
	"github.com/qiao-tx/qiao/saga/sagalog"
	"github.com/qiao-tx/qiao/server/servertest"
)

// What a state writes through an AT database is undone by the state's compensation,
// and by that only: it is no branch, and holds no lock of the coordinator's.
func TestStatesOnAnATDatabase(t *testing.T) {
	c, err := client.Open(t.Context(), client.Config{Addresses: []string{servertest.Start(t)}, ApplicationID: "mixed"})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close(context.Background())) })
	dsn := "file:" + filepath.Join(t.TempDir(), "at.db") + "?_pragma=journal_mode(WAL)&_pragma=busy_timeout(5000)"
	plain, err := sql.Open("sqlite", dsn)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, plain.Close()) })
	_, err = plain.Exec("CREATE TABLE account (id INTEGER PRIMARY KEY, balance INT); INSERT INTO account VALUES (1, 100)")
	require.NoError(t, err)
	require.NoError(t, datasource.CreateUndoTable(t.Context(), plain, schema.SQLite))
	db, err := datasource.Open(t.Context(), c.RM(), datasource.Config{Driver: "sqlite", DSN: dsn})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })

	e := openEngine(t, saga.Config{Store: sagalog.NewMemory(), Coordinator: c.Saga()})
	fails := true
	require.NoError(t, e.Func("s", "pay", func(ctx context.Context) error {
		_, err := db.ExecContext(ctx, "UPDATE account SET balance = balance - 10 WHERE id = 1")
		return err
	}))
	require.NoError(t, e.Func("s", "refund", func(ctx context.Context) error {
		_, err := db.ExecContext(ctx, "UPDATE account SET balance = balance + 10 WHERE id = 1")
		return err
	}))
	require.NoError(t, e.Func("s", "ship", func() error {
		if fails {
			return errors.New("no ship")
		}
		return nil
	}))
	define(t, e, `{"Name": "order", "StartState": "Pay", "States": {
	  "Pay": {"Type": "ServiceTask", "ServiceName": "s", "ServiceMethod": "pay", "CompensateState": "Refund", "Next": "Ship"},
	  "Refund": {"Type": "ServiceTask", "ServiceName": "s", "ServiceMethod": "refund"},
	  "Ship": {"Type": "ServiceTask", "ServiceName": "s", "ServiceMethod": "ship", "Catch": [{"Exceptions": ["java.lang.Exception"], "Next": "Undo"}]},
	  "Undo": {"Type": "CompensationTrigger", "Next": "Bad"}, "Bad": {"Type": "Fail"}}}`)
	balance := func() (n int) {
		require.NoError(t, plain.QueryRow("SELECT balance FROM account").Scan(&n))
		return n
	}
	s, err := e.Start(t.Context(), "order", nil, saga.StartOptions{})
	require.NoError(t, err)
	assert.Equal(t, machine.Succeeded, s.Compensation)
	assert.Equal(t, 100, balance())
	fails = false
	s, err = e.Start(t.Context(), "order", nil, saga.StartOptions{})
	require.NoError(t, err)
	assert.Equal(t, machine.Succeeded, s.Status)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	_, err = c.TM().Wait(ctx, s.ID)
	assert.NoError(t, err)
	assert.Equal(t, 90, balance())
	var undo int
	require.NoError(t, plain.QueryRow("SELECT COUNT(*) FROM undo_log").Scan(&undo))
	assert.Zero(t, undo, "undo records that nobody deletes")
}
