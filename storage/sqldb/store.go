package sqldb

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/qiao-tx/qiao/storage"
)

// Config says where the database is.
type Config struct {
	// Type is mysql (MySQL 8), mariadb or postgresql.
	Type string
	// DSN is that of go-sql-driver/mysql, or a URL or DSN of libpq.
	DSN string
	// CreateTables has missing tables created (script/server/db). Otherwise they
	// must be there.
	CreateTables bool
	// Connections bounds those for reading; one more writes. Default 8.
	Connections int
	// Timeout bounds one SQL transaction. Default 10 s.
	Timeout time.Duration
	// Address is host:port, where clients and the other nodes reach this one.
	Address string
	// Lease is how long a node that is not heard of keeps its worker id and its
	// share of the due work. Default 6 s.
	Lease time.Duration
	// Logger is told what nobody gets as an error. Default: nothing is told.
	Logger *slog.Logger

	// watch is how often it looks for Java coordinators. Default 1 s.
	watch time.Duration
}

// Store implements storage.Store on a database that other coordinators may use at
// the same time.
type Store struct {
	dialect *dialect
	db      *sql.DB
	timeout time.Duration
	logger  *slog.Logger
	// connections are kept open.
	connections int
	widths      widths
	// rowKeys is how lock_table.row_key is compared.
	rowKeys comparison
	// packet is how many bytes a statement has at most; 0: any.
	packet int64
	node   *node

	queue   *queue
	writing sync.WaitGroup
	holding sync.WaitGroup
	batches atomic.Uint64
	entries atomic.Uint64
	tries   atomic.Uint64 // SQL transactions, those that were undone as well
	purged  atomic.Int64
	// mark is the worker whose row of qiao_ids has the number of the latest SQL
	// transaction, commits, which is the writer's.
	mark    int64
	commits int64

	ending  chan struct{} // closed when nothing is to be waited for any more
	closed  atomic.Bool
	closing sync.Once
	err     error
}

var _ storage.Shared = (*Store)(nil)

// ErrConfig reports a Config that cannot work, or a database without the tables.
var ErrConfig = errors.New("the database store is not usable")

// Open connects to the database and checks its tables. The errors name the table or
// the setting.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	d := dialects[cfg.Type]
	if d == nil {
		return nil, fmt.Errorf("%w: type %q is not known; write mysql, mariadb or postgresql", ErrConfig, cfg.Type)
	}
	if cfg.Connections == 0 {
		cfg.Connections = 8
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = 10 * time.Second
	}
	if cfg.Lease == 0 {
		cfg.Lease = 6 * time.Second
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	db, err := d.open(cfg.DSN, cfg.Timeout/2)
	if err != nil {
		return nil, fmt.Errorf("%w: the DSN: %w", ErrConfig, err)
	}
	db.SetMaxOpenConns(cfg.Connections + 1)
	db.SetMaxIdleConns(cfg.Connections + 1)
	db.SetConnMaxIdleTime(idleConnection)
	s := &Store{dialect: d, db: db, timeout: cfg.Timeout, logger: cfg.Logger, connections: cfg.Connections + 1, queue: newQueue(), ending: make(chan struct{})}
	if s.widths, err = prepareTables(ctx, db, d, cfg.CreateTables); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	if err := s.learn(ctx); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	if s.node, err = s.join(ctx, cfg.Address, cfg.Lease); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	if err := s.prepareMark(ctx); err != nil {
		return nil, errors.Join(err, s.node.leave(ctx), db.Close())
	}
	s.writing.Go(s.write)
	s.holding.Go(s.node.hold)
	s.holding.Go(func() { s.node.watch(cmp.Or(cfg.watch, time.Second)) })
	return s, nil
}

// learn asks the database what it cannot be told.
func (s *Store) learn(ctx context.Context) (err error) {
	if s.rowKeys, err = s.widths.compares(ctx, s.db, s.dialect); err != nil || s.dialect.packet == "" {
		return err
	}
	err = query(ctx, s.db, s.dialect.statement(s.dialect.packet), func(rows *sql.Rows) error { return rows.Scan(&s.packet) })
	if err != nil {
		return fmt.Errorf("%w: how long a statement may be: %w", ErrConfig, err)
	}
	if s.packet < minPacket {
		return fmt.Errorf("%w: max_allowed_packet is %d; set it to %d or more", ErrConfig, s.packet, int64(minPacket))
	}
	return nil
}

// Warning tells what of the tables should be changed, or nothing.
func (s *Store) Warning() string { return s.rowKeys.warning() }

// context ends after d, and when the store is closed.
func (s *Store) context(d time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	stop := make(chan struct{})
	s.holding.Go(func() {
		select {
		case <-s.ending:
			cancel()
		case <-stop:
		}
	})
	return ctx, func() { close(stop); cancel() }
}

// exec runs one statement by itself and tells how many rows it changed or found.
func (s *Store) exec(ctx context.Context, st *statement) (int64, error) {
	result, err := st.exec(ctx, s.db)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// forgetConnections closes those that nobody uses.
func (s *Store) forgetConnections() {
	s.db.SetMaxIdleConns(0)
	s.db.SetMaxIdleConns(s.connections)
}

// open answers why nothing can be asked now, or nil.
func (s *Store) open(ctx context.Context) error {
	if s.closed.Load() {
		return storage.ErrClosed
	}
	return ctx.Err()
}

// Apply implements storage.Store.
func (s *Store) Apply(ctx context.Context, b *storage.Batch) error {
	if s.closed.Load() {
		return storage.ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%w: %w", storage.ErrUnavailable, err)
	}
	if err := errors.Join(s.node.fit(), s.widths.check(b), s.fitsPacket(b)); err != nil {
		return err
	}
	r := request{batch: b, done: make(chan error, 1)} // the caller may have gone
	if !s.queue.put(r) {
		return storage.ErrClosed
	}
	select {
	case err := <-r.done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", errUnknown, ctx.Err())
	}
}

// Close implements storage.Store. It may be called again.
func (s *Store) Close() error {
	s.closing.Do(func() {
		s.closed.Store(true)
		s.queue.close()
		s.writing.Wait()
		close(s.ending)
		s.holding.Wait()
		ctx, cancel := context.WithTimeout(context.Background(), s.timeout)
		defer cancel()
		s.err = errors.Join(s.node.leave(ctx), s.db.Close())
	})
	return s.err
}

// WorkerID is this node's part of new ids, 0 to 1023. It is nobody else's. It may
// change: a Java coordinator takes its own without asking.
func (s *Store) WorkerID() int { return s.node.workerID() }

// Failed is closed when this node must not go on: see ErrLeaseLost.
func (s *Store) Failed() <-chan struct{} { return s.node.failed }

// Err tells why the node failed, or nil.
func (s *Store) Err() error {
	s.node.mu.Lock()
	defer s.node.mu.Unlock()
	return s.node.err
}
