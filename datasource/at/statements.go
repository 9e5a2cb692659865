package at

import (
	"context"
	"database/sql/driver"
	"errors"
	"slices"
	"strings"
)

// Limits of the statements that a connection keeps. MySQL bounds the prepared
// statements of all its connections together (max_prepared_stmt_count).
const (
	maxStatements = 32
	// maxStatementText leaves out statements over many rows: their texts differ
	// with the number of rows and seldom come again.
	maxStatementText = 4096
)

// statements are prepared statements that a connection keeps: preparing costs a
// round trip, and the same images and undo records are wanted again and again.
// The one used last is at the end.
type statements []keptStatement

type keptStatement struct {
	query string
	stmt  driver.Stmt
}

// take removes the statement of a text; nil when none is kept. Its user gives
// it back with keep, or closes it when it failed.
func (s *statements) take(query string) driver.Stmt {
	i := slices.IndexFunc(*s, func(k keptStatement) bool { return k.query == query })
	if i < 0 {
		return nil
	}
	stmt := (*s)[i].stmt
	*s = slices.Delete(*s, i, i+1)
	return stmt
}

// keep keeps a statement and closes another one if there are too many. The
// errors of Close are those of a connection that is gone, which its next use
// will tell.
func (s *statements) keep(query string, stmt driver.Stmt) {
	if len(query) > maxStatementText {
		_ = stmt.Close()
		return
	}
	if len(*s) == maxStatements {
		_ = (*s)[0].stmt.Close()
		*s = slices.Delete(*s, 0, 1)
	}
	*s = append(*s, keptStatement{query, stmt})
}

func (s *statements) close() {
	for _, k := range *s {
		_ = k.stmt.Close()
	}
	*s = nil
}

// follow closes the statements if the application's own may change what they
// mean: with USE or SET, a text names another table, or reads otherwise. What
// is not known to be harmless counts as such.
func (s *statements) follow(query string) {
	if len(*s) > 0 && !leavesSession(query) {
		s.close()
	}
}

// leavesSession tells a text that is a single statement and changes no setting.
func leavesSession(query string) bool {
	const blank = " \t\r\n"
	query = strings.TrimLeft(query, blank)
	word := query
	if i := strings.IndexAny(query, blank); i >= 0 {
		word = query[:i]
	}
	for _, harmless := range []string{"SELECT", "INSERT", "UPDATE", "DELETE"} {
		if strings.EqualFold(word, harmless) {
			return !strings.Contains(strings.TrimRight(query, blank+";"), ";")
		}
	}
	return false
}

// execInner executes on the wrapped connection, through a kept statement where
// the driver cannot execute text with these arguments itself.
func (c *conn) execInner(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	result, err := execText(ctx, c.inner, query, args)
	if !errors.Is(err, driver.ErrSkip) {
		return result, err
	}
	s, err := c.prepared(ctx, query)
	if err != nil {
		return nil, err
	}
	if result, err = execStmt(ctx, s, args); err != nil {
		_ = s.Close() // err says more
		return nil, err
	}
	c.statements.keep(query, s)
	return result, nil
}

// queryInner is execInner for queries. The rows own the statement, if any,
// until they are closed.
func (c *conn) queryInner(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	rows, err := queryText(ctx, c.inner, query, args)
	if !errors.Is(err, driver.ErrSkip) {
		return rows, err
	}
	s, err := c.prepared(ctx, query)
	if err != nil {
		return nil, err
	}
	if rows, err = queryStmt(ctx, s, args); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return &ownedRows{Rows: rows, release: func(err error) error {
		if err != nil {
			return s.Close()
		}
		c.statements.keep(query, s)
		return nil
	}}, nil
}

// prepared is the kept statement of a text, or a new one.
func (c *conn) prepared(ctx context.Context, query string) (driver.Stmt, error) {
	if s := c.statements.take(query); s != nil {
		return s, nil
	}
	return prepareConn(ctx, c.inner, query)
}
