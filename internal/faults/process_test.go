//go:build linux

package faults

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/internal/relay"
)

// patience bounds every wait for something that must happen.
const patience = 60 * time.Second

// process is one program of the bank, which may be killed and started again.
type process struct {
	t       *testing.T
	name    string
	address string // host:port of its HTTP
	log     string // path of its log, over all its lives
	command func() *exec.Cmd
	config  roleConfig // of a child, for its next life
	// ready learns the address where it is new in each life; nil otherwise.
	ready func() bool

	mu     sync.Mutex
	cmd    *exec.Cmd
	exited chan struct{} // closed when this life has ended
}

// start runs the program and returns when it answers.
func (p *process) start() {
	p.t.Helper()
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	require.NoError(p.t, err)
	defer log.Close()
	cmd := p.command()
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	require.NoError(p.t, cmd.Start())
	exited := make(chan struct{})
	go func() { // ends with the process; kill waits for it
		defer close(exited)
		_ = cmd.Wait()
	}()
	p.mu.Lock()
	p.cmd, p.exited = cmd, exited
	p.mu.Unlock()
	p.await(exited)
}

func (p *process) await(exited chan struct{}) {
	p.t.Helper()
	web := &http.Client{Transport: oneShot(), Timeout: 5 * time.Second}
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(patience)
	for {
		if p.ready == nil || p.ready() {
			resp, err := web.Get("http://" + p.address + "/health")
			if err == nil {
				resp.Body.Close()
			}
			if err == nil && resp.StatusCode == http.StatusOK {
				return
			}
		}
		select {
		case <-ticker.C:
		case <-exited:
			p.t.Fatalf("the process %s ended at once", p.name)
		case <-deadline:
			p.t.Fatalf("the process %s does not get ready", p.name)
		}
	}
}

// kill ends the process as kill -9 does, and returns when it has ended. It may
// be called by any goroutine.
func (p *process) kill() {
	p.mu.Lock()
	cmd, exited := p.cmd, p.exited
	p.mu.Unlock()
	if cmd == nil {
		return // never started
	}
	_ = cmd.Process.Kill() // fails only when it has ended
	<-exited
}

func (p *process) signal(s syscall.Signal) {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	require.NoError(p.t, p.cmd.Process.Signal(s))
}

// finish kills the process for good and looks through its log.
func (p *process) finish() {
	p.kill()
	text, err := os.ReadFile(p.log)
	if err != nil {
		return // never started
	}
	if strings.Contains(string(text), "DATA RACE") {
		p.t.Errorf("the race detector complains in the process %s", p.name)
	}
	if p.t.Failed() {
		const most = 8000
		p.t.Logf("log of the process %s:\n%s", p.name, text[max(0, len(text)-most):])
	}
}

// child describes a process that is this test binary in a role.
func child(t *testing.T, dir, role string, cfg roleConfig) *process {
	t.Helper()
	cfg.Listen = freeAddress(t)
	p := &process{t: t, name: cfg.Name, address: cfg.Listen, log: filepath.Join(dir, cfg.Name+".log"), config: cfg}
	p.command = func() *exec.Cmd {
		text, err := json.Marshal(p.config)
		require.NoError(t, err)
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), roleVariable+"="+role, configVariable+"="+string(text))
		return cmd
	}
	t.Cleanup(p.finish)
	return p
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	return l.Addr().String()
}

// binaryDir is where this process builds the coordinator.
var binaryDir = filepath.Join(os.TempDir(), fmt.Sprintf("qiao-faults-%d", os.Getpid()))

// binary builds the coordinator once.
var binary = sync.OnceValues(func() (string, error) {
	path := filepath.Join(binaryDir, "qiao")
	args := append([]string{"build", "-o", path}, buildFlags...)
	out, err := exec.Command("go", append(args, "../../cmd/qiao")...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build the coordinator: %w\n%s", err, out)
	}
	return path, nil
})

// coordinator describes the coordinator's process behind r. Its times are short
// enough for a test, and its port is a new one in each life.
func coordinator(t *testing.T, dir string, r *relay.Relay) *process {
	t.Helper()
	path, err := binary()
	require.NoError(t, err)
	portFile := filepath.Join(dir, "port")
	p := &process{t: t, name: "coordinator", log: filepath.Join(dir, "coordinator.log")}
	p.command = func() *exec.Cmd {
		require.NoError(t, os.RemoveAll(portFile))
		return exec.Command(path, "server", "--listen", "127.0.0.1:0", "--advertise", r.Address(),
			"--data", filepath.Join(dir, "coordinator"), "--port-file", portFile, "--disk-reserve-mib", "0",
			"--retry-after", "50ms", "--retry-max", "500ms", "--answer-timeout", "5s")
	}
	p.ready = func() bool {
		text, err := os.ReadFile(portFile)
		if err != nil {
			return false
		}
		p.address = strings.TrimSpace(string(text))
		r.LeadTo(p.address)
		return true
	}
	t.Cleanup(p.finish)
	return p
}

// arm has action called in this process when p reaches the step for the nth
// time from now; p waits there meanwhile.
func (b *bank) arm(p *process, step string, nth int, action func()) {
	b.t.Helper()
	b.mu.Lock()
	b.actions[p.name+": "+step] = action
	b.mu.Unlock()
	ctx, cancel := context.WithTimeout(b.t.Context(), patience)
	defer cancel()
	_, err := ask[struct{}](ctx, b.web, "http://"+p.address+"/arm", arming{step, nth})
	require.NoError(b.t, err)
}

// reports takes what armed processes report.
func (b *bank) reports(w http.ResponseWriter, r *http.Request) {
	key := r.FormValue("process") + ": " + r.FormValue("step")
	b.mu.Lock()
	action := b.actions[key]
	delete(b.actions, key)
	b.mu.Unlock()
	if action == nil {
		http.Error(w, "nobody waits for "+key, http.StatusNotFound)
		return
	}
	action()
}
