package xa

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/qiao-tx/qiao/datasource/schema"
	"github.com/qiao-tx/qiao/datasource/sqlparse"
	"github.com/qiao-tx/qiao/datasource/wrap"
)

// SQLSTATEs of PostgreSQL.
const (
	postgresNotFound      = "42704"
	postgresReadOnly      = "25006"
	postgresDivision      = "22012"
	postgresNotSupported  = "0A000"
	postgresNoMoreMemory  = "53200"
	postgresStoppedPrefix = "57" // by a cancellation or an operator, perhaps when it was done
	postgresLostPrefix    = "08"
)

// postgresDatabase finishes a prepared transaction from any session.
type postgresDatabase struct{}

var _ database = (*postgresDatabase)(nil)

func (d *postgresDatabase) check(ctx context.Context, s asker) error {
	n, err := number(ctx, s, "SHOW max_prepared_transactions")
	if err != nil {
		return fmt.Errorf("ask for max_prepared_transactions: %w", err)
	}
	if n == 0 {
		return fmt.Errorf("%w: PostgreSQL's max_prepared_transactions is 0: set it in postgresql.conf to at least the number of branches that are prepared at once (as many as max_connections is a safe choice), and restart the server", ErrNotSupported)
	}
	return nil
}

func (d *postgresDatabase) attached() bool { return false }

const postgresMicros = "(EXTRACT(epoch FROM backend_start) * 1000000)::bigint"

func (d *postgresDatabase) locate(ctx context.Context, s asker) (p place, err error) {
	rows, err := s.query(ctx, "SELECT pid, "+postgresMicros+" FROM pg_stat_activity WHERE pid = pg_backend_pid()")
	if err != nil {
		return place{}, err
	}
	if len(rows) != 1 {
		return place{}, errors.New("the server does not tell when the session began")
	}
	if p.Session, err = strconv.ParseInt(text(rows[0][0]), 10, 64); err != nil {
		return place{}, err
	}
	p.Since, err = strconv.ParseInt(text(rows[0][1]), 10, 64)
	return p, err
}

// look: other roles do not see when a session began.
func (d *postgresDatabase) look(ctx context.Context, s asker, p place) (presence, error) {
	n, err := number(ctx, s, fmt.Sprintf("SELECT COUNT(*) FROM pg_stat_activity WHERE pid = %d AND (backend_start IS NULL OR %s = %d)",
		p.Session, postgresMicros, p.Since))
	return presenceOf(n), err
}

func (d *postgresDatabase) open(ctx context.Context, s asker, opts driver.TxOptions) (bool, error) {
	begin := "BEGIN"
	if opts.Isolation != 0 {
		level := sql.IsolationLevel(opts.Isolation)
		switch level {
		case sql.LevelReadUncommitted, sql.LevelReadCommitted, sql.LevelRepeatableRead, sql.LevelSerializable:
		default:
			return false, fmt.Errorf("PostgreSQL has no isolation level %s", level)
		}
		begin += " ISOLATION LEVEL " + level.String()
	}
	return true, s.exec(ctx, begin)
}

func (d *postgresDatabase) start(context.Context, asker, name, driver.TxOptions) error { return nil }

// prepare sends one text. Its first two statements fail in a transaction that an
// earlier error has aborted, which PREPARE alone would answer by rolling back
// without saying so. The division tells whether anything was written: what was
// not needs no phase two.
func (d *postgresDatabase) prepare(ctx context.Context, s asker, n name) (preparation, error) {
	err := s.exec(ctx, "SAVEPOINT qiao; SELECT 1 / (txid_current_if_assigned() IS NOT NULL)::int; PREPARE TRANSACTION "+n.text(schema.PostgreSQL))
	switch state := wrap.SQLState(err); {
	case err == nil:
		return prepared, nil
	case state == postgresDivision:
		if err := s.exec(ctx, "ROLLBACK TO SAVEPOINT qiao; COMMIT"); err != nil {
			return refused, err
		}
		return readOnly, nil
	case state == "" || strings.HasPrefix(state, postgresLostPrefix) || strings.HasPrefix(state, postgresStoppedPrefix):
		return unanswered, err
	case state == postgresNotSupported:
		return refused, fmt.Errorf("%w: %w", &sqlparse.Unsupported{
			Reason: "a transaction that PostgreSQL cannot prepare", Remedy: "run what it names outside of the global transaction",
		}, err)
	case state == postgresNoMoreMemory:
		return refused, fmt.Errorf("%w (raise max_prepared_transactions, and restart the server)", err)
	}
	return refused, err
}

func (d *postgresDatabase) rollback(ctx context.Context, s asker, _ name) error {
	return s.exec(ctx, "ROLLBACK")
}

func (d *postgresDatabase) finish(ctx context.Context, s asker, n name, commit bool) error {
	verb := "ROLLBACK PREPARED "
	if commit {
		verb = "COMMIT PREPARED "
	}
	err := s.exec(ctx, verb+n.text(schema.PostgreSQL))
	if wrap.SQLState(err) == postgresNotFound {
		return errNotFound
	}
	return err
}

func (d *postgresDatabase) prepared(ctx context.Context, s asker) ([]name, error) {
	rows, err := s.query(ctx, fmt.Sprintf("SELECT gid FROM pg_prepared_xacts WHERE database = current_database() AND gid LIKE '%d\\_%%'", formatID))
	if err != nil {
		return nil, err
	}
	var names []name
	for _, row := range rows {
		if n, ok := nameOfGID(text(row[0])); ok {
			names = append(names, n)
		}
	}
	return names, nil
}

func (d *postgresDatabase) interrupt(p place) string {
	return fmt.Sprintf("SELECT pg_cancel_backend(%d)", p.Session)
}

// notifies finds notifications at the beginning of a text or of one of its
// statements, and calls.
var notifies = regexp.MustCompile(`(?i)(^|;)(\s|/\*.*?\*/|--.*\n)*(LISTEN|UNLISTEN|NOTIFY)\s|\bpg_notify\s*\(`)

// forbids what would end the transaction behind our back, and what PostgreSQL does
// not prepare: in a branch that writes nothing it would come true at once.
func (d *postgresDatabase) forbids(query string) error {
	if notifies.MatchString(query) {
		return &sqlparse.Unsupported{Reason: "LISTEN, UNLISTEN, NOTIFY or pg_notify inside a global transaction",
			Remedy: "notify when it has committed, such as in a tm.Hook's AfterCommit"}
	}
	verbs := []string{firstWord(query)}
	switch verbs[0] {
	case "ROLLBACK", "PREPARE":
		verbs[0] = ""
	}
	if verbs[0] == "" || strings.Contains(strings.TrimRight(query, "; \t\r\n"), ";") {
		var err error
		if verbs, err = sqlparse.Verbs(schema.PostgreSQL, query); err != nil {
			return err
		}
	}
	for _, verb := range verbs {
		if endsTransaction(verb) {
			return &sqlparse.Unsupported{Reason: verb + " as a statement inside a global transaction", Remedy: "use the transaction methods of database/sql"}
		}
	}
	return nil
}

// leaves: the transaction could also be made one that writes.
func (d *postgresDatabase) leaves(query string) error {
	if setsTransaction(firstWord(query), query) {
		return leaving("SET TRANSACTION")
	}
	return d.forbids(query)
}

func (d *postgresDatabase) explain(err error) error { return err }

func (d *postgresDatabase) reads(query string) bool {
	return reads(schema.PostgreSQL, query) && !notifies.MatchString(query)
}

func (d *postgresDatabase) refusedWrite(err error) bool {
	return wrap.SQLState(err) == postgresReadOnly
}
