package xa

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/qiao-tx/qiao/datasource/schema"
	"github.com/qiao-tx/qiao/datasource/sqlparse"
	"github.com/qiao-tx/qiao/datasource/wrap"
)

// Numbers of MySQL's errors.
const (
	mysqlNotFound    = 1397 // XAER_NOTA
	mysqlWrongState  = 1399 // XAER_RMFAIL
	mysqlOutside     = 1400 // XAER_OUTSIDE
	mysqlInterrupted = 1317
	mysqlRolledBack  = 1402 // XA_RBROLLBACK
	mysqlReadOnly    = 1792
	mysqlLockTimeout = 1205
)

// mysqlDatabase is MySQL or MariaDB.
type mysqlDatabase struct {
	mariaDB  bool
	detaches bool
	// flushes: the user may have the server write its log out. Else logDelay is how
	// long it may take to do so by itself.
	flushes  bool
	logDelay time.Duration
}

var _ database = (*mysqlDatabase)(nil)

func (d *mysqlDatabase) check(ctx context.Context, s asker) error {
	version, err := one(ctx, s, "SELECT VERSION()")
	if err != nil {
		return fmt.Errorf("ask for the server's version: %w", err)
	}
	d.mariaDB = strings.Contains(version, "MariaDB")
	if oldest := d.oldest(); older(version, oldest) {
		return fmt.Errorf("%w: the server is %s, which forgets a prepared branch when its session ends: XA needs MySQL 5.7.7 or MariaDB 10.5 at least", ErrNotSupported, version)
	}
	rows, err := s.query(ctx, "SHOW VARIABLES LIKE 'xa_detach_on_prepare'")
	if err != nil {
		return fmt.Errorf("ask for xa_detach_on_prepare: %w", err)
	}
	d.detaches = len(rows) == 1 && strings.EqualFold(text(rows[0][1]), "ON")
	seconds, err := number(ctx, s, "SELECT @@innodb_flush_log_at_timeout")
	if err != nil {
		return fmt.Errorf("ask for innodb_flush_log_at_timeout: %w", err)
	}
	d.logDelay = time.Duration(seconds)*time.Second + logSlack
	d.flushes = s.exec(ctx, flushLog) == nil
	if _, err := d.prepared(ctx, s); err != nil {
		return fmt.Errorf("%w: XA RECOVER: %w; grant the user XA_RECOVER_ADMIN", ErrNotSupported, err)
	}
	return nil
}

func (d *mysqlDatabase) oldest() string {
	if d.mariaDB {
		return "10.5.0"
	}
	return "5.7.7"
}

// older compares versions such as 10.11.6-MariaDB-1.
func older(version, than string) bool {
	version, _, _ = strings.Cut(version, "-")
	have, want := strings.Split(version, "."), strings.Split(than, ".")
	for i := range want {
		h := 0
		if i < len(have) {
			h, _ = strconv.Atoi(have[i])
		}
		if w, _ := strconv.Atoi(want[i]); h != w {
			return h < w
		}
	}
	return false
}

func (d *mysqlDatabase) attached() bool { return !d.detaches }

// locate asks one statement for everything: within it the time and the uptime
// are of one moment, so their difference is when the server started by its own
// clock, whatever has happened to that since.
func (d *mysqlDatabase) locate(ctx context.Context, s asker) (place, error) {
	status := "performance_schema.global_status"
	if d.mariaDB {
		status = "information_schema.global_status"
	}
	rows, err := s.query(ctx, "SELECT CONNECTION_ID(), CONCAT(@@hostname, ':', @@port), CURRENT_USER(), "+
		"CAST(UNIX_TIMESTAMP() - variable_value AS SIGNED) FROM "+status+" WHERE variable_name = 'Uptime'")
	if err != nil {
		return place{}, err
	}
	if len(rows) != 1 {
		return place{}, errors.New("the server does not tell its uptime")
	}
	p := place{Server: text(rows[0][1]), User: text(rows[0][2])}
	if p.Session, err = strconv.ParseInt(text(rows[0][0]), 10, 64); err != nil {
		return place{}, err
	}
	p.Since, err = strconv.ParseInt(text(rows[0][3]), 10, 64)
	return p, err
}

// look: a server that started at another second has been restarted, which ends
// all sessions. Else the list of sessions tells, but only those of the same user on
// the same server.
func (d *mysqlDatabase) look(ctx context.Context, s asker, p place) (presence, error) {
	here, err := d.locate(ctx, s)
	switch {
	case err != nil || here.Server != p.Server || here.User != p.User:
		return untold, err
	case here.Since != p.Since:
		return gone, nil
	}
	n, err := number(ctx, s, fmt.Sprintf("SELECT COUNT(*) FROM information_schema.processlist WHERE id = %d", p.Session))
	return presenceOf(n), err
}

func (d *mysqlDatabase) open(context.Context, asker, driver.TxOptions) (bool, error) {
	return false, nil
}

func (d *mysqlDatabase) start(ctx context.Context, s asker, n name, opts driver.TxOptions) error {
	if opts.Isolation != 0 {
		level := sql.IsolationLevel(opts.Isolation)
		switch level {
		case sql.LevelReadUncommitted, sql.LevelReadCommitted, sql.LevelRepeatableRead, sql.LevelSerializable:
		default:
			return fmt.Errorf("MySQL has no isolation level %s", level)
		}
		if err := s.exec(ctx, "SET TRANSACTION ISOLATION LEVEL "+level.String()); err != nil {
			return err
		}
	}
	return s.exec(ctx, "XA START "+n.text(schema.MySQL))
}

