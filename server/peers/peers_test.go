package peers

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/qiao-tx/qiao/protocol"
)

// fakeConn answers every order with what it is told to.
type fakeConn struct {
	answer func(protocol.Message) (protocol.Message, error)
	err    error // of Send

	mu   sync.Mutex
	sent []protocol.Message
}

func (f *fakeConn) Go(m protocol.Message, _ time.Duration, done func(protocol.Message, error)) {
	done(f.answer(m))
}

func (f *fakeConn) Send(m protocol.Message) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sent = append(f.sent, m)
	return f.err
}

func (f *fakeConn) told() []protocol.Message {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.sent)
}

func newFakeConn() *fakeConn {
	return &fakeConn{answer: func(m protocol.Message) (protocol.Message, error) {
		o := m.(*protocol.BranchCommit)
		return &protocol.BranchCommitResult{BranchOutcome: protocol.BranchOutcome{
			TxResult: protocol.OK(), XID: o.XID, BranchID: o.BranchID, Status: protocol.BranchPhaseTwoCommitted,
		}}, nil
	}}
}

type world struct {
	*Registry
	log bytes.Buffer
}

func newWorld() *world {
	w := &world{}
	w.Registry = New(slog.New(slog.NewTextHandler(&w.log, nil)))
	return w
}

func (w *world) open(address string) *Channel {
	return w.Open(newFakeConn(), netip.MustParseAddrPort(address))
}

func (w *world) rm(t require.TestingT, application, address, resources string) *Channel {
	c := w.open(address)
	_, err := c.RegisterRM(&protocol.Identity{Version: "2.5.0", ApplicationID: application, Group: "g"}, resources, false)
	require.NoError(t, err)
	return c
}

func TestChoiceInSeatasOrder(t *testing.T) {
	w := newWorld()
	exact := w.rm(t, "app", "10.0.0.1:1001", "db")
	samePort := w.rm(t, "app", "10.0.0.1:1002", "db")
	otherIP := w.rm(t, "app", "10.0.0.2:1001", "db")
	otherApp := w.rm(t, "other", "10.0.0.1:1003", "db")
	w.rm(t, "app", "10.0.0.9:1001", "elsewhere")

	const client = "app:10.0.0.1:1001"
	require.Same(t, exact, w.choose("db", client, false))
	exact.Close()
	require.Same(t, samePort, w.choose("db", client, false))
	samePort.Close()
	require.Same(t, otherIP, w.choose("db", client, true))
	otherIP.Close()
	require.Nil(t, w.choose("db", client, false))
	require.Same(t, otherApp, w.choose("db", client, true))
	otherApp.Close()
	require.Nil(t, w.choose("db", client, true))
}

// A saga's order names no client: whoever registered application#group will do.
func TestSagaGoesToAnyChannelOfItsResource(t *testing.T) {
	w := newWorld()
	saga := w.rm(t, "app", "10.0.0.1:1001", "app#group")
	require.Same(t, saga, w.choose("app#group", "", false))
}

func TestMalformedClientID(t *testing.T) {
	w := newWorld()
	c := w.rm(t, "app", "10.0.0.1:1001", "db")
	require.Same(t, c, w.choose("db", "app:nonsense", false), "the application is known")
	for _, id := range []string{"nonsense", ":", "::", "[", ":[", "10.0.0.1:1001", "[::1]:1"} {
		require.Nil(t, w.choose("db", id, false), id)
	}
	require.Same(t, c, w.choose("db", "nonsense", true))
}

// Java takes the first colon for the end of the application.
func TestApplicationWithColons(t *testing.T) {
	w := newWorld()
	for _, address := range []string{"10.0.0.1:1001", "[::1]:1001"} {
		c := w.rm(t, "team:app", address, "db")
		require.Same(t, c, w.choose("db", c.Identity().ClientID, false))
	}
}

// Channels of one application on one address stand in for each other, as in
// Seata, but after those that know the resource.
func TestStandIn(t *testing.T) {
	w := newWorld()
	first := w.rm(t, "app", "10.0.0.1:1001", "db1")
	second := w.rm(t, "app", "10.0.0.1:1002", "db2")
	elsewhere := w.rm(t, "app", "10.0.0.2:1003", "db2")
	const client = "app:10.0.0.1:1002"
	require.Same(t, second, w.choose("db2", client, false))
	second.Close()
	require.Same(t, elsewhere, w.choose("db2", client, false))
	elsewhere.Close()
	require.Same(t, first, w.choose("db2", client, false))
	require.Same(t, first, w.choose("db2", "app:10.0.0.1:1001", false), "it registered the branch itself")
	first.Close()
	require.Nil(t, w.choose("db2", client, false))
	require.Equal(t, Stats{}, w.Stats())
}

