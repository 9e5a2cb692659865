package at

import (
	"context"
	"database/sql/driver"
	"errors"
	"slices"
	"strings"

	"github.com/qiao-tx/qiao/datasource/sqlparse"
	"github.com/qiao-tx/qiao/datasource/wrap"
)

// Limits of what a connection remembers of the texts that it executes. MySQL
// bounds the prepared statements of all its connections together
// (max_prepared_stmt_count).
const (
	maxTexts = 32
	// maxTextSize leaves out statements over many rows: their texts differ with
	// the number of rows and seldom come again.
	maxTextSize = 4096
)

// recent holds something about each of the texts used last, the latest at the
// end.
type recent[V any] []recentText[V]

type recentText[V any] struct {
	text  string
	value V
}

// take removes and returns what is held about a text.
func (r *recent[V]) take(text string) (value V, found bool) {
	i := slices.IndexFunc(*r, func(t recentText[V]) bool { return t.text == text })
	if i < 0 {
		return value, false
	}
	value = (*r)[i].value
	*r = slices.Delete(*r, i, i+1)
	return value, true
}

// keep takes a value in and returns the one that has no room, if any: the one
// used longest ago, or value itself.
func (r *recent[V]) keep(text string, value V) (out V, full bool) {
	if len(text) > maxTextSize {
		return value, true
	}
	if full = len(*r) == maxTexts; full {
		out = (*r)[0].value
		*r = slices.Delete(*r, 0, 1)
	}
	*r = append(*r, recentText[V]{text, value})
	return out, full
}

// statements are prepared statements that a connection keeps: preparing costs a
// round trip, and the same images and undo records are wanted again and again.
type statements struct{ recent[driver.Stmt] }

// keep gives back a statement after its use, unless it failed. The errors of
// Close are those of a connection that is gone, which its next use will tell.
func (s *statements) keep(query string, stmt driver.Stmt) {
	if out, full := s.recent.keep(query, stmt); full {
		_ = out.Close()
	}
}

func (s *statements) close() {
	for _, t := range s.recent {
		_ = t.value.Close()
	}
	s.recent = nil
}

// follow closes the statements if the application's own may change what they
// mean: with USE or SET, a text names another table, or reads otherwise. What
// is not known to be harmless counts as such.
func (s *statements) follow(query string) {
	if len(s.recent) > 0 && !leavesSession(query) {
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

// parse is sqlparse.Parse, once for a text that comes again.
func (c *conn) parse(query string) (*sqlparse.Statement, error) {
	st, known := c.parsed.take(query)
	if !known {
		var err error
		if st, err = sqlparse.Parse(c.res.cfg.Dialect, query); err != nil {
			return nil, err
		}
	}
	c.parsed.keep(query, st)
	return st, nil
}

// execInner executes on the wrapped connection, through a kept statement where
// the driver cannot execute text with these arguments itself.
func (c *conn) execInner(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	result, err := wrap.ExecText(ctx, c.inner, query, args)
	if !errors.Is(err, driver.ErrSkip) {
		return result, err
	}
	s, err := c.prepared(ctx, query)
	if err != nil {
		return nil, err
	}
	if result, err = wrap.ExecStmt(ctx, s, args); err != nil {
		_ = s.Close() // err says more
		return nil, err
	}
	c.statements.keep(query, s)
	return result, nil
}

// queryInner is execInner for queries. The rows own the statement, if any,
// until they are closed.
func (c *conn) queryInner(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	rows, err := wrap.QueryText(ctx, c.inner, query, args)
	if !errors.Is(err, driver.ErrSkip) {
		return rows, err
	}
	s, err := c.prepared(ctx, query)
	if err != nil {
		return nil, err
	}
	if rows, err = wrap.QueryStmt(ctx, s, args); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return &wrap.OwnedRows{Rows: rows, Release: func(err error) error {
		if err != nil {
			return s.Close()
		}
		c.statements.keep(query, s)
		return nil
	}}, nil
}

// prepared is the kept statement of a text, or a new one.
func (c *conn) prepared(ctx context.Context, query string) (driver.Stmt, error) {
	if s, kept := c.statements.take(query); kept {
		return s, nil
	}
	return wrap.Prepare(ctx, c.inner, query)
}
