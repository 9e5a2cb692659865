package testenv

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/go-sql-driver/mysql"
)

// Server is a MariaDB server of one test's own, which the test may kill.
type Server struct {
	t       testing.TB
	command []string
	dir     string
	port    int
	cmd     *exec.Cmd
}

// OwnMariaDB starts a server for this test alone, and returns it with the DSN of
// an empty database on it. Server and data are gone when the test ends; the
// server also dies with the test process. Where there is no server program the
// test ends as with MariaDB.
func OwnMariaDB(t testing.TB) (s *Server, dsn string) {
	t.Helper()
	// A socket's path must be short, which that of t.TempDir may not be.
	dir, err := os.MkdirTemp("", "qiao-mariadb-")
	if err != nil {
		t.Fatal(err)
	}
	s = &Server{t: t, dir: dir}
	t.Cleanup(func() {
		s.Kill()
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	s.command, err = mariaDB.prepare(dir)
	if errors.Is(err, errNotInstalled) {
		Missing(t, mariaDB.name, mariaDB.remedy)
	}
	if err != nil {
		t.Fatal(err)
	}
	if s.port, err = freePort(); err != nil {
		t.Fatal(err)
	}
	cfg := s.start()
	const name = "qiao_test"
	if err := execute(t.Context(), cfg.FormatDSN(), "CREATE DATABASE "+name+" CHARACTER SET utf8mb4"); err != nil {
		t.Fatalf("create a test database: %v", err)
	}
	cfg.DBName = name
	return s, cfg.FormatDSN()
}

// Kill ends the server with kill -9. It may be called by any goroutine, but not
// together with Restart.
func (s *Server) Kill() {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Kill() // fails only when it has ended
	_ = s.cmd.Wait()
	s.cmd = nil
}

// Restart starts the killed server again, on its port and data, and returns
// when it has recovered.
func (s *Server) Restart() {
	s.t.Helper()
	s.start()
}

func (s *Server) start() *mysql.Config {
	s.t.Helper()
	log, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		s.t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(s.command[0], slices.Concat(s.command[1:], runOptions(s.dir, s.port))...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.cmd = cmd
	cfg, err := awaitServer(&process{cmd, s.dir}, s.dir, s.port)
	if err != nil {
		text, _ := os.ReadFile(log.Name())
		s.t.Fatal(fmt.Errorf("start MariaDB: %w\n%s", err, tail(text, 2000)))
	}
	return cfg
}
