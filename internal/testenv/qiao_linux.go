package testenv

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// QiaoVariable names the environment variable that points the tests at a qiao
// program to use instead of one that they build.
const QiaoVariable = "QIAO_TEST_QIAO"

// qiaoStart is how long a coordinator has to get ready.
const qiaoStart = 20 * time.Second

// BuildQiao builds the qiao program of this tree into a directory.
func BuildQiao(dir string) (program string, err error) {
	// The test may be another module's, which has this one as a dependency.
	root, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/qiao-tx/qiao").Output()
	if err != nil {
		return "", fmt.Errorf("find the module of qiao: %w", err)
	}
	program = filepath.Join(dir, "qiao")
	out, err := exec.Command("go", "-C", strings.TrimSpace(string(root)), "build", "-o", program, "./cmd/qiao").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build qiao: %w\n%s", err, out)
	}
	return program, nil
}

// Coordinator is a qiao server in a process of its own, which a test may kill.
type Coordinator struct {
	t                     testing.TB
	program, dir, address string
	arguments             []string
	cmd                   *exec.Cmd
}

// Qiao starts this project's coordinator for one test, on the loopback, with more
// arguments of qiao server if need be. It and its data are gone when the test ends;
// it also dies with the test process. Its log is shown when the test has failed.
func Qiao(t testing.TB, arguments ...string) *Coordinator {
	t.Helper()
	c := &Coordinator{t: t, dir: t.TempDir(), address: "127.0.0.1:0", arguments: arguments, program: os.Getenv(QiaoVariable)}
	if c.program == "" {
		var err error
		if c.program, err = BuildQiao(c.dir); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		c.Kill()
		if t.Failed() {
			t.Logf("log of the coordinator:\n%s", c.Log())
		}
	})
	c.Restart()
	return c
}

// Address is the coordinator's host and port. It stays the same after Restart.
func (c *Coordinator) Address() string { return c.address }

// Log is what it has written to its log in all its lives.
func (c *Coordinator) Log() string {
	text, _ := os.ReadFile(c.logName())
	return string(text)
}

func (c *Coordinator) logName() string { return filepath.Join(c.dir, "log") }

// Kill ends the coordinator with kill -9. It must not be called together with Restart.
func (c *Coordinator) Kill() {
	if c.cmd == nil {
		return
	}
	_ = c.cmd.Process.Kill() // fails only when it has ended
	_ = c.cmd.Wait()
	c.cmd = nil
}

// Stop ends the coordinator as SIGTERM does. It must not be called together with
// Restart.
func (c *Coordinator) Stop() {
	_ = c.cmd.Process.Signal(syscall.SIGTERM) // fails only when it has ended
	_ = c.cmd.Wait()
	c.cmd = nil
}

// Restart starts the killed coordinator again, on its port and data, and returns
// when it is ready.
func (c *Coordinator) Restart() {
	c.t.Helper()
	portFile := filepath.Join(c.dir, "port")
	if err := os.RemoveAll(portFile); err != nil {
		c.t.Fatal(err)
	}
	log, err := os.OpenFile(c.logName(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		c.t.Fatal(err)
	}
	defer log.Close()
	c.cmd = exec.Command(c.program, append([]string{"server", "--listen", c.address,
		"--data", filepath.Join(c.dir, "data"), "--port-file", portFile}, c.arguments...)...)
	// Its settings are the arguments alone.
	c.cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "QIAO_") })
	c.cmd.Stdout, c.cmd.Stderr = log, log
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := c.cmd.Start(); err != nil {
		c.cmd = nil
		c.t.Fatalf("start the coordinator: %v", err)
	}
	for deadline := time.Now().Add(qiaoStart); ; {
		text, err := os.ReadFile(portFile)
		if err == nil {
			c.address = strings.TrimSpace(string(text))
			return
		}
		if time.Now().After(deadline) {
			c.t.Fatalf("the coordinator is not ready within %s: see its log", qiaoStart)
		}
		<-time.After(10 * time.Millisecond)
	}
}
