package cluster_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/internal/relay"
	"github.com/qiao-tx/qiao/protocol"
)

const stock = "jdbc:mysql://db:3306/stock"

// A resource manager that only one node knows gets the orders of the other, of either
// kind.
func TestOrderReachesTheClientOfAnotherNode(t *testing.T) {
	w := newWorld(t)
	a, b := w.start(), w.start()
	linked(a, b)
	rm, tm := a.client("shop", stock), b.client("shop", "")
	b.knows(1)

	x := tm.begin()
	branch := rm.register(x, stock, "t:1")
	tm.commit(x)
	require.Equal(t, branch, rm.order())
	tm.is(x, protocol.StatusCommitted)

	x = tm.begin()
	branch = rm.register(x, stock, "t:1")
	tm.rollback(x)
	require.Equal(t, branch, rm.order())
	tm.is(x, protocol.StatusRollbacked)
	require.EqualValues(t, 2, b.Stats().Relayed)
	require.EqualValues(t, 2, a.Stats().Carried)
	require.Zero(t, a.Stats().Relayed+b.Stats().Carried)
}

// A client that is connected to both nodes gets the orders of each on its own
// connection, those for branches it registered there and those for others alike,
// unless the node where it registered the branch is another's and still has it.
func TestDirectConnectionComesFirst(t *testing.T) {
	w := newWorld(t)
	a, b := w.start(), w.start()
	linked(a, b)
	atA, atB := a.client("shop", stock), b.client("shop", stock)
	a.knows(1)
	b.knows(1)

	x := atB.begin()
	branch := atB.register(x, stock, "t:1")
	atB.commit(x)
	require.Equal(t, branch, atB.order())
	atB.is(x, protocol.StatusCommitted)
	require.Zero(t, b.Stats().Relayed)

	x = atB.begin()
	branch = atA.register(x, stock, "t:1")
	atB.commit(x)
	require.Equal(t, branch, atA.order(), "the client that registered the branch is known")
	atB.is(x, protocol.StatusCommitted)
	require.EqualValues(t, 1, b.Stats().Relayed)

	x = atB.begin()
	branch = atA.register(x, stock, "t:1")
	atA.end()
	b.knows(0)
	atB.commit(x)
	require.Equal(t, branch, atB.order())
	atB.is(x, protocol.StatusCommitted)
}

// What waits for a resource manager is given to it when it appears, wherever.
func TestOrderWaitsForAResourceManagerAnywhere(t *testing.T) {
	w := newWorld(t)
	a, b := w.start(), w.start()
	linked(a, b)
	rm, tm := a.client("shop", stock), b.client("other", "")
	b.knows(1)
	x := tm.begin()
	branch := rm.register(x, stock, "t:1")
	rm.end()
	b.knows(0)
	tm.commit(x)
	eventually(t, func() bool { return b.coordinator.Stats().Unanswered > 0 })
	rm = a.client("shop", stock)
	require.Equal(t, branch, rm.order())
	tm.is(x, protocol.StatusCommitted)

	x = tm.begin()
	branch = rm.register(x, stock, "t:1")
	rm.end()
	b.knows(0)
	tm.commit(x)
	eventually(t, func() bool { return b.coordinator.Stats().Unanswered > 1 })
	rm = b.client("shop", stock)
	require.Equal(t, branch, rm.order(), "it has moved to the other node")
	tm.is(x, protocol.StatusCommitted)
}

// The link is cut, with an order or its answer on it: when it is mended, the order is
// given again.
func TestOrderSurvivesTheLink(t *testing.T) {
	for _, test := range []struct {
		name  string
		trap  relay.Trap
		times int
	}{
		{"the order is lost", relay.Trap{Message: protocol.TypeBranchCommit, Nth: 1, Fate: relay.Lost}, 1},
		{"its answer is lost", relay.Trap{Message: protocol.TypeBranchCommitResult, Nth: 1, Fate: relay.Lost}, 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t)
			a, b := w.start(), w.start()
			linked(a, b)
			rm, tm := a.client("shop", stock), b.client("shop", "")
			b.knows(1)
			x := tm.begin()
			branch := rm.register(x, stock, "t:1")
			b.relay.Set(test.trap) // the link from a to b
			tm.commit(x)
			for range test.times {
				require.Equal(t, branch, rm.order())
			}
			tm.is(x, protocol.StatusCommitted)
			linked(a, b)
			require.Equal(t, 1, a.said("the link to another coordinator ended"))
		})
	}
}

// A node that is started again is linked with at once, and knows the resource managers
// of the others, as they know its own.
func TestNodeStartsAgain(t *testing.T) {
	w := newWorld(t)
	a, b := w.start(), w.start()
	linked(a, b)
	rm, tm := a.client("shop", stock), b.client("shop", "")
	b.client("other", "elsewhere")
	a.knows(1)
	b.knows(1)
	x := tm.begin()
	branch := rm.register(x, stock, "t:1")
	a.stop()
	b.knows(0)
	tm.commit(x)
	eventually(t, func() bool { return b.coordinator.Stats().Unanswered > 0 })
	a = w.startAt(a.relay)
	linked(a, b)
	a.knows(1)
	rm = a.client("shop", stock)
	require.Equal(t, branch, rm.order())
	tm.is(x, protocol.StatusCommitted)
	require.Equal(t, 2, b.said("linked to another coordinator"))
}

// A node that is no longer listed is not linked to.
func TestLinksFollowTheList(t *testing.T) {
	w := newWorld(t)
	a, b := w.start(), w.start()
	linked(a, b)
	c := w.start()
	linked(a, b, c)
	a.client("shop", stock)
	b.knows(1)
	c.knows(1)
	w.unlist(c.address)
	eventually(t, func() bool { return a.Stats().Links == 1 && b.Stats().Links == 1 })
	c.knows(0)
	require.Equal(t, 1, a.Stats().Nodes)
	b.knows(1)
}
