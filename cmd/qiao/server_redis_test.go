package main

import (
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/internal/testenv"
	"github.com/qiao-tx/qiao/protocol"
)

// onRedis starts a Redis, and returns the flags of a server on it.
func onRedis(t *testing.T) ([]string, *testenv.RedisServer) {
	t.Helper()
	server := testenv.Redis(t)
	host, port, err := net.SplitHostPort(server.Addr())
	require.NoError(t, err)
	return []string{
		"--store-mode", "redis", "--store-redis-single-host", host, "--store-redis-single-port", port, "--store-redis-node-lease", "1s",
	}, server
}

// Two servers on one Redis: either takes any transaction on, and what one leaves when it
// is killed the other brings to its end.
func TestServersShareARedis(t *testing.T) {
	flags, _ := onRedis(t)
	testServersShareAStore(t, flags)
}

// testServersShareAStore runs the story of two servers, with the flags of their store.
func testServersShareAStore(t *testing.T, flags []string) {
	t.Helper()
	one := startServerProcess(t, t.TempDir(), append(flags, "--advertise", "one.test:8091")...)
	two := startServerProcess(t, t.TempDir(), append(flags, "--advertise", "two.test:8091")...)
	onOne, onTwo := one.client(testDatabase), two.client(testDatabase)

	x := onOne.begin(time.Minute)
	require.Equal(t, protocol.ResultSuccess, onOne.register(x, protocol.TypeAT, testDatabase, "stock:1").Code)
	second := onTwo.register(x, protocol.TypeAT, testDatabase, "stock:2")
	require.Equal(t, protocol.ResultSuccess, second.Code, second.Message)
	other := onTwo.begin(time.Minute)
	conflict := onTwo.register(other, protocol.TypeAT, testDatabase, "stock:1")
	require.Equal(t, protocol.ExceptionLockKeyConflict, conflict.Exception)
	require.Contains(t, conflict.Message, x)
	committed := call[*protocol.GlobalCommitResult](onTwo, &protocol.GlobalCommit{Global: protocol.Global{XID: x}})
	require.Equal(t, protocol.StatusCommitted, committed.Status)
	onTwo.commitBranch()
	onTwo.commitBranch()
	require.Eventually(t, func() bool { return onOne.status(x) == protocol.StatusCommitted }, serverPatience, 5*time.Millisecond)

	left := onOne.begin(time.Second)
	branch := onOne.register(left, protocol.TypeAT, testDatabase, "stock:1")
	require.Equal(t, protocol.ResultSuccess, branch.Code, branch.Message)
	one.kill()
	require.Equal(t, branch.BranchID, onTwo.rollbackBranch())
	require.Eventually(t, func() bool { return onTwo.status(left) == protocol.StatusTimeoutRollbacked }, serverPatience, 5*time.Millisecond)
	require.Equal(t, protocol.ResultSuccess, onTwo.register(other, protocol.TypeAT, testDatabase, "stock:1").Code)

	again := startServerProcess(t, t.TempDir(), append(flags, "--advertise", "one.test:8091")...)
	require.Equal(t, protocol.StatusTimeoutRollbacked, again.client(testDatabase).status(left))
}
