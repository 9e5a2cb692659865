package xa

import (
	"context"
	"database/sql/driver"
	"errors"
	"sync"

	"github.com/qiao-tx/qiao/datasource/wrap"
)

// session is a connection to the database. The pool's wrapper lets go of it
// when it has prepared a branch that only it can finish.
type session struct {
	// mu is held during every call of the driver. Phase two may roll back the
	// branch of a session on which no call is under way.
	mu    sync.Mutex
	inner driver.Conn
	// at is where the session is, once it is known.
	at *place
	// reading counts the rows that are open: the connection is theirs meanwhile.
	reading int
	// broken: the session is in an unknown state and must be closed.
	broken bool
}

// exec runs one of our own texts. The caller holds mu.
func (s *session) exec(ctx context.Context, text string) error {
	_, err := wrap.ExecText(ctx, s.inner, text, nil)
	if !errors.Is(err, driver.ErrSkip) {
		return err
	}
	stmt, err := wrap.Prepare(ctx, s.inner, text)
	if err != nil {
		return err
	}
	_, err = wrap.ExecStmt(ctx, stmt, nil)
	return errors.Join(err, stmt.Close())
}

// query runs one of our own queries. The caller holds mu.
func (s *session) query(ctx context.Context, text string) ([][]any, error) {
	rows, err := wrap.QueryText(ctx, s.inner, text, nil)
	if !errors.Is(err, driver.ErrSkip) {
		if err != nil {
			return nil, err
		}
		return wrap.ReadAll(rows)
	}
	stmt, err := wrap.Prepare(ctx, s.inner, text)
	if err != nil {
		return nil, err
	}
	if rows, err = wrap.QueryStmt(ctx, stmt, nil); err != nil {
		return nil, errors.Join(err, stmt.Close())
	}
	all, err := wrap.ReadAll(rows)
	return all, errors.Join(err, stmt.Close())
}

// close ends the session at the database.
func (s *session) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.broken = true
	return s.inner.Close()
}
