package at_test

import (
	"context"
	"database/sql/driver"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/stdlib"

	"github.com/qiao-tx/qiao/datasource/schema"
	"github.com/qiao-tx/qiao/internal/testenv"
)

// onPostgres runs a test on PostgreSQL. Texts are taken as written for it.
func onPostgres(t testing.TB, s settings, ddl ...string) *env {
	t.Helper()
	s.asWritten = true
	return openPostgres(t, s, ddl)
}

func openPostgres(t testing.TB, s settings, ddl []string) *env {
	t.Helper()
	connector := postgresConnector{testenv.PostgreSQL(t) + s.urlSuffix}
	e := open(t, schema.PostgreSQL, connector, connector, s, ddl)
	e.dsn = connector.dsn
	return e
}

type postgresConnector struct{ dsn string }

func (c postgresConnector) Connect(context.Context) (driver.Conn, error) {
	return stdlib.GetDefaultDriver().Open(c.dsn)
}
func (c postgresConnector) Driver() driver.Driver { return stdlib.GetDefaultDriver() }

// translating lets the tests that all databases share say "?", `name` and
// LONGTEXT to PostgreSQL too.
type translating struct{ driver.Connector }

func (c translating) Connect(ctx context.Context) (driver.Conn, error) {
	inner, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return translatingConn{inner.(able)}, nil
}

func (c translating) Close() error {
	if closer, ok := c.Connector.(interface{ Close() error }); ok {
		return closer.Close()
	}
	return nil
}

// able is what the connections of AT and of pgx can do.
type able interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.QueryerContext
	driver.Pinger
	driver.SessionResetter
	driver.NamedValueChecker
}

type translatingConn struct{ able }

func (c translatingConn) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	return c.able.PrepareContext(ctx, numbered(query))
}

func (c translatingConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	return c.able.ExecContext(ctx, numbered(query), args)
}

func (c translatingConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	return c.able.QueryContext(ctx, numbered(query), args)
}

func (c translatingConn) IsValid() bool {
	v, ok := c.able.(driver.Validator)
	return !ok || v.IsValid()
}

func numbered(query string) string {
	query = strings.NewReplacer("`", `"`, "LONGTEXT", "TEXT").Replace(query)
	for n := 1; strings.Contains(query, "?"); n++ {
		query = strings.Replace(query, "?", fmt.Sprintf("$%d", n), 1)
	}
	return query
}
