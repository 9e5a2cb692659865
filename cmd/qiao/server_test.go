package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/rpc"
	"github.com/qiao-tx/qiao/server/config"
	"github.com/qiao-tx/qiao/storage/memory"
)

// serverPatience bounds every wait; it is met only when something is wrong.
const serverPatience = 30 * time.Second

// serverProcess is a server in a process of its own.
type serverProcess struct {
	t       *testing.T
	cmd     *exec.Cmd
	address string
	stderr  *bytes.Buffer
	exited  chan struct{}
}

// startServerProcess starts a server on the directory and waits until it serves.
func startServerProcess(t *testing.T, data string, more ...string) *serverProcess {
	t.Helper()
	portFile := filepath.Join(t.TempDir(), "port")
	p := &serverProcess{t: t, stderr: new(bytes.Buffer), exited: make(chan struct{})}
	p.cmd = exec.Command(os.Args[0], append([]string{
		"server", "--listen", "127.0.0.1:0", "--advertise", "tc.test:8091", "--data", data, "--port-file", portFile,
	}, more...)...)
	p.cmd.Stderr = p.stderr
	require.NoError(t, p.cmd.Start())
	go func() {
		_ = p.cmd.Wait() // the tests look at ProcessState
		close(p.exited)
	}()
	t.Cleanup(p.kill)
	require.Eventually(t, func() bool {
		b, err := os.ReadFile(portFile)
		p.address = strings.TrimSpace(string(b))
		return err == nil || p.hasExited()
	}, serverPatience, 5*time.Millisecond, "the server does not serve")
	require.False(t, p.hasExited(), "%s", p.stderr)
	return p
}

func (p *serverProcess) hasExited() bool {
	select {
	case <-p.exited:
		return true
	default:
		return false
	}
}

// kill ends the process as a power failure of its own would.
func (p *serverProcess) kill() {
	if !p.hasExited() {
		// It fails when the process has just ended.
		_ = p.cmd.Process.Kill()
	}
	<-p.exited
}

func (p *serverProcess) signal(s os.Signal) {
	p.t.Helper()
	require.NoError(p.t, p.cmd.Process.Signal(s))
}

// exitCode waits for the end and returns the exit code.
func (p *serverProcess) exitCode() int {
	p.t.Helper()
	select {
	case <-p.exited:
	case <-time.After(serverPatience):
		p.t.Fatal("the server does not end")
	}
	return p.cmd.ProcessState.ExitCode()
}

// serverClient is a transaction and resource manager on one connection.
type serverClient struct {
	t      *testing.T
	conn   *rpc.Conn
	orders chan rpc.Request
}

func (p *serverProcess) client(resources string) *serverClient {
	p.t.Helper()
	nc, err := net.Dial("tcp", p.address)
	require.NoError(p.t, err)
	c := &serverClient{t: p.t, orders: make(chan rpc.Request, 100)}
	c.conn = rpc.New(nc, rpc.Options{Handler: func(_ *rpc.Conn, r rpc.Request) { c.orders <- r }, WriteIdle: time.Second})
	p.t.Cleanup(func() {
		c.conn.Close(nil)
		c.conn.Wait()
	})
	who := protocol.Identity{Version: "2.5.0", ApplicationID: "app", Group: "g"}
	require.True(p.t, call[*protocol.RegisterTMResult](c, &protocol.RegisterTM{Identity: who}).Identified)
	require.True(p.t, call[*protocol.RegisterRMResult](c, &protocol.RegisterRM{Identity: who, ResourceIDs: resources}).Identified)
	return c
}

func call[A protocol.Message](c *serverClient, m protocol.Message) A {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), serverPatience)
	defer cancel()
	r, err := c.conn.Call(ctx, m, nil)
	require.NoError(c.t, err)
	answer, ok := r.Message.(A)
	require.True(c.t, ok, "%T answers %T", r.Message, m)
	return answer
}

func (c *serverClient) begin(timeout time.Duration) string {
	c.t.Helper()
	r := call[*protocol.GlobalBeginResult](c, &protocol.GlobalBegin{TimeoutMillis: int32(timeout.Milliseconds()), Name: "test"})
	require.Equal(c.t, protocol.ResultSuccess, r.Code, r.Message)
	return r.XID
}

func (c *serverClient) register(x string, kind protocol.BranchType, resource, lockKey string) *protocol.BranchRegisterResult {
	c.t.Helper()
	return call[*protocol.BranchRegisterResult](c, &protocol.BranchRegister{XID: x, Type: kind, ResourceID: resource, LockKey: lockKey})
}

