package fence_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	_ "github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	_ "modernc.org/sqlite"

	"github.com/qiao-tx/qiao/internal/testenv"
	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/xid"
	"github.com/qiao-tx/qiao/rm"
	"github.com/qiao-tx/qiao/rm/tcc"
	"github.com/qiao-tx/qiao/rm/tcc/fence"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// onEachDatabase runs test on a fresh SQLite file and a fresh database of each
// server, with the fence table of script/ and a table "account" of one row.
func onEachDatabase(t *testing.T, test func(t *testing.T, db *sql.DB)) {
	onEachDatabaseAt(t, func(t *testing.T, db *sql.DB, _ string) { test(t, db) })
}

// onEachDatabaseAt also says where the database is.
func onEachDatabaseAt(t *testing.T, test func(t *testing.T, db *sql.DB, dsn string)) {
	on := func(t *testing.T, driver, dsn string) {
		onDatabase(t, driver, dsn, func(t *testing.T, db *sql.DB) { test(t, db, dsn) })
	}
	t.Run("SQLite", func(t *testing.T) {
		on(t, "sqlite", "file:"+filepath.Join(t.TempDir(), "f.db")+
			"?_pragma=busy_timeout(20000)&_pragma=journal_mode(WAL)&_pragma=synchronous(OFF)")
	})
	for _, server := range testenv.MySQLServers() {
		t.Run(server.Name, func(t *testing.T) { on(t, "mysql", server.Database(t)) })
	}
	t.Run("PostgreSQL", func(t *testing.T) { on(t, "pgx", testenv.PostgreSQL(t)) })
}

// What the fence writes does not depend on how PostgreSQL's driver executes, or
// on the session's time zone.
func TestPostgreSQLsDriverMayExecuteAsItLikes(t *testing.T) {
	for _, mode := range []string{"exec", "simple_protocol"} {
		onDatabase(t, "pgx", testenv.PostgreSQL(t)+"&TimeZone=Asia/Tokyo&default_query_exec_mode="+mode, func(t *testing.T, db *sql.DB) {
			f := newFence(t, db)
			require.NoError(t, f.Try(t.Context(), branch(1), add(1)))
			require.NoError(t, f.Confirm(t.Context(), branch(1), add(2)))
			require.NoError(t, f.Cancel(t.Context(), branch(2), add(4)))
			assert.Equal(t, 3, frozen(t, db))
			deleted, err := f.Clean(t.Context(), time.Hour)
			require.NoError(t, err)
			assert.Zero(t, deleted, "the times are UTC in every zone")
			deleted, err = f.Clean(t.Context(), -time.Minute)
			require.NoError(t, err)
			assert.EqualValues(t, 2, deleted)
		})
	}
}

// text writes "?" as the database wants it.
func text(db *sql.DB, statement string) string {
	if _, ok := db.Driver().(*stdlib.Driver); !ok {
		return statement
	}
	for n := 1; strings.Contains(statement, "?"); n++ {
		statement = strings.Replace(statement, "?", fmt.Sprintf("$%d", n), 1)
	}
	return statement
}

func onDatabase(t *testing.T, driver, dsn string, test func(t *testing.T, db *sql.DB)) {
	db, err := sql.Open(driver, dsn)
	require.NoError(t, err)
	defer func() { assert.NoError(t, db.Close()) }()
	for range 2 { // what is there stays
		require.NoError(t, fence.CreateTable(t.Context(), db, driver))
	}
	for _, statement := range []string{"CREATE TABLE account (id INT PRIMARY KEY, frozen INT NOT NULL)", "INSERT INTO account VALUES (1, 0)"} {
		_, err = db.Exec(statement)
		require.NoError(t, err, statement)
	}
	test(t, db)
	assert.Zero(t, db.Stats().InUse, "every connection is back in the pool")
}

// The scripts for migration tools are what CreateTable runs.
func TestScriptsAreTheSame(t *testing.T) {
	for driver, script := range map[string]string{"mysql": "mysql", "pgx": "postgresql", "sqlite": "sqlite"} {
		want, err := os.ReadFile(filepath.Join("..", "..", "..", "script", "client", "tcc", "db", script+".sql"))
		require.NoError(t, err)
		got, err := fence.DDL(driver)
		require.NoError(t, err)
		assert.Equal(t, string(want), got)
	}
	assert.ErrorContains(t, fence.CreateTable(t.Context(), nil, "oracle"), "oracle")
}

