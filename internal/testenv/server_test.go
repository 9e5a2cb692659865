//go:build unix

package testenv_test

import (
	"database/sql"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/qiao-tx/qiao/internal/testenv"
)

// The server outlives every test of the process, so it must not cost the
// packages that look for leaked goroutines one.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestEachTestGetsAnEmptyDatabaseOnTheSharedServer(t *testing.T) {
	for _, server := range testenv.MySQLServers() {
		t.Run(server.Name, func(t *testing.T) { testEmptyDatabases(t, server) })
	}
}

func testEmptyDatabases(t *testing.T, server testenv.MySQLServer) {
	first, second := server.Database(t), server.Database(t)
	a, err := mysql.ParseDSN(first)
	require.NoError(t, err)
	b, err := mysql.ParseDSN(second)
	require.NoError(t, err)
	require.Equal(t, a.Addr, b.Addr)
	require.NotEqual(t, a.DBName, b.DBName)

	for _, dsn := range []string{first, second} {
		db, err := sql.Open("mysql", dsn)
		require.NoError(t, err)
		defer db.Close()
		_, err = db.Exec("CREATE TABLE account (id BIGINT PRIMARY KEY)")
		require.NoError(t, err)
		var version string
		require.NoError(t, db.QueryRow("SELECT VERSION()").Scan(&version))
		require.Equal(t, server.Name == "MariaDB", strings.Contains(version, "MariaDB"), version)
	}
}

// TestServerDiesWithItsTestProcess runs this test binary as a child, kills it
// without a chance to clean up, and looks for what is left.
func TestServerDiesWithItsTestProcess(t *testing.T) {
	for _, server := range testenv.MySQLServers() {
		t.Run(server.Name, func(t *testing.T) { testServerDies(t, server) })
	}
}

func testServerDies(t *testing.T, server testenv.MySQLServer) {
	if report := os.Getenv("QIAO_TESTENV_REPORT"); report != "" {
		reportServerAndHang(t, server, report)
		return
	}
	server.Database(t) // settles whether there is a server here at all
	if os.Getenv(testenv.MariaDBVariable)+os.Getenv(testenv.MySQLVariable) != "" {
		return // that server is not ours to end
	}
	report := t.TempDir() + "/pid"
	child := exec.Command(os.Args[0], "-test.run", "^TestServerDiesWithItsTestProcess$/^"+server.Name+"$")
	child.Env = append(os.Environ(), "QIAO_TESTENV_REPORT="+report)
	require.NoError(t, child.Start())
	var pid int
	require.Eventually(t, func() bool {
		text, _ := os.ReadFile(report)
		pid, _ = strconv.Atoi(string(text))
		return pid > 0
	}, time.Minute, 20*time.Millisecond)
	require.NoError(t, syscall.Kill(pid, 0), "the server runs")

	require.NoError(t, child.Process.Kill())
	_ = child.Wait()
	require.Eventually(t, func() bool { return syscall.Kill(pid, 0) != nil },
		30*time.Second, 20*time.Millisecond, "the server outlived its test process")
}

func reportServerAndHang(t *testing.T, server testenv.MySQLServer, report string) {
	db, err := sql.Open("mysql", server.Database(t))
	require.NoError(t, err)
	var file string
	require.NoError(t, db.QueryRow("SELECT @@pid_file").Scan(&file))
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	pid, err := strconv.Atoi(string(text[:len(text)-1]))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(report+".new", []byte(strconv.Itoa(pid)), 0o600))
	require.NoError(t, os.Rename(report+".new", report))
	select {}
}
