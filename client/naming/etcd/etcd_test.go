//go:build linux

package etcd_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/qiao-tx/qiao/client/naming/etcd"
	"github.com/qiao-tx/qiao/internal/testenv"
)

// patience bounds what must happen but may take long on a busy machine.
const patience = 60 * time.Second

// announcing makes this test binary a node that is listed until it is killed:
// "endpoint address".
const announcing = "QIAO_TEST_ANNOUNCE"

func TestMain(m *testing.M) {
	if what := os.Getenv(announcing); what != "" {
		announceForever(what)
		return
	}
	goleak.VerifyTestMain(m)
}

func announceForever(what string) {
	endpoint, address, _ := strings.Cut(what, " ")
	r, err := etcd.New(etcd.Config{Endpoints: []string{endpoint}, LeaseTTL: 2 * time.Second})
	if err != nil {
		panic(err)
	}
	panic(r.Announce(context.Background(), address, func(error) {}))
}

// registry opens one and closes it when the test ends.
func registry(t *testing.T, s *testenv.EtcdServer, adapt ...func(*etcd.Config)) *etcd.Registry {
	t.Helper()
	cfg := etcd.Config{Endpoints: []string{s.Endpoint()}, LeaseTTL: 2 * time.Second, Logger: slog.New(slog.DiscardHandler)}
	for _, a := range adapt {
		a(&cfg)
	}
	r, err := etcd.New(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, r.Close()) })
	return r
}

// node is one that is announced in this process.
type node struct {
	t      *testing.T
	cancel context.CancelFunc
	ended  chan error

	mu     sync.Mutex
	states []error
}

func announce(t *testing.T, r *etcd.Registry, address string) *node {
	ctx, cancel := context.WithCancel(t.Context())
	n := &node{t: t, cancel: cancel, ended: make(chan error, 1)}
	go func() {
		n.ended <- r.Announce(ctx, address, func(err error) {
			n.mu.Lock()
			defer n.mu.Unlock()
			n.states = append(n.states, err)
		})
	}()
	t.Cleanup(func() { _ = n.stop() })
	return n
}

// stop ends the announcement and returns its error; again it returns nil.
func (n *node) stop() error {
	n.cancel()
	err, first := <-n.ended
	if first {
		close(n.ended)
	}
	return err
}

// last is what state heard last, if anything.
func (n *node) last() (state error, any bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.states) == 0 {
		return nil, false
	}
	return n.states[len(n.states)-1], true
}

func (n *node) awaitListed() {
	n.t.Helper()
	require.Eventually(n.t, func() bool { err, any := n.last(); return any && err == nil }, patience, 5*time.Millisecond)
}

func (n *node) awaitTrouble() error {
	n.t.Helper()
	require.Eventually(n.t, func() bool { err, _ := n.last(); return err != nil }, patience, 5*time.Millisecond)
	err, _ := n.last()
	return err
}

// found is what r resolves, or nil.
func found(t *testing.T, r *etcd.Registry) []string {
	addresses, _ := r.Resolve(t.Context())
	return addresses
}

func awaitFound(t *testing.T, r *etcd.Registry, want ...string) {
	t.Helper()
	require.Eventually(t, func() bool { return slices.Equal(found(t, r), want) }, patience, 5*time.Millisecond, "%v, not %v", want, found(t, r))
}

// raw is etcd itself.
func raw(t *testing.T, s *testenv.EtcdServer) *clientv3.Client {
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{s.Endpoint()}, Logger: zap.NewNop()})
	require.NoError(t, err)
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func put(t *testing.T, c *clientv3.Client, key, value string) {
	_, err := c.Put(t.Context(), key, value)
	require.NoError(t, err)
}

// watch counts the changes that r tells of.
func watch(t *testing.T, r *etcd.Registry) (changes chan struct{}) {
	ctx, cancel := context.WithCancel(t.Context())
	changes = make(chan struct{}, 1000)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		r.Watch(ctx, func() { changes <- struct{}{} })
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	return changes
}

func awaitChange(t *testing.T, changes chan struct{}) {
	t.Helper()
	select {
	case <-changes:
	case <-time.After(patience):
		require.Fail(t, "nothing is told")
	}
}

