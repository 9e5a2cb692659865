//go:build linux

package javatc

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

// Variable names the environment variable that points the stories at a running
// Java coordinator, host:port, such as one of a version that has to be built by
// hand. It is not killed, so the stories about that are told to ours only.
const Variable = "QIAO_TEST_JAVA_TC"

// coordinator is one that the stories are told to.
type coordinator struct {
	name string
	// java: it is Seata's own.
	java    bool
	address string
	// kill and restart are nil where a coordinator must be left alone.
	kill, restart func()
}

// startCoordinators starts both, for all stories of t.
func startCoordinators(t *testing.T) []*coordinator {
	t.Helper()
	java := &coordinator{name: "Java", java: true, address: os.Getenv(Variable)}
	if java.address == "" {
		tc := testenv.JavaTC(t, testenv.JavaTCOptions{Properties: map[string]string{
			// Off by default. It must make no difference to a client that sends
			// its requests one by one, which ours does.
			"transport.enableTcServerBatchSendResponse": "true",
		}})
		java.address, java.kill, java.restart = tc.Address(), tc.Kill, tc.Restart
	}
	s := startOurs(t)
	return []*coordinator{{name: "ours", address: s.address, kill: s.kill, restart: func() { s.start() }}, java}
}

// ours is a coordinator of ours in a process of its own, which dies with this one.
type ours struct {
	t            *testing.T
	dir, program string
	address      string
	cmd          *exec.Cmd
}

func startOurs(t *testing.T) *ours {
	t.Helper()
	s := buildOurs(t)
	s.start()
	return s
}

// buildOurs builds it, for a start later.
func buildOurs(t *testing.T) *ours {
	t.Helper()
	s := &ours{t: t, dir: t.TempDir(), address: "127.0.0.1:0"}
	s.program = filepath.Join(s.dir, "qiao")
	out, err := exec.Command("go", "build", "-o", s.program, "../../cmd/qiao").CombinedOutput()
	require.NoError(t, err, "build our coordinator: %s", out)
	t.Cleanup(func() {
		s.kill()
		if t.Failed() {
			log, _ := os.ReadFile(filepath.Join(s.dir, "log"))
			t.Logf("log of our coordinator:\n%s", log[max(0, len(log)-20_000):])
		}
	})
	return s
}

// start runs it on its data; after the first time on the address it had.
func (s *ours) start(more ...string) {
	s.t.Helper()
	portFile := filepath.Join(s.dir, "port")
	require.NoError(s.t, os.RemoveAll(portFile))
	log, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	require.NoError(s.t, err)
	defer log.Close()
	s.cmd = exec.Command(s.program, append([]string{"server", "--listen", s.address, "--data", filepath.Join(s.dir, "data"),
		"--port-file", portFile, "--disk-reserve-mib", "0"}, more...)...)
	s.cmd.Stdout, s.cmd.Stderr = log, log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	require.NoError(s.t, s.cmd.Start())
	require.Eventually(s.t, func() bool {
		text, err := os.ReadFile(portFile)
		s.address = strings.TrimSpace(string(text))
		return err == nil
	}, patience, 10*time.Millisecond, "our coordinator does not get ready: see its log")
}

// kill ends it as kill -9 does.
func (s *ours) kill() {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Kill() // fails only when it has ended
	_ = s.cmd.Wait()
}
