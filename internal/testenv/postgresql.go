//go:build unix

package testenv

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
)

// PostgreSQLVariable names the environment variable that points the tests at a
// PostgreSQL server which is already running, as a URL postgres://…. Its user
// must be allowed to create databases.
const PostgreSQLVariable = "QIAO_TEST_POSTGRESQL_DSN"

// postgreSQLHome is where Debian keeps the programs, which are in nobody's PATH.
const postgreSQLHome = "/usr/lib/postgresql/15/bin"

// postgreSQL is the one server of this test process, as a URL without a database.
var postgreSQL = sync.OnceValues(startOrUsePostgreSQL)

// PostgreSQL returns the URL of a new empty database on a PostgreSQL server
// that all tests of this process share, or on the server that
// QIAO_TEST_POSTGRESQL_DSN names. The database is dropped when the test ends,
// whoever is connected to it; the server ends with the process, however that
// ends. Where there is no server the test is skipped, or fails if every suite
// is required. The server takes part in two-phase commits
// (max_prepared_transactions is 64).
func PostgreSQL(t testing.TB) (dsn string) {
	t.Helper()
	server, err := postgreSQL()
	if errors.Is(err, errNotInstalled) {
		Missing(t, "PostgreSQL", "apt-get install postgresql-15, or set "+PostgreSQLVariable+" to a running server")
	}
	if err != nil {
		t.Fatalf("start PostgreSQL: %v", err)
	}
	name := "qiao_test_" + strings.ToLower(rand.Text()[:12])
	admin := server.JoinPath("postgres").String()
	if err := executeOn(t.Context(), "pgx", admin, "CREATE DATABASE "+name); err != nil {
		t.Fatalf("create a test database: %v", err)
	}
	t.Cleanup(func() {
		if err := executeOn(context.Background(), "pgx", admin, "DROP DATABASE "+name+" WITH (FORCE)"); err != nil {
			t.Errorf("drop the test database: %v", err)
		}
	})
	return server.JoinPath(name).String()
}

func startOrUsePostgreSQL() (*url.URL, error) {
	dsn := os.Getenv(PostgreSQLVariable)
	if dsn == "" {
		return startPostgreSQL()
	}
	server, err := url.Parse(dsn)
	if err != nil || !strings.HasPrefix(server.Scheme, "postgres") {
		return nil, fmt.Errorf("%s: want a URL such as postgres://user:password@127.0.0.1:5432/?sslmode=disable", PostgreSQLVariable)
	}
	server.Path = ""
	return server, nil
}

// startPostgreSQL starts a server in a temporary directory. A port that another
// process takes between the look and the start costs a second attempt.
func startPostgreSQL() (*url.URL, error) {
	dir, err := os.MkdirTemp("", "qiao-server-") // short enough for a socket in it
	if err != nil {
		return nil, err
	}
	command, err := preparePostgreSQL(dir)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	const attempts = 3
	for attempt := 1; ; attempt++ {
		server, err := launchPostgreSQL(command, dir)
		if err == nil {
			return server, nil
		}
		if attempt == attempts {
			return nil, fmt.Errorf("%w (directory %s)", err, dir)
		}
	}
}

// preparePostgreSQL makes the data directory and returns the command of the
// server. Neither program works for root, so they run as somebody else then.
func preparePostgreSQL(dir string) (command []string, err error) {
	initdb, server := filepath.Join(postgreSQLHome, "initdb"), filepath.Join(postgreSQLHome, "postgres")
	for _, program := range []string{initdb, server} {
		if _, err := os.Stat(program); err != nil {
			return nil, fmt.Errorf("%s: %w", program, errNotInstalled)
		}
	}
	as, err := unprivileged(dir)
	if err != nil {
		return nil, err
	}
	password := filepath.Join(dir, "password")
	if err := os.WriteFile(password, []byte(testPassword), 0o644); err != nil {
		return nil, err
	}
	data := filepath.Join(dir, "data")
	args := append(as, initdb, "--pgdata="+data, "--username="+testUser, "--pwfile="+password,
		"--auth-host=scram-sha-256", "--auth-local=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync")
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", initdb, err, out)
	}
	return append(as, server, "-D", data, "-k", dir, "-h", "127.0.0.1",
		// What a killed server has written survives it without fsync.
		"-c", "fsync=off", "-c", "max_connections=300", "-c", "max_prepared_transactions=64"), nil
}

// unprivileged is what a command must begin with to run as a user whom the
// directory belongs to.
func unprivileged(dir string) ([]string, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		if u, err = user.Lookup("nobody"); err != nil {
			return nil, err
		}
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return nil, err
	}
	setpriv, err := exec.LookPath("setpriv")
	if err != nil {
		return nil, fmt.Errorf("setpriv (util-linux): %w", errNotInstalled)
	}
	return []string{setpriv, "--reuid=" + u.Uid, "--regid=" + u.Gid, "--clear-groups"}, os.Chown(dir, uid, -1)
}

func launchPostgreSQL(command []string, dir string) (*url.URL, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	p, err := spawn(slices.Concat(command, []string{"-p", fmt.Sprint(port)}), dir)
	if err != nil {
		return nil, err
	}
	server := postgreSQLAt(port)
	if err := awaitPostgreSQL(p, server, dir); err != nil {
		return nil, p.failed(err)
	}
	return server, nil
}

func postgreSQLAt(port int) *url.URL {
	return &url.URL{
		Scheme: "postgres", User: url.UserPassword(testUser, testPassword),
		Host: net.JoinHostPort("127.0.0.1", fmt.Sprint(port)), RawQuery: "sslmode=disable",
	}
}

// awaitPostgreSQL returns when the server answers and is our own.
func awaitPostgreSQL(p *process, server *url.URL, dir string) error {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	db, err := sql.Open("pgx", server.JoinPath("postgres").String())
	if err != nil {
		return err
	}
	defer db.Close()
	for {
		var data string
		err := db.QueryRowContext(ctx, "SHOW data_directory").Scan(&data)
		if err == nil {
			if want := filepath.Join(dir, "data"); data != want {
				return fmt.Errorf("the server on %s is another's: its data is in %s, ours in %s", server.Host, data, want)
			}
			return nil
		}
		if err := p.ended(); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("no answer within %s: %w", startTimeout, err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}