func TestRegistrationsMerge(t *testing.T) {
	w := newWorld()
	c := w.open("10.0.0.1:1001")
	require.Nil(t, c.Identity())
	require.NoError(t, c.RegisterTM(&protocol.Identity{Version: "1.4.2", ApplicationID: "app", Group: "g1"}, false))
	require.Equal(t, Stats{TMs: 1}, w.Stats())
	who := &protocol.Identity{Version: "2.5.0", ApplicationID: "app", Group: "g2"}
	added, err := c.RegisterRM(who, "a,b", true)
	require.NoError(t, err)
	require.Equal(t, []string{"a", "b"}, added)
	added, err = c.RegisterRM(who, "b,,c", true)
	require.NoError(t, err)
	require.Equal(t, []string{"c"}, added)
	added, err = c.RegisterRM(who, "", true)
	require.NoError(t, err)
	require.Empty(t, added)
	require.Equal(t, Stats{TMs: 1, RMs: 1, Resources: 3}, w.Stats())
	require.Equal(t, &Identity{
		ClientID: "app:10.0.0.1:1001", ApplicationID: "app", Group: "g2",
		Version: NewVersion(2, 5, 0), Qiao: true, TM: true, RM: true,
	}, c.Identity())
	c.Close()
	c.Close()
	require.Equal(t, Stats{}, w.Stats())
	require.ErrorIs(t, c.RegisterTM(who, false), ErrEnded)
	_, err = c.RegisterRM(who, "a", false)
	require.ErrorIs(t, err, ErrEnded)
}

// The old connection's end must not take the new one away that came from the
// same port.
func TestReconnectFromTheSamePort(t *testing.T) {
	w := newWorld()
	old := w.rm(t, "app", "10.0.0.1:1001", "db")
	again := w.rm(t, "app", "10.0.0.1:1001", "db")
	old.Close()
	require.Same(t, again, w.choose("db", "app:10.0.0.1:1001", false))
}

// A process that took over the port of a dead one, but not its resource, is no
// better than any other.
func TestNewProcessOnTheOldPort(t *testing.T) {
	w := newWorld()
	w.rm(t, "app", "10.0.0.1:1001", "db").Close()
	w.rm(t, "app", "10.0.0.1:1001", "other")
	twin := w.rm(t, "app", "10.0.0.1:1002", "db")
	require.Same(t, twin, w.choose("db", "app:10.0.0.1:1001", false))
}

func TestAnotherApplicationOnTheSameChannel(t *testing.T) {
	w := newWorld()
	c := w.rm(t, "app", "10.0.0.1:1001", "db")
	_, err := c.RegisterRM(&protocol.Identity{ApplicationID: "renamed"}, "db2", false)
	require.NoError(t, err)
	require.Nil(t, w.choose("db", "app:10.0.0.1:1001", false))
	require.Same(t, c, w.choose("db", "renamed:10.0.0.1:1001", false))
	require.Same(t, c, w.choose("db2", "renamed:10.0.0.1:1001", false))
}

func TestUnregister(t *testing.T) {
	w := newWorld()
	first := w.rm(t, "app", "10.0.0.1:1001", "db1,db2")
	second := w.rm(t, "app", "10.0.0.1:1002", "db1")
	first.Unregister("db1,db2,unknown")
	require.Same(t, second, w.choose("db1", "app:10.0.0.7:1", false))
	require.Nil(t, w.choose("db2", "app:10.0.0.7:1", false))
	w.open("10.0.0.3:1").Unregister("db1") // never registered: nothing to do
}

func TestTooManyResources(t *testing.T) {
	w := newWorld()
	c := w.rm(t, "app", "10.0.0.1:1001", "db")
	_, err := c.RegisterRM(&protocol.Identity{ApplicationID: "app"}, strings.Repeat("x,", MaxResources), false)
	require.ErrorContains(t, err, "10001 resources")
	require.Equal(t, 1, w.Stats().Resources)
}

