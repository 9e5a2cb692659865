package sqldb

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"

	schema "github.com/qiao-tx/qiao/script/server/db"
)

// dialect is what differs between the databases.
type dialect struct {
	name string
	open func(dsn string) (*sql.DB, error)
	ddl  string
	// placeholder is the n-th parameter of a statement, from 1.
	placeholder func(n int) string
	// upsert ends an INSERT that replaces the columns of a row with the key.
	upsert func(key string, columns []string) string
	// scripts: several statements may go in one round trip.
	scripts bool
	// lockingJoin: SELECT … FOR UPDATE sees the latest of every table that it joins,
	// so one statement locks transactions and reads them.
	lockingJoin bool
	// keepGreatest ends an INSERT into qiao_ids.
	keepGreatest string
	// clock is the expression for now, in milliseconds since 1970.
	clock string
	// micros is the expression for now, in microseconds since 1970; created the one
	// for branch_table.gmt_create.
	micros, created string
	// ago is the expression for a timestamp, as Java's now() is, of some seconds ago.
	ago string
	// moment is the expression for a timestamp in the session's time zone, as
	// Java's now() is, from seconds since 1970 as a decimal number.
	moment string
	// columns tells the length and the collation of each character column.
	columns string
	// failure says what an error of the database means.
	failure func(error) failure
}

// failure is what an error of the database means for the SQL transaction.
type failure uint8

const (
	// other errors tell nothing.
	otherFailure failure = iota
	// raced: another SQL transaction was in the way. Nothing was written; the same
	// again may succeed.
	raced
	// readOnly: the database takes no writes now. Nothing was written.
	readOnly
	// full: the database has no space. Nothing was written.
	full
)

// Dialects by the name that a configuration gives (store.db.db-type of Seata).
var dialects = map[string]*dialect{
	"mysql":      mysqlDialect,
	"mariadb":    mysqlDialect,
	"postgresql": postgresqlDialect,
}

var mysqlDialect = &dialect{
	name:        "mysql",
	open:        openMySQL,
	ddl:         schema.MySQL,
	scripts:     true,
	lockingJoin: true,
	placeholder: func(int) string { return "?" },
	upsert: func(_ string, columns []string) string {
		sets := make([]string, len(columns))
		for i, c := range columns {
			sets[i] = c + "=VALUES(" + c + ")"
		}
		return " ON DUPLICATE KEY UPDATE " + strings.Join(sets, ",")
	},
	keepGreatest: " ON DUPLICATE KEY UPDATE last_id=GREATEST(last_id,VALUES(last_id))",
	clock:        "CAST(UNIX_TIMESTAMP(NOW(3))*1000 AS SIGNED)",
	micros:       "CAST(UNIX_TIMESTAMP(NOW(6))*1000000 AS SIGNED)",
	created:      "CAST(UNIX_TIMESTAMP(b.gmt_create)*1000000 AS SIGNED)",
	ago:          "(NOW() - INTERVAL %d SECOND)",
	moment:       "FROM_UNIXTIME(CAST(%s AS DECIMAL(20,6)))",
	columns: `SELECT table_name, column_name, character_maximum_length, COALESCE(collation_name,'')
		FROM information_schema.columns WHERE table_schema = DATABASE() AND character_maximum_length IS NOT NULL`,
	failure: func(err error) failure {
		var e *mysql.MySQLError
		if !errors.As(err, &e) {
			return otherFailure
		}
		switch e.Number {
		case 1213, 1205, 1062, 1020: // deadlock, lock wait, duplicate key, changed since read
			return raced
		case 1290, 1792, 1836: // --read-only, read-only transaction, read-only mode
			return readOnly
		case 1021, 1114: // disk full, table full
			return full
		}
		return otherFailure
	},
}

