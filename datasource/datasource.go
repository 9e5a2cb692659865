// Package datasource opens databases that take part in global transactions.
//
// Job: put the wrapper of a mode, AT or XA, around a database/sql driver and
// register the database with the coordinator.
// Owner: applications open their databases with it.
// It must not know: SQL, images, how the coordinator is reached.
//
// A statement whose context carries an XID is protected; any other statement
// reaches the driver as it is, unparsed:
//
//	db, err := datasource.Open(ctx, manager, datasource.Config{
//		Driver: "mysql", DSN: "app:secret@tcp(db.example.com:3306)/orders",
//	})
//	_, err = db.ExecContext(ctx, "UPDATE stock SET n = n - 1 WHERE sku = ?", sku)
//
// The driver is whichever the program imports; this package imports none.
package datasource

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/qiao-tx/qiao/datasource/at"
	"github.com/qiao-tx/qiao/datasource/meta"
	"github.com/qiao-tx/qiao/datasource/schema"
	"github.com/qiao-tx/qiao/datasource/sqlparse"
	"github.com/qiao-tx/qiao/datasource/xa"
	"github.com/qiao-tx/qiao/rm"
)

// Dialects of Config.
const (
	MySQL      = schema.MySQL
	SQLite     = schema.SQLite
	PostgreSQL = schema.PostgreSQL
)

// Mode is how a database takes part.
type Mode uint8

// Modes of Config.
const (
	// AT keeps images of the rows that statements change, and puts them back to
	// roll back. Locks of the database end with the local transaction.
	AT Mode = iota
	// XA leaves it to the database's own two-phase commit: any statement, no
	// undo table, and the database's locks last until the global transaction ends.
	XA
)

// Errors that callers may want to tell apart. Match them with errors.Is.
var (
	// ErrNoUndoTable: the database lacks the tables that AT needs; see
	// CreateUndoTable.
	ErrNoUndoTable = at.ErrNoUndoTable
	// ErrInMemory: an in-memory SQLite database cannot take part.
	ErrInMemory = at.ErrInMemory
	// ErrUnsupported: AT cannot protect a statement, so it was not executed; the
	// error says why and what to do instead.
	ErrUnsupported = sqlparse.ErrUnsupported
	// ErrNoPrimaryKey: AT cannot name the rows of a table without one.
	ErrNoPrimaryKey = meta.ErrNoPrimaryKey
	// ErrMismatch: a statement's context carries a global transaction that its
	// local transaction is not part of.
	ErrMismatch = at.ErrMismatch
	// ErrMustRollBack: a local transaction can only be rolled back.
	ErrMustRollBack = at.ErrMustRollBack
	// ErrRowsMoved: other sessions changed the rows while a statement ran; the
	// local transaction may be tried again.
	ErrRowsMoved = at.ErrRowsMoved
	// ErrPrimaryKeyChanged: an UPDATE assigns a primary key column.
	ErrPrimaryKeyChanged = at.ErrPrimaryKeyChanged
	// ErrOutcomeUnknown: the connection broke during COMMIT; roll the global
	// transaction back.
	ErrOutcomeUnknown = at.ErrOutcomeUnknown
	// ErrBranchTimeout: a local transaction under XA ran longer than
	// Config.BranchTimeout and was rolled back.
	ErrBranchTimeout = xa.ErrBranchTimeout
	// ErrNotSupported: the database cannot prepare transactions; the error says
	// what to change.
	ErrNotSupported = xa.ErrNotSupported
)