func newFence(t *testing.T, db *sql.DB) *fence.Fence {
	t.Helper()
	open := fence.New
	if text(db, "?") != "?" {
		open = fence.NewPostgreSQL
	}
	f, err := open(db, "")
	require.NoError(t, err)
	return f
}

func branch(id int64) rm.Branch {
	return rm.Branch{XID: "tc:8091:7", ID: id, Type: protocol.TypeTCC, ResourceID: "freeze"}
}

// add returns a function that changes the frozen amount.
func add(n int) func(*sql.Tx) error {
	return func(tx *sql.Tx) error {
		_, err := tx.Exec(fmt.Sprintf("UPDATE account SET frozen = frozen + %d WHERE id = 1", n))
		return err
	}
}

func frozen(t *testing.T, db *sql.DB) (n int) {
	t.Helper()
	require.NoError(t, db.QueryRow("SELECT frozen FROM account WHERE id = 1").Scan(&n))
	return n
}

// recorded is the stored status of a branch, 0 without a record.
func recorded(t *testing.T, db *sql.DB, b rm.Branch) (status int) {
	t.Helper()
	err := db.QueryRow(text(db, "SELECT status FROM tcc_fence_log WHERE xid = ? AND branch_id = ?"), b.XID, b.ID).Scan(&status)
	if errors.Is(err, sql.ErrNoRows) {
		return 0
	}
	require.NoError(t, err)
	return status
}

var errBusiness = errors.New("no money")

// TestCallSequences: t, c, x are a try, confirm, cancel whose function adds 1,
// 10, 100 to the frozen amount; a capital letter is one whose function fails.
func TestCallSequences(t *testing.T) {
	cases := []struct {
		calls  string
		errs   []error // of each call
		amount int
		status int
	}{
		{"tc", []error{nil, nil}, 11, 2},
		{"tx", []error{nil, nil}, 101, 3},
		{"tcc", []error{nil, nil, nil}, 11, 2},
		{"txx", []error{nil, nil, nil}, 101, 3},
		{"x", []error{nil}, 0, 4},
		{"xx", []error{nil, nil}, 0, 4},
		{"xt", []error{nil, fence.ErrSuspended}, 0, 4},
		{"tt", []error{nil, fence.ErrSuspended}, 1, 1},
		{"txt", []error{nil, nil, fence.ErrSuspended}, 101, 3},
		{"c", []error{fence.ErrNotTried}, 0, 0},
		{"T", []error{errBusiness}, 0, 0},
		{"Tx", []error{errBusiness, nil}, 0, 4},
		{"Tc", []error{errBusiness, fence.ErrNotTried}, 0, 0},
		{"tCc", []error{nil, errBusiness, nil}, 11, 2},
		{"tXx", []error{nil, errBusiness, nil}, 101, 3},
		{"tcx", []error{nil, nil, fence.ErrContradiction}, 11, 2},
		{"txc", []error{nil, nil, fence.ErrContradiction}, 101, 3},
		{"xc", []error{nil, fence.ErrContradiction}, 0, 4},
	}
	onEachDatabase(t, func(t *testing.T, db *sql.DB) {
		f := newFence(t, db)
		for i, c := range cases {
			b := branch(int64(i + 1))
			before := frozen(t, db)
			for j, call := range c.calls {
				do := add(map[rune]int{'t': 1, 'c': 10, 'x': 100}[call|0x20])
				fn := do
				if call < 'a' {
					fn = func(tx *sql.Tx) error { return errors.Join(do(tx), errBusiness) }
				}
				step := map[rune]func(context.Context, rm.Branch, func(*sql.Tx) error) error{
					't': f.Try, 'c': f.Confirm, 'x': f.Cancel}[call|0x20]
				err := step(t.Context(), b, fn)
				if c.errs[j] == nil {
					assert.NoError(t, err, "%s, call %d", c.calls, j)
				} else {
					assert.ErrorIs(t, err, c.errs[j], "%s, call %d", c.calls, j)
				}
			}
			assert.Equal(t, c.amount, frozen(t, db)-before, "amount after %s", c.calls)
			assert.Equal(t, c.status, recorded(t, db, b), "status after %s", c.calls)
		}
	})
}

