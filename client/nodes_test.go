package client_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/client"
	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/rpc"
	"github.com/qiao-tx/qiao/protocol/xid"
	"github.com/qiao-tx/qiao/tm"
)

// list is a Resolver whose answer the test changes.
type list struct {
	mu        sync.Mutex
	addresses []string
	err       error
}

func (l *list) set(err error, addresses ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.addresses, l.err = addresses, err
}

func (l *list) Resolve(context.Context) ([]string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.addresses), l.err
}

// watched is a list that tells of its changes.
type watched struct {
	list
	changes chan struct{}
}

func newWatched(nodes ...*fakeTC) *watched {
	w := &watched{changes: make(chan struct{})}
	for _, tc := range nodes {
		w.addresses = append(w.addresses, tc.address)
	}
	return w
}

func (w *watched) Watch(ctx context.Context, changed func()) {
	for {
		select {
		case <-w.changes:
			changed()
		case <-ctx.Done():
			return
		}
	}
}

// change sets the answer and tells of it.
func (w *watched) change(err error, addresses ...string) {
	w.set(err, addresses...)
	w.changes <- struct{}{}
}

var errRegistry = errors.New("registry is down")

func TestTheClientFollowsItsResolver(t *testing.T) {
	one, two := startTC(t), startTC(t)
	nodes := &list{}
	nodes.set(errRegistry)
	c := open(t, client.Config{Resolver: nodes, ResolveEvery: 5 * time.Millisecond, DoNotWait: true})
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := c.TM().Status(ctx, "h:1:2")
	assert.ErrorContains(t, err, "registry is down")

	nodes.set(nil, one.address)
	one.awaitKnown(1)
	nodes.set(errRegistry) // the last answer stays in use
	require.NoError(t, c.TM().Run(t.Context(), tm.Options{}, nothing))

	nodes.set(nil, two.address)
	two.awaitKnown(1)
	awaitInUse(t, c, two)
}

// TestAWatchedResolverIsFollowedAtOnce: nobody waits for the hour to pass.
func TestAWatchedResolverIsFollowedAtOnce(t *testing.T) {
	one, two := startTC(t), startTC(t)
	nodes := newWatched(one)
	c := open(t, client.Config{Resolver: nodes, ResolveEvery: time.Hour})
	nodes.change(nil, one.address, two.address)
	awaitInUse(t, c, one, two)

	nodes.change(errRegistry)
	nodes.change(nil) // and a registry that has lost everything
	one.forget()
	two.forget()
	awaitInUse(t, c, one, two)
}

// awaitLeft begins until a begin goes elsewhere a few times in a row, and checks
// that the node gets no more of them.
func awaitLeft(t *testing.T, c *client.Client, tc *fakeTC) {
	t.Helper()
	require.Eventually(t, func() bool {
		tc.forget()
		for range 20 {
			_, err := c.TM().Begin(t.Context(), tm.Options{})
			require.NoError(t, err)
		}
		return len(requests[*protocol.GlobalBegin](tc)) == 0
	}, patience, time.Millisecond)
	for range 50 {
		_, err := c.TM().Begin(t.Context(), tm.Options{})
		require.NoError(t, err)
	}
	assert.Empty(t, requests[*protocol.GlobalBegin](tc))
}

// TestANodeOffTheListFinishesItsOwn: it may be draining. It keeps its connection,
// its transactions and the orders for them; what is new goes elsewhere.
func TestANodeOffTheListFinishesItsOwn(t *testing.T) {
	leaving, staying := startTC(t), startTC(t)
	nodes := newWatched(leaving)
	c := open(t, client.Config{Resolver: nodes, ResolveEvery: time.Hour})
	tx, err := c.TM().Begin(t.Context(), tm.Options{})
	require.NoError(t, err)
	nodes.change(nil, staying.address)
	staying.awaitKnown(1)
	awaitLeft(t, c, leaving)

	require.NoError(t, c.RM().RegisterResource(t.Context(), &resource{id: "db"}))
	require.NoError(t, tx.Commit(t.Context()))
	assert.Len(t, requests[*protocol.GlobalCommit](leaving), 1)
	answered, err := leaving.connection().Call(t.Context(), &protocol.BranchCommit{
		BranchOrder: protocol.BranchOrder{XID: tx.XID(), BranchID: 3, Type: protocol.TypeAT, ResourceID: "db"},
	}, nil)
	require.NoError(t, err)
	assert.Equal(t, protocol.BranchPhaseTwoCommitted, answered.Message.(*protocol.BranchCommitResult).Status)

	known := len(requests[*protocol.RegisterRM](leaving))
	leaving.hangUp()
	require.NoError(t, c.TM().Run(t.Context(), tm.Options{}, nothing))
	nodes.change(nil, leaving.address, staying.address)
	leaving.awaitKnown(known + 1) // listed again, it is connected again
	awaitInUse(t, c, leaving)
}

