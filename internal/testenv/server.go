//go:build unix

package testenv

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
)

const (
	// The tests' user has a password so that a program that shows or stores
	// credentials is noticed.
	testUser     = "qiao"
	testPassword = "secret"

	startTimeout = 60 * time.Second
)

// errNotInstalled reports that the machine lacks what a server needs.
var errNotInstalled = errors.New("not installed")

// MySQLServer is a kind of server that speaks MySQL's protocol and dialect.
type MySQLServer struct {
	Name string
	// Database returns the DSN of a new empty database, as MariaDB does.
	Database func(t testing.TB) (dsn string)
}

// MySQLServers are the servers that every suite of MySQL's dialect runs on.
func MySQLServers() []MySQLServer {
	return []MySQLServer{{"MariaDB", MariaDB}, {"MySQL", MySQL}}
}

// product is how to come by a kind of server.
type product struct {
	name     string
	variable string // names a running server to use instead
	remedy   string // what to install where it is missing
	// prepare makes the data directory dir/data and returns the command that
	// starts a server on it, to which the options of runOptions are added.
	prepare func(dir string) (command []string, err error)
}

// sharedServer is the one server of a kind in this test process, started by the
// first test that asks. The DSN of config names no database.
type sharedServer struct {
	product
	config func() (*mysql.Config, error)
}

func share(p product) sharedServer {
	return sharedServer{p, sync.OnceValues(p.startOrUse)}
}

// database makes a database for one test.
func (s sharedServer) database(t testing.TB) (dsn string) {
	t.Helper()
	server, err := s.config()
	if errors.Is(err, errNotInstalled) {
		Missing(t, s.name, s.remedy+", or set "+s.variable+" to a running server")
	}
	if err != nil {
		t.Fatalf("start %s: %v", s.name, err)
	}
	name := "qiao_test_" + strings.ToLower(rand.Text()[:12])
	if err := execute(t.Context(), server.FormatDSN(), "CREATE DATABASE "+name+" CHARACTER SET utf8mb4"); err != nil {
		t.Fatalf("create a test database: %v", err)
	}
	t.Cleanup(func() {
		if err := execute(context.Background(), server.FormatDSN(), "DROP DATABASE "+name); err != nil {
			t.Errorf("drop the test database: %v", err)
		}
	})
	own := server.Clone()
	own.DBName = name
	return own.FormatDSN()
}

func (p product) startOrUse() (*mysql.Config, error) {
	dsn := os.Getenv(p.variable)
	if dsn == "" {
		return p.start()
	}
	cfg, err := mysql.ParseDSN(dsn)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p.variable, err)
	}
	cfg.DBName = ""
	return cfg, nil
}

// start starts a server in a temporary directory. A port that another process
// takes between the look and the start costs a second attempt.
func (p product) start() (*mysql.Config, error) {
	// A socket's path must be short, so the directory is in the system's own.
	dir, err := os.MkdirTemp("", "qiao-server-")
	if err != nil {
		return nil, err
	}
	command, err := p.prepare(dir)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	const attempts = 3
	for attempt := 1; ; attempt++ {
		cfg, err := launch(command, dir)
		if err == nil {
			return cfg, nil
		}
		if attempt == attempts {
			return nil, fmt.Errorf("%w (directory %s)", err, dir)
		}
	}
}

// dataOptions are the options that a server's data directory is made with and
// run with.
func dataOptions(dir string) []string {
	options := []string{
		"--no-defaults", "--datadir=" + filepath.Join(dir, "data"), "--innodb-log-file-size=16M",
	}
	if os.Geteuid() == 0 {
		options = append(options, "--user=root")
	}
	return options
}

func runOptions(dir string, port int) []string {
	return []string{
		// A temporary directory of its own: servers of other test processes put
		// files of the same names into the shared one.
		"--tmpdir=" + dir,
		// What a killed server has written survives it without fsync: only the
		// loss of the whole machine would take it, and the test with it.
		"--innodb-flush-method=nosync",
		"--bind-address=127.0.0.1", fmt.Sprintf("--port=%d", port),
		"--socket=" + filepath.Join(dir, "socket"), "--pid-file=" + filepath.Join(dir, "pid"),
		"--skip-name-resolve", "--max-connections=1000",
	}
}

// watchdog runs the server in its own place, under a watcher that reads
// standard input until it ends. The test process holds the other end and never
// writes, so the watcher wakes when that process has ended, even by kill -9;
// it then kills the server and removes its files.
const watchdog = `dir=$1; shift
exec 3<&0
(cat <&3; kill -9 $$; rm -rf "$dir") >/dev/null 2>&1 &
exec "$@" 3<&- </dev/null >>"$dir/log" 2>&1`

