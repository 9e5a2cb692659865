package raft

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/storage"
)

// clusterPatience bounds what a test waits for; a healthy cluster takes a fraction.
const clusterPatience = 60 * time.Second

// testElection is short, so that tests do not wait long for a leader, and long enough
// for a busy machine not to lose one.
const testElection = 500 * time.Millisecond

// testCluster is three nodes in this process, each behind a proxy of its own that
// can cut the nodes off from one another.
type testCluster struct {
	t     *testing.T
	nodes []*testNode
	last  int64 // of agree

	mu    sync.Mutex
	cut   map[string]bool // names of nodes that nobody reaches, and that reach nobody
	conns map[net.Conn]string
	work  sync.WaitGroup
}

type testNode struct {
	cluster  *testCluster
	config   Config
	name     string
	listener net.Listener

	mu    sync.Mutex
	store *Store
}

// newTestCluster prepares three nodes; change adapts the configuration of each.
func newTestCluster(t *testing.T, change func(*Config)) *testCluster {
	c := &testCluster{t: t, cut: make(map[string]bool), conns: make(map[net.Conn]string)}
	var members []Member
	for _, name := range []string{"a", "b", "c"} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		c.nodes = append(c.nodes, &testNode{cluster: c, name: name, listener: l})
		members = append(members, Member{name, l.Addr().String()})
	}
	for _, n := range c.nodes {
		n.config = memberConfig(t.TempDir(), n.name, members)
		if change != nil {
			change(&n.config)
		}
		l := n.listener
		c.work.Go(func() { n.accept(l) })
	}
	t.Cleanup(func() {
		c.close()
		for _, n := range c.nodes {
			_ = n.listener.Close()
		}
		c.cutOff("a", "b", "c")
		c.work.Wait()
	})
	return c
}

// memberConfig is small, for one of several nodes.
func memberConfig(dir, self string, members []Member) Config {
	config := small(dir)
	if os.Getenv("RAFTLOG") != "" {
		config.Logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})).With("n", self)
	}
	config.Cluster = &Cluster{Name: "test", Self: self, Members: members, ElectionTimeout: testElection}
	return config
}

// accept is the proxy: it reads who calls whom and passes on what is not cut.
func (n *testNode) accept(l net.Listener) {
	for {
		nc, err := l.Accept()
		if err != nil {
			return
		}
		n.cluster.work.Go(func() { n.serve(nc) })
	}
}

func (n *testNode) serve(nc net.Conn) {
	line, err := readLine(nc)
	from := ""
	if words := strings.Fields(line); len(words) == 6 {
		from = words[4]
	}
	n.mu.Lock()
	store := n.store
	n.mu.Unlock()
	if err != nil || store == nil || !n.cluster.enter(nc, from, n.name) {
		_ = nc.Close()
		return
	}
	_ = store.Serve(&prefixed{Conn: nc, before: strings.NewReader(line + "\n"), of: n.cluster})
}

// enter notes a connection unless one of its ends is cut off.
func (c *testCluster) enter(nc net.Conn, from, to string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cut[from] || c.cut[to] {
		return false
	}
	c.conns[nc] = from + " " + to
	return true
}

// prefixed is a connection whose first bytes were read already.
type prefixed struct {
	net.Conn
	before *strings.Reader
	of     *testCluster
}

func (p *prefixed) Read(b []byte) (int, error) {
	if p.before.Len() > 0 {
		return p.before.Read(b)
	}
	return p.Conn.Read(b)
}

func (p *prefixed) Close() error {
	p.of.mu.Lock()
	delete(p.of.conns, p.Conn)
	p.of.mu.Unlock()
	return p.Conn.Close()
}

// cutOff takes nodes off the network, heal brings all back.
func (c *testCluster) cutOff(names ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, name := range names {
		c.cut[name] = true
		for nc, ends := range c.conns {
			if strings.Contains(" "+ends+" ", " "+name+" ") {
				_ = nc.Close()
			}
		}
	}
}

func (c *testCluster) heal() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.cut)
}

func (n *testNode) open() {
	n.cluster.t.Helper()
	s, err := Open(n.config)
	require.NoError(n.cluster.t, err)
	n.mu.Lock()
	n.store = s
	n.mu.Unlock()
}

func (n *testNode) close() error {
	n.mu.Lock()
	s := n.store
	n.store = nil
	n.mu.Unlock()
	if s == nil {
		return nil
	}
	return s.Close()
}

func (c *testCluster) open() {
	c.t.Helper()
	for _, n := range c.nodes {
		n.open()
	}
}

func (c *testCluster) close() {
	for _, n := range c.nodes {
		if err := n.close(); err != nil {
			c.t.Errorf("close node %s: %v", n.name, err)
		}
	}
}

// lead waits until one of the nodes that are open leads, other than those named.
func (c *testCluster) lead(except ...string) (*testNode, *Leadership) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), clusterPatience)
	defer cancel()
	type led struct {
		node  *testNode
		leads *Leadership
	}
	first := make(chan led, len(c.nodes))
	var waiting sync.WaitGroup
	for _, n := range c.nodes {
		n.mu.Lock()
		s := n.store
		n.mu.Unlock()
		if s == nil || strings.Contains(strings.Join(except, " "), n.name) {
			continue
		}
		waiting.Go(func() {
			if leads, err := s.Lead(ctx); err == nil {
				first <- led{n, leads}
			}
		})
	}
	select {
	case one := <-first:
		cancel()
		waiting.Wait()
		return one.node, one.leads
	case <-ctx.Done():
		waiting.Wait()
		require.Fail(c.t, "no node leads")
		return nil, nil
	}
}

