package main

import (
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/internal/testenv"
	"github.com/qiao-tx/qiao/protocol"
)

// A Java coordinator brings to its end what ours left in Redis when it was killed, and
// ours what that one left.
func TestAJavaCoordinatorTakesOverOnRedis(t *testing.T) {
	redis := testenv.Redis(t)
	host, port, err := net.SplitHostPort(redis.Addr())
	require.NoError(t, err)
	flags := []string{
		"--store-mode", "redis", "--store-redis-single-host", host, "--store-redis-single-port", port, "--store-redis-node-lease", "1s",
	}
	ours := startServerProcess(t, t.TempDir(), flags...)
	c := ours.client(testDatabase)
	left := leaveThree(t, c, "ours")
	ours.kill()

	java := testenv.JavaTC(t, testenv.JavaTCOptions{Properties: map[string]string{
		"seata.store.mode": "redis", "seata.store.session.mode": "redis", "seata.store.lock.mode": "redis", "seata.store.redis.mode": "single",
		"seata.store.redis.single.host": host, "seata.store.redis.single.port": port, "seata.store.redis.database": "0",
	}})
	c = (&serverProcess{t: t, address: java.Address()}).client(testDatabase)
	finishThree(t, c, left)
	left = leaveThree(t, c, "java")
	java.Kill()

	ours = startServerProcess(t, t.TempDir(), flags...)
	finishThree(t, ours.client(testDatabase), left)
	require.Eventually(t, func() bool { return redis.Do(t, "ZCARD QIAO_LIVE") == ":0\r\n" }, serverPatience, 10*time.Millisecond)
	metrics, err := http.Get("http://" + ours.address + "/metrics")
	require.NoError(t, err)
	text, err := io.ReadAll(metrics.Body)
	require.NoError(t, errors.Join(err, metrics.Body.Close()))
	require.Contains(t, string(text), "\nqiao_store_branches 0\n")
	require.Contains(t, string(text), "\nqiao_store_locks 0\n")
	for _, key := range []string{"SEATA_STATUS_1", "SEATA_STATUS_8", "SEATA_BEGIN_TRANSACTIONS", "SEATA_ROW_LOCK_" + testDatabase + "^^^stock^^^java1"} {
		require.Equal(t, ":0\r\n", redis.Do(t, "EXISTS "+key), key)
	}
}

// threeLeft are transactions that a coordinator left: one that is open, one whose time
// is over, and one that is decided.
type threeLeft struct{ row, open, late, decided string }

func leaveThree(t *testing.T, c *serverClient, row string) (left threeLeft) {
	t.Helper()
	register := func(x, lock string) {
		r := c.register(x, protocol.TypeAT, testDatabase, lock)
		require.Equal(t, protocol.ResultSuccess, r.Code, r.Message)
	}
	left.row, left.open, left.late, left.decided = row, c.begin(longAfter), c.begin(3*time.Second), c.begin(longAfter)
	register(left.open, "stock:"+row+"1,"+row+"2")
	register(left.open, "stock:"+row+"3;orders:"+row)
	register(left.late, "stock:"+row+"4")
	register(left.decided, "stock:"+row+"5")
	r := call[*protocol.GlobalCommitResult](c, &protocol.GlobalCommit{Global: protocol.Global{XID: left.decided}})
	require.Equal(t, protocol.StatusCommitted, r.Status)
	return left // nobody answers the order
}

// longAfter is a time-out that a slow start of a Java coordinator does not reach.
const longAfter = 10 * time.Minute

// finishThree has another coordinator finish them.
func finishThree(t *testing.T, c *serverClient, left threeLeft) {
	t.Helper()
	other := c.begin(longAfter)
	for _, row := range []string{"1", "3"} {
		r := c.register(other, protocol.TypeAT, testDatabase, "stock:"+left.row+row)
		require.Equal(t, protocol.ResultFailed, r.Code, "the lock of the open transaction holds")
	}
	committed, rolledBack := map[string]int{}, map[string]int{}
	answer := func(until func() bool) {
		t.Helper()
		patience := time.After(serverPatience)
		for !until() {
			select {
			case r := <-c.orders:
				switch o := r.Message.(type) {
				case *protocol.BranchCommit:
					committed[o.XID]++
					require.NoError(t, c.conn.Reply(r, &protocol.BranchCommitResult{BranchOutcome: protocol.BranchOutcome{
						TxResult: protocol.OK(), XID: o.XID, BranchID: o.BranchID, Status: protocol.BranchPhaseTwoCommitted,
					}}, nil))
				case *protocol.BranchRollback:
					rolledBack[o.XID]++
					require.NoError(t, c.conn.Reply(r, &protocol.BranchRollbackResult{BranchOutcome: protocol.BranchOutcome{
						TxResult: protocol.OK(), XID: o.XID, BranchID: o.BranchID, Status: protocol.BranchPhaseTwoRollbacked,
					}}, nil))
				}
			case <-patience:
				require.Fail(t, "not finished", "committed %v, rolled back %v of %+v", committed, rolledBack, left)
			}
		}
	}
	answer(func() bool { return committed[left.decided] > 0 && rolledBack[left.late] > 0 })
	r := call[*protocol.GlobalCommitResult](c, &protocol.GlobalCommit{Global: protocol.Global{XID: left.open}})
	require.Equal(t, protocol.StatusCommitted, r.Status)
	answer(func() bool { return committed[left.open] > 1 })
	require.Zero(t, rolledBack[left.open]+rolledBack[left.decided]+committed[left.late])
	require.Eventually(t, func() bool {
		return c.register(other, protocol.TypeAT, testDatabase, "stock:"+left.row+"1"+","+left.row+"4").Code == protocol.ResultSuccess
	}, serverPatience, 50*time.Millisecond, "their locks are free")
	end := call[*protocol.GlobalCommitResult](c, &protocol.GlobalCommit{Global: protocol.Global{XID: other}})
	require.Equal(t, protocol.StatusCommitted, end.Status)
	answer(func() bool { return committed[other] > 0 })
}
