package xa_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/qiao-tx/qiao/datasource/schema"
	"github.com/qiao-tx/qiao/datasource/xa"
	"github.com/qiao-tx/qiao/internal/testenv"
	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/xid"
	"github.com/qiao-tx/qiao/rm"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// coordinator is a small TC in memory: it knows resources and branches.
type coordinator struct {
	mu       sync.Mutex
	branches []rm.Branch
	reports  []rm.Report
	next     int64
	// registered is called after a branch has its id, before the caller knows it.
	registered func(rm.Branch)
	refuse     error
}

func (c *coordinator) RegisterResource(context.Context, rm.Resource) error { return nil }

func (c *coordinator) RegisterBranch(_ context.Context, r rm.Registration) (int64, error) {
	c.mu.Lock()
	if c.refuse != nil {
		defer c.mu.Unlock()
		return 0, c.refuse
	}
	c.next++
	b := rm.Branch{XID: r.XID, ID: c.next, Type: r.Type, ResourceID: r.ResourceID, ApplicationData: r.ApplicationData}
	c.branches = append(c.branches, b)
	registered := c.registered
	c.mu.Unlock()
	if registered != nil {
		registered(b)
	}
	return b.ID, nil
}

func (c *coordinator) ReportBranch(_ context.Context, r rm.Report) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reports = append(c.reports, r)
	return nil
}

func (c *coordinator) CheckLocks(context.Context, string, protocol.BranchType, string, string) error {
	return nil
}

// reported is the last status reported for a branch.
func (c *coordinator) reported(id int64) protocol.BranchStatus {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range slices.Backward(c.reports) {
		if r.ID == id {
			return r.Status
		}
	}
	return protocol.BranchUnknown
}

// of lists the branches of a transaction.
func (c *coordinator) of(x string) (branches []rm.Branch) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, b := range c.branches {
		if b.XID == x {
			branches = append(branches, b)
		}
	}
	return branches
}

// take is of, and forgets the branches.
func (c *coordinator) take(x string) []rm.Branch {
	branches := c.of(x)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.branches = slices.DeleteFunc(c.branches, func(b rm.Branch) bool { return b.XID == x })
	return branches
}

// env is one database: db takes part by XA, plain does not.
type env struct {
	t         *testing.T
	dialect   schema.Dialect
	server    string
	inner     driver.Connector
	tc        *coordinator
	connector *xa.Connector
	db, plain *sql.DB
	next      int
}

// on runs a test on each database.
func on(t *testing.T, test func(t *testing.T, e *env)) { onWith(t, xa.Config{}, test) }

func onWith(t *testing.T, cfg xa.Config, test func(t *testing.T, e *env)) {
	t.Helper()
	for _, server := range testenv.MySQLServers() {
		t.Run(server.Name, func(t *testing.T) { test(t, openMySQL(t, server, cfg)) })
	}
	t.Run("PostgreSQL", func(t *testing.T) { test(t, openPostgres(t, cfg)) })
}

// onMySQL runs a test where a prepared branch belongs to its session.
func onMySQL(t *testing.T, cfg xa.Config, test func(t *testing.T, e *env)) {
	t.Helper()
	for _, server := range testenv.MySQLServers() {
		t.Run(server.Name, func(t *testing.T) { test(t, openMySQL(t, server, cfg)) })
	}
}

func openMySQL(t *testing.T, server testenv.MySQLServer, cfg xa.Config) *env {
	t.Helper()
	parsed, err := mysql.ParseDSN(server.Database(t))
	require.NoError(t, err)
	inner, err := mysql.NewConnector(parsed)
	require.NoError(t, err)
	cfg.Dialect = schema.MySQL
	e := open(t, inner, cfg)
	e.server = server.Name
	return e
}

func openPostgres(t *testing.T, cfg xa.Config) *env {
	t.Helper()
	return openPostgresAt(t, testenv.PostgreSQL(t), cfg)
}

func openPostgresAt(t *testing.T, dsn string, cfg xa.Config) *env {
	t.Helper()
	parsed, err := pgx.ParseConfig(dsn)
	require.NoError(t, err)
	cfg.Dialect = schema.PostgreSQL
	e := open(t, stdlib.GetConnector(*parsed), cfg)
	e.server = "PostgreSQL"
	return e
}

func open(t *testing.T, inner driver.Connector, cfg xa.Config) *env {
	t.Helper()
	e := &env{t: t, dialect: cfg.Dialect, inner: inner, plain: sql.OpenDB(inner)}
	t.Cleanup(func() {
		require.NoError(t, e.plain.Close())
	})
	for _, statement := range []string{
		"CREATE TABLE account (id INT PRIMARY KEY, balance INT NOT NULL)",
		"INSERT INTO account VALUES (1, 100), (2, 100), (3, 100)",
	} {
		_, err := e.plain.Exec(statement)
		require.NoError(t, err)
	}
	e.use(inner, cfg)
	return e
}

