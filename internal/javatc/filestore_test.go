//go:build linux

package javatc

import (
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/client"
	"github.com/qiao-tx/qiao/internal/testenv"
	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/rpc"
	"github.com/qiao-tx/qiao/protocol/xid"
)

// importJava stops a Java coordinator, imports its file store, and starts ours on
// that under its address.
func importJava(t *testing.T, tc *testenv.JavaCoordinator, s *ours) *coordinator {
	t.Helper()
	// A look at the files is allowed while Java runs.
	seen, err := exec.Command(s.program, "store", "import", "--from-java-file", tc.StoreDir(), "--dry-run").CombinedOutput()
	require.NoError(t, err, "%s", seen)
	tc.Kill()
	out, err := exec.Command(s.program, "store", "import", "--from-java-file", tc.StoreDir(), "--to", "dir:"+filepath.Join(s.dir, "data")).CombinedOutput()
	require.NoError(t, err, "%s", out)
	t.Logf("%s", out)
	s.address = tc.Address()
	s.start("--advertise", tc.Advertised())
	return &coordinator{name: "ours", address: s.address}
}

// Transactions that a Java coordinator with a file store has begun end on ours, with
// the application going on: it is stopped, imported, and ours started on its address.
func TestOursFinishesWhatAJavaFileStoreHolds(t *testing.T) {
	java, s := testenv.JavaTC(t, testenv.JavaTCOptions{}), buildOurs(t)
	testMoved(t, &coordinator{name: "Java", java: true, address: java.Address()}, func() *coordinator { return importJava(t, java, s) })
}

// The same when the store of ours moves from the embedded log into a database.
func TestOursFinishesWhatWasCopied(t *testing.T) {
	s := startOurs(t)
	testMoved(t, &coordinator{name: "ours", address: s.address}, func() *coordinator {
		s.kill()
		dsn, err := mysql.ParseDSN(testenv.MariaDB(t))
		require.NoError(t, err)
		password := filepath.Join(s.dir, "password")
		require.NoError(t, os.WriteFile(password, []byte(dsn.Passwd), 0o600))
		place := "jdbc:mariadb://" + dsn.Addr + "/" + dsn.DBName
		out, err := exec.Command(s.program, "store", "copy", "--from", "dir:"+filepath.Join(s.dir, "data"),
			"--to", place, "--to-user", dsn.User, "--to-password-file", password).CombinedOutput()
		require.NoError(t, err, "%s", out)
		s.start("--store-mode", "db", "--store-db-type", "mariadb", "--store-db-url", place, "--store-db-user", dsn.User, "--store-db-password-file", password)
		return &coordinator{name: "ours", address: s.address}
	})
}

// testMoved begins transactions on one coordinator, and ends them on the one that
// move puts in its place.
func testMoved(t *testing.T, tc *coordinator, move func() *coordinator) {
	e := newEnv(t, tc, client.Config{Addresses: []string{tc.address}, TMTimeout: brief, RMTimeout: brief})
	action := e.action(hooks{})
	e.must(e.plain, "INSERT INTO account (id, n, held) VALUES (4, 40, 0)")
	toRollBack, toCommit, tooLate := e.begin(ample), e.begin(ample), e.begin(20*time.Second)
	inOne, inOther, inLate := xid.NewContext(t.Context(), toRollBack.XID()), xid.NewContext(t.Context(), toCommit.XID()), xid.NewContext(t.Context(), tooLate.XID())
	require.NoError(t, e.add(inOne, 1, 1))
	require.NoError(t, e.addOther(inOne, 1, 1))
	require.NoError(t, action.Try(inOne, hold{"x", 3, 9}))
	require.NoError(t, e.add(inOther, 2, 1))
	require.NoError(t, action.Try(inOther, hold{"y", 2, 7}))
	require.NoError(t, e.add(inLate, 4, 5))
	before := e.begin(ample)
	require.NoError(t, e.addOther(xid.NewContext(t.Context(), before.XID()), 3, 1))
	require.NoError(t, before.Rollback(t.Context()))

	e.tc = move()
	require.Error(t, e.global(ample, func(ctx context.Context) error { return e.add(ctx, 1, 1) }), "the rows of an open transaction are locked")
	e.decide(toCommit.Commit)
	e.decide(toRollBack.Rollback)
	require.Eventually(t, func() bool {
		return e.rows(e.plain) == "1=10 2=28 3=30 4=40" && e.rows(e.plainOther) == "1=10 2=20 3=30" && e.undoRows() == 0
	}, patience, 20*time.Millisecond, "phase two reaches the resources, and the time-out rolls one back")
	e.mu.Lock()
	require.ElementsMatch(t, []string{"try x", "try y", "confirm y", "cancel x"}, e.calls)
	e.mu.Unlock()
	// On a slow machine its time is up before the move, and it is forgotten after it.
	e.await(tooLate.XID(), protocol.StatusTimeoutRollbacked, protocol.StatusFinished)
	require.NoError(t, e.global(ample, func(ctx context.Context) error { return e.add(ctx, 1, 1) }))
}

