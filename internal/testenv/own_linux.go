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
	"time"

	"github.com/go-sql-driver/mysql"
)

// Server is a database server of one test's own, which the test may kill.
type Server struct {
	t       testing.TB
	name    string
	command []string
	dir     string
	cmd     *exec.Cmd
	// await returns when the server answers.
	await func(*process) error
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
	s = own(t, mariaDB.name, dir)
	command, err := mariaDB.prepare(dir)
	if errors.Is(err, errNotInstalled) {
		Missing(t, mariaDB.name, mariaDB.remedy)
	}
	if err != nil {
		t.Fatal(err)
	}
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	s.command = slices.Concat(command, runOptions(dir, port))
	var cfg *mysql.Config
	s.await = func(p *process) (err error) {
		cfg, err = awaitServer(p, dir, port)
		return err
	}
	s.start()
	const name = "qiao_test"
	if err := execute(t.Context(), cfg.FormatDSN(), "CREATE DATABASE "+name+" CHARACTER SET utf8mb4"); err != nil {
		t.Fatalf("create a test database: %v", err)
	}
	cfg.DBName = name
	return s, cfg.FormatDSN()
}

// OwnPostgreSQL is OwnMariaDB for PostgreSQL.
func OwnPostgreSQL(t testing.TB) (s *Server, dsn string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "qiao-postgresql-")
	if err != nil {
		t.Fatal(err)
	}
	s = own(t, "PostgreSQL", dir)
	command, err := preparePostgreSQL(dir)
	if errors.Is(err, errNotInstalled) {
		Missing(t, "PostgreSQL", "apt-get install postgresql-15")
	}
	if err != nil {
		t.Fatal(err)
	}
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	if filepath.Base(command[0]) == "setpriv" { // a change of user ends what SysProcAttr asks for
		command = slices.Insert(command, 1, "--pdeathsig=KILL")
	}
	s.command = append(command, "-p", fmt.Sprint(port))
	server := postgreSQLAt(port)
	s.await = func(p *process) error { return awaitPostgreSQL(p, server, dir) }
	s.start()
	return s, server.JoinPath("postgres").String()
}

// own is a server whose data is in dir, and that ends with the test.
func own(t testing.TB, name, dir string) *Server {
	s := &Server{t: t, name: name, dir: dir}
	t.Cleanup(func() {
		s.Kill()
		err := os.RemoveAll(dir)
		for range startAttempts { // a child of the killed server may still write
			if err == nil {
				return
			}
			<-time.After(100 * time.Millisecond)
			err = os.RemoveAll(dir)
		}
		t.Error(err)
	})
	return s
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

// startAttempts: what a killed server has left running (PostgreSQL's children) may
// keep the next one from starting for a moment.
const startAttempts = 50

func (s *Server) start() {
	s.t.Helper()
	log, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		s.t.Fatal(err)
	}
	defer log.Close()
	for range startAttempts {
		cmd := exec.Command(s.command[0], s.command[1:]...)
		cmd.Dir = s.dir
		cmd.Stdout, cmd.Stderr = log, log
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if err := cmd.Start(); err != nil {
			s.t.Fatal(err)
		}
		s.cmd = cmd
		if err = s.await(&process{cmd, s.dir}); err == nil {
			return
		}
		s.Kill()
		<-time.After(100 * time.Millisecond)
	}
	text, _ := os.ReadFile(log.Name())
	s.t.Fatal(fmt.Errorf("start %s: %w\n%s", s.name, err, tail(text, 2000)))
}
