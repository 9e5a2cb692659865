//go:build linux

package javatc

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite" // the driver of the second database

	"github.com/qiao-tx/qiao/client"
	"github.com/qiao-tx/qiao/datasource"
	"github.com/qiao-tx/qiao/internal/relay"
	"github.com/qiao-tx/qiao/internal/testenv"
	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/rm"
	"github.com/qiao-tx/qiao/rm/tcc/fence"
	"github.com/qiao-tx/qiao/tm"
)

// story is told to each coordinator, in databases of its own.
type story struct {
	name string
	// tell returns the error that the application gets.
	tell func(e *env) error
	want outcome
	// onJava changes what is different on Seata's coordinator.
	onJava func(want *outcome)
}

// outcome is what a story leaves when everything has settled.
type outcome struct {
	// errors are the names of all sentinels that the application's error
	// matches, in alphabetical order.
	errors string
	// rows are those of both databases: "1=10 2=20 3=30 / 1=10 2=20 3=30";
	// an amount that a TCC action holds follows as 1=10+5.
	rows string
	// calls are those of resources and actions, in order.
	calls string
	// undo counts the undo records of branches that still have something to undo.
	undo int
	// locked: the rows 1 to 3 of the first database are still locked.
	locked bool
	// status of the last transaction. Seata's coordinator forgets what has ended.
	status protocol.GlobalStatus
}

// untouched are the rows as a story finds them.
const untouched = "1=10 2=20 3=30 / 1=10 2=20 3=30"

// sentinels are all errors that an application can tell apart.
var sentinels = map[string]error{
	"errStop": errStop, "errHolder": errHolder, "errFailFast": errFailFast,
	"fence.ErrSuspended": fence.ErrSuspended,
	"rm.ErrLockConflict": rm.ErrLockConflict, "rm.ErrNotActive": rm.ErrNotActive,
	"rm.ErrRefused": rm.ErrRefused, "rm.ErrUnavailable": rm.ErrUnavailable,
	"tm.ErrHeuristic": tm.ErrHeuristic, "tm.ErrNotFound": tm.ErrNotFound,
	"tm.ErrOutcomeUnknown": tm.ErrOutcomeUnknown, "tm.ErrRefused": tm.ErrRefused,
	"tm.ErrRollbackOnly": tm.ErrRollbackOnly, "tm.ErrRolledBack": tm.ErrRolledBack,
	"tm.ErrTimedOut": tm.ErrTimedOut, "tm.ErrUnavailable": tm.ErrUnavailable,
}

var (
	// errStop is an application's own.
	errStop = errors.New("the application wants to stop")
	// errHolder: a lock conflict told who holds the lock.
	errHolder = errors.New("the holder is known")
	// errFailFast: a lock conflict told that waiting is of no use.
	errFailFast = errors.New("waiting is of no use")
)

// namesOf returns the names of the sentinels that err matches; an error that
// matches none has its text as name.
func namesOf(err error) string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(sentinels)) {
		if errors.Is(err, sentinels[name]) {
			names = append(names, name)
		}
	}
	if err != nil && names == nil {
		return err.Error()
	}
	return strings.Join(names, " ")
}

// env is what a story happens in: an application on a coordinator, behind a
// relay, with two databases.
type env struct {
	t     *testing.T
	tc    *coordinator
	relay *relay.Relay
	app   *client.Client
	// participant is another application, not behind the relay; it serves stubs.
	participant   *client.Client
	participantID string
	// db and other take part in global transactions; db is MariaDB, other SQLite.
	db, other *sql.DB
	// plain reaches the database of db, plainOther that of other, without.
	plain, plainOther *sql.DB
	// resource is the id of db.
	resource, dsn string

	mu    sync.Mutex
	calls []string
	x     string
}

