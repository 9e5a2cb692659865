package at

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/qiao-tx/qiao/datasource/meta"
	"github.com/qiao-tx/qiao/datasource/schema"
	"github.com/qiao-tx/qiao/datasource/undo"
	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/compress"
	"github.com/qiao-tx/qiao/rm"
)

// Resource is a database as the coordinator knows it.
type Resource struct {
	cfg   Config
	db    database
	codec undo.Codec
	// compressor packs records that are longer than cfg.UndoThreshold.
	compressor byte
	packer     compress.Pool
	// limit is the most content of a row of undo_log, in bytes; 0 is no limit.
	limit int
	id    string
	// database is MySQL's current database.
	database string
	tables   *meta.Cache
	// pool holds the connections of phase two, on the same driver.
	pool    *sql.DB
	deleter *deleter
	closed  atomic.Bool
}

var (
	_ rm.Resource    = (*Resource)(nil)
	_ rm.UndoCleaner = (*Resource)(nil)
	_ rm.Closable    = (*Resource)(nil)
)

// phaseTwoConns bounds the connections that phase two takes beside the user's.
const phaseTwoConns = 8

// ID is the resource id.
func (r *Resource) ID() string { return r.id }

// BranchType is AT.
func (r *Resource) BranchType() protocol.BranchType { return protocol.TypeAT }

// Closed tells that the data source was closed: it may be opened again.
func (r *Resource) Closed() bool { return r.closed.Load() }

// Connector opens connections that take part in global transactions. Close it
// after the last of them: database/sql does so in DB.Close.
type Connector struct {
	inner driver.Connector
	res   *Resource

	closing  sync.Once
	closeErr error
}

// Open wraps a driver's connector and registers the database with the
// coordinator. The connector is closed with the result, if it can be. The
// error is ErrNoUndoTable, ErrInMemory, the database's, or the coordinator's.
func Open(ctx context.Context, inner driver.Connector, cfg Config) (*Connector, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	r := &Resource{cfg: cfg, db: databaseOf(cfg.Dialect), tables: meta.New(cfg.Dialect),
		codec: undo.Codec{Zone: cfg.JavaZone, Dialect: cfg.Dialect, Package: cfg.JavaPackage}}
	if r.compressor, err = compress.ByName(cfg.UndoCompressor); err != nil {
		return nil, fmt.Errorf("datasource: UndoCompressor: %w", err)
	}
	r.pool = sql.OpenDB(phaseTwoConnector{inner, r.db.restoring})
	r.pool.SetMaxOpenConns(phaseTwoConns)
	if err := r.identify(ctx); err != nil {
		return nil, errors.Join(err, r.pool.Close())
	}
	r.deleter = newDeleter(r.deleteNow)
	if err := cfg.Coordinator.RegisterResource(ctx, r); err != nil {
		r.deleter.close()
		return nil, errors.Join(fmt.Errorf("register the resource %s: %w", r.id, err), r.pool.Close())
	}
	return &Connector{inner: inner, res: r}, nil
}

// phaseTwoConnector opens the connections of phase two.
type phaseTwoConnector struct {
	driver.Connector
	setup string
}

func (c phaseTwoConnector) Connect(ctx context.Context) (driver.Conn, error) {
	inner, err := c.Connector.Connect(ctx)
	if err != nil || c.setup == "" {
		return inner, err
	}
	own := &conn{inner: inner}
	defer own.statements.close()
	if _, err := (driverSession{own}).Exec(ctx, c.setup); err != nil {
		return nil, errors.Join(fmt.Errorf("prepare a connection for phase two: %w", err), inner.Close())
	}
	return inner, nil
}

// Close closes the wrapped connector, if it can be.
func (c phaseTwoConnector) Close() error {
	if closer, ok := c.Connector.(io.Closer); ok {
		return closer.Close()
	}
	return nil
}

// Resource is what was registered.
func (c *Connector) Resource() *Resource { return c.res }

// Connect opens a connection.
func (c *Connector) Connect(ctx context.Context) (driver.Conn, error) {
	inner, err := c.inner.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return &conn{inner: inner, res: c.res}, nil
}

// Driver is the wrapped driver.
func (c *Connector) Driver() driver.Driver { return c.inner.Driver() }

// Close ends phase two here and closes its connections, and with them the
// wrapped connector. Orders that come later are for other processes.
func (c *Connector) Close() error {
	c.closing.Do(func() {
		c.res.closed.Store(true)
		c.res.deleter.close()
		c.closeErr = c.res.pool.Close()
	})
	return c.closeErr
}

// remedy says how to make the tables.
const remedy = "create the tables with `qiao undo-table`, datasource.CreateUndoTable, or a script of script/client/at/db"

// identify looks whether the database can take part, and what its name is.
func (r *Resource) identify(ctx context.Context) error {
	s, done, err := r.borrow(ctx)
	if err != nil {
		return fmt.Errorf("connect to the database: %w", err)
	}
	defer done()
	r.id = r.cfg.ResourceID
	switch r.cfg.Dialect {
	case schema.SQLite:
		err = r.identifyFile(ctx, s)
	case schema.PostgreSQL:
		err = r.identifyPostgres(ctx, s)
	default:
		err = r.identifyDatabase(ctx, s)
	}
	if err != nil {
		return err
	}
	if _, err := s.Query(ctx, "SELECT branch_id FROM undo_log WHERE 1 = 0"); err != nil {
		return fmt.Errorf("%w: %w; %s", ErrNoUndoTable, err, remedy)
	}
	r.limit, err = r.rowLimit(ctx, s)
	return err
}

func (r *Resource) identifyDatabase(ctx context.Context, s session) error {
	rows, err := s.Query(ctx, "SELECT DATABASE()")
	if err != nil {
		return fmt.Errorf("ask for the current database: %w", err)
	}
	if r.database = text(rows[0][0]); r.database == "" {
		return errors.New("the data source names no database: put it behind the address, …)/database")
	}
	return nil
}

// idSafe writes out the comma, which separates resource ids on the wire.
var idSafe = strings.NewReplacer("%", "%25", ",", "%2C")

// identifyFile makes a name of the file's path and the id kept in it: equal
// paths on two hosts, and copies of a file beside it, are different databases.
func (r *Resource) identifyFile(ctx context.Context, s session) error {
	rows, err := s.Query(ctx, "SELECT file FROM pragma_database_list WHERE name = 'main'")
	if err != nil {
		return fmt.Errorf("ask for the database's file: %w", err)
	}
	path := ""
	if len(rows) > 0 {
		path = text(rows[0][0])
	}
	if path == "" {
		return ErrInMemory
	}
	if r.id != "" {
		return nil
	}
	if resolved, err := filepath.EvalSymlinks(path); err == nil {
		path = resolved
	}
	rows, err = s.Query(ctx, "SELECT id FROM qiao_resource")
	if err != nil {
		return fmt.Errorf("%w: %w; %s", ErrNoUndoTable, err, remedy)
	}
	if len(rows) != 1 || text(rows[0][0]) == "" {
		return fmt.Errorf("%w: the table qiao_resource has %d rows, want one with an id; %s", ErrNoUndoTable, len(rows), remedy)
	}
	r.id = "jdbc:sqlite:" + idSafe.Replace(filepath.ToSlash(path)) + "?id=" + text(rows[0][0])
	return nil
}