// again opens the database once more, as another process would.
func (e *env) again(cfg xa.Config) *env {
	e.t.Helper()
	other := &env{t: e.t, dialect: e.dialect, server: e.server, inner: e.inner, plain: e.plain, next: 1000 * (e.next + 1)}
	cfg.Dialect = e.dialect
	other.use(e.inner, cfg)
	return other
}

func (e *env) use(inner driver.Connector, cfg xa.Config) {
	e.t.Helper()
	e.tc = &coordinator{}
	cfg.Coordinator, cfg.ResourceID = e.tc, "jdbc:test://"+e.t.Name()
	var err error
	e.connector, err = xa.Open(e.t.Context(), inner, cfg)
	require.NoError(e.t, err)
	e.db = sql.OpenDB(e.connector)
	e.t.Cleanup(func() {
		require.NoError(e.t, e.db.Close())
		e.rollBackAll()
	})
}

// rollBackAll ends what a test left prepared, so that the database can be dropped.
func (e *env) rollBackAll() {
	left, err := xa.InDoubt(context.Background(), e.plain, e.dialect)
	require.NoError(e.t, err)
	for _, b := range left {
		for _, own := range e.tc.of(b.XID) {
			if own.ID == b.ID {
				_, err := e.plain.Exec(b.Rollback)
				require.NoError(e.t, err)
			}
		}
	}
}

// global begins a global transaction and returns a context that carries it.
func (e *env) global() (context.Context, string) {
	e.next++
	x := "127.0.0.1:8091:" + strconv.FormatInt(time.Now().UnixNano(), 10) + strconv.Itoa(e.next)
	return xid.NewContext(e.t.Context(), x), x
}

func (e *env) exec(ctx context.Context, statement string) {
	e.t.Helper()
	_, err := e.db.ExecContext(ctx, statement)
	require.NoError(e.t, err, statement)
}

// change updates an account in a local transaction that is a branch, prepared.
func (e *env) change(ctx context.Context, id, delta int) {
	e.t.Helper()
	tx, err := e.db.BeginTx(ctx, nil)
	require.NoError(e.t, err)
	_, err = tx.ExecContext(ctx, "UPDATE account SET balance = balance + "+strconv.Itoa(delta)+" WHERE id = "+strconv.Itoa(id))
	require.NoError(e.t, err)
	require.NoError(e.t, tx.Commit())
}

func (e *env) balances() string {
	e.t.Helper()
	rows, err := e.plain.Query("SELECT balance FROM account ORDER BY id")
	require.NoError(e.t, err)
	defer rows.Close()
	var all []string
	for rows.Next() {
		var n string
		require.NoError(e.t, rows.Scan(&n))
		all = append(all, n)
	}
	require.NoError(e.t, rows.Err())
	return strings.Join(all, " ")
}

// only is the one branch of a transaction.
func (e *env) only(x string) rm.Branch {
	e.t.Helper()
	branches := e.tc.of(x)
	require.Len(e.t, branches, 1)
	return branches[0]
}

func (e *env) commit(x string) {
	e.t.Helper()
	for _, b := range e.tc.of(x) {
		status, err := e.connector.Resource().Commit(e.t.Context(), b)
		require.NoError(e.t, err)
		require.Equal(e.t, protocol.BranchPhaseTwoCommitted, status)
	}
}

func (e *env) rollback(x string) {
	e.t.Helper()
	for _, b := range slices.Backward(e.tc.of(x)) {
		status, err := e.connector.Resource().Rollback(e.t.Context(), b)
		require.NoError(e.t, err)
		require.Equal(e.t, protocol.BranchPhaseTwoRollbacked, status)
	}
}

// inDoubt lists the ids of a transaction's prepared branches.
func (e *env) inDoubt(x string) (ids []int64) {
	e.t.Helper()
	left, err := xa.InDoubt(e.t.Context(), e.plain, e.dialect)
	require.NoError(e.t, err)
	for _, b := range left {
		if b.XID == x {
			ids = append(ids, b.ID)
		}
	}
	return ids
}

// clean sees that no connection of the pool is in a transaction, and that no
// lock is left.
func (e *env) clean() {
	e.t.Helper()
	query := "SELECT COUNT(*) FROM information_schema.innodb_trx WHERE trx_mysql_thread_id <> 0 AND trx_mysql_thread_id <> CONNECTION_ID()"
	if e.dialect == schema.PostgreSQL {
		query = "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE '%in transaction%'"
	}
	require.Eventually(e.t, func() bool {
		var open int
		return e.plain.QueryRow(query).Scan(&open) == nil && open == 0
	}, 10*time.Second, 150*time.Millisecond, "a session is inside a transaction") // InnoDB shows what it looked up 100 ms ago
	e.db.SetMaxOpenConns(1)
	defer e.db.SetMaxOpenConns(0)
	ctx, cancel := context.WithTimeout(e.t.Context(), 5*time.Second)
	defer cancel()
	for range 3 {
		_, err := e.db.ExecContext(ctx, "UPDATE account SET balance = balance + 0")
		require.NoError(e.t, err, "a lock or a transaction was left behind")
	}
}