// others are the nodes but one.
func (c *testCluster) others(n *testNode) []*testNode {
	var all []*testNode
	for _, o := range c.nodes {
		if o != n {
			all = append(all, o)
		}
	}
	return all
}

// apply applies a batch, wherever the lead goes meanwhile.
func (c *testCluster) apply(b *storage.Batch, except ...string) {
	c.t.Helper()
	for {
		_, leads := c.lead(except...)
		err := leads.Apply(context.Background(), b)
		if err == nil {
			return
		}
		state, loadErr := leads.Load(context.Background(), b.XID)
		if loadErr == nil && state.Revision > b.Revision {
			return // it was applied all the same
		}
		c.t.Logf("apply %s again: %v", b.XID, err)
	}
}

// agree waits until a node has applied all that the leader has, and compares what
// they remember.
func (c *testCluster) agree() {
	c.t.Helper()
	leader, leads := c.lead()
	c.last++
	require.NoError(c.t, leads.Apply(context.Background(), begin(1<<30+c.last)), "a last one")
	want := dump(c.t, leader.store)
	for _, n := range c.others(leader) {
		c.catchUp(n, leader)
		require.Equal(c.t, want, dump(c.t, n.store), "node %s", n.name)
	}
}

// catchUp waits until a node has applied what another has.
func (c *testCluster) catchUp(n, other *testNode) {
	c.t.Helper()
	require.Eventually(c.t, func() bool { return n.store.machine.appliedIndex.Load() >= other.store.machine.appliedIndex.Load() },
		clusterPatience, time.Millisecond, "node %s does not catch up", n.name)
}

// dump is all that a node remembers, as its snapshot has it.
func dump(t *testing.T, s *Store) string {
	snapshot, err := s.state.Snapshot()
	require.NoError(t, err)
	defer snapshot.Release()
	var text strings.Builder
	require.NoError(t, snapshot.Write(&text))
	return text.String()
}

// clusterStore is a cluster as one store, for the conformance suite: whoever leads
// carries it out. What was not written is tried again, as long as the cluster is open.
type clusterStore struct {
	cluster *testCluster
	closed  atomic.Bool
}

var _ storage.Submitter = (*clusterStore)(nil)

// do has f done by the leader.
func (s *clusterStore) do(f func(*Leadership) error) error {
	for {
		if s.closed.Load() {
			return storage.ErrClosed
		}
		_, leads := s.cluster.lead()
		err := f(leads)
		if !errors.Is(err, storage.ErrUnavailable) || errors.Is(err, context.Canceled) {
			return err
		}
	}
}

func (s *clusterStore) Apply(ctx context.Context, b *storage.Batch) error {
	return s.do(func(l *Leadership) error { return l.Apply(ctx, b) })
}

func (s *clusterStore) Submit(b *storage.Batch, done func(error)) error {
	return s.do(func(l *Leadership) error { return l.Submit(b, done) })
}

func (s *clusterStore) Load(ctx context.Context, xid string) (state storage.State, err error) {
	err = s.do(func(l *Leadership) error { state, err = l.Load(ctx, xid); return err })
	return state, err
}

func (s *clusterStore) CheckLocks(ctx context.Context, xid string, rows []storage.RowKey) error {
	return s.do(func(l *Leadership) error { return l.CheckLocks(ctx, xid, rows) })
}

func (s *clusterStore) Due(ctx context.Context, now int64, limit int) (due []string, err error) {
	err = s.do(func(l *Leadership) error { due, err = l.Due(ctx, now, limit); return err })
	return due, err
}

func (s *clusterStore) Scan(ctx context.Context, after int64, f func(storage.State) bool) error {
	return s.do(func(l *Leadership) error { return l.Scan(ctx, after, f) })
}

func (s *clusterStore) ScanLocks(ctx context.Context, f func(storage.RowKey, storage.Lock) bool) error {
	return s.do(func(l *Leadership) error { return l.ScanLocks(ctx, f) })
}

func (s *clusterStore) LastID(ctx context.Context) (id int64, err error) {
	err = s.do(func(l *Leadership) error { id, err = l.LastID(ctx); return err })
	return id, err
}

func (s *clusterStore) Stats() (stats storage.Stats) {
	_, leads := s.cluster.lead()
	return leads.Stats()
}

func (s *clusterStore) Close() error {
	s.closed.Store(true)
	s.cluster.close()
	return nil
}

func transactions(from, to int64) (all []*storage.Batch) {
	for id := from; id <= to; id++ {
		all = append(all, begin(id))
	}
	return all
}

func requireAll(t *testing.T, s *Store, from, to int64) {
	t.Helper()
	for id := from; id <= to; id++ {
		state, err := s.state.Load(context.Background(), begin(id).XID)
		require.NoError(t, err)
		require.True(t, state.Exists(), fmt.Sprint("transaction ", id))
	}
}
