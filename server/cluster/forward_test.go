package cluster_test

import (
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/internal/relay"
	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/server/cluster"
	"github.com/qiao-tx/qiao/server/coordinator"
)

// answer is what Forward brought.
type answer struct {
	message protocol.Message
	head    map[string]string
	err     error
}

// forward sends a request from one node to another and waits.
func forward(from *node, to string, caller coordinator.Caller, m protocol.Message, head map[string]string) answer {
	answers := make(chan answer, 2)
	from.Forward(to, caller, m, head, func(m protocol.Message, head map[string]string, err error) {
		answers <- answer{m, head, err}
	})
	return <-answers
}

// The other node takes a forwarded request for one of the client it is from.
func TestForwardedRequestIsTheClients(t *testing.T) {
	w := newWorld(t)
	a, b := w.start(), w.start()
	linked(a, b)
	caller := coordinator.Caller{ClientID: "team:shop:10.0.0.1:4711", ApplicationID: "team:shop", Group: "g1", Qiao: true}
	begun := forward(a, b.address, caller, &protocol.GlobalBegin{Name: "buy", TimeoutMillis: 60_000}, nil)
	require.NoError(t, begun.err)
	x := begun.message.(*protocol.GlobalBeginResult).XID
	require.True(t, strings.HasPrefix(x, b.address), "%s is not of the node that carries it out", x)

	register := &protocol.BranchRegister{XID: x, Type: protocol.TypeAT, ResourceID: stock, LockKey: "t:1"}
	key := map[string]string{coordinator.HeadRequest: "key-1"}
	first := forward(a, b.address, caller, register, key)
	require.NoError(t, first.err)
	again := forward(a, b.address, caller, register, key)
	require.Equal(t, first.message.(*protocol.BranchRegisterResult).BranchID, again.message.(*protocol.BranchRegisterResult).BranchID,
		"the request's key is lost")
	require.Equal(t, map[string]string{coordinator.HeadRequest: "key-1"}, key, "it is the caller's")

	s, err := w.store.Load(t.Context(), x)
	require.NoError(t, err)
	require.Equal(t, "team:shop", s.Global.ApplicationID)
	require.Equal(t, "g1", s.Global.Group)
	require.Equal(t, caller.ClientID, s.Branches[0].ClientID)

	other := forward(a, b.address, caller, &protocol.GlobalBegin{TimeoutMillis: 60_000}, nil).message.(*protocol.GlobalBeginResult).XID
	register = &protocol.BranchRegister{XID: other, Type: protocol.TypeAT, ResourceID: stock, LockKey: "t:1"}
	conflict := forward(a, b.address, caller, register, nil)
	require.Equal(t, map[string]string{coordinator.HeadHolder: x}, conflict.head)
	caller.Qiao = false
	conflict = forward(a, b.address, caller, register, map[string]string{"qiao": "1"})
	require.Empty(t, conflict.head, "a client that is none of ours gets no keys of ours")
	require.EqualValues(t, 6, a.Stats().Forwarded)
	require.EqualValues(t, 6, b.Stats().Taken)
}

// Whoever forwards learns whether the request may have been carried out.
func TestForwardTellsWhetherItWasSent(t *testing.T) {
	w := newWorld(t)
	a, b := w.start(), w.start()
	linked(a, b)
	status := &protocol.GlobalStatusRequest{Global: protocol.Global{XID: "x"}}
	lost := forward(a, "nobody.test:1", coordinator.Caller{}, status, nil)
	require.ErrorIs(t, lost.err, cluster.ErrNotLinked)
	require.True(t, cluster.Unsent(lost.err))
	require.ErrorContains(t, lost.err, "nobody.test:1")

	long := forward(a, b.address, coordinator.Caller{ClientID: strings.Repeat("a", 1<<16)}, status, nil)
	require.Error(t, long.err)
	require.True(t, cluster.Unsent(long.err))

	b.relay.Set(relay.Trap{Message: protocol.TypeGlobalStatusResult, Nth: 1, Fate: relay.Lost})
	lost = forward(a, b.address, coordinator.Caller{ClientID: "a"}, status, nil)
	require.Error(t, lost.err)
	require.False(t, cluster.Unsent(lost.err))
	linked(a, b)
	b.stop()
	eventually(t, func() bool { return cluster.Unsent(forward(a, b.address, coordinator.Caller{}, status, nil).err) })
}

// Requests that are forwarded together do not wait for each other.
func TestForwardedRequestsArePipelined(t *testing.T) {
	w := newWorld(t)
	a, b := w.start(), w.start()
	linked(a, b)
	rm := b.client("shop", stock+",action")
	x := rm.begin()
	r := call[*protocol.BranchRegisterResult](rm, &protocol.BranchRegister{XID: x, Type: protocol.TypeTCC, ResourceID: "action"})
	require.Equal(t, protocol.ResultSuccess, r.Code)
	committed := make(chan answer, 1)
	a.Forward(b.address, coordinator.Caller{ClientID: "a:10.0.0.1:1"}, &protocol.GlobalCommit{Global: protocol.Global{XID: x}}, nil,
		func(m protocol.Message, head map[string]string, err error) { committed <- answer{m, head, err} })
	const many = 1000
	begun := make(chan answer, many)
	for i := range many {
		caller := coordinator.Caller{ClientID: fmt.Sprintf("a:10.0.0.1:%d", i+1)}
		a.Forward(b.address, caller, &protocol.GlobalBegin{TimeoutMillis: 60_000}, nil,
			func(m protocol.Message, head map[string]string, err error) { begun <- answer{m, head, err} })
	}
	seen := make(map[string]bool)
	for range many {
		r := <-begun
		require.NoError(t, r.err)
		seen[r.message.(*protocol.GlobalBeginResult).XID] = true
	}
	require.Len(t, seen, many)
	require.Empty(t, committed, "it waits for the resource manager")
	rm.order()
	require.Equal(t, protocol.StatusCommitted, (<-committed).message.(*protocol.GlobalCommitResult).Status)
}

// A node that is reached by mistake says so, once.
func TestNodesReachedByMistake(t *testing.T) {
	reaches := func(t *testing.T, listen func(w *world, a *node) string, want string) {
		t.Helper()
		w := newWorld(t)
		a := w.start()
		address := listen(w, a)
		w.list(address)
		eventually(t, func() bool { return a.said(want) > 0 }, "%s", a.log)
		eventually(t, func() bool { return a.Stats().Nodes == 1 && a.Stats().Links == 0 })
		require.Equal(t, 1, a.said("cannot link to another coordinator"))
	}
	alias := func(w *world, to string) string {
		r := relay.New(w.t)
		r.LeadTo(to)
		return r.Address()
	}
	t.Run("itself", func(t *testing.T) {
		reaches(t, func(w *world, a *node) string { return alias(w, a.listening) }, "has reached itself")
	})
	t.Run("another node", func(t *testing.T) {
		reaches(t, func(w *world, _ *node) string {
			b := w.start()
			w.unlist(b.address)
			return alias(w, b.listening)
		}, "this is the coordinator")
	})
	t.Run("nobody", func(t *testing.T) {
		reaches(t, func(*world, *node) string {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			require.NoError(t, l.Close())
			return l.Addr().String()
		}, "connection refused")
	})
}