// prepare never gets readOnly: the server prepares what wrote nothing, too.
func (d *mysqlDatabase) prepare(ctx context.Context, s asker, n name) (preparation, error) {
	if err := s.exec(ctx, "XA END "+n.text(schema.MySQL)); err != nil {
		return refused, err
	}
	err := s.exec(ctx, "XA PREPARE "+n.text(schema.MySQL))
	switch {
	case err == nil:
		return prepared, nil
	case wrap.MySQLNumber(err) != 0 && wrap.MySQLNumber(err) != mysqlInterrupted:
		return refused, err
	}
	return unanswered, err // an interruption may have come when it was done
}

func (d *mysqlDatabase) rollback(ctx context.Context, s asker, n name) error {
	// It is ended already when PREPARE was refused, or marked for rollback.
	if err := s.exec(ctx, "XA END "+n.text(schema.MySQL)); err != nil && wrap.MySQLNumber(err) == 0 {
		return err
	}
	return s.exec(ctx, "XA ROLLBACK "+n.text(schema.MySQL))
}

// finish: MariaDB rolls back a prepared branch that wrote nothing when its
// session ends, and says so when it is to be committed.
func (d *mysqlDatabase) finish(ctx context.Context, s asker, n name, commit bool) error {
	verb := "XA ROLLBACK "
	if commit {
		verb = "XA COMMIT "
	}
	err := s.exec(ctx, verb+n.text(schema.MySQL))
	switch number := wrap.MySQLNumber(err); {
	case number == mysqlNotFound:
		return errNotFound
	case number == mysqlRolledBack && (!commit || d.mariaDB):
		return nil
	case err != nil || commit:
		return err
	}
	return d.makeDurable(ctx, s)
}

// flushLog needs the privilege RELOAD.
const flushLog = "FLUSH LOCAL ENGINE LOGS"

// logSlack is on top of the time after which InnoDB writes its log by itself.
const logSlack = 500 * time.Millisecond

// makeDurable sees to it that a rollback which the server has answered survives
// its crash. InnoDB does not write its log out for a rollback: a server that is
// killed within a second has the branch prepared again when it comes back, with
// its locks, and nobody would look for it any more.
func (d *mysqlDatabase) makeDurable(ctx context.Context, s asker) error {
	if d.flushes {
		if err := s.exec(ctx, flushLog); err != nil {
			return fmt.Errorf("write InnoDB's log out after a rollback: %w", err)
		}
		return nil
	}
	return pause(ctx, d.logDelay)
}

func (d *mysqlDatabase) prepared(ctx context.Context, s asker) ([]name, error) {
	rows, err := s.query(ctx, "XA RECOVER")
	if err != nil {
		return nil, err
	}
	var names []name
	for _, row := range rows {
		if len(row) != 4 || text(row[0]) != strconv.Itoa(formatID) {
			continue
		}
		data := text(row[3])
		if length, err := strconv.Atoi(text(row[1])); err == nil && length <= len(data) {
			if n, ok := nameOf(data[:length], data[length:]); ok {
				names = append(names, n)
			}
		}
	}
	return names, nil
}

func (d *mysqlDatabase) interrupt(p place) string { return fmt.Sprintf("KILL QUERY %d", p.Session) }

// forbids: the server itself refuses everything else that would end the branch.
func (d *mysqlDatabase) forbids(query string) error {
	if firstWord(query) == "XA" {
		return &sqlparse.Unsupported{Reason: "an XA statement inside a global transaction", Remedy: "leave it to the data source"}
	}
	return nil
}

// leaves: here the server does not refuse what ends the transaction, as it does in
// a branch.
func (d *mysqlDatabase) leaves(query string) error {
	verbs, err := sqlparse.Verbs(schema.MySQL, query)
	if err != nil {
		return err
	}
	for _, verb := range verbs {
		word, _, _ := strings.Cut(verb, " ")
		switch word {
		case "LOCK", "UNLOCK", "XA", "CALL", "EXECUTE":
			return leaving(verb)
		}
		if endsTransaction(verb) || setsTransaction(word, query) {
			return leaving(verb)
		}
	}
	return nil
}

func (d *mysqlDatabase) explain(err error) error {
	switch wrap.MySQLNumber(err) {
	case mysqlWrongState, mysqlOutside:
		return fmt.Errorf("%w: %w", &sqlparse.Unsupported{
			Reason: "a statement that commits implicitly, inside an XA branch",
			Remedy: "run it outside of the global transaction",
		}, err)
	case mysqlLockTimeout:
		return fmt.Errorf("%w (an XA branch keeps its rows until its global transaction ends: change a row in one local transaction only)", err)
	}
	return err
}

// reads: a locking read keeps its locks, so it must be in a branch.
func (d *mysqlDatabase) reads(query string) bool { return reads(schema.MySQL, query) }

func (d *mysqlDatabase) refusedWrite(err error) bool { return wrap.MySQLNumber(err) == mysqlReadOnly }
