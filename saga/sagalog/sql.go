package sagalog

import (
	"context"
	"crypto/rand"
	"database/sql"
	"database/sql/driver"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/qiao-tx/qiao/saga/machine"
)

// Config says where a SQL store is and who uses it.
type Config struct {
	// DB is a MySQL, MariaDB, PostgreSQL or SQLite database with the tables of
	// script/client/saga/db. The store keeps one connection of it for writing.
	// Open SQLite with journal_mode(WAL) and busy_timeout.
	DB *sql.DB
	// Node names this process among those that share the tables: equal after a
	// restart, different from all others that run at the same time. Default the
	// host's name, which does while one process a host uses the tables. A process
	// that starts under the name of a running one takes over from it.
	Node string
	// TablePrefix begins the names of Seata's tables. Default "seata_".
	TablePrefix string
	// Location is the time zone of the tables' times. Default time.Local, as in
	// Java; processes that share tables need the same.
	Location *time.Location
	// Jackson: engines of Java that share the tables read parameters with Jackson
	// (client.rm.sagaJsonParser), not with fastjson, their default.
	Jackson bool
	// Lease is how long a node is taken for alive after its last sign of life.
	// Default 10 s.
	Lease time.Duration
}

func (c *Config) complete() error {
	if c.DB == nil {
		return errors.New("saga log: Config.DB is missing")
	}
	if c.DB.Stats().MaxOpenConnections == 1 {
		return errors.New("saga log: Config.DB allows one connection; the store keeps one to write and needs another to read: SetMaxOpenConns(2) or more")
	}
	if c.Node == "" {
		host, err := os.Hostname()
		if err != nil {
			return fmt.Errorf("saga log: Config.Node is missing, and this host tells no name: %w", err)
		}
		c.Node = host[:min(len(host), 64)]
	}
	if len(c.Node) > 64 {
		return fmt.Errorf("saga log: Config.Node %q: want 64 bytes at most", c.Node)
	}
	if c.TablePrefix == "" {
		c.TablePrefix = "seata_"
	}
	if !regexp.MustCompile(`^[A-Za-z0-9_.]{0,64}$`).MatchString(c.TablePrefix) {
		return fmt.Errorf("saga log: Config.TablePrefix %q: want letters, digits and _", c.TablePrefix)
	}
	if c.Location == nil {
		c.Location = time.Local
	}
	if c.Lease == 0 {
		c.Lease = 10 * time.Second
	}
	if c.Lease < 0 {
		return fmt.Errorf("saga log: Config.Lease %v: want more than 0", c.Lease)
	}
	return nil
}

type dialect uint8

const (
	mysql dialect = iota
	postgresql
	sqlite
)

// SQL is a Store in a database. Close it before the database.
type SQL struct {
	cfg     Config
	dialect dialect
	epoch   int64
	entries chan *entry
	stop    context.CancelFunc
	stopped sync.WaitGroup
	closing chan struct{}
	once    sync.Once
}

// OpenSQL joins the node to the tables. From then on an older process of the same
// node can write nothing more.
func OpenSQL(ctx context.Context, cfg Config) (*SQL, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	s := &SQL{cfg: cfg, entries: make(chan *entry, 4096), closing: make(chan struct{})}
	if err := s.probe(ctx); err != nil {
		return nil, err
	}
	if err := s.join(ctx); err != nil {
		return nil, fmt.Errorf("saga log: node %s: %w", cfg.Node, err)
	}
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.stop = stop
	s.stopped.Add(2)
	go func() { defer s.stopped.Done(); s.writeAll(work) }()
	go func() { defer s.stopped.Done(); s.stayAlive(work) }()
	return s, nil
}

// Close implements Store.
func (s *SQL) Close() error {
	s.once.Do(func() { close(s.closing); s.stop() })
	s.stopped.Wait()
	return nil
}

// probe finds out which database it is and whether the tables are there.
func (s *SQL) probe(ctx context.Context) error {
	var err error
	if s.dialect, err = dialectOf(ctx, s.cfg.DB); err != nil {
		return err
	}
	for _, table := range []string{s.cfg.TablePrefix + "state_machine_inst", "qiao_saga_owner", "qiao_saga_node"} {
		rows, err := s.cfg.DB.QueryContext(ctx, "SELECT 1 FROM "+table+" WHERE 1 = 0")
		if err != nil {
			return fmt.Errorf("saga log: table %s: %w; create the tables with sagalog.CreateTables or a script of script/client/saga/db", table, err)
		}
		err = errors.Join(rows.Err(), rows.Close())
		if err != nil {
			return fmt.Errorf("saga log: table %s: %w", table, err)
		}
	}
	return nil
}

// q writes a statement for the database: {p} is the tables' prefix, ? a parameter.
func (s *SQL) q(statement string) string {
	statement = strings.ReplaceAll(statement, "{p}", s.cfg.TablePrefix)
	if s.dialect != postgresql {
		return statement
	}
	var b strings.Builder
	n := 0
	for _, part := range strings.SplitAfter(statement, "?") {
		if strings.HasSuffix(part, "?") {
			n++
			part = part[:len(part)-1] + "$" + strconv.Itoa(n)
		}
		b.WriteString(part)
	}
	return b.String()
}