func (c *serverClient) status(x string) protocol.GlobalStatus {
	c.t.Helper()
	return call[*protocol.GlobalStatusResult](c, &protocol.GlobalStatusRequest{Global: protocol.Global{XID: x}}).Status
}

func (c *serverClient) order() rpc.Request {
	c.t.Helper()
	select {
	case r := <-c.orders:
		return r
	case <-time.After(serverPatience):
		c.t.Fatal("no order came")
		return rpc.Request{}
	}
}

// commitBranch waits for an order to commit and carries it out.
func (c *serverClient) commitBranch() int64 {
	c.t.Helper()
	r := c.order()
	o := r.Message.(*protocol.BranchCommit)
	require.NoError(c.t, c.conn.Reply(r, &protocol.BranchCommitResult{BranchOutcome: protocol.BranchOutcome{
		TxResult: protocol.OK(), XID: o.XID, BranchID: o.BranchID, Status: protocol.BranchPhaseTwoCommitted,
	}}, nil))
	return o.BranchID
}

// rollbackBranch does the same for a rollback.
func (c *serverClient) rollbackBranch() int64 {
	c.t.Helper()
	r := c.order()
	o := r.Message.(*protocol.BranchRollback)
	require.NoError(c.t, c.conn.Reply(r, &protocol.BranchRollbackResult{BranchOutcome: protocol.BranchOutcome{
		TxResult: protocol.OK(), XID: o.XID, BranchID: o.BranchID, Status: protocol.BranchPhaseTwoRollbacked,
	}}, nil))
	return o.BranchID
}

const (
	testDatabase = "jdbc:mysql://db:3306/shop"
	testAction   = "debit"
)

func TestServerCommitsATransaction(t *testing.T) {
	p := startServerProcess(t, t.TempDir())
	c := p.client(testDatabase + "," + testAction)
	x := c.begin(time.Minute)
	require.True(t, strings.HasPrefix(x, "tc.test:8091:"), x)
	at := c.register(x, protocol.TypeAT, testDatabase, "stock:1")
	tcc := c.register(x, protocol.TypeTCC, testAction, "")
	committed := make(chan protocol.Message, 1)
	c.conn.Go(&protocol.GlobalCommit{Global: protocol.Global{XID: x}}, serverPatience, func(m protocol.Message, err error) {
		if err == nil {
			committed <- m
		}
	})
	require.ElementsMatch(t, []int64{at.BranchID, tcc.BranchID}, []int64{c.commitBranch(), c.commitBranch()})
	select {
	case m := <-committed:
		require.Equal(t, protocol.StatusCommitted, m.(*protocol.GlobalCommitResult).Status)
	case <-time.After(serverPatience):
		t.Fatal("the commit is not answered")
	}
	require.Eventually(t, func() bool { return c.status(x) == protocol.StatusCommitted }, serverPatience, 5*time.Millisecond)

	response, err := http.Get("http://" + p.address + "/metrics")
	require.NoError(t, err)
	metrics, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	for _, want := range []string{"qiao_transactions_committed_total 1", "qiao_branches_registered_total 2", "qiao_store_transactions 0", "qiao_store_locks 0"} {
		require.Contains(t, string(metrics), want)
	}
	p.signal(syscall.SIGTERM)
	require.Equal(t, 0, p.exitCode(), "%s", p.stderr)
	require.Contains(t, p.stderr.String(), "stopped")
}

// What was acknowledged before kill -9 is there afterwards, and goes on without
// anybody's help.
func TestServerKilledKeepsTransactions(t *testing.T) {
	data := t.TempDir()
	p := startServerProcess(t, data)
	c := p.client(testDatabase)
	open, rolling := c.begin(time.Minute), c.begin(time.Minute)
	require.Equal(t, protocol.ResultSuccess, c.register(open, protocol.TypeAT, testDatabase, "stock:1").Code)
	branch := c.register(rolling, protocol.TypeAT, testDatabase, "stock:2")
	require.Equal(t, protocol.ResultSuccess, branch.Code)
	c.conn.Go(&protocol.GlobalRollback{Global: protocol.Global{XID: rolling}}, serverPatience, func(protocol.Message, error) {})
	require.Equal(t, branch.BranchID, c.order().Message.(*protocol.BranchRollback).BranchID)
	p.kill()

	p = startServerProcess(t, data)
	c = p.client(testDatabase)
	require.Equal(t, branch.BranchID, c.rollbackBranch())
	require.Equal(t, protocol.StatusBegin, c.status(open))
	other := c.begin(time.Minute)
	require.NotContains(t, []string{open, rolling}, other, "an XID came twice")
	conflict := c.register(other, protocol.TypeAT, testDatabase, "stock:1")
	require.Equal(t, protocol.ExceptionLockKeyConflict, conflict.Exception)
	require.Contains(t, conflict.Message, open)
	require.Eventually(t, func() bool {
		return c.register(other, protocol.TypeAT, testDatabase, "stock:2").Code == protocol.ResultSuccess
	}, serverPatience, 5*time.Millisecond, "the rolled-back branch keeps its lock")
}

