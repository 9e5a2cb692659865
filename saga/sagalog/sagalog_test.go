package sagalog_test

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	_ "github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	_ "modernc.org/sqlite"

	"github.com/qiao-tx/qiao/internal/testenv"
	"github.com/qiao-tx/qiao/saga/history"
	"github.com/qiao-tx/qiao/saga/machine"
	"github.com/qiao-tx/qiao/saga/sagalog"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("database/sql.(*DB).connectionOpener"))
}

// databases are all that a log can be in.
func databases() map[string]func(t *testing.T) *sql.DB {
	return map[string]func(t *testing.T) *sql.DB{
		"sqlite": func(t *testing.T) *sql.DB {
			return open(t, "sqlite", "file:"+filepath.Join(t.TempDir(), "saga.db")+"?_pragma=journal_mode(WAL)&_pragma=busy_timeout(10000)")
		},
		"mariadb":                func(t *testing.T) *sql.DB { return open(t, "mysql", testenv.MariaDB(t)) },
		"mysql":                  func(t *testing.T) *sql.DB { return open(t, "mysql", testenv.MySQL(t)) },
		"mysql that makes times": func(t *testing.T) *sql.DB { return open(t, "mysql", testenv.MySQL(t)+"?parseTime=true&loc=UTC") },
		"postgresql":             func(t *testing.T) *sql.DB { return open(t, "pgx", testenv.PostgreSQL(t)) },
	}
}

func open(t *testing.T, driver, dsn string) *sql.DB {
	t.Helper()
	db, err := sql.Open(driver, dsn)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	require.NoError(t, sagalog.CreateTables(t.Context(), db))
	require.NoError(t, sagalog.CreateTables(t.Context(), db), "what is there stays")
	return db
}

func join(t *testing.T, cfg sagalog.Config) *sagalog.SQL {
	t.Helper()
	s, err := sagalog.OpenSQL(t.Context(), cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

var began = time.Date(2026, 11, 27, 8, 30, 15, 123_000_000, time.UTC)

func instance(id string) *machine.Instance {
	return &machine.Instance{ID: id, MachineID: "m1", Tenant: "000001", BusinessKey: "key of " + id, Started: began, Updated: began,
		StartParams: map[string]any{"text": "it's 桥 \\ \" 𝄞", "n": int64(7), "f": 4.0, "g": 0.1, "big": int64(1) << 60, "list": []any{int64(1), nil, true}},
		Status:      machine.Running, Live: true}
}

func failure() *machine.Failure {
	return &machine.Failure{Class: "com.example.NoSeat", Also: []string{"java.lang.RuntimeException", "*saga.Exception"},
		Message: "the flight is full: 桥 𝄞 \x00 ", Network: machine.NoAnswer, Expired: true}
}

func TestStores(t *testing.T) {
	for name, database := range databases() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := database(t)
			// A location whose clock differs from all others here.
			s := join(t, sagalog.Config{DB: db, Location: time.FixedZone("far", 5*3600+1800)})
			t.Run("an instance comes back as it was written", func(t *testing.T) { testRoundTrip(t, s) })
			t.Run("what must not be written is not", func(t *testing.T) { testRefusals(t, s) })
			t.Run("a bad batch takes no other with it", func(t *testing.T) { testGroup(t, s) })
			t.Run("signals", func(t *testing.T) { testSignals(t, s) })
			t.Run("definitions", func(t *testing.T) { testDefinitions(t, s) })
			t.Run("nodes", func(t *testing.T) { testNodes(t, db) })
		})
	}
	t.Run("memory", func(t *testing.T) {
		s := sagalog.NewMemory()
		testRoundTrip(t, s)
		testRefusals(t, s)
		testGroup(t, s)
		testSignals(t, s)
		testDefinitions(t, s)
	})
}

