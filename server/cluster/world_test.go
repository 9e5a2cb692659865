package cluster_test

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/qiao-tx/qiao/internal/relay"
	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/rpc"
	"github.com/qiao-tx/qiao/server/cluster"
	"github.com/qiao-tx/qiao/server/coordinator"
	"github.com/qiao-tx/qiao/server/gateway"
	"github.com/qiao-tx/qiao/server/peers"
	"github.com/qiao-tx/qiao/server/txn"
	"github.com/qiao-tx/qiao/storage"
	"github.com/qiao-tx/qiao/storage/memory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait; it is met only when something is wrong.
const patience = 30 * time.Second

// world is some nodes on one store, in this process.
type world struct {
	t     *testing.T
	store *memory.Store

	mu     sync.Mutex
	listed []storage.Node
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, store: memory.New()}
	t.Cleanup(func() { require.NoError(t, w.store.Close()) })
	return w
}

func (w *world) nodes() []storage.Node {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.listed)
}

func (w *world) list(address string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.listed = append(w.listed, storage.Node{Worker: len(w.listed), Address: address})
}

func (w *world) unlist(address string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.listed = slices.DeleteFunc(w.listed, func(n storage.Node) bool { return n.Address == address })
}

// node is one coordinator. Others reach it by way of its relay, which is its address.
type node struct {
	*cluster.Mesh
	t           *testing.T
	relay       *relay.Relay
	address     string
	listening   string
	log         *syncBuffer
	peers       *peers.Registry
	coordinator *coordinator.Coordinator
	stop        func()
}

// syncBuffer is a log that a test may read while it is written.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// start starts a node and lists it.
func (w *world) start() *node { return w.startAt(relay.New(w.t)) }

