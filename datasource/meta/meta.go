// Package meta reads what a database's catalogue says of a table, and keeps it
// for a while.
//
// Job: the schema.Table of a name, read over the caller's connection; one read
// for many callers; a cache that forgets.
// Owner: datasource/at holds one Cache for each database.
// It must not know: statements, images, transactions.
package meta

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/qiao-tx/qiao/datasource/schema"
)

// The reasons for which a table cannot be used. The error names the table and
// says what to do. None is worth a retry before the schema has changed.
var (
	// ErrNoTable: the database has no such table.
	ErrNoTable = errors.New("no such table")
	// ErrNoPrimaryKey: without a primary key AT cannot name the table's rows.
	ErrNoPrimaryKey = errors.New("the table has no primary key")
	// ErrNotATable: the name is that of a view, a sequence, a virtual or a
	// temporary table, or of one whose rows are in other tables: AT cannot
	// restore them.
	ErrNotATable = errors.New("not a stored table of this database")
)

// Limits of a Cache.
const (
	// timeToLive bounds how long a changed schema goes unnoticed. Java's
	// clients refresh after the same time.
	timeToLive = 15 * time.Minute
	// maxTables bounds the memory of a program that touches ever new tables.
	maxTables = 4096
)

// Queryer runs a query on the connection that the caller is working with.
// Values come as the driver gives them; text may be string or []byte, numbers
// may be text.
type Queryer interface {
	Query(ctx context.Context, sql string, args ...any) (rows [][]any, err error)
}

// Cache holds the tables of one database. It is safe for concurrent use.
type Cache struct {
	dialect schema.Dialect

	mu      sync.Mutex
	entries map[name]*entry
}

// name is a table as statements spell it: two spellings of one table are two
// entries.
type name struct{ schema, table string }

// entry is one table, read or being read.
type entry struct {
	// done is closed when table or err is set; they do not change afterwards.
	done   chan struct{}
	table  *schema.Table
	err    error
	readAt time.Time
}

// New makes an empty cache for a database of the dialect.
func New(d schema.Dialect) *Cache {
	return &Cache{dialect: d, entries: map[name]*entry{}}
}

// Table gives a table, from the cache or over conn. An empty schemaName means
// the connection's current database. The result is shared: it must not be
// changed. It fails with ErrNoTable, ErrNoPrimaryKey or ErrNotATable, with the
// context's error, or with what conn returned; failures are not kept.
func (c *Cache) Table(ctx context.Context, conn Queryer, schemaName, table string) (*schema.Table, error) {
	n := name{schemaName, table}
	for {
		e, mine := c.claim(n)
		if mine {
			return c.fill(ctx, conn, n, e)
		}
		select {
		case <-e.done:
		case <-ctx.Done():
			return nil, fmt.Errorf("read the schema of table %s: %w", n, ctx.Err())
		}
		if e.err == nil || isVerdict(e.err) {
			return e.table, e.err
		}
		// The other caller's connection or context failed; ours may be well.
	}
}

// Invalidate forgets a table, by the names that were given to Table, so that
// the next call reads it anew. It is for the caller who finds that a table has
// other columns than its schema says.
func (c *Cache) Invalidate(schemaName, table string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.entries, name{schemaName, table})
}

// claim gives the entry of a table, and whether the caller has to fill it.
func (c *Cache) claim(n name) (e *entry, mine bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.entries[n]; e != nil && !e.expired() {
		return e, false
	}
	if len(c.entries) >= maxTables {
		c.evict()
	}
	e = &entry{done: make(chan struct{})}
	c.entries[n] = e
	return e, true
}

// expired tells whether the entry was read too long ago.
func (e *entry) expired() bool {
	select {
	case <-e.done:
		return time.Since(e.readAt) >= timeToLive
	default:
		return false
	}
}

// evict makes room by forgetting the table read first. Entries being read stay;
// there are no more of them than callers.
func (c *Cache) evict() {
	var oldest name
	var readAt time.Time
	for n, e := range c.entries {
		select {
		case <-e.done:
			if readAt.IsZero() || e.readAt.Before(readAt) {
				oldest, readAt = n, e.readAt
			}
		default:
		}
	}
	delete(c.entries, oldest)
}

// errAbandoned is what waiters find when the reading connection panicked.
var errAbandoned = errors.New("reading the schema was abandoned")

// fill reads the table and lets the waiters go on, even if conn panics.
func (c *Cache) fill(ctx context.Context, conn Queryer, n name, e *entry) (*schema.Table, error) {
	e.err = errAbandoned
	defer func() {
		c.mu.Lock()
		if e.err != nil && c.entries[n] == e {
			delete(c.entries, n)
		}
		c.mu.Unlock()
		close(e.done)
	}()
	e.readAt = time.Now()
	table, err := c.read(ctx, conn, n)
	if err != nil {
		e.err = fmt.Errorf("read the schema of table %s: %w", n, err)
		return nil, e.err
	}
	e.table, e.err = table, nil
	return table, nil
}

func (c *Cache) read(ctx context.Context, conn Queryer, n name) (*schema.Table, error) {
	switch c.dialect {
	case schema.MySQL:
		return readMySQL(ctx, conn, n)
	case schema.SQLite:
		return readSQLite(ctx, conn, n)
	case schema.PostgreSQL:
		return readPostgres(ctx, conn, n)
	default:
		return nil, fmt.Errorf("%v has no catalogue", c.dialect)
	}
}

// isVerdict tells an answer of the catalogue from a failure to read it.
func isVerdict(err error) bool {
	return errors.Is(err, ErrNoTable) || errors.Is(err, ErrNoPrimaryKey) || errors.Is(err, ErrNotATable)
}

func (n name) String() string {
	if n.schema == "" {
		return n.table
	}
	return n.schema + "." + n.table
}

// noTable, noPrimaryKey and notATable add the remedy.
func noTable() error {
	return fmt.Errorf("%w: check the name and the current database", ErrNoTable)
}

func noPrimaryKey() error {
	return fmt.Errorf("%w: add one, or change the table outside global transactions", ErrNoPrimaryKey)
}

func notATable(what string) error {
	return fmt.Errorf("%w but %s: change the tables beneath it, or do so outside global transactions", ErrNotATable, what)
}