func TestNodesComeAndGo(t *testing.T) {
	t.Parallel()
	s := testenv.Etcd(t)
	clients, servers := registry(t, s), registry(t, s)
	_, err := clients.Resolve(t.Context())
	assert.ErrorContains(t, err, "no coordinator is listed under registry-seata-default-*")

	changes := watch(t, clients)
	awaitChange(t, changes) // what was before
	one := announce(t, servers, "10.0.0.1:8091")
	awaitChange(t, changes)
	one.awaitListed()
	assert.Equal(t, []string{"10.0.0.1:8091"}, found(t, clients))
	answer, err := raw(t, s).Get(t.Context(), "", clientv3.WithPrefix())
	require.NoError(t, err)
	require.Len(t, answer.Kvs, 1)
	assert.Equal(t, "registry-seata-default-10.0.0.1:8091 = 10.0.0.1:8091", fmt.Sprintf("%s = %s", answer.Kvs[0].Key, answer.Kvs[0].Value))
	assert.NotZero(t, answer.Kvs[0].Lease)

	six := announce(t, servers, "[2001:db8::7]:8091")
	six.awaitListed()
	assert.Equal(t, []string{"10.0.0.1:8091", "[2001:db8::7]:8091"}, found(t, clients))
	for len(changes) > 0 {
		<-changes
	}
	require.NoError(t, one.stop())
	awaitChange(t, changes)
	assert.Equal(t, []string{"[2001:db8::7]:8091"}, found(t, clients))
	require.NoError(t, six.stop())
	assert.Empty(t, found(t, clients))
	assert.Len(t, one.states, 1)
}

// TestANodeThatDiesIsForgotten when its lease ends.
func TestANodeThatDiesIsForgotten(t *testing.T) {
	t.Parallel()
	s := testenv.Etcd(t)
	clients := registry(t, s)
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), announcing+"="+s.Endpoint()+" 10.0.0.1:8091")
	child.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	require.NoError(t, child.Start())
	awaitFound(t, clients, "10.0.0.1:8091")
	changes := watch(t, clients)
	awaitChange(t, changes)
	require.NoError(t, child.Process.Kill())
	_ = child.Wait()
	awaitChange(t, changes)
	awaitFound(t, clients)
}

// TestASuccessorKeepsTheEntry: a node that starts again before the lease of the
// killed one has ended.
func TestASuccessorKeepsTheEntry(t *testing.T) {
	t.Parallel()
	s := testenv.Etcd(t)
	clients := registry(t, s)
	before := announce(t, registry(t, s), "10.0.0.1:8091")
	before.awaitListed()
	after := announce(t, registry(t, s), "10.0.0.1:8091")
	after.awaitListed()
	require.NoError(t, before.stop())
	assert.Equal(t, []string{"10.0.0.1:8091"}, found(t, clients))
	require.NoError(t, after.stop())
	assert.Empty(t, found(t, clients))
}

// TestEtcdIsKilled and comes back, with and without what it knew.
func TestEtcdIsKilled(t *testing.T) {
	t.Parallel()
	for _, forgets := range []bool{false, true} {
		t.Run(fmt.Sprint("forgets ", forgets), func(t *testing.T) {
			t.Parallel()
			s := testenv.Etcd(t)
			clients := registry(t, s)
			n := announce(t, registry(t, s), "10.0.0.1:8091")
			n.awaitListed()
			changes := watch(t, clients)
			awaitChange(t, changes)
			s.Kill()
			_, err := clients.Resolve(t.Context())
			assert.ErrorContains(t, err, "etcd at "+s.Endpoint())
			if forgets {
				s.Forget()
			}
			s.Start()
			awaitFound(t, clients, "10.0.0.1:8091")

			// Whatever was lost, changes are told of. (Of a loss, Resolve is.)
			more := announce(t, registry(t, s), "10.0.0.2:8091")
			more.awaitListed()
			for len(found(t, clients)) != 2 {
				awaitChange(t, changes)
			}
			require.NoError(t, n.stop())
			require.NoError(t, more.stop())
		})
	}
}

// TestEtcdIsAwayLongerThanTheLease: the node says so and is listed again.
func TestEtcdIsAwayLongerThanTheLease(t *testing.T) {
	t.Parallel()
	s := testenv.Etcd(t)
	n := announce(t, registry(t, s), "10.0.0.1:8091")
	n.awaitListed()
	s.Kill()
	assert.ErrorContains(t, n.awaitTrouble(), "registry-seata-default-10.0.0.1:8091")
	s.Start()
	n.awaitListed()
	awaitFound(t, registry(t, s), "10.0.0.1:8091")
}

// TestEtcdDoesNotAnswer: a machine that hangs is no reason to hang as well.
func TestEtcdDoesNotAnswer(t *testing.T) {
	t.Parallel()
	s := testenv.Etcd(t)
	clients := registry(t, s)
	n := announce(t, registry(t, s), "10.0.0.1:8091")
	n.awaitListed()
	assert.NotEmpty(t, found(t, clients))
	s.Freeze()
	_, err := clients.Resolve(t.Context())
	assert.ErrorIs(t, err, context.DeadlineExceeded)
	err = n.stop()
	assert.ErrorContains(t, err, "it goes by itself when its lease ends")
	s.Thaw()
	awaitFound(t, clients) // the lease has ended
}