// A resource manager that answers nonsense is asked again, and the log names it.
func TestServerAsksAgainAfterNonsense(t *testing.T) {
	p := startServerProcess(t, t.TempDir(), "--retry-after", "10ms")
	c := p.client(testDatabase)
	x := c.begin(time.Minute)
	require.Equal(t, protocol.ResultSuccess, c.register(x, protocol.TypeAT, testDatabase, "stock:1").Code)
	require.Equal(t, protocol.StatusCommitted, call[*protocol.GlobalCommitResult](c, &protocol.GlobalCommit{Global: protocol.Global{XID: x}}).Status)
	for _, nonsense := range []protocol.Message{
		&protocol.BranchRollbackResult{BranchOutcome: protocol.BranchOutcome{TxResult: protocol.OK(), XID: x}},
		&protocol.BranchCommitResult{BranchOutcome: protocol.BranchOutcome{TxResult: protocol.OK(), XID: x, BranchID: 1, Status: protocol.BranchPhaseTwoCommitted}},
		&protocol.GlobalBeginResult{TxResult: protocol.OK()},
	} {
		require.NoError(t, c.conn.Reply(c.order(), nonsense, nil))
	}
	c.commitBranch()
	require.Eventually(t, func() bool { return c.status(x) == protocol.StatusCommitted }, serverPatience, 5*time.Millisecond)
	p.signal(syscall.SIGTERM)
	require.Equal(t, 0, p.exitCode())
	require.Equal(t, 3, strings.Count(p.stderr.String(), "a resource manager answered nonsense"))
	require.Contains(t, p.stderr.String(), "client=app:"+c.conn.LocalAddr().String())
}

// A stopping server answers who waits; a second signal stops it at once.
func TestServerDrains(t *testing.T) {
	waitForCommit := func(t *testing.T) (*serverProcess, *serverClient, chan error) {
		p := startServerProcess(t, t.TempDir())
		c := p.client(testAction)
		x := c.begin(time.Minute)
		require.Equal(t, protocol.ResultSuccess, c.register(x, protocol.TypeTCC, testAction, "").Code)
		answered := make(chan error, 1)
		c.conn.Go(&protocol.GlobalCommit{Global: protocol.Global{XID: x}}, serverPatience, func(m protocol.Message, err error) {
			if err == nil && m.(*protocol.GlobalCommitResult).Status != protocol.StatusCommitted {
				err = fmt.Errorf("answered with %+v", m)
			}
			answered <- err
		})
		return p, c, answered
	}
	t.Run("the answer still comes", func(t *testing.T) {
		p, c, answered := waitForCommit(t)
		order := c.order()
		p.signal(syscall.SIGTERM)
		require.Eventually(t, func() bool {
			nc, err := net.Dial("tcp", p.address)
			if err == nil {
				_ = nc.Close()
			}
			return err != nil
		}, serverPatience, time.Millisecond, "it still accepts")
		r := call[*protocol.GlobalBeginResult](c, &protocol.GlobalBegin{})
		require.Contains(t, r.Message, "shutting down")
		c.orders <- order
		c.commitBranch()
		require.NoError(t, <-answered)
		require.Equal(t, 0, p.exitCode(), "%s", p.stderr)
	})
	t.Run("a second signal does not wait", func(t *testing.T) {
		p, c, answered := waitForCommit(t)
		c.order() // and never answer
		p.signal(syscall.SIGTERM)
		require.Eventually(t, func() bool {
			return strings.Contains(call[*protocol.GlobalBeginResult](c, &protocol.GlobalBegin{}).Message, "shutting down")
		}, serverPatience, time.Millisecond)
		p.signal(syscall.SIGTERM)
		require.Error(t, <-answered)
		require.Equal(t, 0, p.exitCode(), "%s", p.stderr)
	})
}

