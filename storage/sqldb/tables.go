package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/qiao-tx/qiao/storage"
)

// prepareTables creates the tables if it may, checks that they are there, and
// returns how much their columns hold.
func prepareTables(ctx context.Context, db *sql.DB, d *dialect, create bool) (widths, error) {
	if create {
		for _, statement := range strings.Split(withoutComments(d.ddl), ";\n") {
			if strings.TrimSpace(statement) == "" {
				continue
			}
			if _, err := db.ExecContext(ctx, statement); err != nil {
				return nil, fmt.Errorf("%w: create the tables: %w", ErrConfig, err)
			}
		}
	}
	w := make(widths)
	err := query(ctx, db, d.statement(d.columns), func(rows *sql.Rows) error {
		var table, column, collation string
		var length int64
		if err := rows.Scan(&table, &column, &length, &collation); err != nil {
			return err
		}
		w[strings.ToLower(table+"."+column)] = width{length, collation}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("%w: read the columns of the tables: %w", ErrConfig, err)
	}
	return w, w.complete(d)
}

// withoutComments drops the lines that are comments.
func withoutComments(ddl string) string {
	var kept []string
	for line := range strings.Lines(ddl) {
		if !strings.HasPrefix(line, "--") {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "")
}

// widths tells, by table.column, what the character columns hold.
type widths map[string]width

type width struct {
	characters int64
	collation  string
}

// complete tells which table is missing.
func (w widths) complete(d *dialect) error {
	for _, column := range []string{
		"global_table.xid", "branch_table.xid", "lock_table.row_key", "distributed_lock.lock_key",
		"qiao_global.xid", "qiao_branch.xid", "qiao_tombstone.xid", "qiao_note.kind",
	} {
		if _, there := w[column]; !there {
			table, _, _ := strings.Cut(column, ".")
			return fmt.Errorf("%w: the database has no table %s; run script/server/db/%s.sql on it, or let the server create the tables",
				ErrConfig, table, d.name)
		}
	}
	return nil
}

// ErrTooLong reports a text that is longer than its column. Nothing was written,
// and to try again does not help: widen the column, as script/server/db does, or
// shorten the text.
var ErrTooLong = errors.New("longer than the column of the store")

// ErrBadText reports a text that is not UTF-8 or, for PostgreSQL, has the character
// 0. Nothing was written, and to try again does not help.
var ErrBadText = errors.New("no text for the database")

// check refuses a Batch with a text that a column does not take.
func (w widths) check(b *storage.Batch) error {
	err := w.fits("global_table.xid", b.XID)
	if g := b.Global; g != nil {
		err = errors.Join(err, w.fits("global_table.application_id", g.ApplicationID),
			w.fits("global_table.transaction_service_group", g.Group), w.fits("global_table.transaction_name", g.Name))
	}
	for i := range b.Add {
		err = errors.Join(err, w.branch(&b.Add[i]))
	}
	for _, c := range b.Change {
		if c.ApplicationData != nil {
			err = errors.Join(err, w.fits("branch_table.application_data", *c.ApplicationData))
		}
	}
	return err
}

func (w widths) branch(b *storage.Branch) error {
	err := errors.Join(w.fits("branch_table.branch_type", b.Type.String()), w.fits("branch_table.resource_id", b.ResourceID), w.fits("branch_table.client_id", b.ClientID),
		w.fits("branch_table.application_data", b.ApplicationData), w.fits("qiao_branch.request_key", b.RequestKey))
	if !b.Locked || err != nil {
		return err
	}
	return storage.EachRow(b.LockKey, func(table, pk string) error {
		return errors.Join(w.fits("lock_table.table_name", table), w.fits("lock_table.pk", pk),
			w.fits("lock_table.row_key", string(storage.NewRowKey(b.ResourceID, table, pk))))
	})
}

// fits checks one text against its column.
func (w widths) fits(column, text string) error {
	c, limited := w[column]
	if !limited || int64(len(text)) <= c.characters {
		return nil
	}
	if n := int64(utf8.RuneCountInString(text)); n > c.characters {
		return fmt.Errorf("%w: %s takes %d characters, %.60q has %d", ErrTooLong, column, c.characters, text, n)
	}
	return nil
}

const (
	// minPacket is the least max_allowed_packet of MySQL that is enough.
	minPacket = 4 * maxScript
	// packetRest is what a script may have besides one long row.
	packetRest = 3 * maxScript
)

// fitsPacket refuses a row that no statement can carry, and texts that the database
// does not take.
func (s *Store) fitsPacket(b *storage.Batch) error {
	err := s.text("the transaction's name", b.XID, "")
	if g := b.Global; g != nil {
		err = errors.Join(s.text("the transaction", g.ApplicationID, g.Group), s.text("the transaction", g.Name, ""))
	}
	for i := range b.Add {
		one := &b.Add[i]
		err = errors.Join(err, s.text("a branch", one.ApplicationData, one.LockKey),
			s.text("a branch", one.ResourceID, one.ClientID), s.text("a branch", one.RequestKey, ""))
	}
	for _, c := range b.Change {
		if c.ApplicationData != nil {
			err = errors.Join(err, s.text("application data", *c.ApplicationData, ""))
		}
	}
	return err
}

// text checks two texts of a row.
func (s *Store) text(what, a, b string) error {
	if n := literalBytes(a) + literalBytes(b); s.packet > 0 && n > s.packet-packetRest {
		return fmt.Errorf("%w: %s takes up to %d bytes of a statement, and max_allowed_packet is %d: raise it in the database", ErrTooLong, what, n, s.packet)
	}
	for _, text := range []string{a, b} {
		if !utf8.ValidString(text) || !s.dialect.zero && strings.IndexByte(text, 0) >= 0 {
			return fmt.Errorf("%w: %s has the text %.60q, which it cannot keep", ErrBadText, what, text)
		}
	}
	return nil
}