var postgresqlDialect = &dialect{
	name:        "postgresql",
	open:        openPostgreSQL,
	ddl:         schema.PostgreSQL,
	placeholder: func(n int) string { return "$" + strconv.Itoa(n) },
	upsert: func(key string, columns []string) string {
		sets := make([]string, len(columns))
		for i, c := range columns {
			sets[i] = c + "=EXCLUDED." + c
		}
		return " ON CONFLICT (" + key + ") DO UPDATE SET " + strings.Join(sets, ",")
	},
	keepGreatest: " ON CONFLICT (worker) DO UPDATE SET last_id=GREATEST(qiao_ids.last_id,EXCLUDED.last_id)",
	clock:        "(EXTRACT(EPOCH FROM clock_timestamp())*1000)::bigint",
	micros:       "(EXTRACT(EPOCH FROM clock_timestamp())*1000000)::bigint",
	created:      "(EXTRACT(EPOCH FROM b.gmt_create AT TIME ZONE current_setting('TimeZone'))*1000000)::bigint",
	ago:          "(LOCALTIMESTAMP - INTERVAL '%d seconds')",
	moment:       "(TIMESTAMPTZ 'epoch' + %s::text::numeric * INTERVAL '1 second')",
	columns: `SELECT table_name, column_name, character_maximum_length, ''
		FROM information_schema.columns WHERE table_schema = current_schema() AND character_maximum_length IS NOT NULL`,
	failure: func(err error) failure {
		var e *pgconn.PgError
		if !errors.As(err, &e) {
			return otherFailure
		}
		switch e.Code {
		case "40001", "40P01", "23505", "55P03": // serialization, deadlock, unique, lock not available
			return raced
		case "25006": // read-only transaction
			return readOnly
		case "53100": // disk full
			return full
		}
		return otherFailure
	},
}

// openMySQL prepares a pool for a DSN of go-sql-driver/mysql.
func openMySQL(dsn string) (*sql.DB, error) {
	cfg, err := mysql.ParseDSN(dsn)
	if err != nil {
		return nil, err
	}
	if cfg.DBName == "" {
		return nil, errors.New("the DSN names no database; write user:password@tcp(host:port)/database")
	}
	cfg.InterpolateParams = true // one round trip a statement
	cfg.MultiStatements = true
	cfg.RejectReadOnly = true // after a fail-over the old primary is left
	cfg.ClientFoundRows = true
	cfg.Logger = &mysql.NopLogger{} // what matters is in the errors
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(readCommitted{connector}), nil
}

// readCommitted opens connections whose transactions take no locks on gaps. The
// variable for it has different names in MySQL and MariaDB.
type readCommitted struct{ driver.Connector }

// Connect implements driver.Connector.
func (c readCommitted) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	e, ok := conn.(driver.ExecerContext)
	if !ok {
		return nil, errors.Join(fmt.Errorf("a connection is a %T, which executes nothing", conn), conn.Close())
	}
	if _, err := e.ExecContext(ctx, "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED", nil); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

// openPostgreSQL prepares a pool for a URL or a DSN of libpq.
func openPostgreSQL(dsn string) (*sql.DB, error) {
	cfg, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, err
	}
	// The statements differ in the length of their lists: to prepare each would
	// fill the server with them.
	cfg.DefaultQueryExecMode = pgx.QueryExecModeExec
	cfg.RuntimeParams["default_transaction_isolation"] = "read committed"
	return stdlib.OpenDB(*cfg), nil
}

// statement builds a statement with a list of parameters.
type statement struct {
	d    *dialect
	text strings.Builder
	args []any
	// size is about the bytes of the texts among args.
	size int
}

func (d *dialect) statement(text string) *statement {
	s := &statement{d: d}
	s.text.WriteString(text)
	return s
}

func (s *statement) add(text string) *statement {
	s.text.WriteString(text)
	return s
}

// param adds a parameter.
func (s *statement) param(arg any) *statement {
	s.args = append(s.args, arg)
	if text, ok := arg.(string); ok {
		s.size += len(text)
	}
	return s.add(s.d.placeholder(len(s.args)))
}

// moment adds a timestamp, from microseconds since 1970.
func (s *statement) moment(micros int64) *statement {
	s.args = append(s.args, fmt.Sprintf("%d.%06d", micros/1_000_000, micros%1_000_000))
	return s.add(fmt.Sprintf(s.d.moment, s.d.placeholder(len(s.args))))
}

// in adds a list of parameters in parentheses.
func in[T any](s *statement, values []T) *statement {
	s.add("(")
	for i, v := range values {
		if i > 0 {
			s.add(",")
		}
		s.param(v)
	}
	return s.add(")")
}

// params adds parameters with commas between them.
func (s *statement) params(args ...any) *statement {
	for i, arg := range args {
		if i > 0 {
			s.add(",")
		}
		s.param(arg)
	}
	return s
}
