package at_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"modernc.org/sqlite"

	"github.com/qiao-tx/qiao/datasource/at"
	"github.com/qiao-tx/qiao/datasource/schema"
	"github.com/qiao-tx/qiao/internal/testenv"
	"github.com/qiao-tx/qiao/protocol/xid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// env is one database: db takes part in global transactions, plain does not.
type env struct {
	t         testing.TB
	dialect   schema.Dialect
	tc        *coordinator
	connector *at.Connector
	db, plain *sql.DB
	id        string
	// dsn is PostgreSQL's.
	dsn string
	// again opens the database once more, as another service would.
	again func(s settings) *env
}

// settings changes what a test opens.
type settings struct {
	config func(*at.Config)
	dsn    func(*mysql.Config)
	// dsnSuffix is added to SQLite's data source name.
	dsnSuffix string
	// urlSuffix is added to PostgreSQL's.
	urlSuffix string
	// asWritten: PostgreSQL gets the test's texts as they are.
	asWritten bool
	wrap      func(driver.Connector) driver.Connector
}

// onMySQL runs a test on each server of MySQL's dialect.
func onMySQL(t *testing.T, s settings, ddl []string, test func(t *testing.T, e *env)) {
	t.Helper()
	for _, server := range testenv.MySQLServers() {
		t.Run(server.Name, func(t *testing.T) {
			cfg, err := mysql.ParseDSN(server.Database(t))
			require.NoError(t, err)
			if s.dsn != nil {
				s.dsn(cfg)
			}
			connector, err := mysql.NewConnector(cfg)
			require.NoError(t, err)
			test(t, open(t, schema.MySQL, connector, connector, s, ddl))
		})
	}
}

func onSQLite(t testing.TB, s settings, ddl ...string) *env {
	t.Helper()
	// Only the plain connection leaves waiting for the file to the driver.
	dsn := filepath.Join(t.TempDir(), "test.db") + "?_pragma=journal_mode(wal)" + s.dsnSuffix
	return open(t, schema.SQLite, sqliteConnector{dsn}, sqliteConnector{dsn + "&_pragma=busy_timeout(20000)"}, s, ddl)
}

type sqliteConnector struct{ dsn string }

func (c sqliteConnector) Connect(context.Context) (driver.Conn, error) {
	return (&sqlite.Driver{}).Open(c.dsn)
}
func (c sqliteConnector) Driver() driver.Driver { return &sqlite.Driver{} }

func open(t testing.TB, d schema.Dialect, inner, plain driver.Connector, s settings, ddl []string) *env {
	t.Helper()
	translate := d == schema.PostgreSQL && !s.asWritten
	if translate {
		plain = translating{plain}
	}
	e := &env{t: t, dialect: d, tc: newCoordinator(t), plain: sql.OpenDB(plain)}
	t.Cleanup(func() { require.NoError(t, e.plain.Close()) })
	e.again = func(s settings) *env { return open(t, d, inner, plain, s, nil) }
	require.NoError(t, at.CreateUndoTable(t.Context(), e.plain, d))
	for _, statement := range ddl {
		e.run(statement)
	}
	config := at.Config{Dialect: d, Coordinator: e.tc, BusyWait: 2 * time.Second}
	if d == schema.MySQL {
		config.ResourceID = "jdbc:mysql://test:3306/" + t.Name()
	}
	if d == schema.PostgreSQL {
		config.ResourceID = "jdbc:postgresql://test:5432/" + t.Name()
	}
	if s.config != nil {
		s.config(&config)
	}
	if s.wrap != nil {
		inner = s.wrap(inner)
	}
	var err error
	e.connector, err = at.Open(t.Context(), inner, config)
	require.NoError(t, err)
	e.id = e.connector.Resource().ID()
	var connector driver.Connector = e.connector
	if translate {
		connector = translating{connector}
	}
	e.db = sql.OpenDB(connector)
	t.Cleanup(func() { require.NoError(t, e.db.Close()) })
	return e
}

// onEachDatabase runs a test on each of them, on PostgreSQL and on SQLite.
func onEachDatabase(t *testing.T, s settings, ddl []string, test func(t *testing.T, e *env)) {
	t.Helper()
	onMySQL(t, s, ddl, test)
	t.Run("PostgreSQL", func(t *testing.T) { test(t, openPostgres(t, s, ddl)) })
	t.Run("SQLite", func(t *testing.T) { test(t, onSQLite(t, s, ddl...)) })
}

// global begins a global transaction and returns a context that carries it.
func (e *env) global() (context.Context, string) {
	x := e.tc.begin()
	return xid.NewContext(e.t.Context(), x), x
}

// run executes outside of any global transaction, on a connection without AT.
func (e *env) run(statement string, args ...any) {
	e.t.Helper()
	_, err := e.plain.Exec(statement, args...)
	require.NoError(e.t, err, statement)
}

func (e *env) exec(ctx context.Context, statement string, args ...any) {
	e.t.Helper()
	_, err := e.db.ExecContext(ctx, statement, args...)
	require.NoError(e.t, err, statement)
}

// dump is a query's result as text.
func (e *env) dump(query string, args ...any) string {
	e.t.Helper()
	rows, err := e.plain.Query(query, args...)
	require.NoError(e.t, err, query)
	defer rows.Close()
	columns, err := rows.Columns()
	require.NoError(e.t, err)
	var b strings.Builder
	for rows.Next() {
		row, into := make([]any, len(columns)), make([]any, len(columns))
		for i := range row {
			into[i] = &row[i]
		}
		require.NoError(e.t, rows.Scan(into...))
		for i, v := range row {
			if raw, ok := v.([]byte); ok {
				v = string(raw)
			}
			if i > 0 {
				b.WriteByte('|')
			}
			fmt.Fprintf(&b, "%v", v)
		}
		b.WriteByte('\n')
	}
	require.NoError(e.t, rows.Err())
	return b.String()
}

func atoi(t *testing.T, s string) int {
	t.Helper()
	n, err := strconv.Atoi(strings.TrimSpace(s))
	require.NoError(t, err)
	return n
}

func (e *env) undoRows() string {
	e.t.Helper()
	return strings.TrimSpace(e.dump("SELECT COUNT(*) FROM undo_log"))
}

// clean sees that the pool's connections carry no transaction over: each of
// them sees and changes the table at once.
func (e *env) clean(table string) {
	e.t.Helper()
	e.db.SetMaxOpenConns(1)
	var open int
	if e.dialect == schema.MySQL {
		require.NoError(e.t, e.db.QueryRowContext(e.t.Context(), "SELECT COUNT(*) FROM information_schema.innodb_trx WHERE trx_mysql_thread_id = CONNECTION_ID()").Scan(&open))
		require.Zero(e.t, open, "the pooled connection is inside a transaction")
	}
	// A cancelled transaction is rolled back by a goroutine of database/sql.
	require.Eventually(e.t, func() bool {
		ctx, cancel := context.WithTimeout(e.t.Context(), time.Second)
		defer cancel()
		_, err := e.plain.ExecContext(ctx, "DELETE FROM "+table+" WHERE 1 = 1")
		return err == nil
	}, 20*time.Second, 10*time.Millisecond, "a lock was left behind")
}