func TestIPv6AndMappedAddresses(t *testing.T) {
	w := newWorld()
	c := w.rm(t, "app", "[::1]:1001", "db")
	require.Equal(t, "app:[::1]:1001", c.Identity().ClientID)
	require.Same(t, c, w.choose("db", c.Identity().ClientID, false))
	mapped := w.rm(t, "app4", "[::ffff:10.0.0.1]:1001", "db")
	require.Equal(t, "app4:10.0.0.1:1001", mapped.Identity().ClientID)
	require.Same(t, mapped, w.choose("db", "app4:10.0.0.1:1001", false))
}

var order = &protocol.BranchCommit{BranchOrder: protocol.BranchOrder{XID: "h:1:2", BranchID: 3, ResourceID: "db"}}

func TestSend(t *testing.T) {
	good := protocol.BranchOutcome{TxResult: protocol.OK(), XID: "h:1:2", BranchID: 3, Status: protocol.BranchPhaseTwoCommitted}
	otherBranch, otherXID, noStatus := good, good, good
	otherBranch.BranchID, otherXID.XID, noStatus.Status = 4, "h:1:9", 99
	for _, test := range []struct {
		name   string
		answer protocol.Message
		err    error
		want   string
	}{
		{"answer", &protocol.BranchCommitResult{BranchOutcome: good}, nil, ""},
		{"connection lost", nil, errors.New("broken pipe"), "broken pipe"},
		{"another type", &protocol.BranchRollbackResult{BranchOutcome: good}, nil, "answered *protocol.BranchCommit with *protocol.BranchRollbackResult"},
		{"no type of an answer", &protocol.GlobalBegin{}, nil, "with *protocol.GlobalBegin"},
		{"another branch", &protocol.BranchCommitResult{BranchOutcome: otherBranch}, nil, "answered for branch 4"},
		{"another transaction", &protocol.BranchCommitResult{BranchOutcome: otherXID}, nil, `of "h:1:9"`},
		{"unknown status", &protocol.BranchCommitResult{BranchOutcome: noStatus}, nil, "branch status 99"},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld()
			c := w.rm(t, "app", "10.0.0.1:1001", "db")
			c.conn.(*fakeConn).answer = func(protocol.Message) (protocol.Message, error) { return test.answer, test.err }
			calls := 0
			w.Send("db", "app:10.0.0.1:1001", false, order, time.Second, func(m protocol.Message, err error) {
				calls++
				if test.want == "" {
					require.NoError(t, err)
					require.Equal(t, test.answer, m)
					return
				}
				require.ErrorContains(t, err, test.want)
				require.ErrorContains(t, err, "app:10.0.0.1:1001", "the error names the client")
				if test.err == nil {
					require.Contains(t, w.log.String(), "client=app:10.0.0.1:1001")
				}
			})
			require.Equal(t, 1, calls)
		})
	}
	w := newWorld()
	w.Send("db", "app:10.0.0.1:1001", true, order, time.Second, func(_ protocol.Message, err error) {
		require.ErrorIs(t, err, ErrNoChannel)
	})
}

func TestDeleteUndoLogsOncePerResource(t *testing.T) {
	w := newWorld()
	var conns []*fakeConn
	for _, c := range []*Channel{
		w.rm(t, "app", "10.0.0.1:1", "db1,db2"), w.rm(t, "app", "10.0.0.1:2", "db1"), w.rm(t, "app2", "10.0.0.2:1", "db1"),
	} {
		conns = append(conns, c.conn.(*fakeConn))
	}
	conns[0].err = errors.New("gone")
	w.DeleteUndoLogs(7)
	told := map[string]int{}
	for _, c := range conns {
		for _, m := range c.told() {
			m := m.(*protocol.UndoLogDelete)
			require.EqualValues(t, 7, m.SaveDays)
			told[m.ResourceID]++
		}
	}
	require.Equal(t, map[string]int{"db1": 1, "db2": 1}, told)
	require.Contains(t, w.log.String(), "gone")
}

