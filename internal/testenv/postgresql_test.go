//go:build unix

package testenv_test

import (
	"database/sql"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/internal/testenv"
)

func TestEachTestGetsAnEmptyPostgreSQLDatabase(t *testing.T) {
	first, second := testenv.PostgreSQL(t), testenv.PostgreSQL(t)
	a, err := url.Parse(first)
	require.NoError(t, err)
	b, err := url.Parse(second)
	require.NoError(t, err)
	require.Equal(t, a.Host, b.Host)
	require.NotEqual(t, a.Path, b.Path)
	for _, dsn := range []string{first, second} {
		db, err := sql.Open("pgx", dsn)
		require.NoError(t, err)
		defer db.Close()
		_, err = db.Exec("CREATE TABLE account (id BIGINT PRIMARY KEY)")
		require.NoError(t, err)
		var prepared int
		require.NoError(t, db.QueryRow("SELECT current_setting('max_prepared_transactions')::int").Scan(&prepared))
		require.Positive(t, prepared)
	}
}

// TestPostgreSQLDiesWithItsTestProcess is TestServerDiesWithItsTestProcess for
// a server that runs as another user than the tests may.
func TestPostgreSQLDiesWithItsTestProcess(t *testing.T) {
	if report := os.Getenv("QIAO_TESTENV_REPORT"); report != "" {
		db, err := sql.Open("pgx", testenv.PostgreSQL(t))
		require.NoError(t, err)
		var file string
		require.NoError(t, db.QueryRow("SELECT current_setting('data_directory') || '/postmaster.pid'").Scan(&file))
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		pid, _, _ := strings.Cut(string(text), "\n")
		require.NoError(t, os.WriteFile(report+".new", []byte(pid), 0o600))
		require.NoError(t, os.Rename(report+".new", report))
		select {}
	}
	testenv.PostgreSQL(t) // settles whether there is a server here at all
	if os.Getenv(testenv.PostgreSQLVariable) != "" {
		return // that server is not ours to end
	}
	report := t.TempDir() + "/pid"
	child := exec.Command(os.Args[0], "-test.run", "^TestPostgreSQLDiesWithItsTestProcess$")
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
