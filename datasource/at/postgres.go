package at

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/qiao-tx/qiao/datasource/image"
	"github.com/qiao-tx/qiao/datasource/schema"
	"github.com/qiao-tx/qiao/datasource/sqlparse"
	"github.com/qiao-tx/qiao/datasource/undo"
	"github.com/qiao-tx/qiao/datasource/wrap"
)

// postgresDatabase is what PostgreSQL does its own way. A failed statement
// aborts the transaction there; only a savepoint set before can save it.
func postgresDatabase() database {
	return database{
		rowLocks: true, returns: true,
		begin:   "BEGIN ISOLATION LEVEL READ COMMITTED",
		lenient: "SET CONSTRAINTS ALL DEFERRED",
		// pgx reads undo_log's bytes in this form only, where it asks for text.
		restoring: "SET bytea_output TO hex",
		now:       "now()", ago: "LOCALTIMESTAMP - CAST($1 AS bigint) * INTERVAL '1 second'",
		statementOnly: func(error) bool { return false },
		mendable:      postgresMendable,
		commitFailed:  postgresCommitFailed,
		deadlock: func(err error) bool {
			state := wrap.SQLState(err)
			return state == postgresDeadlock || state == postgresSerialization
		},
		duplicate: func(err error) bool { return wrap.SQLState(err) == postgresDuplicate },
		busy:      func(error) bool { return false },
	}
}

// SQLSTATEs of PostgreSQL.
const (
	postgresDuplicate     = "23505"
	postgresSerialization = "40001"
	postgresDeadlock      = "40P01"
)

// lostSession tells the classes of errors after which the session is gone:
// connection exceptions, and the interventions of an operator.
func lostSession(state string) bool {
	return state == "" || strings.HasPrefix(state, "08") || strings.HasPrefix(state, "57P")
}

// postgresMendable: the server refused a statement and keeps the transaction,
// or we refused what the statement did.
func postgresMendable(err error) bool {
	return !lostSession(wrap.SQLState(err)) || errors.Is(err, ErrRowsMoved) || errors.Is(err, errUnrecorded)
}

// postgresCommitFailed: the server refused, or answered a COMMIT with ROLLBACK
// (pgx tells it by this text), or the driver wrote nothing.
func postgresCommitFailed(err error) bool {
	if !lostSession(wrap.SQLState(err)) || errors.Is(err, driver.ErrBadConn) || strings.Contains(err.Error(), "commit unexpectedly resulted in rollback") {
		return true
	}
	var safe interface{ SafeToRetry() bool }
	return errors.As(err, &safe) && safe.SafeToRetry()
}

// identifyPostgres looks for settings under which the parser would misread a
// text.
func (r *Resource) identifyPostgres(ctx context.Context, s session) error {
	rows, err := s.Query(ctx, "SELECT current_setting('server_version_num'), current_setting('standard_conforming_strings'), current_setting('server_encoding')")
	if err != nil {
		return fmt.Errorf("ask for the server's settings: %w", err)
	}
	version, err := strconv.Atoi(text(rows[0][0]))
	switch {
	case err != nil:
		return fmt.Errorf("ask for the server's version: %w", err)
	case version < oldestPostgres:
		return fmt.Errorf("the server is PostgreSQL %d: AT needs %d at least", version/10000, oldestPostgres/10000)
	case text(rows[0][1]) != "on":
		return errors.New("standard_conforming_strings is off, so strings end elsewhere than SQL says: set it to on, for the database or in the DSN")
	case text(rows[0][2]) != "UTF8":
		return fmt.Errorf("the database is encoded in %s: AT needs UTF8", text(rows[0][2]))
	}
	return nil
}

// oldestPostgres is the oldest version whose catalogue is read as it is.
const oldestPostgres = 120000

// retyped gives an image of an undo record the types that the table's columns
// have now. instants is the same image with moments read in UTC.
func retyped(table *schema.Table, img, instants image.Image) (image.Image, error) {
	out := image.Image{Table: img.Table, Rows: make([]image.Row, len(img.Rows))}
	for i, row := range img.Rows {
		out.Rows[i] = make(image.Row, len(row))
		for j, f := range row {
			c, ok := table.Column(f.Name)
			if !ok {
				return out, fmt.Errorf("table %s has no column %s now; the undo record was written when it had", table.Name, f.Name)
			}
			v, err := image.Retyped(c, f.Value, instants.Rows[i][j].Value)
			if err != nil {
				return out, fmt.Errorf("%w: table %s: %w", undo.ErrForeign, table.Name, err)
			}
			f.Value = v
			out.Rows[i][j] = f
		}
	}
	return out, nil
}

// recordedName is the schema and the name of a table in an undo record, from
// the text of the statement and from the image, which has the schema unless it
// is "public". Without any, the connection's search_path finds the table, as it
// does for Java.
func recordedName(statement, shown string) (schemaName, name string) {
	schemaName, name, err := sqlparse.TableName(schema.PostgreSQL, statement)
	switch {
	case err != nil:
		return "", shown
	case schemaName == "" && shown != name && strings.HasSuffix(shown, "."+name):
		return strings.TrimSuffix(shown, "."+name), name
	}
	return schemaName, name
}
