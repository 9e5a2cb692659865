package sqlparse

import (
	"fmt"

	"github.com/qiao-tx/qiao/datasource/schema"
)

// Parse reduces one statement. It fails with ErrSyntax when the text does not
// parse, and with ErrUnsupported (an *Unsupported) when AT cannot protect what
// it does. It is a function of its arguments only, and safe to call from
// several goroutines.
func Parse(d schema.Dialect, sql string) (*Statement, error) {
	switch d {
	case schema.MySQL, schema.SQLite, schema.PostgreSQL:
	default:
		return nil, fmt.Errorf("parse: unknown dialect %d", d)
	}
	src, err := scan(d, sql)
	if err != nil {
		return nil, err
	}
	st := &Statement{Params: src.params}
	switch d {
	case schema.MySQL:
		err = parseMySQL(src, st)
	case schema.PostgreSQL:
		err = parsePostgres(src, st)
	default:
		err = parseSQLite(src, st)
	}
	if err != nil {
		return nil, err
	}
	if st.Table == "" && st.Kind != Read && st.Kind != Local {
		return nil, fmt.Errorf("%w: the table's name is empty", ErrSyntax)
	}
	return st, nil
}

func refuse(reason, remedy string) *Unsupported {
	return &Unsupported{Reason: reason, Remedy: remedy}
}

// The words that several refusals share.
const (
	reasonGroups     = "LIMIT counts groups here, not rows of the table"
	reasonSkipLocked = "LIMIT with SKIP LOCKED: which rows it means changes with other transactions' locks"
	reasonInto       = "SELECT … INTO"
	reasonJoin       = "a join or several tables"

	remedyOutside    = "run it outside the global transaction"
	remedyOneTable   = "write one statement for each table, naming the rows by primary key"
	remedyPlain      = "use a plain INSERT, or a SELECT … FOR UPDATE followed by INSERT or UPDATE"
	remedyArgument   = "compute the value first and pass it as an argument"
	remedyReadFirst  = "read the rows first with SELECT … FOR UPDATE, then name them by primary key"
	remedyTx         = "use the transaction methods of database/sql"
	remedyReturning  = "read the rows with a SELECT after the statement"
	remedyValues     = "read the rows first, then insert them with VALUES"
	remedyOwnSelect  = "put FOR UPDATE on a SELECT of its own"
	remedyLockFirst  = "lock the rows with a SELECT of their primary keys first"
	remedySkipLocked = "leave SKIP LOCKED out, or claim the rows by primary key"
	remedyInto       = "read the rows and use them in your program"
	remedyPlainOr    = "leave the OR clause out"
	remedySelect     = "write a SELECT … FROM the table … FOR UPDATE"
)

// checkRows sees that an INSERT's rows fit its columns.
func checkRows(st *Statement) error {
	for i, row := range st.Rows {
		want := len(st.Rows[0])
		if st.Columns != nil {
			want = len(st.Columns)
		}
		if len(row) != want {
			return fmt.Errorf("%w: row %d of the INSERT has %d values where %d are due", ErrSyntax, i+1, len(row), want)
		}
	}
	return nil
}
