package wrap

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
)

// The functions below call a driver as database/sql would: by the newest
// interface it has, else by the older ones.

// ExecText executes a text. It answers ErrSkip when a statement has to be prepared.
func ExecText(ctx context.Context, c driver.Conn, query string, args []driver.NamedValue) (driver.Result, error) {
	if e, ok := c.(driver.ExecerContext); ok {
		return e.ExecContext(ctx, query, args)
	}
	//lint:ignore SA1019 old drivers have nothing else
	e, ok := c.(driver.Execer)
	if !ok {
		return nil, driver.ErrSkip
	}
	values, err := unnamed(ctx, args)
	if err != nil {
		return nil, err
	}
	return e.Exec(query, values)
}

// QueryText is ExecText for queries.
func QueryText(ctx context.Context, c driver.Conn, query string, args []driver.NamedValue) (driver.Rows, error) {
	if q, ok := c.(driver.QueryerContext); ok {
		return q.QueryContext(ctx, query, args)
	}
	//lint:ignore SA1019 old drivers have nothing else
	q, ok := c.(driver.Queryer)
	if !ok {
		return nil, driver.ErrSkip
	}
	values, err := unnamed(ctx, args)
	if err != nil {
		return nil, err
	}
	return q.Query(query, values)
}

// Prepare prepares a statement.
func Prepare(ctx context.Context, c driver.Conn, query string) (driver.Stmt, error) {
	if p, ok := c.(driver.ConnPrepareContext); ok {
		return p.PrepareContext(ctx, query)
	}
	s, err := c.Prepare(query)
	if err == nil && ctx.Err() != nil {
		return nil, errors.Join(ctx.Err(), s.Close())
	}
	return s, err
}

// ExecStmt executes a prepared statement.
func ExecStmt(ctx context.Context, s driver.Stmt, args []driver.NamedValue) (driver.Result, error) {
	if e, ok := s.(driver.StmtExecContext); ok {
		return e.ExecContext(ctx, args)
	}
	values, err := unnamed(ctx, args)
	if err != nil {
		return nil, err
	}
	//lint:ignore SA1019 old drivers have nothing else
	return s.Exec(values)
}

// QueryStmt is ExecStmt for queries.
func QueryStmt(ctx context.Context, s driver.Stmt, args []driver.NamedValue) (driver.Rows, error) {
	if q, ok := s.(driver.StmtQueryContext); ok {
		return q.QueryContext(ctx, args)
	}
	values, err := unnamed(ctx, args)
	if err != nil {
		return nil, err
	}
	//lint:ignore SA1019 old drivers have nothing else
	return s.Query(values)
}

// Begin begins a transaction.
func Begin(ctx context.Context, c driver.Conn, opts driver.TxOptions) (driver.Tx, error) {
	if b, ok := c.(driver.ConnBeginTx); ok {
		return b.BeginTx(ctx, opts)
	}
	switch {
	case opts.Isolation != 0:
		return nil, errors.New("sql: driver does not support non-default isolation level")
	case opts.ReadOnly:
		return nil, errors.New("sql: driver does not support read-only transactions")
	case ctx.Err() != nil:
		return nil, ctx.Err()
	}
	//lint:ignore SA1019 old drivers have nothing else
	return c.Begin()
}

// unnamed is for calls that know neither contexts nor names.
func unnamed(ctx context.Context, args []driver.NamedValue) ([]driver.Value, error) {
	values := make([]driver.Value, len(args))
	for i, arg := range args {
		if arg.Name != "" {
			return nil, errors.New("sql: driver does not support the use of Named Parameters")
		}
		values[i] = arg.Value
	}
	return values, ctx.Err()
}

// Bind makes driver arguments of our own values.
func Bind(c driver.Conn, args []any) ([]driver.NamedValue, error) {
	named := make([]driver.NamedValue, len(args))
	checker, checks := c.(driver.NamedValueChecker)
	for i, arg := range args {
		named[i] = driver.NamedValue{Ordinal: i + 1, Value: arg}
		err := driver.ErrSkip
		if checks {
			err = checker.CheckNamedValue(&named[i])
		}
		if errors.Is(err, driver.ErrSkip) {
			named[i].Value, err = driver.DefaultParameterConverter.ConvertValue(arg)
		}
		if err != nil {
			return nil, fmt.Errorf("argument %d: %w", i+1, err)
		}
	}
	return named, nil
}

// ReadAll reads and closes rows.
func ReadAll(rows driver.Rows) (all [][]any, err error) {
	defer func() { err = errors.Join(err, rows.Close()) }()
	width := len(rows.Columns())
	values := make([]driver.Value, width)
	for {
		switch err := rows.Next(values); {
		case errors.Is(err, io.EOF):
			return all, nil
		case err != nil:
			return nil, err
		}
		row := make([]any, width)
		for i, v := range values {
			if b, ok := v.([]byte); ok {
				v = append([]byte{}, b...) // the driver may use its buffer again
			}
			row[i] = v
		}
		all = append(all, row)
	}
}

// Ordinals are the arguments of a call that knows neither contexts nor names.
func Ordinals(args []driver.Value) []driver.NamedValue {
	named := make([]driver.NamedValue, len(args))
	for i, v := range args {
		named[i] = driver.NamedValue{Ordinal: i + 1, Value: v}
	}
	return named
}
