// Package sqlparse reduces SQL to the small Statement that AT works on.
//
// Job: parse one statement of a dialect; say what AT has to do for it, or why
// AT cannot protect it.
// Owner: datasource/at calls it for statements inside a global transaction only.
// It must not know: connections, schemas, images.
package sqlparse

import (
	"errors"
	"fmt"
)

// Kind is what AT has to do for a statement.
type Kind uint8

// The kinds of statement.
const (
	// Read changes nothing and locks nothing: it goes to the driver as it is.
	Read Kind = iota + 1
	// Insert, Update, Delete change rows of one table.
	Insert
	Update
	Delete
	// SelectForUpdate reads rows of one table and checks their global locks.
	SelectForUpdate
	// Local has no rows to protect (SET, SAVEPOINT, SHOW …): it goes to the
	// driver as it is.
	Local
)

// Expr is a piece of SQL with its placeholders.
type Expr struct {
	// SQL is text with "?" for each placeholder; "" when the piece is absent. On
	// PostgreSQL it is $1, $2 …, counted through Where, OrderBy and Limit in this
	// order; one that comes again keeps its number.
	SQL string
	// Params are the zero-based positions, among the whole statement's
	// placeholders, of SQL's "?" in order; on PostgreSQL, of the numbers that
	// come in SQL first.
	Params []int
}

// ValueKind tells what an inserted value is.
type ValueKind uint8

// The kinds of value.
const (
	ValueParam   ValueKind = iota + 1 // a placeholder; Param is its position
	ValueLiteral                      // a constant; Literal is it
	ValueNull                         // NULL
	ValueDefault                      // DEFAULT, or the column is left out
	ValueExpr                         // anything else: its value is not known before execution
)

// SavepointVerb is what a statement does to a savepoint.
type SavepointVerb uint8

// The verbs.
const (
	SetSavepoint SavepointVerb = iota + 1
	RollbackToSavepoint
	ReleaseSavepoint
)

// Savepoint is a verb with the savepoint it is about. Names compare in any
// letter case; PostgreSQL's, which are folded here, as they are.
type Savepoint struct {
	Verb SavepointVerb
	Name string
}

// Value is one value of an INSERT.
type Value struct {
	Kind  ValueKind
	Param int
	// Literal is an int64, uint64, float64 or string; MySQL's decimals are strings.
	Literal any
}

// Statement is one parsed statement. Names are as written, without quotes; on
// PostgreSQL, those that stood without quotes are in lower case.
type Statement struct {
	Kind Kind
	// Schema is the qualifier of the table, "" when not qualified.
	Schema, Table string
	// Alias is the name by which Where refers to the table, "" when none.
	Alias string
	// Params counts the statement's placeholders.
	Params int

	// Where, OrderBy and Limit are the clauses of an UPDATE, DELETE or SELECT
	// … FOR UPDATE, without their keywords, as written. A query for the row
	// images can repeat them: they give the same rows when they run again.
	// A rollback undoes rows in the reverse of OrderBy: on the way back each row
	// passes the same unique and foreign keys. A SELECT without Limit has none.
	Where, OrderBy, Limit Expr
	// OrderColumns are the columns of OrderBy where there is a Limit. Unless the
	// primary key is among them, rows may tie, and a repeated LIMIT may mean
	// other rows.
	OrderColumns []string

	// Set lists the columns an UPDATE assigns.
	Set []string

	// Columns of an INSERT; nil when the statement lists none (then the
	// table's own order counts). Rows has one entry per VALUES row.
	Columns []string
	Rows    [][]Value

	// ForUpdateSuffix is the locking clause as written, such as
	// "FOR UPDATE NOWAIT".
	ForUpdateSuffix string
	// Head and Tail are, on PostgreSQL, the statement's text around a place in its
	// list of result columns where others can be put: at the end of RETURNING,
	// which Head adds to an INSERT, UPDATE or DELETE that has none, and before the
	// FROM of a SELECT … FOR UPDATE.
	Head, Tail string
	// Returns tells that the statement has result columns of its own.
	Returns bool
	// Savepoint of a Local statement; the zero value when it is about none.
	Savepoint Savepoint
	// Rewritten is what the driver must be given in place of the statement, ""
	// when that is the statement itself. SQLite has no FOR UPDATE: there it is
	// the SELECT without it.
	Rewritten string
}

// ErrUnsupported: AT cannot protect the statement, so it must not run inside a
// global transaction. The error is an *Unsupported with the reason.
var ErrUnsupported = errors.New("AT cannot protect this statement")

// ErrSyntax: the statement does not parse in the dialect.
var ErrSyntax = errors.New("the statement does not parse")

// Unsupported says why, and what to do instead.
type Unsupported struct {
	// Reason names the construct; Remedy what the caller can do.
	Reason, Remedy string
}

func (e *Unsupported) Error() string {
	return fmt.Sprintf("%v: %s; %s", ErrUnsupported, e.Reason, e.Remedy)
}

// Is makes errors.Is(err, ErrUnsupported) true.
func (e *Unsupported) Is(target error) bool { return target == ErrUnsupported }
