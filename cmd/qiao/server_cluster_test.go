package main

import (
	"encoding/json"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/protocol"
)

// clusterProcesses are three servers of one cluster.
type clusterProcesses struct {
	t     *testing.T
	names []string
	nodes string
	data  map[string]string
	all   map[string]*serverProcess
}

func startCluster(t *testing.T) *clusterProcesses {
	c := &clusterProcesses{t: t, names: []string{"a", "b", "c"}, data: make(map[string]string), all: make(map[string]*serverProcess)}
	var list []string
	for _, name := range c.names {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		list = append(list, name+"="+l.Addr().String())
		require.NoError(t, l.Close())
		c.data[name] = t.TempDir()
	}
	c.nodes = strings.Join(list, ",")
	for _, name := range c.names {
		c.start(name)
	}
	return c
}

func (c *clusterProcesses) start(name string) {
	c.t.Helper()
	address := ""
	for _, n := range strings.Split(c.nodes, ",") {
		if rest, ok := strings.CutPrefix(n, name+"="); ok {
			address = rest
		}
	}
	c.all[name] = startServerProcess(c.t, c.data[name], "--cluster-nodes", c.nodes, "--cluster-node", name, "--listen", address,
		"--retry-after", "100ms", "--cluster-election-timeout", "500ms")
}

// leader waits until a node says that it leads, and returns its name and the others'.
func (c *clusterProcesses) leader() (leads string, others []string) {
	c.t.Helper()
	require.Eventually(c.t, func() bool {
		leads, others = "", nil
		for name, p := range c.all {
			var s standing
			if answer, err := http.Get("http://" + p.address + "/cluster"); err == nil {
				err = json.NewDecoder(answer.Body).Decode(&s)
				_ = answer.Body.Close()
				if err == nil && s.Leader == name {
					leads = name
					continue
				}
			}
			others = append(others, name)
		}
		return leads != ""
	}, serverPatience, 10*time.Millisecond)
	return leads, others
}

// Any node serves: it has the leader decide, and passes the leader's orders on. When
// the leader is killed another goes on with all that was acknowledged.
func TestClusterServesOverAnyNode(t *testing.T) {
	c := startCluster(t)
	leads, others := c.leader()
	one, two := c.all[others[0]].client(testDatabase), c.all[others[1]].client(testAction)

	x := one.begin(time.Minute)
	at := one.register(x, protocol.TypeAT, testDatabase, "stock:1")
	require.Equal(t, protocol.ResultSuccess, at.Code, at.Message)
	tcc := two.register(x, protocol.TypeTCC, testAction, "")
	require.Equal(t, protocol.ResultSuccess, tcc.Code, tcc.Message)
	decided := make(chan protocol.GlobalStatus, 1)
	two.conn.Go(&protocol.GlobalCommit{Global: protocol.Global{XID: x}}, serverPatience, func(m protocol.Message, err error) {
		if err != nil {
			decided <- protocol.StatusUnKnown
			return
		}
		decided <- m.(*protocol.GlobalCommitResult).Status
	})
	require.Equal(t, tcc.BranchID, two.commitBranch())
	require.Equal(t, at.BranchID, one.commitBranch())
	require.Equal(t, protocol.StatusCommitted, <-decided)

	open, rolling := one.begin(time.Minute), two.begin(time.Minute)
	require.Equal(t, protocol.ResultSuccess, one.register(open, protocol.TypeAT, testDatabase, "stock:1").Code)
	branch := two.register(rolling, protocol.TypeAT, testDatabase, "stock:2")
	require.Equal(t, protocol.ResultSuccess, branch.Code)
	two.conn.Go(&protocol.GlobalRollback{Global: protocol.Global{XID: rolling}}, serverPatience, func(protocol.Message, error) {})
	require.Equal(t, branch.BranchID, one.order().Message.(*protocol.BranchRollback).BranchID)
	c.all[leads].kill() // it has no answer yet
	delete(c.all, leads)

	require.Equal(t, branch.BranchID, one.rollbackBranch(), "the next leader asks again")
	require.Eventually(t, func() bool { return two.status(rolling) == protocol.StatusRollbacked }, serverPatience, 5*time.Millisecond)
	require.Equal(t, protocol.StatusCommitted, one.status(x))
	require.Equal(t, protocol.StatusBegin, two.status(open))
	other := two.begin(time.Minute)
	conflict := two.register(other, protocol.TypeAT, testDatabase, "stock:1")
	require.Equal(t, protocol.ExceptionLockKeyConflict, conflict.Exception)
	require.Contains(t, conflict.Message, open)
	committed := call[*protocol.GlobalCommitResult](two, &protocol.GlobalCommit{Global: protocol.Global{XID: open}})
	require.Equal(t, protocol.StatusCommitted, committed.Status)
	one.commitBranch()
	c.start(leads)
	back := c.all[leads].client(testDatabase)
	require.Equal(t, protocol.StatusCommitted, back.status(open))
}

// A leader that is stopped passes the lead on; who asked it is answered.
func TestClusterLeaderStops(t *testing.T) {
	c := startCluster(t)
	leads, others := c.leader()
	old, other := c.all[leads].client(testDatabase), c.all[others[0]].client(testDatabase)
	x := old.begin(time.Minute)
	c.all[leads].signal(syscall.SIGTERM)
	require.Equal(t, 0, c.all[leads].exitCode(), "%s", c.all[leads].stderr)
	require.NotContains(t, c.all[leads].stderr.String(), "could not pass the lead on")
	delete(c.all, leads)
	require.Equal(t, protocol.StatusBegin, other.status(x))
	c.leader()
}

// What would make two nodes of one, or one of two, is refused with the reason.
func TestClusterMistakesAreNamed(t *testing.T) {
	data := t.TempDir()
	const nodes = "a=127.0.0.1:1,b=127.0.0.1:2,c=127.0.0.1:3"
	flags := func(more ...string) []string {
		return append([]string{"server", "--listen", "127.0.0.1:0", "--cluster-nodes", nodes, "--data", data}, more...)
	}
	p := startServerProcess(t, data, "--cluster-nodes", nodes, "--cluster-node", "a")
	p.kill()
	for _, test := range []struct {
		args []string
		want string
	}{
		{flags("--cluster-node", "b"), "the data directory is another node's: it is that of node a"},
		{flags("--cluster-node", "d"), `cluster.node "d" is none of cluster.nodes`},
		{flags(), "3 of cluster.nodes have an address of this machine"},
		{flags("--cluster-node", "a", "--cluster-name", "other"), "of cluster qiao, and this is node a of cluster other"},
		{flags("--cluster-node", "a", "--cluster-nodes", "a=127.0.0.1:1,b=127.0.0.1:2"), "want 3, 5 or 7"},
		{flags("--cluster-node", "a", "--cluster-nodes", "a=127.0.0.1:1,b=127.0.0.1:2,d=127.0.0.1:4"), "was begun with the nodes"},
		{[]string{"server", "--listen", "127.0.0.1:0", "--data", data}, "it is that of node a of cluster qiao; configure the cluster"},
	} {
		root := newRootCommand()
		root.SetArgs(test.args)
		require.ErrorContains(t, root.ExecuteContext(t.Context()), test.want)
	}
}
