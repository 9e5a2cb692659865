package client_test

import (
	"context"
	"log/slog"
	"net"
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
)

// patience bounds what must happen but may take long on a busy machine.
const patience = 30 * time.Second

// answer is what a script makes of a request: a message with a head map, no
// answer at all (message nil), or an end of the connection.
type answer struct {
	message protocol.Message
	head    map[string]string
	hangUp  bool
}

// fakeTC is a coordinator node that follows a script.
type fakeTC struct {
	t       *testing.T
	address string
	// java: the node knows no extensions.
	java bool

	mu       sync.Mutex
	listener net.Listener
	conns    map[*rpc.Conn]bool
	received []rpc.Request
	script   func(r rpc.Request) (a answer, handled bool)
	begun    int64
	serving  sync.WaitGroup
}

// startTC starts a node on a free port.
func startTC(t *testing.T) *fakeTC {
	tc := reserveTC(t)
	tc.start()
	return tc
}

// reserveTC has an address but does not listen there yet.
func reserveTC(t *testing.T) *fakeTC {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	tc := &fakeTC{t: t, address: listener.Addr().String(), conns: make(map[*rpc.Conn]bool)}
	require.NoError(t, listener.Close())
	t.Cleanup(tc.stop)
	return tc
}

func (tc *fakeTC) start() {
	listener, err := net.Listen("tcp", tc.address)
	require.NoError(tc.t, err)
	tc.mu.Lock()
	tc.listener = listener
	tc.mu.Unlock()
	tc.serving.Go(func() {
		for {
			nc, err := listener.Accept()
			if err != nil {
				return
			}
			tc.serve(nc)
		}
	})
}

func (tc *fakeTC) serve(nc net.Conn) {
	tc.mu.Lock()
	defer tc.mu.Unlock()
	conn := rpc.New(nc, rpc.Options{Handler: tc.handle})
	tc.conns[conn] = true
	tc.serving.Go(func() {
		conn.Wait()
		tc.mu.Lock()
		defer tc.mu.Unlock()
		delete(tc.conns, conn)
	})
}

// hangUp closes all connections.
func (tc *fakeTC) hangUp() {
	tc.mu.Lock()
	defer tc.mu.Unlock()
	for conn := range tc.conns {
		conn.Close(nil)
	}
}

// stop closes the port and all connections; start may follow.
func (tc *fakeTC) stop() {
	tc.mu.Lock()
	if tc.listener != nil {
		_ = tc.listener.Close()
		tc.listener = nil
	}
	tc.mu.Unlock()
	tc.hangUp()
	tc.serving.Wait()
}

// on sets the script; what it does not handle is answered with success.
func (tc *fakeTC) on(script func(r rpc.Request) (answer, bool)) {
	tc.mu.Lock()
	defer tc.mu.Unlock()
	tc.script = script
}

func (tc *fakeTC) handle(conn *rpc.Conn, r rpc.Request) {
	tc.mu.Lock()
	tc.received = append(tc.received, r)
	script := tc.script
	tc.mu.Unlock()
	var a answer
	handled := false
	if script != nil {
		a, handled = script(r)
	}
	if !handled {
		a = tc.succeed(r)
	}
	switch {
	case a.hangUp:
		conn.Close(nil)
	case a.message != nil:
		_ = conn.Reply(r, a.message, a.head)
	}
}

func (tc *fakeTC) succeed(r rpc.Request) answer {
	ok := protocol.OK()
	switch r.Message.(type) {
	case *protocol.RegisterTM:
		return answer{message: &protocol.RegisterTMResult{Identified: true, Version: "2.5.0"}, head: tc.extension()}
	case *protocol.RegisterRM:
		return answer{message: &protocol.RegisterRMResult{Identified: true, Version: "2.5.0"}, head: tc.extension()}
	case *protocol.GlobalBegin:
		tc.mu.Lock()
		defer tc.mu.Unlock()
		tc.begun++
		return answer{message: &protocol.GlobalBeginResult{TxResult: ok, XID: xid.New(tc.address, tc.begun)}}
	case *protocol.GlobalCommit:
		return answer{message: &protocol.GlobalCommitResult{TxResult: ok, Status: protocol.StatusCommitted}}
	case *protocol.GlobalRollback:
		return answer{message: &protocol.GlobalRollbackResult{TxResult: ok, Status: protocol.StatusRollbacked}}
	case *protocol.GlobalStatusRequest:
		return answer{message: &protocol.GlobalStatusResult{TxResult: ok, Status: protocol.StatusFinished}}
	case *protocol.BranchRegister:
		return answer{message: &protocol.BranchRegisterResult{TxResult: ok, BranchID: 4711}}
	case *protocol.BranchReport:
		return answer{message: &protocol.BranchReportResult{TxResult: ok}}
	case *protocol.GlobalLockQuery:
		return answer{message: &protocol.GlobalLockQueryResult{TxResult: ok, Lockable: true}}
	}
	assert.Fail(tc.t, "unexpected request", "%T", r.Message)
	return answer{}
}

func (tc *fakeTC) extension() map[string]string {
	if tc.java {
		return nil
	}
	return map[string]string{"qiao": "1"}
}

// requests returns what the node received of one type.
func requests[M protocol.Message](tc *fakeTC) (found []rpc.Request) {
	tc.mu.Lock()
	defer tc.mu.Unlock()
	for _, r := range tc.received {
		if _, ok := r.Message.(M); ok {
			found = append(found, r)
		}
	}
	return found
}

// forget drops what was received so far.
func (tc *fakeTC) forget() {
	tc.mu.Lock()
	defer tc.mu.Unlock()
	tc.received = nil
}

// connection returns the one connection that the node has.
func (tc *fakeTC) connection() *rpc.Conn {
	tc.mu.Lock()
	defer tc.mu.Unlock()
	require.Len(tc.t, tc.conns, 1)
	for conn := range tc.conns {
		return conn
	}
	return nil
}

// awaitKnown waits until the client has registered with the node n times.
func (tc *fakeTC) awaitKnown(n int) {
	tc.t.Helper()
	require.Eventually(tc.t, func() bool { return len(requests[*protocol.RegisterRM](tc)) >= n }, patience, time.Millisecond)
}

// lastResources are the ids of the last registration.
func (tc *fakeTC) lastResources() []string {
	all := requests[*protocol.RegisterRM](tc)
	require.NotEmpty(tc.t, all)
	return strings.Split(all[len(all)-1].Message.(*protocol.RegisterRM).ResourceIDs, ",")
}

// open opens a client on nodes and closes it when the test ends.
func open(t *testing.T, cfg client.Config, nodes ...*fakeTC) *client.Client {
	t.Helper()
	for _, tc := range nodes {
		cfg.Addresses = append(cfg.Addresses, tc.address)
	}
	cfg.ApplicationID = "order-service"
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	c, err := client.Open(t.Context(), cfg)
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		assert.NoError(t, c.Close(ctx))
	})
	return c
}