func TestEtcdIsAwayAtTheStart(t *testing.T) {
	t.Parallel()
	s := testenv.ReserveEtcd(t)
	clients := registry(t, s)
	changes := watch(t, clients)
	n := announce(t, registry(t, s), "10.0.0.1:8091")
	err := n.awaitTrouble()
	assert.ErrorContains(t, err, s.Endpoint())
	assert.ErrorContains(t, err, "refused")
	_, err = clients.Resolve(t.Context())
	assert.ErrorContains(t, err, s.Endpoint())
	s.Start()
	n.awaitListed()
	awaitChange(t, changes)
	awaitFound(t, clients, "10.0.0.1:8091")

	away := announce(t, registry(t, testenv.ReserveEtcd(t)), "10.0.0.1:8091")
	away.awaitTrouble()
	require.NoError(t, away.stop(), "what was never listed need not be taken off the list")
}

// TestAnEntryThatIsDeleted by somebody is written again.
func TestAnEntryThatIsDeleted(t *testing.T) {
	t.Parallel()
	s := testenv.Etcd(t)
	clients := registry(t, s)
	n := announce(t, registry(t, s), "10.0.0.1:8091")
	n.awaitListed()
	_, err := raw(t, s).Delete(t.Context(), "registry-seata-default-10.0.0.1:8091")
	require.NoError(t, err)
	assert.Empty(t, found(t, clients))
	awaitFound(t, clients, "10.0.0.1:8091")

	leases, err := raw(t, s).Leases(t.Context())
	require.NoError(t, err)
	for _, lease := range leases.Leases {
		_, err := raw(t, s).Revoke(t.Context(), lease.ID)
		require.NoError(t, err)
	}
	assert.Empty(t, found(t, clients))
	awaitFound(t, clients, "10.0.0.1:8091")
}

// TestTwoNodesWithOneAddress: the one that was replaced says so, once; the entry is
// there as long as one of them is.
func TestTwoNodesWithOneAddress(t *testing.T) {
	t.Parallel()
	s := testenv.Etcd(t)
	warnings := make(chan string, 10)
	first := announce(t, registry(t, s, func(cfg *etcd.Config) {
		cfg.Logger = slog.New(slog.NewTextHandler(lines(warnings), nil))
	}), "10.0.0.1:8091")
	first.awaitListed()
	second := announce(t, registry(t, s), "10.0.0.1:8091")
	second.awaitListed()
	select {
	case line := <-warnings:
		assert.Contains(t, line, "another process is listed in etcd under this node's address")
		assert.Contains(t, line, "registry-seata-default-10.0.0.1:8091")
	case <-time.After(patience):
		t.Fatal("nobody warns")
	}
	require.NoError(t, second.stop())
	clients := registry(t, s)
	awaitFound(t, clients, "10.0.0.1:8091")
	require.NoError(t, first.stop())
	awaitFound(t, clients)
	assert.Empty(t, warnings)
}

// lines is a writer that hands each write over.
type lines chan<- string

func (l lines) Write(text []byte) (int, error) {
	l <- string(text)
	return len(text), nil
}

func TestEntriesThatMakeNoSense(t *testing.T) {
	t.Parallel()
	s := testenv.Etcd(t)
	var log strings.Builder
	clients := registry(t, s, func(cfg *etcd.Config) { cfg.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	c := raw(t, s)
	put(t, c, "registry-seata-default-nonsense", "nonsense")
	put(t, c, "registry-seata-default-", "")
	put(t, c, "registry-seata-default-\xff\x00", strings.Repeat("\xff", 10_000))
	_, err := clients.Resolve(t.Context())
	assert.ErrorContains(t, err, `registry-seata-default-nonsense is "nonsense"`)

	put(t, c, "registry-seata-default-10.0.0.1:8091", "10.0.0.1:8091")
	put(t, c, "registry-seata-default-0:0:0:0:0:0:0:1:8091", "0:0:0:0:0:0:0:1:8091") // as Java does
	put(t, c, "registry-seata-default-::1:8091", "::1:8091")                         // the same node
	put(t, c, "registry-seata-default2-10.0.0.2:8091", "10.0.0.2:8091")              // of other clusters
	put(t, c, "registry-seata-default-b-10.0.0.3:8091", "10.0.0.3:8091")
	for range 3 {
		assert.Equal(t, []string{"10.0.0.1:8091", "[::1]:8091"}, found(t, clients))
	}
	assert.Equal(t, 3, strings.Count(log.String(), "left out"), "each is told of once: %s", log.String())
	b := registry(t, s, func(cfg *etcd.Config) { cfg.Cluster = "default-b" })
	assert.Equal(t, []string{"10.0.0.3:8091"}, found(t, b))
}

func TestAClosedRegistry(t *testing.T) {
	t.Parallel()
	s := testenv.Etcd(t)
	r := registry(t, s)
	require.Error(t, func() error { _, err := r.Resolve(t.Context()); return err }())
	require.NoError(t, r.Close())
	require.NoError(t, r.Close())
	_, err := r.Resolve(t.Context())
	assert.ErrorIs(t, err, etcd.ErrClosed)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.NoError(t, r.Announce(ctx, "10.0.0.1:8091", func(error) {}))
	require.Error(t, r.Announce(t.Context(), "10.0.0.1", func(error) {}), "no address")
}
