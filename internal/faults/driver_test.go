//go:build linux

package faults

import (
	"context"
	"database/sql/driver"
	"fmt"
	"strings"
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
}

type steppingConn struct {
	modernConn
	steps *failpoints
}

func (c steppingConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (result driver.Result, err error) {
	if !isCommit(query) {
		return c.modernConn.ExecContext(ctx, query, args)
	}
	err = commitSteps(c.steps, func() error {
		result, err = c.modernConn.ExecContext(ctx, query, args)
		return err
	})
	return result, err
}

// isCommit tells the texts that end a local transaction; under XA there is one in
// each phase.
func isCommit(query string) bool {
	for _, text := range []string{
		"XA PREPARE ", "XA COMMIT ", "XA ROLLBACK ", "SAVEPOINT qiao; ", "COMMIT PREPARED ", "ROLLBACK PREPARED ",
	} {
		if strings.HasPrefix(query, text) {
			return true
		}
	}
	return query == "COMMIT"
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

func (c steppingConn) IsValid() bool {
	v, ok := c.modernConn.(driver.Validator)
	return !ok || v.IsValid()
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
