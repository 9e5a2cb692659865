//go:build linux

package faults

import (
	"context"
	"database/sql/driver"
	"fmt"
)

// steppingConnector reports the steps around every local commit.
type steppingConnector struct {
	driver.Connector
	steps *failpoints
}

func (c steppingConnector) Connect(ctx context.Context) (driver.Conn, error) {
	inner, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	modern, ok := inner.(modernConn)
	if !ok {
		return nil, fmt.Errorf("a %T lacks an interface that the test forwards", inner)
	}
	return steppingConn{modern, c.steps}, nil
}

// modernConn is what the drivers of both databases have.
type modernConn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.QueryerContext
	driver.Pinger
	driver.SessionResetter
	driver.Validator
}

type steppingConn struct {
	modernConn
	steps *failpoints
}

func (c steppingConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (result driver.Result, err error) {
	if query != "COMMIT" {
		return c.modernConn.ExecContext(ctx, query, args)
	}
	err = commitSteps(c.steps, func() error {
		result, err = c.modernConn.ExecContext(ctx, query, args)
		return err
	})
	return result, err
}

func (c steppingConn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	tx, err := c.modernConn.BeginTx(ctx, opts)
	return steppingTx{tx, c.steps}, err
}

func (c steppingConn) CheckNamedValue(v *driver.NamedValue) error {
	if checker, ok := c.modernConn.(driver.NamedValueChecker); ok {
		return checker.CheckNamedValue(v)
	}
	return driver.ErrSkip
}

type steppingTx struct {
	driver.Tx
	steps *failpoints
}

func (t steppingTx) Commit() error { return commitSteps(t.steps, t.Tx.Commit) }

func commitSteps(steps *failpoints, commit func() error) error {
	steps.reach(beforeLocalCommit)
	err := commit()
	if err == nil {
		steps.reach(afterLocalCommit)
	}
	return err
}