func TestSimilarResourceIDsAreWarnedOf(t *testing.T) {
	for _, test := range []struct {
		a, b string
		warn bool
	}{
		{"jdbc:mysql://127.0.0.1:3306/shop", "jdbc:mysql://localhost:3306/shop", true},
		{"jdbc:mysql://db:3306/shop", "jdbc:mysql://DB.:3306/shop", true},
		{"jdbc:mysql://db:3306/shop", "jdbc:mysql://db/shop", true},
		{"jdbc:mysql://db:3306/shop", "jdbc:mariadb://db:3306/shop", true},
		{"jdbc:mysql://db:3306/shop", "mysql://db/shop", true},
		{"jdbc:mysql://[::1]/shop", "jdbc:mysql://localhost:3306/shop", true},
		{"jdbc:postgresql://db/shop", "postgres://u@db:5432/shop", true},
		{"jdbc:mysql://db:3306/shop", "jdbc:mysql://db:3307/shop", false},
		{"jdbc:mysql://db1:3306/shop", "jdbc:mysql://db2:3306/shop", false},
		{"jdbc:mysql://db:3306/shop", "jdbc:mysql://db:3306/Shop", false},
		{"jdbc:mysql://db:3306/shop", "jdbc:postgresql://db:3306/shop", false},
		{"tccAction", "tccAction2", false},
		{"a://b", "mysql://b", false},
	} {
		w := newWorld()
		w.rm(t, "app", "10.0.0.1:1", test.a)
		w.rm(t, "app", "10.0.0.1:2", test.b)
		require.Equal(t, test.warn, strings.Contains(w.log.String(), "look like one database"), "%s and %s", test.a, test.b)
		w.log.Reset()
		w.rm(t, "app", "10.0.0.1:3", test.b)
		require.Empty(t, w.log.String(), "once is enough")
	}
}

func TestParseVersion(t *testing.T) {
	ascending := []string{"", "0.7.1", "1.4.2", "1.5.0", "1.5.0.1", "1.10.0", "2.2.0", "2.3.0-SNAPSHOT", "2.5.0", "2.6.0-SNAPSHOT", "10.0.0"}
	for i := 1; i < len(ascending); i++ {
		require.LessOrEqual(t, ParseVersion(ascending[i-1]), ParseVersion(ascending[i]), ascending[i])
	}
	require.Equal(t, ParseVersion("2.3.0"), ParseVersion("2.3.0-SNAPSHOT"))
	require.Equal(t, NewVersion(2, 5, 0), ParseVersion("2.5"))
	for _, nonsense := range []string{"latest", "-1.2", "99999999999999999999.1", "v2.5.0"} {
		require.Zero(t, ParseVersion(nonsense), nonsense)
	}
}

// Whatever happens, an order goes to an open channel, to one that may have it,
// and the tables empty when the last channel ends.
func TestAnyHistory(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld()
		type registered struct {
			*Channel
			resources map[string]bool
		}
		var open []registered
		name := func(kind string, n int) string { return fmt.Sprint(kind, rapid.IntRange(1, n).Draw(t, kind)) }
		for port := range rapid.IntRange(1, 40).Draw(t, "steps") {
			step, resource := rapid.IntRange(0, 4).Draw(t, "step"), name("db", 3)
			if step <= 1 || len(open) == 0 {
				address := fmt.Sprintf("10.0.0.%d:%d", rapid.IntRange(1, 2).Draw(t, "ip"), port+1)
				open = append(open, registered{w.rm(t, name("app", 2), address, resource), map[string]bool{resource: true}})
			} else {
				i := rapid.IntRange(0, len(open)-1).Draw(t, "channel")
				switch c := open[i]; step {
				case 2:
					_, err := c.RegisterRM(&protocol.Identity{ApplicationID: c.Identity().ApplicationID}, resource, false)
					require.NoError(t, err)
					c.resources[resource] = true
				case 3:
					c.Unregister(resource)
					delete(c.resources, resource)
				case 4:
					c.Close()
					open = slices.Delete(open, i, i+1)
				}
			}
			wanted := name("db", 3)
			chosen := w.choose(wanted, "app1:10.0.0.1:1", true)
			if slices.ContainsFunc(open, func(c registered) bool { return c.resources[wanted] }) {
				require.NotNil(t, chosen)
			}
			if chosen != nil {
				require.True(t, slices.ContainsFunc(open, func(c registered) bool { return c.Channel == chosen }))
			}
		}
		for _, c := range open {
			c.Close()
		}
		require.Empty(t, w.hosts)
		require.Empty(t, w.Registry.resources)
		require.Empty(t, w.channels)
	})
}