// startAt starts a node, maybe again, behind the relay.
func (w *world) startAt(r *relay.Relay) *node {
	w.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(w.t, err)
	n := &node{t: w.t, relay: r, address: r.Address(), listening: l.Addr().String(), log: &syncBuffer{}}
	r.LeadTo(n.listening)
	w.unlist(n.address)
	w.list(n.address)
	logger := slog.New(slog.NewTextHandler(n.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	n.peers = peers.New(logger)
	n.coordinator, err = coordinator.New(w.t.Context(), coordinator.Config{
		Store: w.store, Dispatcher: n.peers, Address: n.address, WorkerID: len(w.nodes()), Logger: logger,
		PollEvery: 5 * time.Millisecond, AnswerTimeout: patience,
		// No retry by time: what is tried again is so because something was heard.
		Machine: txn.Machine{RetryMillis: time.Hour.Milliseconds(), RetryMaxMillis: time.Hour.Milliseconds(), AnswerMillis: time.Hour.Milliseconds()},
	})
	require.NoError(w.t, err)
	require.NoError(w.t, n.coordinator.Start(w.t.Context()))
	n.Mesh = cluster.New(cluster.Config{
		Address: n.address, Nodes: w.nodes, Peers: n.peers, Requests: n.coordinator, Logger: logger,
		PollEvery: 5 * time.Millisecond, RetryMax: 50 * time.Millisecond,
	})
	server := gateway.New(gateway.Config{
		Coordinator: n.coordinator, Peers: n.peers, Mesh: n.Mesh, Logger: logger,
		StoreStats: w.store.Stats, Health: func() error { return nil },
		MaxConnections: 1000, MaxRequests: 1000, FirstBytesTimeout: patience, ReadIdleTimeout: 5 * time.Second,
	})
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { n.Run(ctx) })
	running.Go(func() {
		if err := server.Serve(l); err != nil {
			w.t.Error(err)
		}
	})
	n.stop = sync.OnceFunc(func() {
		closing, done := context.WithTimeout(context.Background(), patience)
		defer done()
		if err := server.Close(closing); err != nil {
			w.t.Error(err)
		}
		cancel()
		running.Wait()
		n.coordinator.Close()
	})
	w.t.Cleanup(n.stop)
	return n
}

// eventually waits for the condition.
func eventually(t *testing.T, condition func() bool, why ...any) {
	t.Helper()
	require.Eventually(t, condition, patience, time.Millisecond, why...)
}

// linked waits until the nodes have a link to each other.
func linked(nodes ...*node) {
	for _, n := range nodes {
		n.t.Helper()
		eventually(n.t, func() bool {
			s := n.Stats()
			return s.Links == len(nodes)-1 && s.Guests == len(nodes)-1
		}, "the nodes are not linked: %s", n.log)
	}
}

// knows waits until a node knows n resource managers at other nodes.
func (n *node) knows(remote int) {
	n.t.Helper()
	eventually(n.t, func() bool { return n.peers.Stats().Remote == remote }, "it should know %d resource managers elsewhere", remote)
}

// client is a transaction and resource manager on one connection to a node.
type client struct {
	t      *testing.T
	conn   *rpc.Conn
	orders chan rpc.Request
}

// client connects to the node itself, not by way of its relay.
func (n *node) client(application, resources string) *client {
	n.t.Helper()
	nc, err := net.Dial("tcp", n.listening)
	require.NoError(n.t, err)
	c := &client{t: n.t, orders: make(chan rpc.Request, 100)}
	c.conn = rpc.New(nc, rpc.Options{Handler: func(_ *rpc.Conn, r rpc.Request) { c.orders <- r }, WriteIdle: time.Second})
	n.t.Cleanup(c.end)
	who := protocol.Identity{Version: "2.5.0", ApplicationID: application, Group: "g"}
	require.True(n.t, call[*protocol.RegisterTMResult](c, &protocol.RegisterTM{Identity: who}).Identified)
	if resources != "" {
		require.True(n.t, call[*protocol.RegisterRMResult](c, &protocol.RegisterRM{Identity: who, ResourceIDs: resources}).Identified)
	}
	return c
}

func (c *client) end() {
	c.conn.Close(nil)
	c.conn.Wait()
}

func call[A protocol.Message](c *client, m protocol.Message) A {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	r, err := c.conn.Call(ctx, m, nil)
	require.NoError(c.t, err)
	answer, ok := r.Message.(A)
	require.True(c.t, ok, "%T answers %T", r.Message, m)
	return answer
}

func (c *client) begin() string {
	c.t.Helper()
	r := call[*protocol.GlobalBeginResult](c, &protocol.GlobalBegin{TimeoutMillis: 60_000, Name: "test"})
	require.Equal(c.t, protocol.ResultSuccess, r.Code, r.Message)
	return r.XID
}

func (c *client) register(x string, resource, lockKey string) int64 {
	c.t.Helper()
	r := call[*protocol.BranchRegisterResult](c, &protocol.BranchRegister{XID: x, Type: protocol.TypeAT, ResourceID: resource, LockKey: lockKey})
	require.Equal(c.t, protocol.ResultSuccess, r.Code, r.Message)
	return r.BranchID
}

func (c *client) commit(x string) {
	c.t.Helper()
	r := call[*protocol.GlobalCommitResult](c, &protocol.GlobalCommit{Global: protocol.Global{XID: x}})
	require.Equal(c.t, protocol.StatusCommitted, r.Status, r.Message)
}

func (c *client) rollback(x string) { // its answer comes when the branches have answered
	c.conn.Go(&protocol.GlobalRollback{Global: protocol.Global{XID: x}}, patience, func(protocol.Message, error) {})
}

func (c *client) is(x string, s protocol.GlobalStatus) {
	c.t.Helper()
	eventually(c.t, func() bool {
		return call[*protocol.GlobalStatusResult](c, &protocol.GlobalStatusRequest{Global: protocol.Global{XID: x}}).Status == s
	})
}

// order waits for an order and carries it out.
func (c *client) order() int64 {
	c.t.Helper()
	select {
	case r := <-c.orders:
		m, branch := done(r.Message)
		require.NoError(c.t, c.conn.Reply(r, m, nil))
		return branch
	case <-time.After(patience):
		c.t.Fatal("no order came")
		return 0
	}
}

// done is the answer that an order was carried out.
func done(order protocol.Message) (protocol.Message, int64) {
	outcome := func(o protocol.BranchOrder, s protocol.BranchStatus) protocol.BranchOutcome {
		return protocol.BranchOutcome{TxResult: protocol.OK(), XID: o.XID, BranchID: o.BranchID, Status: s}
	}
	switch o := order.(type) {
	case *protocol.BranchCommit:
		return &protocol.BranchCommitResult{BranchOutcome: outcome(o.BranchOrder, protocol.BranchPhaseTwoCommitted)}, o.BranchID
	case *protocol.BranchRollback:
		return &protocol.BranchRollbackResult{BranchOutcome: outcome(o.BranchOrder, protocol.BranchPhaseTwoRollbacked)}, o.BranchID
	}
	return nil, 0
}

// said counts lines of a node's log.
func (n *node) said(text string) int { return strings.Count(n.log.String(), text) }
