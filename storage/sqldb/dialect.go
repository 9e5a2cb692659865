package sqldb

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"

	schema "github.com/qiao-tx/qiao/script/server/db"
)

// dialect is what differs between the databases.
type dialect struct {
	name string
	// open prepares a pool whose statements wait for a lock as long as lockWait.
	open func(dsn string, lockWait time.Duration) (*sql.DB, error)
	ddl  string
	// literal appends a text as an expression.
	literal func(dst *strings.Builder, text string)
	// upsert ends an INSERT that replaces the columns of a row with the key.
	upsert func(key string, columns []string) string
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
	// moment makes a timestamp in the session's time zone, as Java's now() is, of
	// what stands between the two: seconds since 1970 as a decimal number.
	moment [2]string
	// columns tells the length and the collation of each character column.
	columns string
	// packet is a query for how many bytes a statement has at most; "": any.
	packet string
	// zero: texts may have the character 0.
	zero bool
	// failure says what an error of the database means.
	failure func(error) failure
}

// failure is what an error of the database means for the SQL transaction.
type failure uint8

const (
	// otherFailure: the connection or the server failed; nothing more is known.
	otherFailure failure = iota
	// raced: another SQL transaction was in the way. Nothing was written; the same
	// again may succeed.
	raced
	// readOnly: the database takes no writes now. Nothing was written.
	readOnly
	// full: the database has no space. Nothing was written.
	full
	// refused: the database found a mistake in a statement. Nothing was written.
	refused
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
	lockingJoin: true,
	literal:     mysqlLiteral,
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
	moment:       [2]string{"FROM_UNIXTIME(", ")"},
	packet:       "SELECT @@max_allowed_packet",
	zero:         true,
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
		case 1026, 1030: // error on write, error of the engine: 28 is ENOSPC
			if strings.Contains(e.Message, "28") {
				return full
			}
			return otherFailure
		case 1040, 1053, 1080, 1203, 1226, 1317, 1927, 1969, 3024, 3168:
			// too many connections, shutdown, quotas, killed, out of time
			return otherFailure
		}
		return refused
	},
}

var postgresqlDialect = &dialect{
	name:    "postgresql",
	open:    openPostgreSQL,
	ddl:     schema.PostgreSQL,
	literal: postgresqlLiteral,
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
	moment:       [2]string{"(TIMESTAMPTZ 'epoch' + ", " * INTERVAL '1 second')"},
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
		switch e.Code[:min(2, len(e.Code))] {
		case "08", "53", "57", "58", "XX": // connection, resources, operator, system, internal
			return otherFailure
		}
		return refused
	},
}

// openMySQL prepares a pool for a DSN of go-sql-driver/mysql.
func openMySQL(dsn string, lockWait time.Duration) (*sql.DB, error) {
	cfg, err := mysql.ParseDSN(dsn)
	if err != nil {
		return nil, err
	}
	if cfg.DBName == "" {
		return nil, errors.New("the DSN names no database; write user:password@tcp(host:port)/database")
	}
	cfg.MultiStatements = true
	cfg.MaxAllowedPacket = 0  // the server's own
	cfg.RejectReadOnly = true // after a fail-over the old primary is left
	cfg.ClientFoundRows = true
	cfg.Logger = &mysql.NopLogger{} // what matters is in the errors
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		return nil, err
	}
	// What a node that is cut off has locked is free again soon.
	idle := 4*lockWait + idleConnection
	setting := fmt.Sprintf("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED;"+
		"SET SESSION innodb_lock_wait_timeout=%d, wait_timeout=%d /*M!100300 , idle_transaction_timeout=%d */",
		seconds(lockWait), seconds(idle), seconds(4*lockWait))
	return sql.OpenDB(session{connector, setting}), nil
}

// idleConnection is how long a connection is kept that nobody uses.
const idleConnection = 30 * time.Second

// seconds are at least one.
func seconds(d time.Duration) int64 { return max(1, int64(d/time.Second)) }

// session opens connections with settings of their own: transactions take no locks
// on gaps, and waits end. (The variable for the isolation has different names in
// MySQL and MariaDB.)
type session struct {
	driver.Connector
	setting string
}

// Connect implements driver.Connector.
func (c session) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	e, ok := conn.(driver.ExecerContext)
	if !ok {
		return nil, errors.Join(fmt.Errorf("a connection is a %T, which executes nothing", conn), conn.Close())
	}
	if _, err := e.ExecContext(ctx, c.setting, nil); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

// openPostgreSQL prepares a pool for a URL or a DSN of libpq.
func openPostgreSQL(dsn string, lockWait time.Duration) (*sql.DB, error) {
	cfg, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, err
	}
	// Several statements in one round trip, none of them prepared: they differ in
	// the length of their lists.
	cfg.DefaultQueryExecMode = pgx.QueryExecModeSimpleProtocol
	cfg.RuntimeParams["default_transaction_isolation"] = "read committed"
	cfg.RuntimeParams["lock_timeout"] = fmt.Sprint(lockWait.Milliseconds())
	cfg.RuntimeParams["idle_in_transaction_session_timeout"] = fmt.Sprint(4 * lockWait.Milliseconds())
	return stdlib.OpenDB(*cfg), nil
}
