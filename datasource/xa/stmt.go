package xa

import (
	"context"
	"database/sql/driver"

	"github.com/qiao-tx/qiao/datasource/wrap"
)

// stmt is a prepared statement. It may run inside and outside of global
// transactions.
type stmt struct {
	conn  *conn
	inner driver.Stmt
	query string
}

// Close may come when the session has gone with a prepared branch; phase two
// waits meanwhile.
func (s *stmt) Close() error { return s.conn.call(s.inner.Close) }

func (s *stmt) NumInput() int { return s.inner.NumInput() }

// Exec is for callers without a context.
func (s *stmt) Exec(args []driver.Value) (driver.Result, error) {
	return s.ExecContext(context.Background(), wrap.Ordinals(args))
}

// Query is for callers without a context.
func (s *stmt) Query(args []driver.Value) (driver.Rows, error) {
	return s.QueryContext(context.Background(), wrap.Ordinals(args))
}

func (s *stmt) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	return s.conn.exec(ctx, s.query, func(ctx context.Context) (driver.Result, error) {
		return wrap.ExecStmt(ctx, s.inner, args)
	})
}

func (s *stmt) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	return s.conn.query(ctx, s.query, func(ctx context.Context) (driver.Rows, error) {
		return wrap.QueryStmt(ctx, s.inner, args)
	})
}

// CheckNamedValue lets the driver convert an argument: its statement if that
// can, else its connection, as database/sql would ask them.
func (s *stmt) CheckNamedValue(v *driver.NamedValue) error {
	if n, ok := s.inner.(driver.NamedValueChecker); ok {
		return n.CheckNamedValue(v)
	}
	return s.conn.CheckNamedValue(v)
}

// ColumnConverter lets old drivers convert an argument.
func (s *stmt) ColumnConverter(index int) driver.ValueConverter {
	//lint:ignore SA1019 old drivers have nothing else
	if c, ok := s.inner.(driver.ColumnConverter); ok {
		return c.ColumnConverter(index)
	}
	return driver.DefaultParameterConverter
}
