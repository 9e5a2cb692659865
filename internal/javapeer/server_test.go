//go:build linux

package javapeer

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// coordinator is a qiao server in a process of its own, so that it can be killed.
type coordinator struct {
	t       testing.TB
	binary  string
	dir     string
	address string
	options []string
	cmd     *exec.Cmd
	log     lockedBuffer
}

func startCoordinator(t testing.TB, options ...string) *coordinator {
	t.Helper()
	c := &coordinator{t: t, dir: t.TempDir(), address: "127.0.0.1:0", options: options}
	c.binary = filepath.Join(c.dir, "qiao")
	require.NoError(t, run("go", "build", "-o", c.binary, "../../cmd/qiao"))
	c.start()
	t.Cleanup(func() {
		c.kill()
		if t.Failed() {
			t.Logf("log of the coordinator:\n%s", c.log.String())
		}
	})
	return c
}

// start runs the server; after the first time on the address it had.
func (c *coordinator) start() {
	c.t.Helper()
	portFile := filepath.Join(c.dir, "port")
	require.NoError(c.t, os.RemoveAll(portFile))
	c.cmd = exec.Command(c.binary, append([]string{
		"server", "--listen", c.address, "--data", filepath.Join(c.dir, "data"), "--port-file", portFile,
	}, c.options...)...)
	c.cmd.Stderr = &c.log
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	require.NoError(c.t, c.cmd.Start())
	require.Eventually(c.t, func() bool {
		text, err := os.ReadFile(portFile)
		c.address = strings.TrimSpace(string(text))
		return err == nil
	}, 20*time.Second, 10*time.Millisecond, "the coordinator does not get ready: see its log")
}

// kill ends the server as a power failure would.
func (c *coordinator) kill() {
	_ = c.cmd.Process.Kill()
	_ = c.cmd.Wait()
}