func testRoundTrip(t *testing.T, s sagalog.Store) {
	i := instance("a")
	row := &machine.Row{ID: "r1", InstanceID: "a", Name: "Book-loop-3", Type: "ServiceTask", ServiceName: "hotel", ServiceMethod: "book", ServiceType: "http",
		BusinessKey: "b1", ForUpdate: true, Started: began.Add(time.Millisecond), Input: []any{map[string]any{"x": 1.5}}, Status: machine.Running}
	second := &machine.Row{ID: "r1.1", InstanceID: "a", Name: "Book-loop-3", Type: "ServiceTask", RetriedFor: "r1", Started: began.Add(2 * time.Millisecond),
		Input: []any{}, Status: machine.Running}
	third := &machine.Row{ID: "r1-1", InstanceID: "a", Name: "Cancel", Type: "ServiceTask", CompensatedFor: "r1", Started: began.Add(3 * time.Millisecond),
		Input: []any{}, Status: machine.Running}
	check := func() {
		t.Helper()
		log, err := s.Load(t.Context(), "a")
		require.NoError(t, err)
		assert.Equal(t, i, log.Instance)
		assert.Equal(t, []*machine.Row{row, second, third}[:len(log.Rows)], log.Rows)
	}
	write := func(b machine.Batch) {
		t.Helper()
		require.NoError(t, s.Write(t.Context(), &b))
	}
	write(machine.Batch{Insert: i, Begun: []*machine.Row{row}})
	check()
	row.Status, row.Ended, row.Failure = machine.Unknown, began.Add(time.Second), failure()
	i.Status, i.Compensation, i.EndParams = machine.Unknown, machine.Running, map[string]any{"_is_compensating_": "Undo"}
	write(machine.Batch{Done: []*machine.Row{row}, Begun: []*machine.Row{second, third}, Note: i})
	check()
	write(machine.Batch{Note: i}) // again the same
	row.Status, row.Ended, row.Failure, row.Input = machine.Running, time.Time{}, nil, []any{"again"}
	before := i.Updated
	i.Updated, i.Live = began.Add(5*time.Second), true
	write(machine.Batch{Restart: i, Before: before, Again: []*machine.Row{row}})
	check()
	row.Status, row.Ended, row.Output = machine.Succeeded, began.Add(6*time.Second), map[string]any{"ok": true}
	i.Status, i.Compensation, i.Live, i.Ended, i.Failure = machine.Unknown, machine.Succeeded, false, began.Add(7*time.Second), failure()
	i.EndParams = map[string]any{"n": int64(8)}
	write(machine.Batch{Done: []*machine.Row{row}, Finish: i})
	check()

	log, err := s.ByBusinessKey(t.Context(), "000001", "key of a")
	require.NoError(t, err)
	assert.Equal(t, "a", log.Instance.ID)
	child := instance("child")
	child.ParentID = "a:r1"
	write(machine.Batch{Insert: child})
	ids, err := s.Children(t.Context(), "a:r1")
	require.NoError(t, err)
	assert.Equal(t, []string{"child"}, ids)
	left, err := s.Interrupted(t.Context())
	require.NoError(t, err)
	assert.Empty(t, left, "a has ended, and the child is its parent's affair")
}

func testRefusals(t *testing.T, s sagalog.Store) {
	i := instance("b")
	require.NoError(t, s.Write(t.Context(), &machine.Batch{Insert: i}))
	assert.ErrorIs(t, s.Write(t.Context(), &machine.Batch{Insert: i}), sagalog.ErrExists)
	same := instance("b2")
	same.BusinessKey = i.BusinessKey
	assert.ErrorIs(t, s.Write(t.Context(), &machine.Batch{Insert: same}), sagalog.ErrExists)
	_, err := s.Load(t.Context(), "b2")
	assert.ErrorIs(t, err, sagalog.ErrNotFound)
	_, err = s.ByBusinessKey(t.Context(), "000001", "nobody's")
	assert.ErrorIs(t, err, sagalog.ErrNotFound)

	taken := *i
	taken.Updated = began.Add(time.Minute)
	require.NoError(t, s.Write(t.Context(), &machine.Batch{Restart: &taken, Before: i.Updated}))
	late := *i
	late.Status, late.Live, late.Ended = machine.Succeeded, false, began.Add(time.Hour)
	assert.ErrorIs(t, s.Write(t.Context(), &machine.Batch{Finish: &late}), sagalog.ErrTaken)
	assert.ErrorIs(t, s.Write(t.Context(), &machine.Batch{Restart: &late, Before: i.Updated}), sagalog.ErrTaken)
	row := &machine.Row{ID: "late", InstanceID: "b", Name: "A", Type: "ServiceTask", Started: began, Input: []any{}, Status: machine.Running}
	assert.ErrorIs(t, s.Write(t.Context(), &machine.Batch{Guard: &late, Begun: []*machine.Row{row}}), sagalog.ErrTaken)
	assert.ErrorIs(t, s.Write(t.Context(), &machine.Batch{Note: &late}), sagalog.ErrTaken)
	log, err := s.Load(t.Context(), "b")
	require.NoError(t, err)
	assert.Empty(t, log.Rows)
	assert.Equal(t, machine.Running, log.Instance.Status)
	taken.Live, taken.Status, taken.Ended = false, machine.Failed, began.Add(time.Hour)
	require.NoError(t, s.Write(t.Context(), &machine.Batch{Finish: &taken}))
}