// run tells the story to one coordinator.
func (s story) run(t *testing.T, tc *coordinator) {
	e := newEnv(t, tc, client.Config{})
	err := s.tell(e)
	want := s.want
	if tc.java {
		want.status = protocol.StatusFinished
		if s.onJava != nil {
			s.onJava(&want)
		}
	}
	got := e.outcome()
	for end := time.Now().Add(patience); got != want && time.Now().Before(end); got = e.outcome() {
		got.errors = namesOf(err)
		if got.errors != want.errors || got == want {
			break // errors do not mend
		}
		time.Sleep(20 * time.Millisecond)
	}
	got.errors = namesOf(err)
	assert.Equal(t, want, got, "the application's error: %v", err)
}

func newEnv(t *testing.T, tc *coordinator, cfg client.Config) *env {
	t.Helper()
	e := &env{t: t, tc: tc, relay: relay.New(t), dsn: testenv.MariaDB(t)}
	e.relay.LeadTo(tc.address)
	e.plain = e.books("mysql", e.dsn)
	file := filepath.Join(t.TempDir(), "other.db") + "?_pragma=journal_mode(wal)&_pragma=busy_timeout(20000)"
	e.plainOther = e.books("sqlite", file)
	e.app = e.open(cfg)
	e.participantID = application()
	e.participant = e.openClient(client.Config{Addresses: []string{tc.address}, ApplicationID: e.participantID})
	e.db, e.other = e.join(e.app, "mysql", e.dsn), e.join(e.app, "sqlite", file)
	var err error
	e.resource, err = datasource.MySQLResourceID(e.dsn)
	require.NoError(t, err)
	return e
}

// open opens a client, behind the relay unless cfg has an address.
func (e *env) open(cfg client.Config) *client.Client {
	e.t.Helper()
	cfg.ApplicationID = application()
	if cfg.Addresses == nil {
		cfg.Addresses = []string{e.relay.Address()}
	}
	return e.openClient(cfg)
}

// openOther opens a client of another application, not behind the relay.
func (e *env) openOther() *client.Client {
	e.t.Helper()
	return e.openClient(client.Config{Addresses: []string{e.tc.address}, ApplicationID: application()})
}

// application names one. A Java coordinator takes all processes of an
// application on a host for equal, so each story has its own.
func application() string { return "go-service-" + rand.Text() }

func (e *env) openClient(cfg client.Config) *client.Client {
	e.t.Helper()
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	c, err := client.Open(e.t.Context(), cfg)
	require.NoError(e.t, err)
	e.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		assert.NoError(e.t, c.Close(ctx))
	})
	return c
}

// join opens a database that takes part in global transactions.
func (e *env) join(c *client.Client, driver, dsn string) *sql.DB {
	e.t.Helper()
	db, err := datasource.Open(e.t.Context(), c.RM(), datasource.Config{Driver: driver, DSN: dsn, LockWait: time.Second})
	require.NoError(e.t, err)
	e.t.Cleanup(func() { assert.NoError(e.t, db.Close()) })
	return db
}

// books makes the tables of a database and returns it, without any transaction.
func (e *env) books(driver, dsn string) *sql.DB {
	e.t.Helper()
	db, err := sql.Open(driver, dsn)
	require.NoError(e.t, err)
	e.t.Cleanup(func() { assert.NoError(e.t, db.Close()) })
	dialect, err := datasource.DialectOf(driver)
	require.NoError(e.t, err)
	require.NoError(e.t, datasource.CreateUndoTable(e.t.Context(), db, dialect))
	ddl, err := os.ReadFile("../../script/client/tcc/db/" + driver + ".sql")
	require.NoError(e.t, err)
	for statement := range strings.SplitSeq(string(ddl), ";\n") {
		if statement = withoutComments(statement); statement != "" {
			e.must(db, statement)
		}
	}
	e.must(db, "CREATE TABLE account (id BIGINT NOT NULL PRIMARY KEY, n BIGINT NOT NULL, held BIGINT NOT NULL)")
	e.must(db, "INSERT INTO account (id, n, held) VALUES (1, 10, 0), (2, 20, 0), (3, 30, 0)")
	return db
}

func withoutComments(ddl string) string {
	var lines []string
	for line := range strings.Lines(ddl) {
		if !strings.HasPrefix(line, "--") {
			lines = append(lines, line)
		}
	}
	return strings.TrimSpace(strings.Join(lines, ""))
}

