package main

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/client"
	"github.com/qiao-tx/qiao/internal/promtext"
	"github.com/qiao-tx/qiao/internal/relay"
	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/rm/tcc"
	"github.com/qiao-tx/qiao/tm"
)

// nodeProcess is a server on a shared database that the others reach by way of a
// relay, the address of which it advertises.
type nodeProcess struct {
	*serverProcess
	relay *relay.Relay
	flags []string
}

// startNodes starts two servers on one database. They try nothing again by time: what
// they try again is so because something was heard.
func startNodes(t *testing.T) (a, b *nodeProcess) {
	t.Helper()
	flags := append(onDatabase(t), "--retry-after", "1h", "--retry-max", "1h", "--answer-timeout", "10m")
	a = &nodeProcess{relay: relay.New(t), flags: flags}
	b = &nodeProcess{relay: relay.New(t), flags: flags}
	a.start(t)
	b.start(t)
	a.linked(t)
	b.linked(t)
	return a, b
}

// start starts the server, maybe again.
func (n *nodeProcess) start(t *testing.T) {
	t.Helper()
	n.serverProcess = startServerProcess(t, t.TempDir(), append(n.flags, "--advertise", n.relay.Address())...)
	n.relay.LeadTo(n.address)
}

// linked waits until the server has a link to the other one, and that to it.
func (n *nodeProcess) linked(t *testing.T) {
	t.Helper()
	n.shows(t, "qiao_nodes_linked", 1)
	n.shows(t, "qiao_nodes_linking", 1)
}

func (n *nodeProcess) metric(t *testing.T, name string) float64 {
	t.Helper()
	all, err := promtext.Fetch(t.Context(), "http://"+n.address+"/metrics")
	require.NoError(t, err)
	return all[name]
}

func (n *nodeProcess) shows(t *testing.T, name string, want float64) {
	t.Helper()
	require.Eventually(t, func() bool { return n.metric(t, name) == want }, serverPatience, 5*time.Millisecond, "%s is not %v", name, want)
}

func (c *serverClient) commit(x string) {
	c.t.Helper()
	require.Equal(c.t, protocol.StatusCommitted,
		call[*protocol.GlobalCommitResult](c, &protocol.GlobalCommit{Global: protocol.Global{XID: x}}).Status)
}

func (c *serverClient) becomes(x string, s protocol.GlobalStatus) {
	c.t.Helper()
	require.Eventually(c.t, func() bool { return c.status(x) == s }, serverPatience, 5*time.Millisecond, "%s does not become %v", x, s)
}

// A resource manager that is connected to one server gets the orders of another, at
// once: over a link that is cut, after its server was killed, after it has moved.
func TestServersRelayOrders(t *testing.T) {
	a, b := startNodes(t)
	rm, onB := a.client(testDatabase), b.client("elsewhere")
	b.shows(t, "qiao_resource_managers_remote", 1)
	open := func() (string, int64) {
		x := onB.begin(time.Hour)
		r := rm.register(x, protocol.TypeAT, testDatabase, "stock:"+x)
		require.Equal(t, protocol.ResultSuccess, r.Code, r.Message)
		return x, r.BranchID
	}

	x, branch := open()
	onB.commit(x)
	require.Equal(t, branch, rm.commitBranch())
	onB.becomes(x, protocol.StatusCommitted)
	x, branch = open()
	onB.conn.Go(&protocol.GlobalRollback{Global: protocol.Global{XID: x}}, time.Hour, func(protocol.Message, error) {})
	require.Equal(t, branch, rm.rollbackBranch())
	onB.becomes(x, protocol.StatusRollbacked)
	require.EqualValues(t, 2, b.metric(t, "qiao_orders_relayed_total"))
	require.EqualValues(t, 2, a.metric(t, "qiao_orders_carried_total"))

	// The link from a to b breaks behind the answer, which the link carries.
	x, branch = open()
	b.relay.Set(relay.Trap{Message: protocol.TypeBranchCommitResult, Nth: 1, Fate: relay.Lost})
	onB.commit(x)
	require.Equal(t, branch, rm.commitBranch())
	require.Equal(t, branch, rm.commitBranch(), "it is asked for again")
	onB.becomes(x, protocol.StatusCommitted)

	// Nothing reaches b any more, and then it does again.
	x, branch = open()
	b.relay.LeadTo("127.0.0.1:1")
	b.relay.HangUp()
	b.shows(t, "qiao_resource_managers_remote", 0)
	onB.commit(x)
	require.Eventually(t, func() bool { return b.metric(t, "qiao_orders_unanswered_total") > 1 }, serverPatience, 5*time.Millisecond)
	b.relay.LeadTo(b.address)
	require.Equal(t, branch, rm.commitBranch())
	onB.becomes(x, protocol.StatusCommitted)

	// The server of the resource manager is killed and started again.
	x, branch = open()
	a.kill()
	b.shows(t, "qiao_resource_managers_remote", 0)
	onB.commit(x)
	a.start(t)
	rm = a.client(testDatabase)
	require.Equal(t, branch, rm.commitBranch())
	onB.becomes(x, protocol.StatusCommitted)

	// The resource manager moves to the other server.
	x, branch = open()
	rm.conn.Close(nil)
	b.shows(t, "qiao_resource_managers_remote", 0)
	onB.commit(x)
	rm = b.client(testDatabase)
	require.Equal(t, branch, rm.commitBranch())
	onB.becomes(x, protocol.StatusCommitted)
	relayed := b.metric(t, "qiao_orders_relayed_total")
	x, _ = open()
	a.client(testDatabase)
	b.shows(t, "qiao_resource_managers_remote", 1)
	onB.commit(x)
	rm.commitBranch()
	require.Equal(t, relayed, b.metric(t, "qiao_orders_relayed_total"), "the direct connection comes first")
}

// The SDK's resource manager on one server, its transaction manager on the other.
func TestServersRelayOrdersToTheSDK(t *testing.T) {
	a, b := startNodes(t)
	open := func(n *nodeProcess, application string) *client.Client {
		c, err := client.Open(t.Context(), client.Config{Addresses: []string{n.address}, ApplicationID: application})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, c.Close(context.Background())) })
		return c
	}
	stock, shop := open(a, "stock"), open(b, "shop")
	events := make(chan string, 10)
	tell := func(what string) func(context.Context, int) error {
		return func(_ context.Context, n int) error { events <- fmt.Sprint(what, " ", n); return nil }
	}
	reserve, err := tcc.Register(t.Context(), stock.RM(), tcc.Action[int]{
		Name: "reserve", Try: tell("try"), Confirm: tell("confirm"), Cancel: tell("cancel"),
	})
	require.NoError(t, err)
	b.shows(t, "qiao_resource_managers_remote", 1)
	buy := func(n int, end error) error {
		return shop.TM().Run(t.Context(), tm.Options{Name: "buy"}, func(ctx context.Context) error {
			return errors.Join(reserve.Try(ctx, n), reserve.Try(ctx, n+1), end)
		})
	}
	seen := func() (all []string) {
		for range 4 {
			all = append(all, <-events)
		}
		return all
	}
	require.NoError(t, buy(1, nil))
	require.Equal(t, []string{"try 1", "try 2", "confirm 1", "confirm 2"}, seen())
	failed := errors.New("no money")
	require.ErrorIs(t, buy(3, failed), failed)
	require.Equal(t, []string{"try 3", "try 4", "cancel 4", "cancel 3"}, seen())
	require.EqualValues(t, 4, b.metric(t, "qiao_orders_relayed_total"))
}