// Each mistake ends in one line that names the cause and what to do.
func TestServerNamesWhatIsWrong(t *testing.T) {
	used, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { require.NoError(t, used.Close()) }()
	running := t.TempDir()
	startServerProcess(t, running)
	foreign := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(foreign, "letters.txt"), []byte("Dear Sir"), 0o600))
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, []byte("lissten: 127.0.0.1:1\n"), 0o600))
	for _, test := range []struct {
		name string
		args []string
		code int
		want []string
	}{
		{"used port", []string{"--listen", used.Addr().String()}, exitFailed, []string{used.Addr().String(), "in use", "--listen"}},
		{"address of another machine", []string{"--listen", "192.0.2.1:8091", "--insecure-listen"}, exitFailed, []string{"192.0.2.1:8091", "no network card"}},
		{"second server", []string{"--data", running}, exitFailed, []string{running}},
		{"foreign directory", []string{"--data", foreign}, exitFailed, []string{foreign}},
		{"data below a file", []string{"--data", filepath.Join(file, "data")}, exitFailed, []string{file}},
		{"data is a file", []string{"--data", file}, exitFailed, []string{file}},
		{"port file cannot be written", []string{"--port-file", filepath.Join(file, "port")}, exitFailed, []string{"port-file"}},
		{"open to others", []string{"--listen", "0.0.0.0:0"}, exitFailed, []string{"neither TLS nor credentials", "insecure-listen"}},
		{"advertised name too long", []string{"--advertise", strings.Repeat("a", 60)}, exitFailed, []string{"XA allows 64"}},
		{"unknown key", []string{"--config", file}, exitFailed, []string{file + ":1", `did you mean "listen"?`}},
		{"unknown flag", []string{"--lissten", "x"}, exitUsage, []string{"--lissten", "--help"}},
		{"flag's value", []string{"--retention", "soon"}, exitUsage, []string{"retention", "no duration"}},
		{"argument", []string{"now"}, exitUsage, []string{"takes no arguments"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			args := append([]string{"server", "--listen", "127.0.0.1:0", "--log-level", "error", "--data", filepath.Join(t.TempDir(), "data")}, test.args...)
			ctx, cancel := context.WithTimeout(t.Context(), serverPatience)
			defer cancel()
			cmd := exec.CommandContext(ctx, os.Args[0], args...)
			out, err := cmd.CombinedOutput()
			var exit *exec.ExitError
			require.ErrorAs(t, err, &exit, "%s", out)
			require.Equal(t, test.code, exit.ExitCode(), "%s", out)
			require.Equal(t, 1, strings.Count(string(out), "\n"), "one line: %s", out)
			for _, want := range test.want {
				require.Contains(t, string(out), want)
			}
		})
	}
}

// brokenStore fails when the test says so.
type brokenStore struct {
	*memory.Store
	failed chan struct{}
}

func (b *brokenStore) Failed() <-chan struct{} { return b.failed }
func (b *brokenStore) Err() error              { return errors.New("input/output error") }

// A server whose disk fails ends, with an error, so that somebody looks.
func TestServerEndsWhenItsStoreFails(t *testing.T) {
	store := &brokenStore{memory.New(), make(chan struct{})}
	cfg := config.Default()
	cfg.Listen, cfg.PortFile = "127.0.0.1:0", filepath.Join(t.TempDir(), "port")
	ended := make(chan error, 1)
	go func() {
		ended <- runServer(t.Context(), cfg, slog.New(slog.DiscardHandler),
			func(context.Context, *config.Config, string, *slog.Logger) (openedStore, error) {
				return openedStore{store: store, workerID: 1}, nil
			})
	}()
	require.Eventually(t, func() bool { _, err := os.Stat(cfg.PortFile); return err == nil }, serverPatience, time.Millisecond)
	close(store.failed)
	select {
	case err := <-ended:
		require.ErrorContains(t, err, "input/output error")
	case <-time.After(serverPatience):
		t.Fatal("it goes on")
	}
}

func TestServerPrintsItsConfiguration(t *testing.T) {
	root := newRootCommand()
	var out bytes.Buffer
	root.SetOut(&out)
	root.SetArgs([]string{"server", "--print-config", "--insecure-listen", "--retention", "90s"})
	require.NoError(t, root.ExecuteContext(t.Context()))
	require.Contains(t, out.String(), "(--insecure-listen)\ninsecure-listen: true")
	require.Contains(t, out.String(), "(--retention)\nretention: 1m30s")
}
