package saga_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"modernc.org/sqlite"

	"github.com/qiao-tx/qiao/saga"
	"github.com/qiao-tx/qiao/saga/machine"
	"github.com/qiao-tx/qiao/saga/sagalog"
)

// forgetful is SQLite, but every so many commits are not answered for.
type forgetful struct {
	inner          *sqlite.Driver
	dsn            string
	every, commits atomic.Int64
}

func (f *forgetful) Driver() driver.Driver { return f.inner }

func (f *forgetful) Connect(context.Context) (driver.Conn, error) {
	c, err := f.inner.Open(f.dsn)
	return &forgetfulConn{c, f}, err
}

type forgetfulConn struct {
	driver.Conn
	f *forgetful
}

func (c *forgetfulConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	result, err := c.Conn.(driver.ExecerContext).ExecContext(ctx, query, args)
	if every := c.f.every.Load(); err == nil && query == "COMMIT" && every > 0 && c.f.commits.Add(1)%every == 0 {
		return nil, errors.New("the connection broke")
	}
	return result, err
}

func (c *forgetfulConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	return c.Conn.(driver.QueryerContext).QueryContext(ctx, query, args)
}

// Sagas share commits. When one is not answered for, each of them goes on from what
// the log has: none is taken for another's, or left behind.
func TestUnansweredCommits(t *testing.T) {
	f := &forgetful{inner: &sqlite.Driver{}, dsn: "file:" + filepath.Join(t.TempDir(), "saga.db") + "?_pragma=journal_mode(WAL)&_pragma=busy_timeout(10000)"}
	db := sql.OpenDB(f)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	require.NoError(t, sagalog.CreateTables(t.Context(), db))
	store, err := openStore(t, db)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	e := openEngine(t, saga.Config{Store: store, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, e.Func("s", "do", func() {}))
	require.NoError(t, e.Func("s", "undo", func() {}))
	define(t, e, oneStep)
	f.every.Store(3)
	const sagas = 150
	var all sync.WaitGroup
	places := make(chan struct{}, 30) // several share each commit
	for n := range sagas {
		places <- struct{}{}
		all.Go(func() {
			defer func() { <-places }()
			_, err := e.Start(t.Context(), "one", nil, saga.StartOptions{BusinessKey: fmt.Sprint(n)})
			if err != nil {
				assert.ErrorIs(t, err, sagalog.ErrUnanswered)
			}
		})
	}
	all.Wait()
	for n := range sagas {
		require.EventuallyWithT(t, func(c *assert.CollectT) {
			s, err := e.ByBusinessKey(t.Context(), fmt.Sprint(n))
			require.NoError(c, err)
			assert.False(c, s.Running)
			assert.Equal(c, machine.Succeeded, s.Status)
		}, 20*time.Second, 10*time.Millisecond)
	}
}
