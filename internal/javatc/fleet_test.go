//go:build linux

package javatc

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/client"
	"github.com/qiao-tx/qiao/client/naming/etcd"
	"github.com/qiao-tx/qiao/internal/testenv"
	"github.com/qiao-tx/qiao/protocol/xid"
	"github.com/qiao-tx/qiao/rm/tcc"
	"github.com/qiao-tx/qiao/tm"
)

// fleetTables are what Seata's store in a database needs.
const fleetTables = `
CREATE TABLE global_table (
  xid VARCHAR(128) PRIMARY KEY, transaction_id BIGINT, status TINYINT NOT NULL, application_id VARCHAR(32),
  transaction_service_group VARCHAR(32), transaction_name VARCHAR(128), timeout INT, begin_time BIGINT,
  application_data VARCHAR(2000), gmt_create DATETIME, gmt_modified DATETIME,
  KEY (status, gmt_modified), KEY (transaction_id));
CREATE TABLE branch_table (
  branch_id BIGINT PRIMARY KEY, xid VARCHAR(128) NOT NULL, transaction_id BIGINT, resource_group_id VARCHAR(32),
  resource_id VARCHAR(256), branch_type VARCHAR(8), status TINYINT, client_id VARCHAR(64),
  application_data VARCHAR(2000), gmt_create DATETIME(6), gmt_modified DATETIME(6), KEY (xid));
CREATE TABLE lock_table (
  row_key VARCHAR(128) PRIMARY KEY, xid VARCHAR(128), transaction_id BIGINT, branch_id BIGINT NOT NULL,
  resource_id VARCHAR(256), table_name VARCHAR(32), pk VARCHAR(36), status TINYINT NOT NULL DEFAULT 0,
  gmt_create DATETIME, gmt_modified DATETIME, KEY (status), KEY (branch_id), KEY (xid));
CREATE TABLE distributed_lock (
  lock_key CHAR(20) PRIMARY KEY, lock_value VARCHAR(20) NOT NULL, expire BIGINT);
INSERT INTO distributed_lock VALUES
  ('AsyncCommitting', ' ', 0), ('RetryCommitting', ' ', 0), ('RetryRollbacking', ' ', 0), ('TxTimeoutCheck', ' ', 0)`

// fleet is Java coordinators that share a database and are listed in etcd.
type fleet struct {
	t    *testing.T
	etcd *testenv.EtcdServer
	// dsn is that of their database.
	dsn string
}

func newFleet(t *testing.T) *fleet {
	cfg, err := mysql.ParseDSN(testenv.MariaDB(t))
	require.NoError(t, err)
	cfg.MultiStatements = true
	db, err := sql.Open("mysql", cfg.FormatDSN())
	require.NoError(t, err)
	defer db.Close()
	_, err = db.ExecContext(t.Context(), fleetTables)
	require.NoError(t, err)
	return &fleet{t: t, etcd: testenv.Etcd(t), dsn: cfg.FormatDSN()}
}

// start starts a coordinator at a loopback address of its own.
func (f *fleet) start(host string) *testenv.JavaCoordinator {
	return testenv.JavaTC(f.t, testenv.JavaTCOptions{Host: host, Database: f.dsn, Properties: map[string]string{
		"seata.registry.type": "etcd3", "seata.registry.etcd3.server-addr": f.etcd.Endpoint(), "seata.registry.etcd3.cluster": "default",
	}})
}

// calls notes what an action is asked, as "confirm NAME" and "cancel NAME".
type calls struct {
	mu  sync.Mutex
	all map[string]int
}

func (c *calls) add(call string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all[call]++
}

func (c *calls) count(call string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.all[call]
}

// named is the argument of an action.
type named struct{ Name string }

func (c *calls) action() tcc.Action[named] {
	note := func(what string) func(context.Context, named) error {
		return func(_ context.Context, n named) error {
			c.add(what + " " + n.Name)
			return nil
		}
	}
	return tcc.Action[named]{Name: "hold", Try: note("try"), Confirm: note("confirm"), Cancel: note("cancel")}
}

// TestAFleetOfJavaCoordinators: two Java coordinators list themselves in etcd and
// share a database. Our client uses both, and when one is killed in the middle of
// transactions the other finishes them.
func TestAFleetOfJavaCoordinators(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	one, two := f.start("127.0.0.2"), f.start("127.0.0.3")
	r, err := etcd.New(etcd.Config{Endpoints: []string{f.etcd.Endpoint()}})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, r.Close()) })
	awaitListed := func(want ...*testenv.JavaCoordinator) {
		require.Eventually(t, func() bool {
			listed, _ := r.Resolve(t.Context())
			for _, tc := range want {
				if !slices.Contains(listed, tc.Advertised()) {
					return false
				}
			}
			return len(listed) == len(want)
		}, patience, 20*time.Millisecond)
	}
	awaitListed(one, two) // each has registered itself

	c, err := client.Open(t.Context(), client.Config{
		Resolver: r, ResolveEvery: time.Hour, ApplicationID: "fleet", Logger: slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, c.Close(context.Background())) })
	asked := &calls{all: make(map[string]int)}
	action, err := tcc.Register(t.Context(), c.RM(), asked.action())
	require.NoError(t, err)
	// begin begins at a node and tries the action there.
	begin := func(home *testenv.JavaCoordinator, name string) *tm.Tx {
		for started := time.Now(); time.Since(started) < patience; {
			tx, err := c.TM().Begin(t.Context(), tm.Options{Timeout: 5 * time.Minute})
			require.NoError(t, err)
			if address, _, _ := xid.Parse(tx.XID()); address != home.Advertised() {
				require.NoError(t, tx.Rollback(t.Context()))
				continue
			}
			ctx, cancel := tx.Bind(t.Context())
			defer cancel()
			require.NoError(t, action.Try(ctx, named{name}))
			return tx
		}
		require.Fail(t, "a node takes no begin", home.Advertised())
		return nil
	}
	for i, home := range []*testenv.JavaCoordinator{one, two} {
		require.NoError(t, begin(home, fmt.Sprint("commit ", i)).Commit(t.Context()))
		require.NoError(t, begin(home, fmt.Sprint("rollback ", i)).Rollback(t.Context()))
		assert.Equal(t, 1, asked.count(fmt.Sprint("confirm commit ", i)))
		assert.Equal(t, 1, asked.count(fmt.Sprint("cancel rollback ", i)))
	}

	committed, rolledBack := begin(one, "orphan 1"), begin(one, "orphan 2")
	one.Kill()
	require.NoError(t, committed.Commit(t.Context()))
	assert.GreaterOrEqual(t, asked.count("confirm orphan 1"), 1)
	require.NoError(t, rolledBack.Rollback(t.Context()))
	assert.GreaterOrEqual(t, asked.count("cancel orphan 2"), 1)
	awaitListed(two) // the lease of the other has ended
	one.Restart()
	require.NoError(t, begin(one, "again").Commit(t.Context()))
	assert.Equal(t, 1, asked.count("confirm again"))
}