// testGroup writes many batches at once, every seventh of which cannot be written.
func testGroup(t *testing.T, s sagalog.Store) {
	var all sync.WaitGroup
	for n := range 200 {
		all.Go(func() {
			i := instance(fmt.Sprintf("g%d", n))
			if n%7 == 3 {
				i.BusinessKey = "key of a"
			}
			row := &machine.Row{ID: "r", InstanceID: i.ID, Name: "A", Type: "ServiceTask", Started: began, Input: []any{}, Status: machine.Running}
			err := s.Write(t.Context(), &machine.Batch{Insert: i, Begun: []*machine.Row{row}})
			if n%7 == 3 {
				assert.ErrorIs(t, err, sagalog.ErrExists)
				_, err = s.Load(t.Context(), i.ID)
				assert.ErrorIs(t, err, sagalog.ErrNotFound)
				return
			}
			assert.NoError(t, err)
			log, err := s.Load(t.Context(), i.ID)
			if assert.NoError(t, err) {
				assert.Len(t, log.Rows, 1)
			}
			row.Status, row.Ended = machine.Succeeded, began.Add(time.Second)
			assert.NoError(t, s.Write(t.Context(), &machine.Batch{Guard: i, Done: []*machine.Row{row}}))
			lost := *i
			lost.Updated = began.Add(time.Hour)
			assert.ErrorIs(t, s.Write(t.Context(), &machine.Batch{Guard: &lost, Done: []*machine.Row{row}}), sagalog.ErrTaken)
			i.Live, i.Status, i.Ended = false, machine.Succeeded, began.Add(time.Second)
			assert.NoError(t, s.Write(t.Context(), &machine.Batch{Finish: i}))
		})
	}
	all.Wait()
}

func testSignals(t *testing.T, s sagalog.Store) {
	rows := map[string]*machine.Row{}
	for _, id := range []string{"sig1", "sig2"} {
		require.NoError(t, s.Write(t.Context(), &machine.Batch{Insert: instance(id)}))
		for i, name := range []string{"a", "b", "a"} {
			r := &machine.Row{ID: fmt.Sprintf("s%d", 9-i), InstanceID: id, Name: name, Type: string(history.Signal), Input: `["com.x", 1]`,
				Started: began.Add(time.Duration(i) * time.Second), Status: machine.Running}
			require.NoError(t, s.Write(t.Context(), &machine.Batch{Begun: []*machine.Row{r}}))
			assert.ErrorIs(t, s.Write(t.Context(), &machine.Batch{Begun: []*machine.Row{r}}), sagalog.ErrExists)
			rows[id+r.ID] = r
		}
	}
	done := rows["sig1s9"]
	done.Status, done.Ended = machine.Succeeded, began.Add(time.Hour)
	require.NoError(t, s.Write(t.Context(), &machine.Batch{Done: []*machine.Row{done}}))
	got, err := s.Signals(t.Context(), []string{"sig1", "none"})
	require.NoError(t, err)
	assert.Equal(t, []*machine.Row{rows["sig1s8"], rows["sig1s7"]}, got, "those not delivered, the oldest first")
	got, err = s.Signals(t.Context(), nil)
	require.NoError(t, err)
	assert.Empty(t, got)
}

