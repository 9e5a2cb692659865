package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/internal/testenv"
	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/storage"
)

// lockWaits counts the sessions that wait for a lock in this database.
func lockWaits(d *dialect) string {
	if d == mysqlDialect {
		return `SELECT COUNT(*) FROM information_schema.innodb_trx x JOIN information_schema.processlist p
			ON p.id=x.trx_mysql_thread_id WHERE x.trx_state='LOCK WAIT' AND p.db=DATABASE()`
	}
	return "SELECT COUNT(*) FROM pg_stat_activity WHERE wait_event_type='Lock' AND datname=current_database()"
}

func awaitLockWait(t *testing.T, s *Store) {
	t.Helper()
	require.Eventually(t, func() bool {
		n := 0
		return s.db.QueryRowContext(t.Context(), lockWaits(s.dialect)).Scan(&n) == nil && n > 0
	}, 20*time.Second, 150*time.Millisecond) // MariaDB renews the list when nobody has read it for 100 ms
}

// A group that a deadlock undoes is tried again whole.
func TestADeadlock(t *testing.T) {
	onEach(t, func(t *testing.T, cfg Config) {
		s := open(t, cfg)
		state := begin(t, s, 100, "t:1")
		victims := 0
		for round := range 20 {
			other, err := s.db.BeginTx(t.Context(), nil)
			require.NoError(t, err)
			ballast := "INSERT INTO vgroup_table (vGroup,namespace,cluster) VALUES ('a','b','" + fmt.Sprint(round) + "')"
			for i := range 200 { // the database undoes who wrote less
				ballast += fmt.Sprintf(",('%d','b','%d')", i, round)
			}
			_, err = other.ExecContext(t.Context(), ballast)
			require.NoError(t, err)
			_, err = other.ExecContext(t.Context(), "UPDATE branch_table SET resource_group_id='x' WHERE branch_id=101")
			require.NoError(t, err)
			done := make(chan error, 1)
			go func() {
				done <- s.Apply(context.Background(), &storage.Batch{XID: state.XID, Revision: state.Revision,
					Change: []storage.BranchChange{{ID: 101, Status: protocol.BranchStatus(2 + round%2)}},
					Add:    []storage.Branch{{ID: int64(200 + round), Type: protocol.TypeTCC, ResourceID: "credit", RegisteredAt: 1}}})
			}()
			awaitLockWait(t, s)
			_, err = other.ExecContext(t.Context(), "UPDATE global_table SET application_data='x' WHERE transaction_id=100")
			if err == nil {
				victims++
				err = other.Commit()
			} else {
				require.Equal(t, raced, s.dialect.failure(err))
				err = other.Rollback()
			}
			require.NoError(t, err)
			require.NoError(t, <-done)
			state.Revision++
			got, err := s.Load(t.Context(), state.XID)
			require.NoError(t, err)
			require.Equal(t, state.Revision, got.Revision)
			require.Len(t, got.Branches, 2+round)
			if victims > 0 {
				return
			}
		}
		require.NotZero(t, victims, "the store was never the victim")
	})
}

// A group that waits too long for a lock tries again.
func TestALockWaitTimeOut(t *testing.T) {
	onEach(t, func(t *testing.T, cfg Config) {
		cfg.Timeout, cfg.Lease = 6*time.Second, time.Minute
		s := open(t, cfg)
		state := begin(t, s, 100, "t:1")
		other, err := s.db.BeginTx(t.Context(), nil)
		require.NoError(t, err)
		_, err = other.ExecContext(t.Context(), "UPDATE global_table SET application_data='x' WHERE transaction_id=100")
		require.NoError(t, err)
		done := make(chan error, 1)
		go func() {
			done <- s.Apply(context.Background(), &storage.Batch{XID: state.XID, Revision: 1, UnlockAll: true})
		}()
		first := s.tries.Load()
		require.Eventually(t, func() bool { return s.tries.Load() >= first+2 }, time.Minute, time.Millisecond, "it gives up waiting and tries again")
		require.NoError(t, other.Rollback())
		require.NoError(t, <-done)
	})
}

// cutter is a proxy that breaks a connection at one of the client's messages.
type cutter struct {
	to       string
	listener net.Listener
	all      sync.WaitGroup
	mu       sync.Mutex
	open     map[net.Conn]bool
	// passing is how many messages pass before the cut; negative: all.
	passing atomic.Int64
	// after: the server gets the message, and its answer is lost.
	after atomic.Bool
}

func newCutter(t *testing.T, to string) *cutter {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	c := &cutter{to: to, listener: listener, open: make(map[net.Conn]bool)}
	c.passing.Store(-1 << 40)
	c.all.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			c.all.Go(func() { c.carry(client) })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		c.mu.Lock()
		for conn := range c.open {
			_ = conn.Close()
		}
		c.mu.Unlock()
		c.all.Wait()
	})
	return c
}