// Config says which database takes part, and how.
type Config struct {
	// Driver is the name of a registered database/sql driver. Open needs it.
	Driver string
	// DSN is the driver's data source name. Open needs it; Wrap and Register
	// use it for the default ResourceID only.
	DSN string
	// Dialect is the SQL of the database. The default follows from the driver's
	// name: mysql, pgx, postgres, sqlite or sqlite3.
	Dialect schema.Dialect
	// ResourceID names the database to the coordinator; all services on one
	// database must use the same, or they do not see each other's locks. The
	// default on MySQL is Java's jdbc:mysql://host:port/database; on PostgreSQL
	// Java's jdbc:postgresql://host:port/database, with ?currentSchema= and the
	// DSN's search_path if it has one; on SQLite it is made of the file's path and
	// an id kept in the file.
	ResourceID string

	// Mode is AT by default. The fields below say which mode reads them; a database
	// may be opened in both modes.
	Mode Mode

	// BranchTimeout (XA) is how long a local transaction may take until it is
	// prepared; after that it is rolled back. The coordinator relies on it: keep
	// it at or below the coordinator's xa-not-found-grace. Default 60 s, as
	// Java's client.rm.xaBranchExecutionTimeout.
	BranchTimeout time.Duration
	// HoldPrepared (XA) is how long the session of a prepared branch is kept for
	// phase two where the database lets no other session finish the branch while
	// it lives: on MariaDB, and on MySQL before 8.0.29. Then it is closed, so that
	// any process can. Default 10 s, as Java's
	// client.rm.xaConnectionTwoPhaseHoldTimeout; negative closes it at once.
	HoldPrepared time.Duration

	// LockWait (AT, as all that follow but Log) is how long a single statement waits for rows that another
	// global transaction holds. Default 3 s.
	LockWait time.Duration
	// HoldWait is how long an explicit local transaction waits for them when it
	// commits; it holds its local locks meanwhile. Default 100 ms. SQLite does
	// not wait there.
	HoldWait time.Duration
	// LockPoll is the first interval between two looks at a lock; it grows
	// tenfold. Default 10 ms.
	LockPoll time.Duration
	// BusyWait is how long SQLite's write lock is waited for. Default 5 s.
	BusyWait time.Duration

	// JavaZone is the time zone of Java services on the same database: dates of
	// undo records, and the lock keys of TIMESTAMPTZ columns, are in it. Default
	// UTC.
	JavaZone *time.Location
	// JavaPackage is the package of Java's classes in the undo records that are
	// written: org.apache.seata, the default, or io.seata where Java services
	// before 2.1.0 work on the same database. Both are read.
	JavaPackage string
	// UndoCompressor packs long undo records: none, zip, gzip, bzip2, lz4,
	// deflater or zstd. Each is read whatever is set. Default zip, as Java's
	// client.undo.compress.type.
	UndoCompressor string
	// UndoThreshold is the length above which an undo record is packed, in bytes.
	// Default 65,536, as Java's client.undo.compress.threshold.
	UndoThreshold int

	// Log receives what no caller can be told. Default: nothing is logged.
	Log *slog.Logger
}

// Open opens a database that takes part in global transactions and registers
// it with the coordinator. ctx bounds Open only.
func Open(ctx context.Context, c rm.Coordinator, cfg Config) (*sql.DB, error) {
	if cfg.Driver == "" || cfg.DSN == "" {
		return nil, errors.New("datasource.Open: Driver and DSN are required")
	}
	inner, err := connectorOf(cfg.Driver, cfg.DSN)
	if err != nil {
		return nil, fmt.Errorf("datasource.Open: %w", err)
	}
	connector, err := Wrap(ctx, c, inner, cfg)
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(connector), nil
}

// connectorOf finds a registered driver; database/sql has no other way to ask
// for one than to open a pool, which connects to nothing by itself.
func connectorOf(name, dsn string) (driver.Connector, error) {
	db, err := sql.Open(name, dsn)
	if err != nil {
		return nil, err
	}
	d := db.Driver()
	if err := db.Close(); err != nil {
		return nil, err
	}
	return connectorFor(d, dsn)
}

func connectorFor(d driver.Driver, dsn string) (driver.Connector, error) {
	if c, ok := d.(driver.DriverContext); ok {
		return c.OpenConnector(dsn)
	}
	return dsnConnector{d, dsn}, nil
}

// dsnConnector is the connector of a driver that has none.
type dsnConnector struct {
	driver driver.Driver
	dsn    string
}