const timeLayout = "2006-01-02 15:04:05.000"

// stamp writes a time, or NULL.
func (s *SQL) stamp(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.In(s.cfg.Location).Format(timeLayout)
}

// begin opens a transaction that will write.
func (s *SQL) begin() string {
	switch s.dialect {
	case sqlite:
		return "BEGIN IMMEDIATE"
	case mysql:
		return "START TRANSACTION"
	}
	return "BEGIN"
}

// inTx runs f in a transaction on a connection of its own.
func (s *SQL) inTx(ctx context.Context, f func(c *sql.Conn) error) error {
	c, err := s.cfg.DB.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	err = s.onConn(ctx, c, f)
	if err != nil {
		discard(c)
	}
	return err
}

// onConn runs f in a transaction. After an error the connection may still be inside
// of it: the caller discards it.
func (s *SQL) onConn(ctx context.Context, c *sql.Conn, f func(c *sql.Conn) error) error {
	if _, err := c.ExecContext(ctx, s.begin()); err != nil {
		return err
	}
	if err := f(c); err != nil {
		_, undone := c.ExecContext(context.WithoutCancel(ctx), "ROLLBACK")
		return errors.Join(err, undone)
	}
	if _, err := c.ExecContext(ctx, "COMMIT"); err != nil {
		return fmt.Errorf("%w: %w", ErrUnanswered, err)
	}
	return nil
}

// discard keeps a connection that may be inside a transaction out of the pool.
func discard(c *sql.Conn) {
	_ = c.Raw(func(any) error { return driver.ErrBadConn })
}

// lock is what makes a SELECT wait for others that write the row.
func (s *SQL) lock() string {
	if s.dialect == sqlite { // has one writer only
		return ""
	}
	return " FOR UPDATE"
}

// join raises the node's epoch, which fences off an older process.
func (s *SQL) join(ctx context.Context) error {
	return s.inTx(ctx, func(c *sql.Conn) error {
		err := c.QueryRowContext(ctx, s.q("SELECT epoch FROM qiao_saga_node WHERE node = ?"+s.lock()), s.cfg.Node).Scan(&s.epoch)
		if errors.Is(err, sql.ErrNoRows) {
			s.epoch = 1
			_, err = c.ExecContext(ctx, s.q("INSERT INTO qiao_saga_node (node, epoch, alive_until) VALUES (?, 1, ?)"), s.cfg.Node, s.aliveUntil())
			return err
		}
		if err != nil {
			return err
		}
		s.epoch++
		_, err = c.ExecContext(ctx, s.q("UPDATE qiao_saga_node SET epoch = ?, alive_until = ? WHERE node = ?"), s.epoch, s.aliveUntil(), s.cfg.Node)
		return err
	})
}

func (s *SQL) aliveUntil() int64 { return time.Now().Add(s.cfg.Lease).UnixMilli() }

// stayAlive renews the lease. If that fails the lease runs out, and another node
// may take over: the epoch then keeps this one from writing.
func (s *SQL) stayAlive(ctx context.Context) {
	ticker := time.NewTicker(s.cfg.Lease / 3)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			_ = s.submit(ctx, &entry{heartbeat: true, done: make(chan error, 1)})
		}
	}
}

// Adopt implements Store.
func (s *SQL) Adopt(ctx context.Context) ([]*machine.Log, error) {
	var ids []string
	err := s.inTx(ctx, func(c *sql.Conn) error {
		dead, err := texts(c.QueryContext(ctx, s.q("SELECT node FROM qiao_saga_node WHERE alive_until < ? AND node <> ?"+s.lock()),
			time.Now().UnixMilli(), s.cfg.Node))
		if err != nil {
			return err
		}
		for _, node := range dead {
			of, err := texts(c.QueryContext(ctx, s.q("SELECT machine_inst_id FROM qiao_saga_owner WHERE node = ?"), node))
			if err != nil {
				return err
			}
			ids = append(ids, of...)
			if _, err := c.ExecContext(ctx, s.q("UPDATE qiao_saga_node SET epoch = epoch + 1 WHERE node = ?"), node); err != nil {
				return err
			}
			if _, err := c.ExecContext(ctx, s.q("UPDATE qiao_saga_owner SET node = ? WHERE node = ?"), s.cfg.Node, node); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("saga log: take over from nodes that have died: %w", err)
	}
	return s.loadAll(ctx, ids)
}

// Interrupted implements Store.
func (s *SQL) Interrupted(ctx context.Context) ([]*machine.Log, error) {
	ids, err := texts(s.cfg.DB.QueryContext(ctx, s.q("SELECT machine_inst_id FROM qiao_saga_owner WHERE node = ?"), s.cfg.Node))
	if err != nil {
		return nil, fmt.Errorf("saga log: interrupted instances: %w", err)
	}
	return s.loadAll(ctx, ids)
}

// NewID returns an id that sorts after those made before, in 26 characters: it
// suits seata_state_inst.id, whose rows are read in the order of their ids where
// their times are equal.
func NewID(now time.Time) string {
	var b [13]byte
	binary.BigEndian.PutUint64(b[:], uint64(now.UnixNano())) // finer than the times in the tables
	_, _ = rand.Read(b[8:])                                  // crypto/rand never fails
	return hex.EncodeToString(b[:])
}
