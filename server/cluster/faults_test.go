package cluster_test

import (
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/internal/relay"
	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/frame"
	"github.com/qiao-tx/qiao/protocol/native"
	"github.com/qiao-tx/qiao/protocol/rpc"
	"github.com/qiao-tx/qiao/server/cluster"
	"github.com/qiao-tx/qiao/server/coordinator"
)

// farNode is the far end of a link as the test plays it.
type farNode struct {
	address string
	conn    *rpc.Conn
	told    chan rpc.Request
}

// playNode lists a node and takes the link of the only other one.
func (w *world) playNode() *farNode {
	w.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(w.t, err)
	f := &farNode{address: l.Addr().String(), told: make(chan rpc.Request, 100)}
	w.list(f.address)
	nc, err := l.Accept()
	require.NoError(w.t, err)
	require.NoError(w.t, l.Close())
	f.conn = rpc.New(nc, rpc.Options{Handler: func(conn *rpc.Conn, r rpc.Request) {
		var err error
		done := protocol.Result{Code: protocol.ResultSuccess}
		switch r.Message.(type) {
		case *protocol.RegisterTM:
			err = conn.Reply(r, &protocol.RegisterTMResult{Result: done, Identified: true}, map[string]string{cluster.HeadNode: f.address})
		case *protocol.RegisterRM:
			err = conn.Reply(r, &protocol.RegisterRMResult{Result: done, Identified: true}, nil)
		case *protocol.UnregisterRM:
			err = conn.Reply(r, &protocol.UnregisterRMResult{Result: done, Identified: true}, nil)
		}
		if err != nil {
			conn.Close(err)
		}
		f.told <- r
	}})
	w.t.Cleanup(func() {
		f.conn.Close(nil)
		f.conn.Wait()
	})
	require.IsType(w.t, &protocol.RegisterTM{}, (<-f.told).Message)
	return f
}

// order gives an order and returns what came back.
func (f *farNode) order(channel string, m protocol.Message) rpc.Response {
	answers := make(chan rpc.Response, 1)
	f.conn.Ask(m, map[string]string{cluster.HeadChannel: channel}, patience, func(r rpc.Response, err error) {
		if err != nil {
			r = rpc.Response{Head: map[string]string{"error": err.Error()}}
		}
		answers <- r
	})
	return <-answers
}

// An order that gets no answer is answered with the reason, and at once where the
// client is gone.
func TestOrdersThatGetNoAnswer(t *testing.T) {
	w := newWorld(t)
	a := w.start()
	far := w.playNode()
	rm := a.client("shop", stock)
	told := <-far.told
	channel := told.Head[cluster.HeadChannel]
	require.Equal(t, rm.conn.LocalAddr().String(), told.Head[cluster.HeadAddress])
	order := &protocol.BranchRollback{BranchOrder: protocol.BranchOrder{XID: "x", BranchID: 7, ResourceID: stock}}

	r := far.order("999", order)
	require.Contains(t, r.Head, cluster.HeadGone)
	require.Contains(t, r.Head, cluster.HeadUndelivered)
	require.Equal(t, protocol.BranchUnknown, r.Message.(*protocol.BranchRollbackResult).Status)

	answers := make(chan rpc.Response, 1)
	go func() { answers <- far.order(channel, order) }()
	long := &protocol.BranchRollbackResult{BranchOutcome: protocol.BranchOutcome{TxResult: protocol.OK(), XID: strings.Repeat("x", 1000), BranchID: 7}}
	require.NoError(t, rm.conn.Reply(<-rm.orders, long, nil))
	require.Equal(t, long.XID, (<-answers).Message.(*protocol.BranchRollbackResult).XID, "what it is worth is for the far end to see")

	go func() { answers <- far.order(channel, order) }()
	<-rm.orders
	rm.end()
	r = <-answers
	require.NotContains(t, r.Head, cluster.HeadGone, "the client had the order")
	require.Contains(t, r.Head[cluster.HeadUndelivered], "closed")
	gone := <-far.told
	require.Equal(t, "", gone.Message.(*protocol.UnregisterRM).ResourceIDs)
	require.Equal(t, channel, gone.Head[cluster.HeadChannel])
	require.Contains(t, far.order(channel, order).Head, cluster.HeadGone)

	require.Contains(t, far.order(channel, &protocol.GlobalBegin{}).Head["error"], "closed", "no order")
}

// An order for a client that has left another node goes to the next best at once.
func TestNextBestAtOnce(t *testing.T) {
	w := newWorld(t)
	a, b := w.start(), w.start()
	linked(a, b)
	rm, tm := a.client("shop", stock), b.client("shop", stock)
	b.knows(1)
	x := tm.begin()
	branch := rm.register(x, stock, "t:1")
	// The link is held up: b does not hear that the client has gone.
	held := make(chan struct{})
	b.relay.Set(heldUp(held))
	rm.end()
	eventually(t, func() bool { return a.peers.Stats().RMs == 0 })
	tm.commit(x)
	eventually(t, func() bool { return b.Stats().Relayed == 1 })
	close(held)
	require.Equal(t, branch, tm.order())
	tm.is(x, protocol.StatusCommitted)
}

