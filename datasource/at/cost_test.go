package at_test

import (
	"context"
	"database/sql"
	"net"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/datasource/schema"
	"github.com/qiao-tx/qiao/internal/testenv"
)

// wire counts the round trips of the connections that it dials: the times that
// a side which had written turned to reading.
type wire struct{ turns atomic.Int64 }

func (w *wire) dial(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &countedConn{TCPConn: c.(*net.TCPConn), wire: w}, nil
}

type countedConn struct {
	*net.TCPConn // the driver looks for its methods
	wire         *wire
	// written: bytes went out since the last read.
	written atomic.Bool
}

func (c *countedConn) Write(p []byte) (int, error) {
	c.written.Store(true)
	return c.TCPConn.Write(p)
}

func (c *countedConn) Read(p []byte) (int, error) {
	if c.written.Swap(false) {
		c.wire.turns.Add(1)
	}
	return c.TCPConn.Read(p)
}

// work is one piece of an application's work, and how many round trips to
// MySQL it may take on a connection that has done it before.
type work struct {
	name string
	// bare and protected are the counts of the driver alone and under AT;
	// interpolated those with interpolateParams.
	bare, protected, bareInterpolated, protectedInterpolated int64
	do                                                       func(context.Context, *sql.DB) error
}

var works = []work{
	{"update", 2, 6, 1, 6, func(ctx context.Context, db *sql.DB) error {
		return update(ctx, db, 1)
	}},
	{"insert", 2, 5, 1, 5, func(ctx context.Context, db *sql.DB) error {
		_, err := db.ExecContext(ctx, "INSERT INTO cost (name, n) VALUES (?, ?)", "new", 1)
		return err
	}},
	{"transaction of 3 updates", 8, 12, 5, 12, func(ctx context.Context, db *sql.DB) error {
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer tx.Rollback()
		for id := range 3 {
			if err := update(ctx, tx, id+1); err != nil {
				return err
			}
		}
		return tx.Commit()
	}},
}

func update(ctx context.Context, db interface {
	ExecContext(context.Context, string, ...any) (sql.Result, error)
}, id int) error {
	_, err := db.ExecContext(ctx, "UPDATE cost SET n = n + ? WHERE id = ?", 1, id)
	return err
}

func costTable(d schema.Dialect) []string {
	key := "BIGINT AUTO_INCREMENT PRIMARY KEY"
	if d == schema.SQLite {
		key = "INTEGER PRIMARY KEY AUTOINCREMENT"
	}
	return []string{
		"CREATE TABLE cost (id " + key + ", name VARCHAR(20) NOT NULL, n INT NOT NULL)",
		"INSERT INTO cost (name, n) VALUES ('one', 0), ('two', 0), ('three', 0)",
	}
}

// protected does work in a global transaction that ends at once: phase two is
// left out.
func (e *env) protected(w work) error {
	ctx, x := e.global()
	defer e.tc.release(x)
	return w.do(ctx, e.db)
}

// What AT costs in round trips is known exactly: a statement more than these
// is one too many.
func TestRoundTrips(t *testing.T) {
	for _, interpolate := range []bool{false, true} {
		t.Run(map[bool]string{false: "prepared", true: "interpolated"}[interpolate], func(t *testing.T) {
			var w wire
			onMySQL(t, settings{dsn: func(c *mysql.Config) { c.InterpolateParams, c.DialFunc = interpolate, w.dial }},
				costTable(schema.MySQL), func(t *testing.T, e *env) {
					for _, work := range works {
						bare, protected := work.bare, work.protected
						if interpolate {
							bare, protected = work.bareInterpolated, work.protectedInterpolated
						}
						require.NoError(t, work.do(t.Context(), e.plain))
						require.NoError(t, e.protected(work))
						start := w.turns.Load()
						require.NoError(t, work.do(t.Context(), e.plain))
						require.Equal(t, bare, w.turns.Load()-start, "%s on the driver", work.name)
						start = w.turns.Load()
						require.NoError(t, e.protected(work))
						require.Equal(t, protected, w.turns.Load()-start, "%s under AT", work.name)
					}
				})
		})
	}
}

// BenchmarkCost measures what AT adds to the driver: round trips to the database
// and to the coordinator, and this process's CPU time. Phase two is not in it.
func BenchmarkCost(b *testing.B) {
	for _, interpolate := range []bool{false, true} {
		b.Run(map[bool]string{false: "MariaDB", true: "MariaDB interpolated"}[interpolate], func(b *testing.B) {
			cfg, err := mysql.ParseDSN(testenv.MariaDB(b))
			require.NoError(b, err)
			var w wire
			cfg.InterpolateParams, cfg.DialFunc = interpolate, w.dial
			connector, err := mysql.NewConnector(cfg)
			require.NoError(b, err)
			benchmarkCost(b, open(b, schema.MySQL, connector, connector, settings{}, costTable(schema.MySQL)), &w)
		})
	}
	b.Run("SQLite", func(b *testing.B) {
		benchmarkCost(b, onSQLite(b, settings{}, costTable(schema.SQLite)...), nil)
	})
}

func benchmarkCost(b *testing.B, e *env, w *wire) {
	for _, work := range works {
		b.Run(work.name+"/bare", func(b *testing.B) {
			measure(b, e, w, func() error { return work.do(b.Context(), e.plain) })
		})
		b.Run(work.name+"/AT", func(b *testing.B) {
			measure(b, e, w, func() error { return e.protected(work) })
		})
	}
}

func measure(b *testing.B, e *env, w *wire, do func() error) {
	require.NoError(b, do()) // the connection and the schema are there
	var registrations, turns int64
	e.tc.registered = func() { registrations++ }
	if w != nil {
		turns = w.turns.Load()
	}
	cpu := cpuTime(b)
	b.ResetTimer()
	for range b.N {
		if err := do(); err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	perOp := func(n int64, unit string) { b.ReportMetric(float64(n)/float64(b.N), unit) }
	perOp((cpuTime(b) - cpu).Microseconds(), "cpu-µs/op")
	if w != nil {
		perOp(w.turns.Load()-turns, "db-trips/op")
	}
	perOp(registrations, "tc-trips/op")
	e.tc.registered = nil
}

// cpuTime is what this process has used: the database server is another one.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