func TestPanicRollsTheLocalTransactionBack(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, db *sql.DB) {
		f := newFence(t, db)
		assert.PanicsWithValue(t, "boom", func() {
			_ = f.Try(t.Context(), branch(1), func(tx *sql.Tx) error {
				assert.NoError(t, add(1)(tx))
				panic("boom")
			})
		})
		assert.Zero(t, frozen(t, db))
		assert.Zero(t, recorded(t, db, branch(1)))
	})
}

// TestTryAndCancelRace: whoever comes first, a try that succeeded is undone and
// a try that did not leaves nothing.
func TestTryAndCancelRace(t *testing.T) {
	const branches = 40
	onEachDatabase(t, func(t *testing.T, db *sql.DB) {
		f := newFence(t, db)
		var wg sync.WaitGroup
		for id := int64(1); id <= branches; id++ {
			wg.Go(func() {
				if err := f.Try(t.Context(), branch(id), add(1)); err != nil {
					assert.ErrorIs(t, err, fence.ErrSuspended)
				}
			})
			wg.Go(func() { cancelUntilDone(t, f, branch(id)) })
			wg.Go(func() { cancelUntilDone(t, f, branch(id)) }) // the order arrives twice
		}
		wg.Wait()
		assert.Zero(t, frozen(t, db))
		for id := int64(1); id <= branches; id++ {
			assert.Contains(t, []int{3, 4}, recorded(t, db, branch(id)))
		}
	})
}

// cancelUntilDone repeats as the coordinator does: two orders at once may
// disturb each other.
func cancelUntilDone(t *testing.T, f *fence.Fence, b rm.Branch) {
	for range 20 {
		err := f.Cancel(t.Context(), b, add(-1))
		if err == nil {
			return
		}
		if errors.Is(err, fence.ErrContradiction) {
			assert.NoError(t, err)
			return
		}
	}
	assert.Fail(t, "cancel never succeeds", "branch %d", b.ID)
}

// TestEmptyRollbacksDoNotDisturbEachOther: neighbouring branches without a
// record are cancelled at once. A locking look would deadlock on the gap.
func TestEmptyRollbacksDoNotDisturbEachOther(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, db *sql.DB) {
		f := newFence(t, db)
		var wg sync.WaitGroup
		for id := int64(1); id <= 100; id++ {
			wg.Go(func() { assert.NoError(t, f.Cancel(t.Context(), branch(id), add(1))) })
		}
		wg.Wait()
		assert.Zero(t, frozen(t, db))
	})
}

func TestGuardedAction(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, db *sql.DB) {
		f := newFence(t, db)
		step := func(n int) func(context.Context, *sql.Tx, int) error {
			return func(ctx context.Context, tx *sql.Tx, arg int) error {
				assert.Empty(t, xid.FromContext(ctx), "the action compensates for itself")
				return add(n * arg)(tx)
			}
		}
		reg := &registry{}
		h, err := tcc.Register(t.Context(), reg, fence.Guard(f, fence.Action[int]{
			Name: "freeze", Try: step(1), Confirm: step(10), Cancel: step(-1),
		}))
		require.NoError(t, err)
		require.NoError(t, h.Try(xid.NewContext(t.Context(), "tc:8091:7"), 5))
		assert.Equal(t, 5, frozen(t, db))
		assert.Contains(t, reg.registered.ApplicationData, `"useTCCFence":true`)

		b := rm.Branch{XID: "tc:8091:7", ID: 1, ResourceID: "freeze", ApplicationData: reg.registered.ApplicationData}
		for range 2 {
			status, err := reg.resource.Rollback(t.Context(), b)
			require.NoError(t, err)
			assert.Equal(t, protocol.BranchPhaseTwoRollbacked, status)
			assert.Zero(t, frozen(t, db))
		}
		status, err := reg.resource.Commit(t.Context(), b)
		assert.Equal(t, protocol.BranchPhaseTwoCommitFailedUnretryable, status)
		assert.ErrorIs(t, err, fence.ErrContradiction)
	})
}