func (c dsnConnector) Connect(context.Context) (driver.Conn, error) { return c.driver.Open(c.dsn) }
func (c dsnConnector) Driver() driver.Driver                        { return c.driver }

// Wrap puts Config.Mode around a connector of any driver, for sql.OpenDB.
func Wrap(ctx context.Context, c rm.Coordinator, inner driver.Connector, cfg Config) (driver.Connector, error) {
	dialect, id, err := cfg.database()
	if err != nil {
		return nil, err
	}
	switch cfg.Mode {
	case AT:
		return opened(at.Open(ctx, inner, at.Config{
			Dialect: dialect, Coordinator: c, ResourceID: id, LockWait: cfg.LockWait, HoldWait: cfg.HoldWait,
			LockPoll: cfg.LockPoll, BusyWait: cfg.BusyWait, Log: cfg.Log, JavaZone: cfg.JavaZone, JavaPackage: cfg.JavaPackage,
			UndoCompressor: cfg.UndoCompressor, UndoThreshold: cfg.UndoThreshold,
		}))
	case XA:
		return opened(xa.Open(ctx, inner, xa.Config{
			Dialect: dialect, Coordinator: c, ResourceID: id,
			BranchTimeout: cfg.BranchTimeout, Hold: cfg.HoldPrepared, Log: cfg.Log,
		}))
	}
	return nil, fmt.Errorf("datasource: no mode %d: set Config.Mode to AT or XA", cfg.Mode)
}

// opened keeps a nil *C from becoming a connector.
func opened[C driver.Connector](connector C, err error) (driver.Connector, error) {
	if err != nil {
		return nil, err
	}
	return connector, nil
}

// Register makes Config.Mode around d available as sql.Open(name, dsn), for programs
// whose framework opens the database itself. Call it once: like sql.Register,
// it panics when the name is taken. Each sql.Open with a new DSN registers a
// resource.
func Register(c rm.Coordinator, name string, d driver.Driver, cfg Config) {
	sql.Register(name, &wrapped{driver: d, coordinator: c, cfg: cfg})
}

// wrapped is a driver whose connectors take part in global transactions.
type wrapped struct {
	driver      driver.Driver
	coordinator rm.Coordinator
	cfg         Config
}

// registerWait bounds the registration in sql.Open, which has no context.
const registerWait = 30 * time.Second

func (w *wrapped) OpenConnector(dsn string) (driver.Connector, error) {
	inner, err := connectorFor(w.driver, dsn)
	if err != nil {
		return nil, err
	}
	cfg := w.cfg
	cfg.DSN = dsn
	ctx, cancel := context.WithTimeout(context.Background(), registerWait)
	defer cancel()
	return Wrap(ctx, w.coordinator, inner, cfg)
}

// Open is not used: database/sql prefers OpenConnector.
func (w *wrapped) Open(string) (driver.Conn, error) {
	return nil, errors.New("open the database with sql.Open")
}

// database is the dialect and the resource id; "" stands for the id that is made
// of SQLite's file.
func (cfg Config) database() (dialect schema.Dialect, id string, err error) {
	if dialect, err = cfg.dialect(); err != nil {
		return 0, "", err
	}
	switch {
	case cfg.ResourceID != "":
		id = cfg.ResourceID
	case dialect == MySQL:
		id, err = MySQLResourceID(cfg.DSN)
	case dialect == PostgreSQL:
		id, err = PostgreSQLResourceID(cfg.DSN)
	}
	return dialect, id, err
}

func (cfg Config) dialect() (schema.Dialect, error) {
	if cfg.Dialect != 0 {
		return cfg.Dialect, nil
	}
	return DialectOf(cfg.Driver)
}

// DialectOf is the dialect of a driver by its usual name.
func DialectOf(driverName string) (schema.Dialect, error) {
	switch driverName {
	case "mysql":
		return MySQL, nil
	case "sqlite", "sqlite3":
		return SQLite, nil
	case "pgx", "pgx/v5", "postgres":
		return PostgreSQL, nil
	}
	return 0, fmt.Errorf("datasource: the dialect of the driver %q is not known: set Config.Dialect", driverName)
}