// process is a server under its watchdog.
type process struct {
	cmd *exec.Cmd
	dir string
}

// spawn starts a server's command under the watchdog.
func spawn(command []string, dir string) (*process, error) {
	cmd := exec.Command("sh", slices.Concat([]string{"-c", watchdog, "sh", dir}, command)...)
	// The pipe's end stays open for the life of the process, unreferenced by
	// anything that could close it: a plain descriptor, not an *os.File.
	var ends [2]int
	if err := syscall.Pipe(ends[:]); err != nil {
		return nil, fmt.Errorf("pipe: %w", err)
	}
	syscall.CloseOnExec(ends[0])
	syscall.CloseOnExec(ends[1])
	stdin := os.NewFile(uintptr(ends[0]), "watchdog")
	defer stdin.Close()
	cmd.Stdin = stdin
	// A group of its own: an interrupt at the terminal is for the tests, and
	// the watchdog then follows them.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(err, syscall.Close(ends[1]))
	}
	return &process{cmd, dir}, nil
}

// ended is an error when the server has ended by itself.
func (p *process) ended() error {
	var status syscall.WaitStatus
	if done, _ := syscall.Wait4(p.cmd.Process.Pid, &status, syscall.WNOHANG, nil); done == p.cmd.Process.Pid {
		return fmt.Errorf("the server ended at once, status %d", status)
	}
	return nil
}

// failed kills a server that did not get ready and adds its log to the error.
func (p *process) failed(err error) error {
	log, _ := os.ReadFile(filepath.Join(p.dir, "log"))
	_ = p.cmd.Process.Kill()
	return fmt.Errorf("%w\n%s", err, tail(log, 2000))
}

func launch(command []string, dir string) (*mysql.Config, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	p, err := spawn(slices.Concat(command, runOptions(dir, port)), dir)
	if err != nil {
		return nil, err
	}
	cfg, err := awaitServer(p, dir, port)
	if err != nil {
		return nil, p.failed(err)
	}
	return cfg, nil
}

// awaitServer returns when the server answers and is our own: one that listens
// on the same port but keeps its socket elsewhere is not.
func awaitServer(p *process, dir string, port int) (*mysql.Config, error) {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	root := mysql.NewConfig()
	root.User, root.Net, root.Addr = "root", "unix", filepath.Join(dir, "socket")
	cfg := mysql.NewConfig()
	cfg.User, cfg.Passwd = testUser, testPassword
	cfg.Net, cfg.Addr = "tcp", net.JoinHostPort("127.0.0.1", fmt.Sprint(port))
	for {
		err := execute(ctx, root.FormatDSN(),
			"CREATE USER IF NOT EXISTS '"+testUser+"'@'%' IDENTIFIED BY '"+testPassword+"'",
			"GRANT ALL PRIVILEGES ON *.* TO '"+testUser+"'@'%' WITH GRANT OPTION")
		if err == nil {
			return cfg, checkOwn(ctx, cfg, dir)
		}
		if err := p.ended(); err != nil {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("no answer within %s: %w", startTimeout, err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func checkOwn(ctx context.Context, cfg *mysql.Config, dir string) error {
	db, err := sql.Open("mysql", cfg.FormatDSN())
	if err != nil {
		return err
	}
	defer db.Close()
	var socket string
	if err := db.QueryRowContext(ctx, "SELECT @@socket").Scan(&socket); err != nil {
		return fmt.Errorf("ask %s for its socket: %w", cfg.Addr, err)
	}
	if want := filepath.Join(dir, "socket"); socket != want {
		return fmt.Errorf("the server on %s is another's: its socket is %s, ours %s", cfg.Addr, socket, want)
	}
	return nil
}

func execute(ctx context.Context, dsn string, statements ...string) error {
	return executeOn(ctx, "mysql", dsn, statements...)
}

func executeOn(ctx context.Context, driver, dsn string, statements ...string) error {
	db, err := sql.Open(driver, dsn)
	if err != nil {
		return err
	}
	defer db.Close()
	for _, statement := range statements {
		if _, err := db.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("%s: %w", statement, err)
		}
	}
	return nil
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	return l.Addr().(*net.TCPAddr).Port, l.Close()
}

func tail(log []byte, n int) []byte {
	return log[max(0, len(log)-n):]
}
