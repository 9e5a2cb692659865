package xa_test

import (
	"context"
	"database/sql/driver"
	"io"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/datasource/schema"
	"github.com/qiao-tx/qiao/datasource/xa"
	"github.com/qiao-tx/qiao/internal/testenv"
)

// answering is a connector whose server gives one answer for texts that contain
// a word.
type answering struct {
	driver.Connector
	word   string
	answer []driver.Value
}

func (a answering) Connect(ctx context.Context) (driver.Conn, error) {
	c, err := a.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return answeringConn{c.(modernConn), a}, nil
}

type answeringConn struct {
	modernConn
	a answering
}

func (c answeringConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	if !strings.Contains(query, c.a.word) {
		return c.modernConn.QueryContext(ctx, query, args)
	}
	return &answer{row: c.a.answer}, nil
}

// answer is one row.
type answer struct {
	row  []driver.Value
	read bool
}

func (a *answer) Columns() []string { return make([]string, len(a.row)) }
func (a *answer) Close() error      { return nil }
func (a *answer) Next(dest []driver.Value) error {
	if a.read {
		return io.EOF
	}
	a.read = true
	copy(dest, a.row)
	return nil
}

// A database that cannot prepare transactions is refused when it is opened, with
// what to change.
func TestUnfitDatabases(t *testing.T) {
	open := func(inner driver.Connector, d schema.Dialect) error {
		_, err := xa.Open(t.Context(), inner, xa.Config{Dialect: d, Coordinator: &coordinator{}, ResourceID: "x"})
		return err
	}
	pg := openPostgres(t, xa.Config{}).inner
	err := open(answering{pg, "max_prepared_transactions", []driver.Value{"0"}}, schema.PostgreSQL)
	require.ErrorIs(t, err, xa.ErrNotSupported)
	require.ErrorContains(t, err, "postgresql.conf")

	parsed, err := mysql.ParseDSN(testenv.MariaDB(t))
	require.NoError(t, err)
	maria, err := mysql.NewConnector(parsed)
	require.NoError(t, err)
	for _, version := range []string{"10.4.32-MariaDB", "5.7.6-log"} {
		err := open(answering{maria, "VERSION()", []driver.Value{version}}, schema.MySQL)
		require.ErrorIs(t, err, xa.ErrNotSupported, version)
	}
	err = open(nil, schema.SQLite)
	require.ErrorIs(t, err, xa.ErrNotSupported)
	for _, cfg := range []xa.Config{
		{}, {Dialect: schema.MySQL}, {Dialect: schema.MySQL, Coordinator: &coordinator{}},
		{Dialect: schema.MySQL, Coordinator: &coordinator{}, ResourceID: "x", BranchTimeout: -1},
	} {
		_, err := xa.Open(t.Context(), nil, cfg)
		require.Error(t, err)
	}
}

// MySQL 8 shows prepared branches to privileged users only; without them nobody
// could tell a branch that is held from one that is finished.
func TestRecoverIsDenied(t *testing.T) {
	e := openMySQL(t, testenv.MySQLServer{Name: "MySQL", Database: testenv.MySQL}, xa.Config{})
	for _, statement := range []string{
		"DROP USER IF EXISTS plain@'%'", "CREATE USER plain@'%' IDENTIFIED BY 'plain'", "GRANT SELECT, INSERT, UPDATE, DELETE ON *.* TO plain@'%'",
	} {
		_, err := e.plain.Exec(statement)
		require.NoError(t, err)
	}
	var host string
	require.NoError(t, e.plain.QueryRow("SELECT CONCAT('127.0.0.1:', @@port)").Scan(&host))
	cfg := mysql.NewConfig()
	cfg.User, cfg.Passwd, cfg.Net, cfg.Addr = "plain", "plain", "tcp", host
	inner, err := mysql.NewConnector(cfg)
	require.NoError(t, err)
	_, err = xa.Open(t.Context(), inner, xa.Config{Dialect: schema.MySQL, Coordinator: e.tc, ResourceID: "plain"})
	require.ErrorIs(t, err, xa.ErrNotSupported)
	require.ErrorContains(t, err, "XA_RECOVER_ADMIN")
}