// rewriteStore has the file store in storage/javafile/testdata made anew.
var rewriteStore = flag.Bool("rewrite-java-store", false, "write storage/javafile/testdata anew from a Java coordinator")

// TestJavaFileStoreHasAllStates brings a Java coordinator with a file store into as
// many states as there are, kills it, and imports what it leaves. With
// -rewrite-java-store the files become the golden ones of storage/javafile.
func TestJavaFileStoreHasAllStates(t *testing.T) {
	java := testenv.JavaTC(t, testenv.JavaTCOptions{})
	c := dialPuppet(t, java.Address())
	var manyRows strings.Builder
	manyRows.WriteString("stock:90000")
	for i := range 4000 {
		fmt.Fprintf(&manyRows, ",%d", 90001+i)
	}
	for _, s := range []struct {
		name     string
		branches []puppetBranch
		decide   protocol.Message
		status   protocol.GlobalStatus
	}{
		{"open", []puppetBranch{{protocol.TypeAT, "stock:1,2;item:x", 0, 0}, {protocol.TypeAT, "stock:3", 0, protocol.BranchPhaseOneDone}}, nil, protocol.StatusBegin},
		{"open without branches", nil, nil, protocol.StatusBegin},
		{"open with a failed branch", []puppetBranch{{protocol.TypeAT, "stock:4", 0, protocol.BranchPhaseOneFailed}}, nil, protocol.StatusBegin},
		{"open, all modes", []puppetBranch{{protocol.TypeTCC, "", 0, 0}, {protocol.TypeXA, "stock:5", 0, 0}, {protocol.TypeSaga, "", 0, 0}}, nil, protocol.StatusBegin},
		{"open, a compressed lock key", []puppetBranch{{protocol.TypeAT, manyRows.String(), 0, 0}}, nil, protocol.StatusBegin},
		{"committed", []puppetBranch{{protocol.TypeTCC, "", protocol.BranchPhaseTwoCommitted, 0}}, &protocol.GlobalCommit{}, protocol.StatusFinished},
		{"rolled back", []puppetBranch{{protocol.TypeAT, "stock:10", protocol.BranchPhaseTwoRollbacked, 0}}, &protocol.GlobalRollback{}, protocol.StatusFinished},
		{"committing asynchronously", []puppetBranch{{protocol.TypeAT, "stock:11", silent, 0}}, &protocol.GlobalCommit{}, protocol.StatusAsyncCommitting},
		{"commit is retried", []puppetBranch{
			{protocol.TypeTCC, "", protocol.BranchPhaseTwoCommitted, 0}, {protocol.TypeTCC, "", protocol.BranchPhaseTwoCommitFailedRetryable, 0}, {protocol.TypeTCC, "", 0, 0},
		}, &protocol.GlobalCommit{}, protocol.StatusCommitRetrying},
		{"commit failed", []puppetBranch{{protocol.TypeTCC, "", protocol.BranchPhaseTwoCommitFailedUnretryable, 0}}, &protocol.GlobalCommit{}, protocol.StatusCommitFailed},
		{"rollback is retried", []puppetBranch{
			{protocol.TypeAT, "stock:12", protocol.BranchPhaseTwoRollbackFailedRetryable, 0}, {protocol.TypeAT, "stock:13", protocol.BranchPhaseTwoRollbacked, 0},
		}, &protocol.GlobalRollback{}, protocol.StatusRollbackRetrying},
		{"rollback failed", []puppetBranch{{protocol.TypeAT, "stock:14", protocol.BranchPhaseTwoRollbackFailedUnretryable, 0}}, &protocol.GlobalRollback{}, protocol.StatusRollbackFailed},
		{"time is up", []puppetBranch{{protocol.TypeAT, "stock:15", protocol.BranchPhaseTwoRollbackFailedRetryable, 0}}, nil, protocol.StatusTimeoutRollbacking},
	} {
		c.play(s.name, s.branches, s.decide, s.status)
	}
	s := buildOurs(t)
	java.Kill()
	if *rewriteStore {
		copyStore(t, java.StoreDir(), filepath.Join("..", "..", "storage", "javafile", "testdata", testenv.JavaTCVersion))
	}
	out, err := exec.Command(s.program, "store", "import", "--from-java-file", java.StoreDir(), "--dry-run").CombinedOutput()
	require.NoError(t, err, "%s", out)
	for _, want := range []string{
		"transactions  11", "locked rows   4010", "Begin                  7", "Committing             1", "CommitFailed           1",
		"Rollbacking            1", "RollbackFailed         1", "5 open transactions of AT might be committed",
	} {
		require.Contains(t, string(out), want)
	}
}