// A node that reads nothing makes nobody wait: what would have to be kept for it
// beyond a bound fails, unsent, and so does the rest when the link ends.
func TestNodeThatReadsNothing(t *testing.T) {
	w := newWorld(t)
	a := w.start()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { require.NoError(t, l.Close()) }()
	w.list(l.Addr().String())
	nc, err := l.Accept()
	require.NoError(t, err)
	acceptLink(t, nc, l.Addr().String())
	eventually(t, func() bool { return a.Stats().Links == 1 })
	request := &protocol.BranchRegister{XID: "x", LockKey: strings.Repeat("k", 4<<20)}
	var mu sync.Mutex
	var unsent, unknown, asked int
	count := func(_ protocol.Message, _ map[string]string, err error) {
		mu.Lock()
		defer mu.Unlock()
		if cluster.Unsent(err) {
			unsent++
		} else if err != nil {
			unknown++
		}
	}
	overloaded := func() bool {
		mu.Lock()
		defer mu.Unlock()
		return unsent > 0
	}
	for ; !overloaded(); asked++ {
		require.Less(t, asked, 1000)
		a.Forward(l.Addr().String(), coordinator.Caller{ClientID: "c"}, request, nil, count)
	}
	require.NoError(t, nc.Close())
	eventually(t, func() bool {
		mu.Lock()
		defer mu.Unlock()
		return unsent+unknown == asked
	})
	require.NotZero(t, unknown)
}

// acceptLink answers the registration that opens a link.
func acceptLink(t *testing.T, nc net.Conn, address string) {
	t.Helper()
	header := make([]byte, frame.HeaderLen)
	_, err := io.ReadFull(nc, header)
	require.NoError(t, err)
	n, err := frame.Length(header, frame.MaxLen)
	require.NoError(t, err)
	body := make([]byte, n-len(header))
	_, err = io.ReadFull(nc, body)
	require.NoError(t, err)
	hello, err := frame.Decode(append(header, body...))
	require.NoError(t, err)
	answer, err := encodeV2(&protocol.RegisterTMResult{Result: protocol.Result{Code: protocol.ResultSuccess}, Identified: true})
	require.NoError(t, err)
	b, err := frame.Append(nil, &frame.Frame{
		Version: frame.V2, MessageType: frame.Response, Codec: rpc.CodecSeata, ID: hello.ID,
		Head: map[string]string{cluster.HeadNode: address}, Body: answer,
	})
	require.NoError(t, err)
	require.NoError(t, nc.SetWriteDeadline(time.Now().Add(patience)))
	_, err = nc.Write(b)
	require.NoError(t, err)
}

// A node that opens a new link has lost the old one, whoever notices first.
func TestNewLinkEndsTheOldOne(t *testing.T) {
	w := newWorld(t)
	b := w.start()
	open := func() *rpc.Conn {
		nc, err := net.Dial("tcp", b.listening)
		require.NoError(t, err)
		conn := rpc.New(nc, rpc.Options{Version: frame.V2})
		t.Cleanup(func() {
			conn.Close(nil)
			conn.Wait()
		})
		r, err := conn.Call(t.Context(), &protocol.RegisterTM{}, map[string]string{cluster.HeadNode: "a", cluster.HeadMeant: b.address})
		require.NoError(t, err)
		require.True(t, r.Message.(*protocol.RegisterTMResult).Identified)
		return conn
	}
	announce := func(conn *rpc.Conn, channel string) {
		_, err := conn.Call(t.Context(), &protocol.RegisterRM{Identity: protocol.Identity{Version: "2.5.0", ApplicationID: "shop"}, ResourceIDs: stock},
			map[string]string{cluster.HeadChannel: channel, cluster.HeadAddress: "10.0.0.1:4711"})
		require.NoError(t, err)
	}
	old := open()
	announce(old, "1")
	announce(old, "2")
	b.knows(2)
	again := open()
	<-old.Done()
	b.knows(0)
	announce(again, "1")
	b.knows(1)
	require.Equal(t, 1, b.Stats().Guests)
	again.Close(errors.New("the test ends it"))
	b.knows(0)
	require.Equal(t, 0, b.Stats().Guests)
}

// heldUp holds the next withdrawal of a client back until the channel is closed.
func heldUp(until chan struct{}) relay.Trap {
	return relay.Trap{Message: protocol.TypeUnregisterRM, Nth: 1, Fate: relay.Held, Act: func() { <-until }}
}

func encodeV2(m protocol.Message) ([]byte, error) { return native.AppendV2(nil, m) }