// TestANodeOffTheListIsNotConnectedAgain once it has closed the connection.
func TestANodeOffTheListIsNotConnectedAgain(t *testing.T) {
	leaving, staying := startTC(t), startTC(t)
	nodes := newWatched(leaving, staying)
	c := open(t, client.Config{Resolver: nodes, ResolveEvery: time.Hour})
	awaitInUse(t, c, leaving, staying)
	nodes.change(nil, staying.address)
	awaitLeft(t, c, leaving)
	leaving.forget()
	leaving.hangUp()

	// The client pauses before it would connect again, and tells of the lost node
	// until it has given it up.
	staying.stop()
	require.Eventually(t, func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		_, err := c.TM().Begin(ctx, tm.Options{})
		require.Error(t, err)
		return !strings.Contains(err.Error(), leaving.address) && strings.Contains(err.Error(), staying.address)
	}, patience, time.Millisecond)
	assert.Empty(t, requests[*protocol.RegisterTM](leaving))
}

// TestANodeOffTheListServesWhenNoOtherDoes: better than to fail.
func TestANodeOffTheListServesWhenNoOtherDoes(t *testing.T) {
	leaving, away := startTC(t), reserveTC(t)
	nodes := newWatched(leaving)
	c := open(t, client.Config{Resolver: nodes, ResolveEvery: time.Hour})
	nodes.change(nil, away.address)
	for range 20 {
		require.NoError(t, c.TM().Run(t.Context(), tm.Options{}, nothing))
	}
	away.start()
	awaitLeft(t, c, leaving)
}

// TestOldAddressesAreForAStart: a resolver that remembers gives them with an error.
func TestOldAddressesAreForAStart(t *testing.T) {
	old, current := startTC(t), startTC(t)
	nodes := newWatched()
	nodes.set(errRegistry, old.address)
	c := open(t, client.Config{Resolver: nodes, ResolveEvery: time.Hour})
	require.NoError(t, c.TM().Run(t.Context(), tm.Options{}, nothing))
	nodes.change(nil, current.address)
	awaitInUse(t, c, current)
	nodes.change(errRegistry, old.address)
	awaitLeft(t, c, old) // what is known is better
}

// TestOpenSaysThatTheRegistryIsAway, and leaves nothing behind.
func TestOpenSaysThatTheRegistryIsAway(t *testing.T) {
	nodes := newWatched()
	nodes.set(errRegistry)
	_, err := client.Open(t.Context(), client.Config{
		Resolver: nodes, ApplicationID: "order-service", TMTimeout: 100 * time.Millisecond, Logger: slog.New(slog.DiscardHandler),
	})
	assert.ErrorIs(t, err, tm.ErrUnavailable)
	assert.ErrorIs(t, err, errRegistry)
}

// TestAnXIDOfJavaMayNameANodeInIPv6, without brackets.
func TestAnXIDOfJavaMayNameANodeInIPv6(t *testing.T) {
	one, two := startTC(t), startTC(t)
	c := open(t, client.Config{}, one, two)
	awaitInUse(t, c, one, two)
	for range 20 {
		_, err := c.TM().Status(t.Context(), xid.New("::ffff:"+one.address, 7))
		require.NoError(t, err)
	}
	assert.Empty(t, requests[*protocol.GlobalStatusRequest](two))
}

// TestEveryNodeKnowsTheResources: whichever decides must reach them.
func TestEveryNodeKnowsTheResources(t *testing.T) {
	one, two, late := startTC(t), startTC(t), startTC(t)
	nodes := newWatched(one, two)
	c := open(t, client.Config{Resolver: nodes, ResolveEvery: time.Hour})
	awaitInUse(t, c, one, two)
	require.NoError(t, c.RM().RegisterResource(t.Context(), &resource{id: "db"}))
	nodes.change(nil, one.address, two.address, late.address)
	late.awaitKnown(1)
	for _, tc := range []*fakeTC{one, two, late} {
		assert.Equal(t, []string{"db"}, tc.lastResources())
	}
}

// TestARequestOfADeadNodeGoesToAnother: with a store that nodes share, any of
// them can finish what one began.
func TestARequestOfADeadNodeGoesToAnother(t *testing.T) {
	home, other := startTC(t), startTC(t)
	nodes := newWatched(home, other)
	c := open(t, client.Config{Resolver: nodes, ResolveEvery: time.Hour})
	awaitInUse(t, c, home, other)
	home.on(func(r rpc.Request) (answer, bool) {
		_, begin := r.Message.(*protocol.GlobalBegin)
		return answer{hangUp: true}, !begin
	})
	other.forget()
	_, err := c.TM().Status(t.Context(), xid.New(home.address, 7))
	require.NoError(t, err)
	assert.Len(t, requests[*protocol.GlobalStatusRequest](other), 1)
}
