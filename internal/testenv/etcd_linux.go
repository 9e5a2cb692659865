package testenv

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// EtcdServer is an etcd server of one test's own, which the test may kill.
type EtcdServer struct {
	t       testing.TB
	program string
	dir     string
	options []string
	port    int
	cmd     *exec.Cmd
	ended   chan struct{} // closed when cmd has ended
}

// Etcd starts an etcd server of one node for this test alone, with further
// options of etcd's command line. Server and data are gone when the test ends; the
// server also dies with the test process. Its log is shown when the test has
// failed. Where there is no server program the test ends as with Missing.
func Etcd(t testing.TB, options ...string) *EtcdServer {
	t.Helper()
	s := ReserveEtcd(t, options...)
	s.Start()
	return s
}

// ReserveEtcd is Etcd, but Start starts the server.
func ReserveEtcd(t testing.TB, options ...string) *EtcdServer {
	t.Helper()
	program, err := find("etcd")
	if errors.Is(err, errNotInstalled) {
		Missing(t, "etcd", "apt-get install etcd-server")
	}
	if err != nil {
		t.Fatal(err)
	}
	s := &EtcdServer{t: t, program: program, dir: t.TempDir(), options: options}
	if s.port, err = freePort(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.Kill()
		if t.Failed() {
			log, _ := os.ReadFile(s.logName())
			t.Logf("log of etcd:\n%s", tail(log, 5000))
		}
	})
	return s
}

// Endpoint is the server's URL. It stays the same after Kill and Start.
func (s *EtcdServer) Endpoint() string { return s.scheme() + "://" + s.address() }

func (s *EtcdServer) address() string { return net.JoinHostPort("127.0.0.1", fmt.Sprint(s.port)) }

func (s *EtcdServer) scheme() string {
	for _, option := range s.options {
		if strings.HasPrefix(option, "--cert-file") {
			return "https"
		}
	}
	return "http"
}

// Kill ends the server with kill -9. It must not be called together with Start.
func (s *EtcdServer) Kill() {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Kill() // fails only when it has ended
	<-s.ended
	s.cmd = nil
}

// Forget removes the data of a killed server.
func (s *EtcdServer) Forget() {
	s.t.Helper()
	if err := os.RemoveAll(filepath.Join(s.dir, "data")); err != nil {
		s.t.Fatal(err)
	}
}

// Freeze stops the server as a machine stops whose power is gone: connections stay
// and nothing answers. Thaw lets it go on.
func (s *EtcdServer) Freeze() {
	s.t.Helper()
	s.signal(syscall.SIGSTOP)
	threads := fmt.Sprintf("/proc/%d/task/*/stat", s.cmd.Process.Pid)
	for running := true; running; { // the signal reaches one thread after the other
		running = false
		names, _ := filepath.Glob(threads)
		for _, name := range names {
			stat, _ := os.ReadFile(name)
			_, state, _ := strings.Cut(string(stat), ") ")
			running = running || state != "" && state[0] != 'T'
		}
	}
}

// Thaw undoes Freeze.
func (s *EtcdServer) Thaw() { s.signal(syscall.SIGCONT) }

func (s *EtcdServer) signal(signal os.Signal) {
	s.t.Helper()
	if err := s.cmd.Process.Signal(signal); err != nil {
		s.t.Fatal(err)
	}
}

// Start starts the server, on its port and data, and returns when it answers.
func (s *EtcdServer) Start() {
	s.t.Helper()
	peer, err := freePort()
	if err != nil {
		s.t.Fatal(err)
	}
	peers := fmt.Sprintf("http://127.0.0.1:%d", peer)
	log, err := os.OpenFile(s.logName(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		s.t.Fatal(err)
	}
	defer log.Close()
	before, err := log.Seek(0, io.SeekEnd)
	if err != nil {
		s.t.Fatal(err)
	}
	cmd := exec.Command(s.program, append([]string{
		"--name=qiao", "--data-dir=" + filepath.Join(s.dir, "data"),
		"--listen-client-urls=" + s.Endpoint(), "--advertise-client-urls=" + s.Endpoint(),
		"--listen-peer-urls=" + peers, "--initial-advertise-peer-urls=" + peers, "--initial-cluster=qiao=" + peers,
		"--heartbeat-interval=20", "--election-timeout=200",
	}, s.options...)...)
	if runtime.GOARCH != "amd64" {
		cmd.Env = append(os.Environ(), "ETCD_UNSUPPORTED_ARCH="+runtime.GOARCH) // 3.4 wants to be told
	}
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // how it ended is in its log
		close(ended)
	}()
	s.cmd, s.ended = cmd, ended
	if err := s.await(before); err != nil {
		text, _ := os.ReadFile(s.logName())
		s.t.Fatalf("start etcd: %v\n%s", err, tail(text, 4000))
	}
}

// await returns when the server has written, behind what the log held before, that it serves clients, which it does
// only when the port is its own and it has elected itself.
func (s *EtcdServer) await(before int64) error {
	ctx, cancel := context.WithTimeout(s.t.Context(), startTimeout)
	defer cancel()
	for {
		log, err := os.ReadFile(s.logName())
		if err != nil {
			return err
		}
		if bytes.Contains(log[before:], []byte("ready to serve client requests")) {
			return nil
		}
		select {
		case <-s.ended:
			return errors.New("it ended at once")
		case <-ctx.Done():
			return fmt.Errorf("not ready within %s", startTimeout)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (s *EtcdServer) logName() string { return filepath.Join(s.dir, "log") }
