package wrap

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"

	"github.com/go-sql-driver/mysql"

	"github.com/qiao-tx/qiao/protocol/xid"
)

// Errors of local transactions in every mode. Match them with errors.Is. None is
// worth a retry by itself.
var (
	// ErrMismatch: the statement's context carries a global transaction, and
	// the local transaction it runs in was begun outside of it or in another.
	ErrMismatch = errors.New("the local transaction is not part of the context's global transaction")
	// ErrMustRollBack: the database or the mode gave the local transaction up.
	ErrMustRollBack = errors.New("the local transaction can only be rolled back")
	// ErrOutcomeUnknown: the connection broke while the local transaction ended.
	// Roll the global transaction back: whatever there is, is then undone.
	ErrOutcomeUnknown = errors.New("whether the local transaction was committed is unknown")
)

// XID is the global transaction whose rollback a wrapper makes good in the work of
// ctx, or "". What a TCC try or a call with a compensation writes is taken back by
// that, and only once.
func XID(ctx context.Context) string {
	if xid.BranchType(ctx) != xid.TypeAT {
		return ""
	}
	return xid.FromContext(ctx)
}

// Global tells which global transaction work with ctx belongs to, on a
// connection whose local transaction, if open, is bound to the XID bound. A
// statement without a context inside a bound local transaction belongs to that
// one: tx.Exec means the transaction it is called on.
func Global(ctx context.Context, open bool, bound string) (string, error) {
	x := XID(ctx)
	switch {
	case !open || bound == x:
		return x, nil
	case x == "":
		return bound, nil
	case bound == "":
		return "", fmt.Errorf("%w: it was begun outside of %s; pass the context to BeginTx too", ErrMismatch, x)
	}
	return "", fmt.Errorf("%w: it was begun in %s, the context carries %s", ErrMismatch, bound, x)
}

// NotRepeatable hides driver.ErrBadConn from database/sql, which would run the
// work again.
func NotRepeatable(err error) error {
	if errors.Is(err, driver.ErrBadConn) {
		return errors.New(err.Error())
	}
	return err
}

// MySQLNumber is the number of an error of MySQL's; 0 for other errors.
func MySQLNumber(err error) uint16 {
	var e *mysql.MySQLError
	if errors.As(err, &e) {
		return e.Number
	}
	return 0
}

// SQLState is the SQLSTATE of an error of any of the drivers that tell it by a
// method; "" for other errors.
func SQLState(err error) string {
	var coded interface{ SQLState() string }
	if errors.As(err, &coded) {
		return coded.SQLState()
	}
	return ""
}