func (c *cutter) carry(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", c.to)
	if err != nil {
		return
	}
	defer server.Close()
	c.mu.Lock()
	c.open[client], c.open[server] = true, true
	c.mu.Unlock()
	var lost atomic.Bool
	back := make(chan struct{})
	go func() {
		defer close(back)
		buffer := make([]byte, 64<<10)
		for {
			n, err := server.Read(buffer)
			if lost.Load() { // the answer came: the server has done it
				_ = client.Close()
				return
			}
			if n > 0 {
				_, _ = client.Write(buffer[:n])
			}
			if err != nil {
				_ = client.Close()
				return
			}
		}
	}()
	buffer := make([]byte, 1<<20)
	for {
		n, err := client.Read(buffer)
		if err != nil {
			break
		}
		if c.passing.Add(-1) == -1 {
			if !c.after.Load() {
				break
			}
			lost.Store(true)
		}
		if _, err := server.Write(buffer[:n]); err != nil {
			break
		}
	}
	if !lost.Load() {
		_ = server.Close()
	}
	<-back
	c.mu.Lock()
	delete(c.open, client)
	delete(c.open, server)
	c.mu.Unlock()
}

// through has the DSN lead through a cutter.
func through(t *testing.T, cfg Config) (Config, *cutter) {
	t.Helper()
	if cfg.Type == "postgresql" {
		u, err := pgx.ParseConfig(cfg.DSN)
		require.NoError(t, err)
		was := net.JoinHostPort(u.Host, fmt.Sprint(u.Port))
		c := newCutter(t, was)
		cfg.DSN = strings.Replace(cfg.DSN, was, c.listener.Addr().String(), 1)
		return cfg, c
	}
	d, err := mysql.ParseDSN(cfg.DSN)
	require.NoError(t, err)
	c := newCutter(t, d.Addr)
	d.Addr = c.listener.Addr().String()
	cfg.DSN = d.FormatDSN()
	return cfg, c
}

// Wherever the connection breaks, before, in or after the commit, the caller is
// told what is true.
func TestTheConnectionBreaksAnywhere(t *testing.T) {
	onEach(t, func(t *testing.T, cfg Config) {
		cfg.Lease = time.Minute // so that nothing else is sent
		cfg, c := through(t, cfg)
		s := open(t, cfg)
		state := begin(t, s, 100, "t:1")
		for _, after := range []bool{false, true} {
			c.after.Store(after)
			for n := int64(0); ; n++ {
				b := &storage.Batch{XID: state.XID, Revision: state.Revision,
					Add: []storage.Branch{{ID: int64(200 + state.Revision), Type: protocol.TypeAT, ResourceID: "db", Locked: true,
						LockKey: fmt.Sprintf("t:%d", 100+state.Revision)}}}
				c.passing.Store(n)
				require.NoError(t, s.Apply(t.Context(), b), "message %d, after %v", n, after)
				cut := c.passing.Load() < 0
				c.passing.Store(-1 << 40)
				state.Revision++
				got, err := s.Load(t.Context(), state.XID)
				require.NoError(t, err)
				require.Equal(t, state.Revision, got.Revision, "once, message %d, after %v", n, after)
				require.Len(t, got.Branches, int(state.Revision))
				if !cut {
					require.Greater(t, n, int64(3), "there is a begin, a read, a script and a commit")
					break
				}
			}
		}
	})
}

// While the database ends its connections under load, nothing that was acknowledged
// is lost, and nothing is done twice.
func TestConnectionsAreKilled(t *testing.T) {
	onEach(t, func(t *testing.T, cfg Config) {
		cfg.Lease = time.Minute
		s := open(t, cfg)
		admin, err := s.dialect.open(cfg.DSN, time.Second)
		require.NoError(t, err)
		defer admin.Close()
		ctx, stop := context.WithCancel(t.Context())
		acknowledged := make([][]storage.State, 4)
		var all sync.WaitGroup
		for w := range acknowledged {
			all.Go(func() { acknowledged[w] = writeUntil(ctx, s, int64(w)) })
		}
		for range 30 {
			before := s.Stats().Batches
			killOthers(t, admin, s.dialect)
			require.Eventually(t, func() bool { return s.batches.Load() > before+5 }, 30*time.Second, time.Millisecond)
		}
		stop()
		all.Wait()
		for _, states := range acknowledged {
			for _, want := range states {
				got, err := s.Load(t.Context(), want.XID)
				require.NoError(t, err)
				require.Equal(t, want.Revision, got.Revision)
				require.Len(t, got.Branches, len(want.Branches))
			}
		}
	})
}