// MySQLResourceID is the default name of a database: Java's, with the port
// written out, without credentials or parameters.
func MySQLResourceID(dsn string) (string, error) {
	const set = "set Config.ResourceID, in the form jdbc:mysql://host:port/database"
	if dsn == "" {
		return "", errors.New("datasource: neither a DSN nor a ResourceID is given: " + set)
	}
	parsed, err := mysql.ParseDSN(dsn)
	if err != nil {
		return "", errors.New("datasource: the DSN is not in the form user:password@tcp(host:port)/database: " + set) // err may quote a password
	}
	host, port, err := net.SplitHostPort(parsed.Addr)
	if !strings.HasPrefix(parsed.Net, "tcp") || err != nil {
		return "", fmt.Errorf("datasource: the DSN has no host and port (%s): %s", parsed.Net, set)
	}
	if parsed.DBName == "" {
		return "", errors.New("datasource: the DSN names no database: put it behind the address, …)/database")
	}
	return "jdbc:mysql://" + net.JoinHostPort(host, port) + "/" + parsed.DBName, nil
}

// PostgreSQLResourceID is the default name of a database: Java's, with the port
// written out, without credentials. The DSN's search_path, if it has one, stands
// behind it as Java's currentSchema, its commas as "!". What the DSN leaves out
// comes from where pgx takes it: PGHOST and its like.
func PostgreSQLResourceID(dsn string) (string, error) {
	const set = "set Config.ResourceID, in the form jdbc:postgresql://host:port/database"
	if dsn == "" {
		return "", errors.New("datasource: neither a DSN nor a ResourceID is given: " + set)
	}
	parsed, err := pgconn.ParseConfig(dsn)
	if err != nil {
		return "", errors.New("datasource: the DSN is not in the form postgres://user:password@host:port/database or host=… dbname=…: " + set) // err may quote a password
	}
	if strings.HasPrefix(parsed.Host, "/") || parsed.Host == "" {
		return "", errors.New("datasource: the DSN has no host but a socket: " + set)
	}
	for _, other := range parsed.Fallbacks {
		if other.Host != parsed.Host || other.Port != parsed.Port {
			return "", errors.New("datasource: the DSN has several hosts, which services may write in any order: " + set)
		}
	}
	if parsed.Database == "" {
		return "", errors.New("datasource: the DSN names no database: put it behind the address, …/database")
	}
	id := "jdbc:postgresql://" + net.JoinHostPort(parsed.Host, strconv.Itoa(int(parsed.Port))) + "/" + parsed.Database
	if path := parsed.RuntimeParams["search_path"]; path != "" {
		id += "?currentSchema=" + strings.ReplaceAll(path, ",", "!")
	}
	return strings.ReplaceAll(id, ",", "|"), nil // a comma separates resource ids on the wire
}

// InDoubt lists the branches that are prepared on the database of db and that no
// phase two has ended, whoever prepared them; db need not be opened by this
// package. Under load there are always some; one that stays is a matter for an
// operator, who finishes it with its statements when the coordinator does not.
func InDoubt(ctx context.Context, db *sql.DB, dialect schema.Dialect) ([]PreparedBranch, error) {
	return xa.InDoubt(ctx, db, dialect)
}

// PreparedBranch is a branch in doubt.
type PreparedBranch = xa.PreparedBranch

// CreateUndoTable makes the tables that AT needs where they are missing. Open
// does not: a service seldom may. db need not be opened by this package.
func CreateUndoTable(ctx context.Context, db *sql.DB, dialect schema.Dialect) error {
	return at.CreateUndoTable(ctx, db, dialect)
}

// UndoTableDDL returns the statements of CreateUndoTable, for migration tools.
func UndoTableDDL(dialect schema.Dialect) (string, error) { return at.UndoTableDDL(dialect) }
