package at

import (
	"context"
	"database/sql/driver"
	"errors"
	"strings"

	"github.com/qiao-tx/qiao/datasource/schema"
	"github.com/qiao-tx/qiao/datasource/wrap"
)

// database is what differs between the databases beyond the text of SQL.
type database struct {
	// rowLocks: local transactions lock rows; else they lock everything.
	rowLocks bool
	// returns: the database answers a statement with the rows that it changed.
	returns bool
	// begin is the text that begins a transaction which will write.
	begin string
	// lenient is run when an undo has begun, "" where nothing is needed: rows
	// that refer to each other are put back one by one.
	lenient string
	// restoring is run on each connection of phase two, "" where nothing is
	// needed: a row goes back as it was, even if it could not be written anew.
	restoring string
	// now is the expression for undo_log's times, ago for the time so many
	// seconds before it.
	now, ago string
	// largestPacket is the expression for the longest statement that the server
	// takes, in bytes; "" where no record is too long for a row.
	largestPacket string
	// statementOnly tells an error that failed one statement and left the
	// transaction as it was.
	statementOnly func(error) bool
	// mendable tells an error after which ROLLBACK TO a savepoint makes the
	// transaction one that can be committed again.
	mendable func(error) bool
	// commitFailed tells an error of COMMIT after which nothing can have been
	// committed.
	commitFailed func(error) bool
	// deadlock tells that the database rolled the transaction back because it
	// and others waited for each other: it may be tried again.
	deadlock func(error) bool
	// duplicate tells the violation of a unique key.
	duplicate func(error) bool
	// busy tells that another connection holds the database's write lock.
	busy func(error) bool
}

func databaseOf(d schema.Dialect) database {
	if d == schema.PostgreSQL {
		return postgresDatabase()
	}
	if d == schema.SQLite {
		return database{
			begin: "BEGIN IMMEDIATE", lenient: "PRAGMA defer_foreign_keys = 1", now: "strftime('%Y-%m-%d %H:%M:%f', 'now')",
			ago:           "strftime('%Y-%m-%d %H:%M:%f', 'now', '-' || ? || ' seconds')",
			statementOnly: sqliteStatementOnly,
			mendable:      func(error) bool { return false },
			commitFailed:  func(error) bool { return false },
			deadlock:      func(error) bool { return false },
			duplicate:     func(err error) bool { return sqliteCode(err) == sqliteConstraint },
			busy:          sqliteBusyOrLocked,
		}
	}
	return database{
		rowLocks: true, begin: "START TRANSACTION", restoring: mysqlRestoring, now: "NOW(6)", ago: "NOW(6) - INTERVAL ? SECOND",
		largestPacket: "@@max_allowed_packet",
		statementOnly: mysqlStatementOnly,
		mendable:      func(error) bool { return false },
		commitFailed:  mysqlCommitFailed,
		deadlock:      func(err error) bool { return wrap.MySQLNumber(err) == mysqlDeadlock },
		duplicate:     func(err error) bool { return wrap.MySQLNumber(err) == mysqlDuplicate },
		busy:          func(error) bool { return false },
	}
}

// mysqlRestoring lets zero keep its place in an AUTO_INCREMENT column and dates
// such as 0000-00-00 be written back.
const mysqlRestoring = "SET SESSION sql_mode = CONCAT(" +
	"REPLACE(REPLACE(REPLACE(@@sql_mode, 'TRADITIONAL', ''), 'NO_ZERO_IN_DATE', ''), 'NO_ZERO_DATE', ''), " +
	"',NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES')"

// Numbers of MySQL's errors.
const (
	mysqlDuplicate   = 1062
	mysqlLockTimeout = 1205
	mysqlDeadlock    = 1213
)

// mysqlStatementOnly: a deadlock ends the transaction, a lock time-out may.
func mysqlStatementOnly(err error) bool {
	switch wrap.MySQLNumber(err) {
	case 0, mysqlLockTimeout, mysqlDeadlock:
		return false
	}
	return true
}

// mysqlCommitFailed: the server refused, or the driver wrote nothing.
func mysqlCommitFailed(err error) bool {
	return wrap.MySQLNumber(err) != 0 || errors.Is(err, driver.ErrBadConn)
}

// SQLite's primary result codes.
const (
	sqliteError      = 1
	sqliteBusy       = 5
	sqliteLocked     = 6
	sqliteTooBig     = 18
	sqliteConstraint = 19
	sqliteMismatch   = 20
	sqliteRange      = 25
)

// sqliteCode is the primary result code of an error of any of the drivers that
// tell it by a method; 0 for other errors.
func sqliteCode(err error) int {
	var coded interface{ Code() int }
	if errors.As(err, &coded) {
		return coded.Code() & 0xff
	}
	return 0
}

func sqliteStatementOnly(err error) bool {
	switch sqliteCode(err) {
	case sqliteError, sqliteTooBig, sqliteConstraint, sqliteMismatch, sqliteRange:
		return true
	}
	return false
}

func sqliteBusyOrLocked(err error) bool {
	switch sqliteCode(err) {
	case sqliteBusy, sqliteLocked:
		return true
	case 0: // a driver without codes
		return err != nil && strings.Contains(err.Error(), "database is locked")
	}
	return false
}

// sqliteTx is a transaction begun with BEGIN IMMEDIATE, which takes the write
// lock at once: a transaction that reads first and writes later cannot wait
// for it.
type sqliteTx struct {
	res     *Resource
	session session
}

// Commit waits for readers of the old content, if any.
func (t sqliteTx) Commit() error {
	ctx, cancel := context.WithTimeout(context.Background(), t.res.cfg.BusyWait+cleanupWait)
	defer cancel()
	return t.res.awaitFile(ctx, func() error {
		_, err := t.session.Exec(ctx, "COMMIT")
		return err
	})
}

func (t sqliteTx) Rollback() error {
	ctx, cancel := context.WithTimeout(context.Background(), cleanupWait)
	defer cancel()
	_, err := t.session.Exec(ctx, "ROLLBACK")
	return err
}

// awaitFile repeats work while another connection holds the file.
func (r *Resource) awaitFile(ctx context.Context, work func() error) error {
	return r.poll(ctx, r.cfg.BusyWait, "the SQLite file, which another connection writes", r.db.busy, work)
}