// killOthers ends the other connections to the database.
func killOthers(t *testing.T, admin *sql.DB, d *dialect) {
	t.Helper()
	list, kill := "SELECT id FROM information_schema.processlist WHERE db=DATABASE() AND id<>CONNECTION_ID()", "KILL %d"
	if d == postgresqlDialect {
		list, kill = "SELECT pid FROM pg_stat_activity WHERE datname=current_database() AND pid<>pg_backend_pid()", "SELECT pg_terminate_backend(%d)"
	}
	for _, id := range ids(t, admin, list) {
		_, _ = admin.ExecContext(t.Context(), fmt.Sprintf(kill, id)) // it may have gone
	}
}

// plain is the DSN of a user without privileges over the server.
func plain(t *testing.T, dsn string) (admin *sql.DB, user string) {
	t.Helper()
	admin, err := mysqlDialect.open(dsn, time.Second)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, admin.Close()) })
	for _, statement := range []string{"CREATE USER app@'%' IDENTIFIED BY 'secret'", "GRANT ALL ON qiao_test.* TO app@'%'"} {
		_, err = admin.ExecContext(t.Context(), statement)
		require.NoError(t, err)
	}
	cfg, err := mysql.ParseDSN(dsn)
	require.NoError(t, err)
	cfg.User, cfg.Passwd = "app", "secret"
	return admin, cfg.FormatDSN()
}

// A MariaDB that turns read-only, or has no connection to give, refuses for that
// long, and nothing is written.
func TestMariaDBRefuses(t *testing.T) {
	_, dsn := testenv.OwnMariaDB(t)
	admin, dsn := plain(t, dsn)
	s := open(t, Config{Type: "mariadb", DSN: dsn, CreateTables: true, Lease: time.Minute})
	set := func(statement string) {
		t.Helper()
		_, err := admin.ExecContext(t.Context(), statement)
		require.NoError(t, err)
	}
	b := locking(100, "t:1")
	set("SET GLOBAL read_only=1")
	err := s.Apply(t.Context(), b)
	require.ErrorIs(t, err, storage.ErrUnavailable)
	require.NotErrorIs(t, err, errRefused)
	set("SET GLOBAL read_only=0")
	require.NoError(t, s.Apply(t.Context(), b))

	set("SET GLOBAL max_connections=10")
	db, err := sql.Open("mysql", dsn)
	require.NoError(t, err)
	s.forgetConnections()
	var taken []*sql.Conn
	for {
		conn, err := db.Conn(t.Context())
		if err != nil {
			break
		}
		taken = append(taken, conn)
	}
	b = locking(200, "t:2")
	require.ErrorIs(t, s.Apply(t.Context(), b), storage.ErrUnavailable)
	for _, conn := range taken {
		require.NoError(t, conn.Close())
	}
	require.NoError(t, db.Close())
	require.Eventually(t, func() bool { // the server lets go of them in its own time
		err = s.Apply(t.Context(), b)
		return !errors.Is(err, storage.ErrUnavailable)
	}, 20*time.Second, 10*time.Millisecond)
	require.NoError(t, err)
}

// A Batch that the database refuses does not take those with it that share its
// group.
func TestARefusedBatchIsAlone(t *testing.T) {
	onEach(t, func(t *testing.T, cfg Config) {
		s := open(t, cfg)
		good, bad := locking(100, "t:1"), locking(200, "t:2")
		bad.Global.Name = strings.Repeat("x", 500) // Apply would have refused it
		done := []request{{good, make(chan error, 1)}, {bad, make(chan error, 1)}}
		s.writeAll(done) // the writer is idle
		require.NoError(t, <-done[0].done)
		require.ErrorIs(t, <-done[1].done, errRefused)
	})
}

// A node whose clock is hours ahead takes nothing that is another's: the database's
// clock says who lives, and when the tombstones of all have expired.
func TestANodesClockIsWrong(t *testing.T) {
	onEach(t, func(t *testing.T, cfg Config) {
		right, ahead := open(t, cfg), open(t, cfg)
		require.NoError(t, right.node.look(t.Context()))
		now := time.Now().UnixMilli()
		const hours = 5 * 3600 * 1000
		state := begin(t, right, 100, "t:1")
		require.NoError(t, right.Apply(t.Context(), &storage.Batch{XID: state.XID, Revision: 1, At: now, UnlockAll: true,
			Finish: &storage.Tombstone{Outcome: protocol.StatusCommitted, ExpiresAt: now + 600_000}}))
		early := locking(200, "t:2")
		early.At = now + hours
		require.NoError(t, ahead.Apply(t.Context(), early))
		buried, err := right.Load(t.Context(), state.XID)
		require.NoError(t, err)
		require.Equal(t, protocol.StatusCommitted, buried.Outcome, "it was not purged by the wrong clock")

		for i := range 40 {
			begin(t, right, int64(1000+10*i), fmt.Sprintf("u:%d", i))
		}
		mine, err := right.Due(t.Context(), now, 100)
		require.NoError(t, err)
		others, err := ahead.Due(t.Context(), now+hours, 100)
		require.NoError(t, err)
		require.NotEmpty(t, mine)
		for _, x := range others {
			require.NotContains(t, mine, x)
		}
	})
}
