package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/internal/testenv"
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
	testServersShareAStore(t, onDatabase(t))
}
