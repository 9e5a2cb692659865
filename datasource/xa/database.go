package xa

import (
	"context"
	"database/sql/driver"
	"fmt"
	"strconv"

	"github.com/qiao-tx/qiao/datasource/schema"
)

// asker runs texts without arguments on one session.
type asker interface {
	exec(ctx context.Context, text string) error
	query(ctx context.Context, text string) ([][]any, error)
}

// preparation is how the attempt to prepare a branch ended.
type preparation uint8

const (
	// prepared: only phase two ends the branch now.
	prepared preparation = iota
	// readOnly: nothing was written, and the transaction is over.
	readOnly
	// refused: the branch is not prepared. Its transaction is still to be rolled
	// back on the session.
	refused
	// unanswered: the session broke. The branch may be prepared or rolled back.
	unanswered
)

// presence is whether a session is still there.
type presence uint8

const (
	// untold: the server does not tell, or is another one.
	untold presence = iota
	present
	gone
)

// database is what differs between the databases.
type database interface {
	// check looks whether the database can take part, and learns what it is.
	check(ctx context.Context, s asker) error
	// attached: the session that prepared a branch must finish it or end.
	attached() bool
	// locate tells where a session is.
	locate(ctx context.Context, s asker) (place, error)
	// look looks for the session of a place.
	look(ctx context.Context, s asker, p place) (presence, error)

	// open begins the transaction before the branch has a name, if it can; start
	// when it has one.
	open(ctx context.Context, s asker, opts driver.TxOptions) (opened bool, err error)
	start(ctx context.Context, s asker, n name, opts driver.TxOptions) error
	prepare(ctx context.Context, s asker, n name) (preparation, error)
	// rollback ends a transaction that is not prepared.
	rollback(ctx context.Context, s asker, n name) error

	// finish ends a prepared branch. The error is errNotFound, errFinished, or
	// the database's.
	finish(ctx context.Context, s asker, n name, commit bool) error
	// prepared lists the branches of Seata's form that are prepared.
	prepared(ctx context.Context, s asker) ([]name, error)
	// interrupt ends the statement that a session executes.
	interrupt(p place) string

	// forbids is the reason why a text must not run inside a branch, or nil.
	forbids(query string) error
	// leaves is the reason why a text must not run in a transaction that only reads
	// and is no branch, or nil.
	leaves(query string) error
	// explain says more about an error that the database gave for a statement
	// because of XA.
	explain(error) error
	// reads tells a query that the database itself can be trusted to run in a
	// read-only transaction; refusedWrite its answer to one that would write.
	reads(query string) bool
	refusedWrite(error) bool
}

func databaseOf(d schema.Dialect) database {
	if d == schema.PostgreSQL {
		return &postgresDatabase{}
	}
	return &mysqlDatabase{}
}

// one is the first column of the only row.
func one(ctx context.Context, s asker, query string) (string, error) {
	rows, err := s.query(ctx, query)
	if err != nil {
		return "", err
	}
	if len(rows) != 1 || len(rows[0]) == 0 {
		return "", fmt.Errorf("%s: %d rows, want one", query, len(rows))
	}
	return text(rows[0][0]), nil
}

// number is one as an integer.
func number(ctx context.Context, s asker, query string) (int64, error) {
	value, err := one(ctx, s, query)
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(value, 10, 64)
}

// text is a driver's value as text.
func text(v any) string {
	switch v := v.(type) {
	case []byte:
		return string(v)
	case nil:
		return ""
	}
	return fmt.Sprint(v)
}

// presenceOf reads how many sessions of a number there are.
func presenceOf(sessions int64) presence {
	if sessions == 0 {
		return gone
	}
	return present
}
