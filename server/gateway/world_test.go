package gateway

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/frame"
	"github.com/qiao-tx/qiao/protocol/native"
	"github.com/qiao-tx/qiao/server/coordinator"
	"github.com/qiao-tx/qiao/server/peers"
	"github.com/qiao-tx/qiao/storage"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait of a test; it is met only when something is wrong.
const patience = 30 * time.Second

// scripted is a coordinator that answers as the test says.
type scripted struct {
	mu     sync.Mutex
	handle func(coordinator.Caller, protocol.Message, map[string]string, coordinator.Replier) bool
	up     []string
}

func (s *scripted) Handle(from coordinator.Caller, m protocol.Message, head map[string]string, reply coordinator.Replier) bool {
	s.mu.Lock()
	handle := s.handle
	s.mu.Unlock()
	return handle(from, m, head, reply)
}

func (s *scripted) ResourceUp(resource string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.up = append(s.up, resource)
}

func (s *scripted) resourcesUp() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.up...)
}

func (s *scripted) Stats() coordinator.Stats { return coordinator.Stats{Begun: 42} }

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

// world is a server on a port of its own.
type world struct {
	*Server
	t           *testing.T
	coordinator *scripted
	log         *syncBuffer
	address     string
	served      chan error
}

// status answers every request with a GlobalStatusResult, which the tests below
// are content with.
func status(_ coordinator.Caller, m protocol.Message, _ map[string]string, reply coordinator.Replier) bool {
	if _, ok := m.(*protocol.GlobalStatusRequest); !ok {
		return false
	}
	reply(&protocol.GlobalStatusResult{TxResult: protocol.OK(), Status: protocol.StatusBegin}, nil)
	return true
}

func newWorld(t *testing.T, adjust func(*Config)) *world {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	return newWorldOn(t, l, adjust)
}

func newWorldOn(t *testing.T, l net.Listener, adjust func(*Config)) *world {
	t.Helper()
	w := &world{t: t, coordinator: &scripted{handle: status}, log: &syncBuffer{}, served: make(chan error, 1)}
	logger := slog.New(slog.NewTextHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	cfg := Config{
		Coordinator: w.coordinator, Peers: peers.New(logger), Logger: logger, Version: "v1.2.3",
		StoreStats: func() storage.Stats { return storage.Stats{Locks: 7} }, Health: func() error { return nil },
		MaxConnections: 100, MaxRequests: 100, FirstBytesTimeout: patience,
	}
	if adjust != nil {
		adjust(&cfg)
	}
	w.Server = New(cfg)
	w.address = l.Addr().String()
	go func() { w.served <- w.Serve(l) }()
	t.Cleanup(w.end)
	return w
}

// end stops the server; it may be called again.
func (w *world) end() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	require.NoError(w.t, w.Close(ctx))
	if w.served != nil {
		require.NoError(w.t, <-w.served)
		w.served = nil
	}
}

func (w *world) eventuallyLogs(text string) {
	w.t.Helper()
	require.Eventually(w.t, func() bool { return bytes.Contains([]byte(w.log.String()), []byte(text)) },
		patience, time.Millisecond, "the log lacks %q", text)
}

// client is a bare connection.
type client struct {
	net.Conn
	t *testing.T
}

func (w *world) dial() *client {
	w.t.Helper()
	nc, err := net.Dial("tcp", w.address)
	require.NoError(w.t, err)
	w.t.Cleanup(func() { _ = nc.Close() })
	require.NoError(w.t, nc.SetDeadline(time.Now().Add(patience)))
	return &client{nc, w.t}
}

func (c *client) write(b []byte) {
	c.t.Helper()
	_, err := c.Write(b)
	require.NoError(c.t, err)
}

func (c *client) send(messageType byte, id int32, m protocol.Message, head map[string]string) {
	c.t.Helper()
	body, err := native.Append(nil, m)
	require.NoError(c.t, err)
	b, err := frame.Append(nil, &frame.Frame{Version: frame.V1, MessageType: messageType, Codec: 1, ID: id, Head: head, Body: body})
	require.NoError(c.t, err)
	c.write(b)
}

// readFrame returns the bytes of the next frame.
func (c *client) readFrame() []byte {
	c.t.Helper()
	b := make([]byte, frame.HeaderLen)
	_, err := io.ReadFull(c, b)
	require.NoError(c.t, err)
	n, err := frame.Length(b, frame.MaxLen)
	require.NoError(c.t, err)
	b = append(b, make([]byte, n-len(b))...)
	_, err = io.ReadFull(c, b[frame.HeaderLen:])
	require.NoError(c.t, err)
	return b
}

func (c *client) receive() (frame.Frame, protocol.Message) {
	c.t.Helper()
	f, err := frame.Decode(c.readFrame())
	require.NoError(c.t, err)
	m, err := native.Decode(f.Body)
	require.NoError(c.t, err)
	return f, m
}

// closedByServer waits until the server has ended the connection.
func (c *client) closedByServer() {
	c.t.Helper()
	_, err := io.Copy(io.Discard, c)
	if err != nil {
		require.NotErrorIs(c.t, err, context.DeadlineExceeded)
		require.NotContains(c.t, err.Error(), "timeout")
	}
}

func (c *client) registerTM(version string) {
	c.t.Helper()
	c.send(frame.Request, 1, &protocol.RegisterTM{Identity: protocol.Identity{Version: version, ApplicationID: "app", Group: "g"}}, nil)
	_, m := c.receive()
	require.True(c.t, m.(*protocol.RegisterTMResult).Identified)
}