func (e *env) must(db *sql.DB, statement string, args ...any) {
	e.t.Helper()
	_, err := db.ExecContext(e.t.Context(), statement, args...)
	require.NoError(e.t, err, statement)
}

// begin begins a transaction that Run cannot express.
func (e *env) begin(timeout time.Duration) *tm.Tx {
	e.t.Helper()
	tx, err := e.app.TM().Begin(e.t.Context(), tm.Options{Name: e.t.Name(), Timeout: timeout})
	require.NoError(e.t, err)
	e.note(tx.XID())
	return tx
}

// global runs fn as a global transaction.
func (e *env) global(timeout time.Duration, fn func(ctx context.Context) error) error {
	err := e.app.TM().Run(e.t.Context(), tm.Options{Name: e.t.Name(), Timeout: timeout}, fn)
	e.note(e.relay.LastBegun())
	return err
}

func (e *env) note(x string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.x = x
}

func (e *env) called(format string, args ...any) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.calls = append(e.calls, fmt.Sprintf(format, args...))
}

// add changes a row of db by one statement.
func (e *env) add(ctx context.Context, id, n int) error {
	_, err := e.db.ExecContext(ctx, "UPDATE account SET n = n + ? WHERE id = ?", n, id)
	return err
}

// addOther does so in the other database.
func (e *env) addOther(ctx context.Context, id, n int) error {
	_, err := e.other.ExecContext(ctx, "UPDATE account SET n = n + ? WHERE id = ?", n, id)
	return err
}

// status asks the coordinator.
func (e *env) status(x string) protocol.GlobalStatus {
	e.t.Helper()
	status, err := e.app.TM().Status(e.t.Context(), x)
	require.NoError(e.t, err)
	return status
}

// await waits until the transaction has one of the statuses.
func (e *env) await(x string, among ...protocol.GlobalStatus) {
	e.t.Helper()
	awaitStatus(e.t, e.app, x, among...)
}

// awaitStatus may be called by any goroutine.
func awaitStatus(t *testing.T, c *client.Client, x string, among ...protocol.GlobalStatus) {
	t.Helper()
	assert.Eventually(t, func() bool {
		status, err := c.TM().Status(t.Context(), x)
		return err == nil && slices.Contains(among, status)
	}, patience, 20*time.Millisecond, "%s does not get to %v", x, among)
}

// outcome is how things stand now, without the error.
func (e *env) outcome() outcome {
	e.t.Helper()
	e.mu.Lock()
	got := outcome{calls: strings.Join(e.calls, ", ")}
	x := e.x
	e.mu.Unlock()
	got.rows = e.rows(e.plain) + " / " + e.rows(e.plainOther)
	for _, db := range []*sql.DB{e.plain, e.plainOther} {
		var n int
		require.NoError(e.t, db.QueryRow("SELECT COUNT(*) FROM undo_log WHERE log_status = 0").Scan(&n))
		got.undo += n
	}
	got.status = e.status(x)
	stranger, err := e.app.TM().Begin(e.t.Context(), tm.Options{Name: "stranger"})
	require.NoError(e.t, err)
	err = e.app.RM().CheckLocks(e.t.Context(), stranger.XID(), protocol.TypeAT, e.resource, "account:1,2,3")
	if got.locked = errors.Is(err, rm.ErrLockConflict); !got.locked {
		require.NoError(e.t, err)
	}
	require.NoError(e.t, stranger.Rollback(e.t.Context()))
	return got
}

func (e *env) rows(db *sql.DB) string {
	e.t.Helper()
	rows, err := db.QueryContext(e.t.Context(), "SELECT id, n, held FROM account ORDER BY id")
	require.NoError(e.t, err)
	defer rows.Close()
	var all []string
	for rows.Next() {
		var id, n, held int
		require.NoError(e.t, rows.Scan(&id, &n, &held))
		row := fmt.Sprintf("%d=%d", id, n)
		if held != 0 {
			row += fmt.Sprintf("+%d", held)
		}
		all = append(all, row)
	}
	require.NoError(e.t, rows.Err())
	return strings.Join(all, " ")
}
