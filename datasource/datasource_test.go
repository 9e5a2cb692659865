package datasource_test

import (
	"context"
	"crypto/rand"
	"database/sql"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"modernc.org/sqlite"

	"github.com/qiao-tx/qiao/datasource"
	"github.com/qiao-tx/qiao/internal/testenv"
	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/xid"
	"github.com/qiao-tx/qiao/rm"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// coordinator takes everything and remembers it.
type coordinator struct {
	mu        sync.Mutex
	resources []rm.Resource
	branches  []rm.Registration
}

func (c *coordinator) RegisterResource(_ context.Context, r rm.Resource) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.resources = append(c.resources, r)
	return nil
}

func (c *coordinator) RegisterBranch(_ context.Context, r rm.Registration) (int64, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.branches = append(c.branches, r)
	return int64(len(c.branches)), nil
}

func (c *coordinator) ReportBranch(context.Context, rm.Report) error { return nil }

func (c *coordinator) CheckLocks(context.Context, string, protocol.BranchType, string, string) error {
	return nil
}

const someXID = "127.0.0.1:8091:1"

// use changes and restores a row of a freshly opened database.
func use(t *testing.T, db *sql.DB, c *coordinator) {
	t.Helper()
	_, err := db.ExecContext(t.Context(), "CREATE TABLE t (id INTEGER PRIMARY KEY, v INTEGER)")
	require.NoError(t, err)
	_, err = db.ExecContext(xid.NewContext(t.Context(), someXID), "INSERT INTO t VALUES (1, 2)")
	require.NoError(t, err)
	require.Len(t, c.branches, 1)
	assert.Equal(t, "t:1", c.branches[0].LockKey)
	assert.Equal(t, c.resources[0].ID(), c.branches[0].ResourceID)
	status, err := c.resources[0].Rollback(t.Context(), rm.Branch{XID: someXID, ID: 1, Type: protocol.TypeAT})
	require.NoError(t, err)
	require.Equal(t, protocol.BranchPhaseTwoRollbacked, status)
	var n int
	require.NoError(t, db.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM t").Scan(&n))
	assert.Zero(t, n)
}

func prepared(t *testing.T, driver, dsn string) {
	t.Helper()
	plain, err := sql.Open(driver, dsn)
	require.NoError(t, err)
	defer plain.Close()
	dialect, err := datasource.DialectOf(driver)
	require.NoError(t, err)
	require.NoError(t, datasource.CreateUndoTable(t.Context(), plain, dialect))
}

func TestOpen(t *testing.T) {
	t.Run("SQLite", func(t *testing.T) { testOpen(t, "sqlite", filepath.Join(t.TempDir(), "a.db")) })
	t.Run("PostgreSQL", func(t *testing.T) { testOpen(t, "pgx", testenv.PostgreSQL(t)) })
	for _, server := range testenv.MySQLServers() {
		t.Run(server.Name, func(t *testing.T) { testOpen(t, "mysql", server.Database(t)) })
	}
}

func testOpen(t *testing.T, driver, dsn string) {
	var c coordinator
	_, err := datasource.Open(t.Context(), &c, datasource.Config{Driver: driver, DSN: dsn})
	require.ErrorIs(t, err, datasource.ErrNoUndoTable)
	prepared(t, driver, dsn)
	db, err := datasource.Open(t.Context(), &c, datasource.Config{Driver: driver, DSN: dsn})
	require.NoError(t, err)
	use(t, db, &c)
	require.NoError(t, db.Close())
}

func TestRegister(t *testing.T) {
	var c coordinator
	dsn := filepath.Join(t.TempDir(), "a.db")
	prepared(t, "sqlite", dsn)
	name := "qiao-sqlite-" + rand.Text() // database/sql keeps names for the life of the process
	datasource.Register(&c, name, &sqlite.Driver{}, datasource.Config{Dialect: datasource.SQLite})
	db, err := sql.Open(name, dsn)
	require.NoError(t, err)
	use(t, db, &c)
	require.NoError(t, db.Close())
}

// The name that Go gives a MySQL database is the one that Java gives it, and it
// holds no credentials.
func TestMySQLResourceIDIsJavas(t *testing.T) {
	for dsn, want := range map[string]string{
		"app:pass@tcp(db.example.com:3307)/orders?parseTime=true": "jdbc:mysql://db.example.com:3307/orders",
		"app:pass@tcp(db.example.com)/orders":                     "jdbc:mysql://db.example.com:3306/orders",
		"app@tcp([::1]:3306)/orders":                              "jdbc:mysql://[::1]:3306/orders",
		"tcp(10.0.0.1:3306)/a-b":                                  "jdbc:mysql://10.0.0.1:3306/a-b",
	} {
		id, err := datasource.MySQLResourceID(dsn)
		require.NoError(t, err)
		assert.Equal(t, want, id)
	}
	for dsn, want := range map[string]string{
		"":                                   "neither a DSN",
		"app:secret@nonsense":                "not in the form",
		"app:secret@unix(/run/mysql.sock)/x": "no host",
		"app:secret@tcp(h:3306)/":            "no database",
	} {
		_, err := datasource.MySQLResourceID(dsn)
		require.ErrorContains(t, err, want)
		assert.NotContains(t, err.Error(), "secret")
	}
}

// So is that of a PostgreSQL database, with the schema that Java's URL names.
func TestPostgreSQLResourceIDIsJavas(t *testing.T) {
	for _, name := range []string{"PGHOST", "PGPORT", "PGDATABASE", "PGUSER"} {
		t.Setenv(name, "")
	}
	for dsn, want := range map[string]string{
		"postgres://app:pass@db.example.com:5433/orders?sslmode=disable":             "jdbc:postgresql://db.example.com:5433/orders",
		"postgresql://app:pass@db.example.com/orders":                                "jdbc:postgresql://db.example.com:5432/orders",
		"postgres://app@[::1]:5432/orders?search_path=sales":                         "jdbc:postgresql://[::1]:5432/orders?currentSchema=sales",
		"host=10.0.0.1 user=app password=secret dbname=a-b search_path=sales,public": "jdbc:postgresql://10.0.0.1:5432/a-b?currentSchema=sales!public",
	} {
		id, err := datasource.PostgreSQLResourceID(dsn)
		require.NoError(t, err)
		assert.Equal(t, want, id)
	}
	for dsn, want := range map[string]string{
		"":                             "neither a DSN",
		"postgres://app:secret@h:x/db": "not in the form",
		"host=/run/postgresql user=app password=secret dbname=x": "no host",
		"postgres://app:secret@one:5432,two:5432/x":              "several hosts",
		"postgres://app:secret@h:5432/":                          "names no database",
	} {
		_, err := datasource.PostgreSQLResourceID(dsn)
		require.ErrorContains(t, err, want)
		assert.NotContains(t, err.Error(), "secret")
	}
}

func TestOpenSaysWhatIsMissing(t *testing.T) {
	var c coordinator
	for want, cfg := range map[string]datasource.Config{
		"Driver and DSN":   {},
		"unknown driver":   {Driver: "nope", DSN: "x"},
		"cannot take part": {Driver: "sqlite", DSN: ":memory:"},
	} {
		_, err := datasource.Open(t.Context(), &c, cfg)
		require.ErrorContains(t, err, want)
	}
	_, err := datasource.Wrap(t.Context(), &c, nil, datasource.Config{})
	require.ErrorContains(t, err, "Config.Dialect")
	_, err = datasource.Wrap(t.Context(), &c, nil, datasource.Config{Dialect: datasource.MySQL})
	require.ErrorContains(t, err, "neither a DSN")
	assert.Empty(t, c.resources)
}

// The mode says which wrapper a database gets.
func TestModes(t *testing.T) {
	dsn := testenv.PostgreSQL(t)
	c := &coordinator{}
	db, err := datasource.Open(t.Context(), c, datasource.Config{Driver: "pgx", DSN: dsn, Mode: datasource.XA})
	require.NoError(t, err)
	defer func() { assert.NoError(t, db.Close()) }()
	require.Len(t, c.resources, 1)
	assert.Equal(t, protocol.TypeXA, c.resources[0].BranchType())
	_, err = db.ExecContext(t.Context(), "CREATE TABLE t (id INTEGER PRIMARY KEY)")
	require.NoError(t, err)
	_, err = db.ExecContext(xid.NewContext(t.Context(), someXID), "INSERT INTO t VALUES (1)")
	require.NoError(t, err)
	require.Len(t, c.branches, 1)
	assert.Equal(t, protocol.TypeXA, c.branches[0].Type)
	left, err := datasource.InDoubt(t.Context(), db, datasource.PostgreSQL)
	require.NoError(t, err)
	require.Len(t, left, 1)
	assert.Equal(t, someXID, left[0].XID)
	_, err = db.ExecContext(t.Context(), left[0].Rollback)
	require.NoError(t, err)

	_, err = datasource.Open(t.Context(), c, datasource.Config{Driver: "pgx", DSN: dsn, Mode: 7})
	require.ErrorContains(t, err, "no mode 7")
	_, err = datasource.Open(t.Context(), c, datasource.Config{Driver: "sqlite", DSN: filepath.Join(t.TempDir(), "x.db"), Mode: datasource.XA})
	require.ErrorIs(t, err, datasource.ErrNotSupported)
}
