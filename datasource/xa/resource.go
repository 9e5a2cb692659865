package xa

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/rm"
)

// Resource is a database as the coordinator knows it.
type Resource struct {
	cfg      Config
	db       database
	branches *registry
	// pool holds the sessions of phase two beside those that are held.
	pool   *sql.DB
	closed atomic.Bool
}

var (
	_ rm.Resource = (*Resource)(nil)
	_ rm.Closable = (*Resource)(nil)
)

// phaseTwoConns bounds the connections that phase two takes beside the user's.
const phaseTwoConns = 8

// ID is the resource id.
func (r *Resource) ID() string { return r.cfg.ResourceID }

// BranchType is XA.
func (r *Resource) BranchType() protocol.BranchType { return protocol.TypeXA }

// Closed tells that the data source was closed: it may be opened again.
func (r *Resource) Closed() bool { return r.closed.Load() }

// Connector opens connections that take part in global transactions. Close it
// after the last of them: database/sql does so in DB.Close.
type Connector struct {
	inner driver.Connector
	res   *Resource

	stop     context.CancelFunc
	running  sync.WaitGroup
	closing  sync.Once
	closeErr error
}

// Open wraps a driver's connector and registers the database with the
// coordinator. The connector is closed with the result, if it can be. The error
// is ErrNotSupported, the database's, or the coordinator's.
func Open(ctx context.Context, inner driver.Connector, cfg Config) (*Connector, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	r := &Resource{cfg: cfg, db: databaseOf(cfg.Dialect), branches: newRegistry(), pool: sql.OpenDB(inner)}
	r.pool.SetMaxOpenConns(phaseTwoConns)
	err = r.borrow(ctx, func(s asker) error { return r.db.check(ctx, s) })
	if err != nil {
		return nil, errors.Join(fmt.Errorf("datasource: %w", err), r.pool.Close())
	}
	if err := cfg.Coordinator.RegisterResource(ctx, r); err != nil {
		return nil, errors.Join(fmt.Errorf("register the resource %s: %w", r.ID(), err), r.pool.Close())
	}
	c := &Connector{inner: inner, res: r}
	if r.db.attached() && cfg.Hold > 0 {
		running, stop := context.WithCancel(context.WithoutCancel(ctx))
		c.stop = stop
		c.running.Go(func() { r.release(running) })
	}
	return c, nil
}

// release closes sessions that were held for too long, until ctx ends.
func (r *Resource) release(ctx context.Context) {
	ticker := time.NewTicker(min(time.Second, max(10*time.Millisecond, r.cfg.Hold/4)))
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			for _, s := range r.branches.expired(now.Add(-r.cfg.Hold)) {
				_ = s.close() // what is prepared on it is the server's then
			}
		}
	}
}

// Resource is what was registered.
func (c *Connector) Resource() *Resource { return c.res }

// Connect opens a connection, or takes the session of a branch that has been
// finished.
func (c *Connector) Connect(ctx context.Context) (driver.Conn, error) {
	for s := c.res.branches.reuse(); s != nil; s = c.res.branches.reuse() {
		s.mu.Lock()
		err := s.reset(ctx)
		s.mu.Unlock()
		if err == nil {
			return &conn{res: c.res, session: s}, nil
		}
		_ = s.close() // the next one may be better
	}
	inner, err := c.inner.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return &conn{res: c.res, session: &session{inner: inner}}, nil
}

// Driver is the wrapped driver.
func (c *Connector) Driver() driver.Driver { return c.inner.Driver() }

// Close ends phase two here and closes its connections, and with them the
// wrapped connector. Branches that are prepared stay so: other processes get
// their orders.
func (c *Connector) Close() error {
	c.closing.Do(func() {
		c.res.closed.Store(true)
		if c.stop != nil {
			c.stop()
			c.running.Wait()
		}
		for _, s := range c.res.branches.close() {
			_ = s.close()
		}
		c.closeErr = c.res.pool.Close()
	})
	return c.closeErr
}

// borrowAttempts is how many sessions that turn out to be gone are replaced.
const borrowAttempts = 3

// borrow runs work on a session of the resource's own pool, and again on another
// one when nothing could be sent on it.
func (r *Resource) borrow(ctx context.Context, work func(asker) error) (err error) {
	for range borrowAttempts {
		var c *sql.Conn
		if c, err = r.pool.Conn(ctx); err != nil {
			return fmt.Errorf("connect to the database: %w", err)
		}
		err = work(pooled{c})
		if closing := ignoreDone(c.Close()); !errors.Is(err, driver.ErrBadConn) {
			return errors.Join(err, closing)
		}
	}
	return err
}

// ignoreDone: a connection that broke is closed already.
func ignoreDone(err error) error {
	if errors.Is(err, sql.ErrConnDone) {
		return nil
	}
	return err
}

// pooled is a session of a sql.DB.
type pooled struct{ conn *sql.Conn }

func (p pooled) exec(ctx context.Context, text string) error {
	_, err := p.conn.ExecContext(ctx, text)
	return err
}

func (p pooled) query(ctx context.Context, text string) ([][]any, error) {
	rows, err := p.conn.QueryContext(ctx, text)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	var all [][]any
	for rows.Next() {
		row, into := make([]any, len(columns)), make([]any, len(columns))
		for i := range row {
			into[i] = &row[i]
		}
		if err := rows.Scan(into...); err != nil {
			return nil, err
		}
		all = append(all, row)
	}
	return all, rows.Err()
}
