package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/internal/testenv"
	"github.com/qiao-tx/qiao/protocol"
)

// onDatabase are the flags of a server on an empty database of MariaDB.
func onDatabase(t *testing.T) []string {
	t.Helper()
	dsn, err := mysql.ParseDSN(testenv.MariaDB(t))
	require.NoError(t, err)
	password := filepath.Join(t.TempDir(), "password")
	require.NoError(t, os.WriteFile(password, []byte(dsn.Passwd+"\n"), 0o600))
	return []string{
		"--store-mode", "db", "--store-db-type", "mariadb", "--store-db-url", "jdbc:mariadb://" + dsn.Addr + "/" + dsn.DBName,
		"--store-db-user", dsn.User, "--store-db-password-file", password, "--store-db-node-lease", "1s",
	}
}

// Two servers on one database: either takes any transaction on, and what one leaves
// when it is killed the other brings to its end.
func TestServersShareADatabase(t *testing.T) {
	flags := onDatabase(t)
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
