package fence

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/qiao-tx/qiao/protocol/xid"
	"github.com/qiao-tx/qiao/rm"
	"github.com/qiao-tx/qiao/rm/tcc"
)

// DefaultTable is the name that Apache Seata gives the fence table.
const DefaultTable = "tcc_fence_log"

// Errors of a fence. Match them with errors.Is.
var (
	// ErrSuspended: the branch has been tried or cancelled before, so its try
	// must not run (again). The transaction is rolling back.
	ErrSuspended = errors.New("the fence already has a record of the branch")
	// ErrNotTried: confirm found no record of a try. The action may run on
	// another database than its try did, or the try failed and its error was
	// dropped. Retryable.
	ErrNotTried = errors.New("the fence has no record of a try")
	// ErrContradiction: the branch has already ended the other way. It cannot be
	// mended by repeating; somebody has to look.
	ErrContradiction = errors.New("the branch has already ended the other way")
)

// status of a branch in the table.
type status int

const (
	absent     status = 0 // no record; never stored
	tried      status = 1
	committed  status = 2
	rolledBack status = 3
	suspended  status = 4
)

func (s status) String() string {
	names := []string{"absent", "tried", "committed", "rolled back", "suspended"}
	if s < 0 || int(s) >= len(names) {
		return fmt.Sprintf("status %d", int(s))
	}
	return names[s]
}

// timeFormat is read by MySQL and PostgreSQL and orders as text on SQLite. Times are UTC.
const timeFormat = "2006-01-02 15:04:05.000"

// Fence keeps the records of one database. It may be used concurrently.
type Fence struct {
	db    *sql.DB
	table string
	// postgres: placeholders have numbers, and times are cast.
	postgres bool

	mu sync.Mutex
	// calls are the names of the calls with a compensation that it guards.
	calls []string
}

// guardsCall notes the name of a call with a compensation.
func (f *Fence) guardsCall(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, name)
}

func (f *Fence) callNames() (names []any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, name := range f.calls {
		names = append(names, name)
	}
	return names
}

var tableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)?$`)

// New returns a fence on table, or on DefaultTable when table is empty. The
// table must exist (see script/client/tcc/db). db should reach the database
// directly; if it is one that takes part in global transactions itself, the
// fence sees to it that it does not do so here.
func New(db *sql.DB, table string) (*Fence, error) {
	if table == "" {
		table = DefaultTable
	}
	if !tableName.MatchString(table) {
		return nil, fmt.Errorf("fence table %q: want a plain name of letters, digits and _, with a schema before a dot at most", table)
	}
	return &Fence{db: db, table: table}, nil
}

// NewPostgreSQL is New for a database of PostgreSQL, through any driver.
func NewPostgreSQL(db *sql.DB, table string) (*Fence, error) {
	f, err := New(db, table)
	if err == nil {
		f.postgres = true
	}
	return f, err
}

// sql writes a statement, whose placeholders are "?", or "@" for a time, in the
// database's own way. A table's name has neither.
func (f *Fence) sql(statement string) string {
	if !f.postgres {
		return strings.ReplaceAll(statement, "@", "?")
	}
	var b strings.Builder
	n := 0
	for _, r := range statement {
		switch r {
		case '?':
			n++
			fmt.Fprintf(&b, "$%d", n)
		case '@': // some modes of drivers send a text as a text, which is no time
			n++
			fmt.Fprintf(&b, "CAST(CAST($%d AS text) AS timestamp)", n)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// Try runs fn in a local transaction that also records the branch as tried, and
// commits it. ErrSuspended means that fn was not run. After any other error, too,
// the global transaction must roll back: the commit may or may not have happened,
// and Cancel finds out.
func (f *Fence) Try(ctx context.Context, b rm.Branch, fn func(tx *sql.Tx) error) error {
	var refused error
	err := f.inTx(ctx, func(tx *sql.Tx) error {
		if refused = f.insert(ctx, tx, b, tried); refused != nil {
			return refused
		}
		return fn(tx)
	})
	if refused != nil {
		if s, lookErr := f.look(ctx, b); lookErr == nil && s != absent {
			return fmt.Errorf("try of branch %d of %s: %w: %s", b.ID, b.XID, ErrSuspended, s)
		}
	}
	if err != nil {
		return fmt.Errorf("try of branch %d of %s: %w", b.ID, b.XID, err)
	}
	return nil
}

// Confirm runs fn in a local transaction that also records the branch as
// committed. It returns nil without running fn when that has happened before,
// ErrNotTried without a record, and an ErrContradiction that is tcc.Unretryable
// when the branch was cancelled.
func (f *Fence) Confirm(ctx context.Context, b rm.Branch, fn func(tx *sql.Tx) error) error {
	found, err := f.end(ctx, b, committed, fn)
	if err == nil && !found {
		err = f.confirmed(ctx, b)
	}
	if err != nil {
		return fmt.Errorf("confirm of branch %d of %s: %w", b.ID, b.XID, err)
	}
	return nil
}

// confirmed is nil when a branch that is not tried was confirmed before.
func (f *Fence) confirmed(ctx context.Context, b rm.Branch) error {
	s, err := f.look(ctx, b)
	switch {
	case err != nil:
		return err
	case s == committed:
		return nil
	case s == rolledBack, s == suspended:
		return tcc.Unretryable(fmt.Errorf("%w: %s", ErrContradiction, s))
	}
	return ErrNotTried
}

// Cancel runs fn in a local transaction that also records the branch as rolled
// back. It returns nil without running fn when that has happened before. Without
// a record it leaves one that keeps a late try out, and does not run fn. When the
// branch was confirmed it returns an ErrContradiction that is tcc.Unretryable.
func (f *Fence) Cancel(ctx context.Context, b rm.Branch, fn func(tx *sql.Tx) error) error {
	if err := f.cancel(ctx, b, fn); err != nil {
		return fmt.Errorf("cancel of branch %d of %s: %w", b.ID, b.XID, err)
	}
	return nil
}

func (f *Fence) cancel(ctx context.Context, b rm.Branch, fn func(tx *sql.Tx) error) error {
	s, err := f.look(ctx, b)
	if err != nil {
		return err
	}
	if s == absent {
		err := f.inTx(ctx, func(tx *sql.Tx) error { return f.insert(ctx, tx, b, suspended) })
		if err == nil {
			return nil
		}
		// A try that was under way may have committed meanwhile.
		var lookErr error
		if s, lookErr = f.look(ctx, b); lookErr != nil || s == absent {
			return errors.Join(err, lookErr)
		}
	}
	switch s {
	case rolledBack, suspended:
		return nil
	case committed:
		return tcc.Unretryable(fmt.Errorf("%w: %s", ErrContradiction, s))
	}
	found, err := f.end(ctx, b, rolledBack, fn)
	if err == nil && !found {
		err = errors.New("the branch is being ended by another order at this moment; repeat")
	}
	return err
}

// end moves a tried branch to status s and runs fn, in one local transaction.
// found is false, fn not run and nothing committed when the branch is not tried.
func (f *Fence) end(ctx context.Context, b rm.Branch, s status, fn func(tx *sql.Tx) error) (found bool, err error) {
	err = f.inTx(ctx, func(tx *sql.Tx) error {
		result, err := tx.ExecContext(ctx,
			f.sql("UPDATE "+f.table+" SET status = ?, gmt_modified = @ WHERE xid = ? AND branch_id = ? AND status = ?"),
			s, now(), b.XID, b.ID, tried)
		if err != nil {
			return fmt.Errorf("update of the fence record: %w", err)
		}
		if n, err := result.RowsAffected(); err != nil || n == 0 {
			return cmp.Or(err, errAsItWas)
		}
		found = true
		return fn(tx)
	})
	if !found && errors.Is(err, errAsItWas) {
		err = nil
	}
	return found, err
}

// errAsItWas ends a local transaction that has changed nothing.
var errAsItWas = errors.New("nothing to change")

func (f *Fence) insert(ctx context.Context, tx *sql.Tx, b rm.Branch, s status) error {
	at := now()
	_, err := tx.ExecContext(ctx,
		f.sql("INSERT INTO "+f.table+" (xid, branch_id, action_name, status, gmt_create, gmt_modified) VALUES (?, ?, ?, ?, @, @)"),
		b.XID, b.ID, b.ResourceID, s, at, at)
	if err != nil {
		return fmt.Errorf("insert of the fence record: %w", err)
	}
	return nil
}

// look reads the branch's committed status outside of any transaction.
func (f *Fence) look(ctx context.Context, b rm.Branch) (status, error) {
	var s status
	err := f.db.QueryRowContext(outside(ctx),
		f.sql("SELECT status FROM "+f.table+" WHERE xid = ? AND branch_id = ?"), b.XID, b.ID).Scan(&s)
	if errors.Is(err, sql.ErrNoRows) {
		return absent, nil
	}
	if err != nil {
		return absent, fmt.Errorf("look at the fence record: %w", err)
	}
	return s, nil
}

// inTx runs fn in a local transaction, which a panic of fn rolls back.
func (f *Fence) inTx(ctx context.Context, fn func(tx *sql.Tx) error) error {
	tx, err := f.db.BeginTx(outside(ctx), nil)
	if err != nil {
		return fmt.Errorf("begin a local transaction: %w", err)
	}
	defer func() { _ = tx.Rollback() }() // does nothing after Commit
	if err := fn(tx); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("commit of the local transaction: %w", err)
	}
	return nil
}

// outside hides the global transaction: the fence compensates for what happens
// here, so a data source that would undo it too must not see it.
func outside(ctx context.Context) context.Context { return xid.NewContext(ctx, "") }

func now() string { return time.Now().UTC().Format(timeFormat) }
