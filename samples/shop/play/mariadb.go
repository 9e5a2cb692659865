package play

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"github.com/go-sql-driver/mysql"

	"github.com/qiao-tx/qiao/internal/child"
)

// errNoServer: the machine has no MariaDB.
var errNoServer = errors.New("services in Java, and the mode xa, need a MySQL or MariaDB server: name one with --mysql 'user:password@tcp(host:port)/', or install one (apt-get install mariadb-server)")

// mariaDBData is the directory of the server's data.
const mariaDBData = "mariadb"

// startMariaDB starts a server of its own, with its files in dir, and returns
// the DSN of a user who may create databases.
func startMariaDB(ctx context.Context, dir string) (server *child.Process, dsn string, err error) {
	daemon, errDaemon := find("mariadbd")
	install, errInstall := find("mariadb-install-db")
	if err := errors.Join(errDaemon, errInstall); err != nil {
		return nil, "", fmt.Errorf("%w: %w", errNoServer, err)
	}
	options := []string{"--no-defaults", "--datadir=" + filepath.Join(dir, mariaDBData), "--innodb-log-file-size=16M", "--tmpdir=" + dir}
	if os.Geteuid() == 0 {
		options = append(options, "--user=root")
	}
	if err := run(ctx, dir, install, append(options, "--skip-test-db", "--auth-root-authentication-method=socket")...); err != nil {
		return nil, "", err
	}
	address, err := child.FreeAddress(loopback)
	if err != nil {
		return nil, "", err
	}
	cfg := mysql.NewConfig()
	cfg.User, cfg.Passwd, cfg.Net, cfg.Addr = "shop", rand.Text(), "tcp", address
	users := filepath.Join(dir, "users.sql")
	text := fmt.Sprintf("CREATE USER shop@'%%' IDENTIFIED BY '%s';\nGRANT ALL PRIVILEGES ON *.* TO shop@'%%';\n", cfg.Passwd)
	if err := os.WriteFile(users, []byte(text), 0o600); err != nil {
		return nil, "", err
	}
	server = &child.Process{
		Name: "mariadb", Address: address, Log: filepath.Join(dir, "mariadb.log"), Signal: syscall.SIGTERM,
		Command: append(append([]string{daemon}, options...), "--init-file="+users, "--skip-name-resolve",
			"--bind-address="+loopback, "--port="+address[len(loopback)+1:],
			"--socket="+filepath.Join(dir, "socket"), "--pid-file="+filepath.Join(dir, "pid"),
			"--innodb-flush-method=nosync"), // a shop for minutes survives the machine no longer than that
	}
	return server, cfg.FormatDSN(), server.Start(ctx)
}

// find also looks where Debian keeps servers, which a plain user's PATH lacks.
func find(program string) (string, error) {
	path, err := exec.LookPath(program)
	if err == nil {
		return path, nil
	}
	path = filepath.Join("/usr/sbin", program)
	if _, missing := os.Stat(path); missing != nil {
		return "", err
	}
	return path, nil
}
