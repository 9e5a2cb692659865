//go:build unix

package testenv

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// MariaDBVariable names the environment variable that points the tests at a
// MariaDB server which is already running, in the DSN form of
// go-sql-driver/mysql. Its user must be allowed to create databases.
const MariaDBVariable = "QIAO_TEST_MARIADB_DSN"

var mariaDB = share(product{
	name:     "MariaDB",
	variable: MariaDBVariable,
	remedy:   "apt-get install mariadb-server",
	prepare:  prepareMariaDB,
})

// MariaDB returns the DSN (go-sql-driver/mysql form, over TCP) of a new empty
// database on a MariaDB server that all tests of this process share, or on the
// server that QIAO_TEST_MARIADB_DSN names. The database is dropped when the test
// ends; the server ends with the process, however that ends. Where there is no
// server the test is skipped, or fails if every suite is required.
func MariaDB(t testing.TB) (dsn string) {
	t.Helper()
	return mariaDB.database(t)
}

func prepareMariaDB(dir string) (command []string, err error) {
	server, err := find("mariadbd")
	if err != nil {
		return nil, err
	}
	install, err := find("mariadb-install-db")
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(install, append(dataOptions(dir),
		"--tmpdir="+dir, "--auth-root-authentication-method=normal", "--skip-test-db")...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", install, err, out)
	}
	return append([]string{server}, dataOptions(dir)...), nil
}

// find also looks where Debian keeps servers, which a plain user's PATH lacks.
func find(program string) (string, error) {
	if path, err := exec.LookPath(program); err == nil {
		return path, nil
	}
	path := filepath.Join("/usr/sbin", program)
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("%s: %w", program, errNotInstalled)
	}
	return path, nil
}
