package fence_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/xid"
	"github.com/qiao-tx/qiao/rm"
	"github.com/qiao-tx/qiao/rm/compensation"
	"github.com/qiao-tx/qiao/rm/tcc/fence"
)

// counting is a connector that counts what the database has to make durable: the
// commits of local transactions, and statements that change something outside of
// one.
type counting struct {
	driver  driver.Driver
	dsn     string
	commits *atomic.Int64
}

func (c counting) Driver() driver.Driver { return c.driver }

func (c counting) Connect(context.Context) (driver.Conn, error) {
	inner, err := c.driver.Open(c.dsn)
	if err != nil {
		return nil, err
	}
	return &countingConn{wholeConn: inner.(wholeConn), commits: c.commits}, nil
}

// wholeConn is what the drivers of all databases have.
type wholeConn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ExecerContext
	driver.QueryerContext
}

type countingConn struct {
	wholeConn
	commits *atomic.Int64
	open    bool
}

func (c *countingConn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	tx, err := c.wholeConn.BeginTx(ctx, opts)
	c.open = err == nil
	return countingTx{tx, c}, err
}

func (c *countingConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	if !c.open {
		c.commits.Add(1)
	}
	return c.wholeConn.ExecContext(ctx, query, args)
}

func (c *countingConn) CheckNamedValue(v *driver.NamedValue) error {
	if checker, ok := c.wholeConn.(driver.NamedValueChecker); ok {
		return checker.CheckNamedValue(v)
	}
	return driver.ErrSkip
}

type countingTx struct {
	driver.Tx
	conn *countingConn
}

func (t countingTx) Commit() error {
	t.conn.open = false
	t.conn.commits.Add(1)
	return t.Tx.Commit()
}

func (t countingTx) Rollback() error {
	t.conn.open = false
	return t.Tx.Rollback()
}

// The database's commits are what limits fenced actions: there is one for each
// branch and phase, and none for a call that changes nothing.
func TestOneCommitForEachBranchAndPhase(t *testing.T) {
	onEachDatabaseAt(t, func(t *testing.T, plain *sql.DB, dsn string) {
		var commits atomic.Int64
		db := sql.OpenDB(counting{plain.Driver(), dsn, &commits})
		defer func() { assert.NoError(t, db.Close()) }()
		f := newFence(t, db)
		count := func(what string, want int64, do func() error) {
			t.Helper()
			before := commits.Load()
			require.NoError(t, do(), what)
			assert.Equal(t, want, commits.Load()-before, what)
		}
		ctx := t.Context()
		count("try", 1, func() error { return f.Try(ctx, branch(1), add(1)) })
		count("confirm", 1, func() error { return f.Confirm(ctx, branch(1), add(1)) })
		count("confirm again", 0, func() error { return f.Confirm(ctx, branch(1), add(1)) })
		count("another try", 1, func() error { return f.Try(ctx, branch(2), add(1)) })
		count("cancel", 1, func() error { return f.Cancel(ctx, branch(2), add(1)) })
		count("cancel again", 0, func() error { return f.Cancel(ctx, branch(2), add(1)) })
		count("cancel without a try", 1, func() error { return f.Cancel(ctx, branch(3), add(1)) })
	})
}

