//go:build linux

package compat

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/internal/testenv"
)

// coordinator is what the clients work on.
type coordinator interface {
	// Address stays the same after Restart.
	Address() string
	Kill()
	Restart()
}

// Kinds of coordinator, as the table and the files of testdata name them.
const (
	kindQiao = "qiao"
	kindJava = "java"
)

// start starts a coordinator of a kind; batch has it answer merged requests
// with a BatchResult where the client knows that.
func start(t *testing.T, kind string, batch bool) coordinator {
	if kind == kindJava {
		options := testenv.JavaTCOptions{}
		if batch {
			options.Properties = map[string]string{"transport.enableTcServerBatchSendResponse": "true"}
		}
		return testenv.JavaTC(t, options)
	}
	return startQiao(t, batch)
}

// server is a qiao server in a process of its own.
type server struct {
	t       *testing.T
	args    []string
	dir     string
	address string
	cmd     *exec.Cmd
}

func startQiao(t *testing.T, batch bool) *server {
	s := &server{t: t, dir: t.TempDir(), address: "127.0.0.1:0"}
	build := exec.Command("go", "build", "-o", filepath.Join(s.dir, "qiao"), "../../cmd/qiao")
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)
	s.args = []string{"server", "--data", filepath.Join(s.dir, "data"), "--port-file", filepath.Join(s.dir, "port")}
	if batch {
		s.args = append(s.args, "--batch-responses")
	}
	s.Restart()
	t.Cleanup(func() {
		s.Kill()
		if t.Failed() {
			log, _ := os.ReadFile(filepath.Join(s.dir, "log"))
			t.Logf("log of the coordinator:\n%s", log)
		}
	})
	return s
}

func (s *server) Address() string { return s.address }

func (s *server) Kill() {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
	s.cmd = nil
}

func (s *server) Restart() {
	s.t.Helper()
	port := filepath.Join(s.dir, "port")
	require.NoError(s.t, os.RemoveAll(port))
	log, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	require.NoError(s.t, err)
	defer log.Close()
	s.cmd = exec.Command(filepath.Join(s.dir, "qiao"), append(s.args, "--listen", s.address)...)
	s.cmd.Stderr = log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	require.NoError(s.t, s.cmd.Start())
	require.Eventually(s.t, func() bool {
		text, err := os.ReadFile(port)
		s.address = strings.TrimSpace(string(text))
		return err == nil
	}, 30*time.Second, 20*time.Millisecond, "the coordinator does not get ready: see its log")
}