func copyStore(t *testing.T, from, to string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(from, "root.data*"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	require.NoError(t, os.MkdirAll(to, 0o755))
	for _, name := range files {
		content, err := os.ReadFile(name)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(to, filepath.Base(name)), content, 0o644))
	}
}

// puppet is a transaction and resource manager that answers as it is told.
type puppet struct {
	t       *testing.T
	conn    *rpc.Conn
	mu      sync.Mutex
	answers map[int64]protocol.BranchStatus // by branch; 0 and silent give none
}

// puppetBranch is a branch, with the answer to its order and what is reported of
// its first phase.
type puppetBranch struct {
	kind     protocol.BranchType
	lockKey  string
	answer   protocol.BranchStatus
	reported protocol.BranchStatus
}

const silent protocol.BranchStatus = -1

const puppetResource = "jdbc:mysql://db:3306/shop"

func dialPuppet(t *testing.T, address string) *puppet {
	t.Helper()
	nc, err := net.Dial("tcp", address)
	require.NoError(t, err)
	c := &puppet{t: t, answers: make(map[int64]protocol.BranchStatus)}
	c.conn = rpc.New(nc, rpc.Options{Handler: func(_ *rpc.Conn, r rpc.Request) { c.answer(r) }, WriteIdle: time.Second})
	t.Cleanup(func() {
		c.conn.Close(nil)
		c.conn.Wait()
	})
	who := protocol.Identity{Version: testenv.JavaTCVersion, ApplicationID: "puppet", Group: "default_tx_group"}
	require.True(t, ask[*protocol.RegisterTMResult](c, &protocol.RegisterTM{Identity: who}).Identified)
	require.True(t, ask[*protocol.RegisterRMResult](c, &protocol.RegisterRM{Identity: who, ResourceIDs: puppetResource}).Identified)
	return c
}

func ask[A protocol.Message](c *puppet, m protocol.Message) A {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	r, err := c.conn.Call(ctx, m, nil)
	require.NoError(c.t, err)
	answer, ok := r.Message.(A)
	require.True(c.t, ok, "%T answers %T", r.Message, m)
	return answer
}

func (c *puppet) answer(r rpc.Request) {
	outcome := func(x string, id int64) (o protocol.BranchOutcome, say bool) {
		c.mu.Lock()
		defer c.mu.Unlock()
		status := c.answers[id]
		return protocol.BranchOutcome{TxResult: protocol.OK(), XID: x, BranchID: id, Status: status}, status > 0
	}
	switch m := r.Message.(type) {
	case *protocol.BranchCommit:
		if o, say := outcome(m.XID, m.BranchID); say {
			_ = c.conn.Reply(r, &protocol.BranchCommitResult{BranchOutcome: o}, nil)
		}
	case *protocol.BranchRollback:
		if o, say := outcome(m.XID, m.BranchID); say {
			_ = c.conn.Reply(r, &protocol.BranchRollbackResult{BranchOutcome: o}, nil)
		}
	}
}

// play brings a new transaction to the status.
func (c *puppet) play(name string, branches []puppetBranch, decide protocol.Message, want protocol.GlobalStatus) {
	c.t.Helper()
	timeout := int32(3_600_000)
	if decide == nil && want != protocol.StatusBegin {
		timeout = 1
	}
	begun := ask[*protocol.GlobalBeginResult](c, &protocol.GlobalBegin{TimeoutMillis: timeout, Name: name})
	require.Equal(c.t, protocol.ResultSuccess, begun.Code, begun.Message)
	for _, b := range branches {
		r := ask[*protocol.BranchRegisterResult](c, &protocol.BranchRegister{
			XID: begun.XID, Type: b.kind, ResourceID: puppetResource, LockKey: b.lockKey, ApplicationData: `{"who":"` + name + `"}`,
		})
		require.Equal(c.t, protocol.ResultSuccess, r.Code, "%s: %s", name, r.Message)
		c.mu.Lock()
		c.answers[r.BranchID] = b.answer
		c.mu.Unlock()
		if b.reported != 0 {
			ask[*protocol.BranchReportResult](c, &protocol.BranchReport{
				XID: begun.XID, BranchID: r.BranchID, Type: b.kind, ResourceID: puppetResource, Status: b.reported, ApplicationData: `{"reported":true}`,
			})
		}
	}
	switch decide.(type) {
	case *protocol.GlobalCommit:
		ask[*protocol.GlobalCommitResult](c, &protocol.GlobalCommit{Global: protocol.Global{XID: begun.XID}})
	case *protocol.GlobalRollback:
		ask[*protocol.GlobalRollbackResult](c, &protocol.GlobalRollback{Global: protocol.Global{XID: begun.XID}})
	}
	var status protocol.GlobalStatus
	require.Eventually(c.t, func() bool {
		status = ask[*protocol.GlobalStatusResult](c, &protocol.GlobalStatusRequest{Global: protocol.Global{XID: begun.XID}}).Status
		return status == want
	}, patience, 50*time.Millisecond, "%s: not %s but %s", name, want, status)
}