func TestGuardedCall(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, db *sql.DB) {
		f := newFence(t, db)
		reg := &registry{}
		h, err := compensation.Register(t.Context(), reg, fence.GuardCall(f, fence.Call[int, string]{
			Name: "book",
			Call: func(ctx context.Context, tx *sql.Tx, n int) (string, error) {
				assert.Empty(t, xid.FromContext(ctx), "the call compensates for itself")
				return "booked", add(n)(tx)
			},
			Compensate: func(_ context.Context, tx *sql.Tx, n int) error { return add(-n)(tx) },
		}))
		require.NoError(t, err)
		result, err := h.Call(xid.NewContext(t.Context(), "tc:8091:7"), 5)
		require.NoError(t, err)
		assert.Equal(t, "booked", result)
		assert.Equal(t, 5, frozen(t, db))
		assert.Contains(t, reg.registered.ApplicationData, `"useTCCFence":true`)

		b := rm.Branch{XID: "tc:8091:7", ID: 1, ResourceID: "book", ApplicationData: reg.registered.ApplicationData}
		for range 2 {
			status, err := reg.resource.Rollback(t.Context(), b)
			require.NoError(t, err)
			assert.Equal(t, protocol.BranchPhaseTwoRollbacked, status)
			assert.Zero(t, frozen(t, db))
		}
		b.ID = 2 // its call comes after its compensation
		_, err = reg.resource.Rollback(t.Context(), b)
		require.NoError(t, err)
		reg.id = 2
		_, err = h.Call(xid.NewContext(t.Context(), "tc:8091:7"), 5)
		assert.ErrorIs(t, err, fence.ErrSuspended)
		assert.Zero(t, frozen(t, db))
	})
	f, err := fence.New(nil, "")
	require.NoError(t, err)
	_, err = compensation.Register(t.Context(), &registry{}, fence.GuardCall(f, fence.Call[int, int]{Name: "a"}))
	assert.ErrorContains(t, err, "required")
}

// The record of a call that stands may go when its transaction has ended, and no
// earlier: without it, its compensation would do nothing.
func TestCleanCalls(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, db *sql.DB) {
		f := newFence(t, db)
		none := func(context.Context, string) (bool, error) { t.Error("asked"); return true, nil }
		deleted, err := f.CleanCalls(t.Context(), time.Hour, none)
		require.NoError(t, err)
		require.Zero(t, deleted)
		_ = fence.GuardCall(f, fence.Call[int, int]{Name: "book"})
		insert := func(x string, id int64, action string, status int, age time.Duration) {
			at := time.Now().Add(-age).UTC().Format("2006-01-02 15:04:05.000")
			_, err := db.Exec(text(db, "INSERT INTO tcc_fence_log VALUES (?, ?, ?, ?, '"+at+"', '"+at+"')"), x, id, action, status)
			require.NoError(t, err)
		}
		for i := range 450 { // more than two batches, of which every third has not ended
			insert(fmt.Sprintf("tc:8091:%03d", i), 1, "book", 1, 3*time.Hour)
			insert(fmt.Sprintf("tc:8091:%03d", i), 2, "book", 1, 3*time.Hour)
		}
		insert("tc:8091:900", 1, "freeze", 1, 3*time.Hour) // a TCC action
		insert("tc:8091:901", 1, "book", 1, time.Minute)
		insert("tc:8091:902", 1, "book", 3, 3*time.Hour)
		asked := 0
		deleted, err = f.CleanCalls(t.Context(), time.Hour, func(_ context.Context, x string) (bool, error) {
			asked++
			var n int
			_, err := fmt.Sscanf(x, "tc:8091:%d", &n)
			return n%3 != 0, err
		})
		require.NoError(t, err)
		assert.EqualValues(t, 600, deleted)
		assert.Equal(t, 450, asked)
		var left int
		require.NoError(t, db.QueryRow("SELECT COUNT(*) FROM tcc_fence_log").Scan(&left))
		assert.Equal(t, 303, left)

		deleted, err = f.CleanCalls(t.Context(), time.Hour, func(context.Context, string) (bool, error) { return true, errBusiness })
		assert.ErrorIs(t, err, errBusiness)
		assert.Zero(t, deleted)
		c := fence.StartCleaner(f, fence.CleanerConfig{Every: time.Millisecond, Keep: time.Hour,
			Ended: func(context.Context, string) (bool, error) { return true, nil }})
		assert.Eventually(t, func() bool {
			return db.QueryRow("SELECT COUNT(*) FROM tcc_fence_log").Scan(&left) == nil && left == 2
		}, 20*time.Second, 5*time.Millisecond)
		c.Close()
	})
}