// registry is a Coordinator that gives every branch the same id, 1 if none is set.
type registry struct {
	rm.Coordinator
	resource   rm.Resource
	registered rm.Registration
	id         int64
}

func (r *registry) RegisterResource(_ context.Context, res rm.Resource) error {
	r.resource = res
	return nil
}

func (r *registry) RegisterBranch(_ context.Context, reg rm.Registration) (int64, error) {
	r.registered = reg
	return max(r.id, 1), nil
}

func TestGuardLeavesMissingFunctionsMissing(t *testing.T) {
	f, err := fence.New(nil, "")
	require.NoError(t, err)
	_, err = tcc.Register(t.Context(), &registry{}, fence.Guard(f, fence.Action[int]{Name: "a"}))
	assert.ErrorContains(t, err, "required")
}

func TestCleanKeepsWhatIsNeeded(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, db *sql.DB) {
		f := newFence(t, db)
		insert := func(id int64, status int, age time.Duration) {
			at := time.Now().Add(-age).UTC().Format("2006-01-02 15:04:05.000")
			_, err := db.Exec(text(db, "INSERT INTO tcc_fence_log VALUES (?, ?, 'freeze', ?, '"+at+"', '"+at+"')"), branch(id).XID, id, status)
			require.NoError(t, err)
		}
		insert(1, 1, 100*time.Hour)
		insert(2, 2, 3*time.Hour)
		insert(3, 3, time.Hour)
		for id := int64(10); id < 10+450; id++ { // more than two batches
			insert(id, 2+int(id%3), 3*time.Hour)
		}
		deleted, err := f.Clean(t.Context(), 2*time.Hour)
		require.NoError(t, err)
		assert.EqualValues(t, 451, deleted)
		assert.Equal(t, 1, recorded(t, db, branch(1)), "a tried branch waits for its end, however long")
		assert.Equal(t, 3, recorded(t, db, branch(3)), "too young")
	})
}

func TestCleanerCleansUntilClosed(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, db *sql.DB) {
		f := newFence(t, db)
		require.NoError(t, f.Cancel(t.Context(), branch(1), add(1)))
		c := fence.StartCleaner(f, fence.CleanerConfig{Every: time.Millisecond, Keep: time.Nanosecond})
		assert.Eventually(t, func() bool { return recorded(t, db, branch(1)) == 0 }, 20*time.Second, 5*time.Millisecond)
		c.Close()
	})
}

func TestFailuresAreTold(t *testing.T) {
	for _, table := range []string{"a b", "x;DROP TABLE y", "`t`", "a.b.c", "1a"} {
		_, err := fence.New(nil, table)
		assert.ErrorContains(t, err, fmt.Sprintf("%q", table))
	}
	db, err := sql.Open("sqlite", "file:"+filepath.Join(t.TempDir(), "f.db"))
	require.NoError(t, err)
	defer func() { assert.NoError(t, db.Close()) }()
	f, err := fence.New(db, "missing")
	require.NoError(t, err)
	none := func(*sql.Tx) error { t.Error("called without a record"); return nil }
	assert.ErrorContains(t, f.Try(t.Context(), branch(1), none), "missing")
	assert.ErrorContains(t, f.Confirm(t.Context(), branch(1), none), "missing")
	assert.ErrorContains(t, f.Cancel(t.Context(), branch(1), none), "missing")

	var log strings.Builder
	c := fence.StartCleaner(f, fence.CleanerConfig{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	_, err = f.Clean(t.Context(), time.Hour)
	assert.ErrorContains(t, err, "missing")
	c.Close()

	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	assert.ErrorIs(t, f.Try(cancelled, branch(1), none), context.Canceled)
	assert.ErrorIs(t, f.Confirm(cancelled, branch(1), none), context.Canceled)
	assert.ErrorIs(t, f.Cancel(cancelled, branch(1), none), context.Canceled)
}
