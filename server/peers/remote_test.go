package peers

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/protocol"
)

// remote is a resource manager that is connected to another node.
func (w *world) remote(t require.TestingT, node, application, address, resources string) *Channel {
	c := w.OpenRemote(node, newFakeConn(), netip.MustParseAddrPort(address))
	_, err := c.RegisterRM(&protocol.Identity{Version: "2.5.0", ApplicationID: application, Group: "g"}, resources, false)
	require.NoError(t, err)
	return c
}

// Each row lists who is connected, "application address resources" with "@node"
// for one at another node, in the order in which an order for a branch that
// app:10.0.0.1:1001 registered goes to them: to the first, and when that is gone to
// the second, and so on. Those behind the bar get none.
func TestChoiceAmongNodes(t *testing.T) {
	for _, test := range []struct {
		name     string
		any      bool
		channels string
	}{
		{"a client of this node goes before its equal at another", false, `
			app 10.0.0.1:1001 db
			app 10.0.0.1:1001 db @b
			app 10.0.0.1:1002 db
			app 10.0.0.1:1003 db @b
			app 10.0.0.2:1001 db
			app 10.0.0.2:1001 db @c
			|
			other 10.0.0.1:1001 db`},
		{"the client that registered the branch goes before all others", false, `
			app 10.0.0.1:1001 db @b
			app 10.0.0.1:1002 db`},
		{"one of the same host before one nearer", false, `
			app 10.0.0.1:1002 db @b
			app 10.0.0.2:1002 db`},
		{"another application last", true, `
			app 10.0.0.2:1002 db @b
			other 10.0.0.1:1001 db
			other 10.0.0.1:1001 db @b`},
		{"one that has the resource before one that stands in", true, `
			app 10.0.0.2:1001 db @b
			other 10.0.0.3:1001 db @b
			app 10.0.0.2:1002 elsewhere @b`},
		{"nobody stands in for one at another node", true, `
			app 10.0.0.2:1001 db @b
			|
			app 10.0.0.2:1002 elsewhere`},
		{"without the resource", true, `
			|
			app 10.0.0.1:1001 elsewhere @b
			app 10.0.0.1:1002 elsewhere`},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld()
			order, never, _ := strings.Cut(test.channels, "|")
			channels := w.connect(t, order)
			w.connect(t, never)
			for i, c := range channels {
				require.Same(t, c, w.choose("db", "app:10.0.0.1:1001", test.any), "the %d. choice", i+1)
				c.Close()
			}
			require.Nil(t, w.choose("db", "app:10.0.0.1:1001", test.any))
		})
	}
}

// connect makes the channels of a text of TestChoiceAmongNodes.
func (w *world) connect(t *testing.T, text string) []*Channel {
	var channels []*Channel
	for line := range strings.Lines(text) {
		var application, address, resources, node string
		switch n, _ := fmt.Sscan(strings.Replace(line, "@", " ", 1), &application, &address, &resources, &node); n {
		case 0:
		case 4:
			channels = append(channels, w.remote(t, node, application, address, resources))
		default:
			channels = append(channels, w.rm(t, application, address, resources))
		}
	}
	return channels
}

// Two nodes may see a client each that comes from the same port of one address: the
// end of the one does not end the other.
func TestSamePortAtTwoNodes(t *testing.T) {
	const client = "app:10.0.0.1:1001"
	w := newWorld()
	here := w.rm(t, "app", "10.0.0.1:1001", "db")
	there := w.remote(t, "b", "app", "10.0.0.1:1001", "db")
	third := w.remote(t, "c", "app", "10.0.0.1:1001", "db")
	require.Same(t, here, w.choose("db", client, false))
	again := w.remote(t, "b", "app", "10.0.0.1:1001", "db") // it has reconnected
	there.Close()
	here.Close()
	require.Contains(t, []*Channel{again, third}, w.choose("db", client, false))
	third.Close()
	require.Same(t, again, w.choose("db", client, false))
	again.Close()
	require.Nil(t, w.choose("db", client, false))
	require.Empty(t, w.clients)
	require.Empty(t, w.hosts)
	require.Empty(t, w.resources)
}

// Other nodes tell their clients themselves.
func TestUndoLogsOfOtherNodesAreTheirs(t *testing.T) {
	w := newWorld()
	w.remote(t, "b", "app", "10.0.0.1:1001", "db")
	w.DeleteUndoLogs(7)
	here := w.rm(t, "app", "10.0.0.1:1001", "db")
	w.DeleteUndoLogs(7)
	require.Len(t, here.conn.(*fakeConn).told(), 1)
}

// A watch tells of clients that are connected here, and of those alone.
func TestWatchTellsOfLocalResourceManagers(t *testing.T) {
	w := newWorld()
	early := w.rm(t, "app", "10.0.0.1:1001", "db,a")
	watch := w.Watch()
	defer watch.Close()
	<-watch.Changed()
	w.remote(t, "b", "app", "10.0.0.1:1002", "db")
	tm := w.open("10.0.0.1:1003")
	require.NoError(t, tm.RegisterTM(&protocol.Identity{ApplicationID: "app"}, false))
	all := watch.Take()
	require.Len(t, all, 1)
	require.Equal(t, LocalRM{
		Channel: early, Address: netip.MustParseAddrPort("10.0.0.1:1001"), Resources: []string{"a", "db"},
		Who: protocol.Identity{Version: "2.5.0", ApplicationID: "app", Group: "g"},
	}, all[0])
	require.Empty(t, watch.Take())
	early.Close()
	<-watch.Changed()
	require.Equal(t, []LocalRM{{Channel: early, Gone: true}}, watch.Take())
	require.Equal(t, Stats{TMs: 1, Remote: 1, Resources: 1}, w.Stats())
}