func testDefinitions(t *testing.T, s sagalog.Store) {
	d := sagalog.Definition{ID: "d1", Name: "order", Tenant: "000001", App: "shop", Comment: "桥", Version: "1", RecoverStrategy: "Forward",
		Content: `{"x": "'桥'"}`, Type: sagalog.Code, Created: began}
	kept, err := s.Define(t.Context(), d)
	require.NoError(t, err)
	assert.Equal(t, d, kept)
	again := d
	again.ID = "d2"
	kept, err = s.Define(t.Context(), again)
	require.NoError(t, err)
	assert.Equal(t, "d1", kept.ID, "the same text of the same version is the same definition")
	again.Content = `{}`
	kept, err = s.Define(t.Context(), again)
	require.NoError(t, err)
	assert.Equal(t, "d2", kept.ID)
	newest, err := s.Newest(t.Context(), "000001", "order")
	require.NoError(t, err)
	assert.Equal(t, "d2", newest.ID)
	first, err := s.ByID(t.Context(), "d1")
	require.NoError(t, err)
	assert.Equal(t, d, first)
	_, err = s.Newest(t.Context(), "000002", "order")
	assert.ErrorIs(t, err, sagalog.ErrNotFound)
	_, err = s.ByID(t.Context(), "d3")
	assert.ErrorIs(t, err, sagalog.ErrNotFound)
}

// testNodes: a new process of a node fences the old one; what a dead node ran goes
// to another.
func testNodes(t *testing.T, db *sql.DB) {
	old := join(t, sagalog.Config{DB: db, Node: "n1"})
	require.NoError(t, old.Write(t.Context(), &machine.Batch{Insert: instance("n1a")}))
	other := join(t, sagalog.Config{DB: db, Node: "n2"})
	adopted, err := other.Adopt(t.Context())
	require.NoError(t, err)
	assert.Empty(t, adopted, "n1 is alive")

	anew := join(t, sagalog.Config{DB: db, Node: "n1"})
	assert.ErrorIs(t, old.Write(t.Context(), &machine.Batch{Insert: instance("late")}), sagalog.ErrFenced)
	assert.Equal(t, []string{"n1a"}, interrupted(t, anew))

	require.NoError(t, anew.Close())
	_, err = db.ExecContext(t.Context(), "UPDATE qiao_saga_node SET alive_until = 1 WHERE node = 'n1'")
	require.NoError(t, err)
	adopted, err = other.Adopt(t.Context())
	require.NoError(t, err)
	require.Len(t, adopted, 1)
	assert.Equal(t, "n1a", adopted[0].Instance.ID)
	assert.Equal(t, []string{"n1a"}, interrupted(t, other))
	adopted, err = other.Adopt(t.Context())
	require.NoError(t, err)
	assert.Empty(t, adopted, "once")
}

func interrupted(t *testing.T, s sagalog.Store) []string {
	t.Helper()
	logs, err := s.Interrupted(t.Context())
	require.NoError(t, err)
	var ids []string
	for _, l := range logs {
		ids = append(ids, l.Instance.ID)
	}
	return ids
}

// TestALeaseIsRenewed while the node writes nothing.
func TestALeaseIsRenewed(t *testing.T) {
	db := databases()["sqlite"](t)
	join(t, sagalog.Config{DB: db, Node: "quiet", Lease: 90 * time.Millisecond})
	read := func() (until int64) {
		require.NoError(t, db.QueryRowContext(t.Context(), "SELECT alive_until FROM qiao_saga_node").Scan(&until))
		return until
	}
	from := read()
	require.Eventually(t, func() bool { return read() > from }, 10*time.Second, time.Millisecond)
}

func TestBadConfigurations(t *testing.T) {
	for want, cfg := range map[string]sagalog.Config{
		"DB is missing": {},
		"TablePrefix":   {DB: open(t, "sqlite", ":memory:"), TablePrefix: "x; drop"},
		"SetMaxOpenConns": {DB: func() *sql.DB {
			db := open(t, "sqlite", ":memory:")
			db.SetMaxOpenConns(1)
			return db
		}()},
		"create the tables with": {DB: func() *sql.DB {
			db, err := sql.Open("sqlite", ":memory:")
			require.NoError(t, err)
			t.Cleanup(func() { _ = db.Close() })
			return db
		}()},
	} {
		_, err := sagalog.OpenSQL(context.Background(), cfg)
		assert.ErrorContains(t, err, want)
	}
}
