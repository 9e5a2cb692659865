package gateway

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	grpcstatus "google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/frame"
	"github.com/qiao-tx/qiao/protocol/native"
)

const sendRequest = "/org.apache.seata.protocol.protobuf.SeataService/sendRequest"

// untouched leaves messages as they are.
type untouched struct{}

func (untouched) Marshal(v any) ([]byte, error) { return v.([]byte), nil }
func (untouched) Unmarshal(b []byte, v any) error {
	*v.(*[]byte) = append([]byte(nil), b...)
	return nil
}
func (untouched) Name() string { return "proto" }

// channel is a stream of a client of the gRPC library.
type channel struct {
	grpc.ClientStream
	t *testing.T
}

func (w *world) dialGRPC() *grpc.ClientConn {
	w.t.Helper()
	conn, err := grpc.NewClient(w.address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(w.t, err)
	w.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func (w *world) channel(conn *grpc.ClientConn) *channel {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	w.t.Cleanup(cancel)
	s, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, sendRequest, grpc.ForceCodec(untouched{}))
	require.NoError(w.t, err)
	return &channel{s, w.t}
}

// envelope is a GrpcMessageProto.
func envelope(kind byte, id int32, body []byte) []byte {
	b := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), uint64(id))
	b = protowire.AppendVarint(protowire.AppendTag(b, 2, protowire.VarintType), uint64(kind))
	entry := protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), "codec-type")
	entry = protowire.AppendString(protowire.AppendTag(entry, 2, protowire.BytesType), "1")
	b = protowire.AppendBytes(protowire.AppendTag(b, 3, protowire.BytesType), entry)
	return protowire.AppendBytes(protowire.AppendTag(b, 4, protowire.BytesType), body)
}

func (c *channel) send(kind byte, id int32, m protocol.Message) {
	c.t.Helper()
	body, err := native.Append(nil, m)
	require.NoError(c.t, err)
	require.NoError(c.t, c.SendMsg(envelope(kind, id, body)))
}

// receive returns the id and the message of the next answer or order.
func (c *channel) receive() (id int32, m protocol.Message) {
	c.t.Helper()
	var b []byte
	require.NoError(c.t, c.RecvMsg(&b))
	for len(b) > 0 {
		number, kind, n := protowire.ConsumeTag(b)
		size := protowire.ConsumeFieldValue(number, kind, b[n:])
		require.Positive(c.t, size)
		switch number {
		case 1:
			v, _ := protowire.ConsumeVarint(b[n:])
			id = int32(v)
		case 4:
			body, _ := protowire.ConsumeBytes(b[n:])
			var err error
			m, err = native.Decode(body)
			require.NoError(c.t, err)
		}
		b = b[n+size:]
	}
	return id, m
}

var identity = protocol.Identity{Version: "2.5.0", ApplicationID: "app", Group: "g"}

// One stream is one channel: it registers, asks, and gets orders, beside another
// of the same connection, and beside HTTP on the same port.
func TestGRPCChannels(t *testing.T) {
	w := newWorld(t, nil)
	conn := w.dialGRPC()
	tm, rm := w.channel(conn), w.channel(conn)
	tm.send(frame.Request, 1, &protocol.RegisterTM{Identity: identity})
	_, m := tm.receive()
	require.True(t, m.(*protocol.RegisterTMResult).Identified)
	rm.send(frame.Request, 1, &protocol.RegisterRM{Identity: identity, ResourceIDs: "db"})
	_, m = rm.receive()
	require.True(t, m.(*protocol.RegisterRMResult).Identified)

	tm.send(frame.Request, 7, statusRequest)
	id, m := tm.receive()
	require.EqualValues(t, 7, id)
	require.Equal(t, protocol.StatusBegin, m.(*protocol.GlobalStatusResult).Status)
	tm.send(frame.OneWay, 8, &protocol.Merged{Messages: []protocol.Message{statusRequest, statusRequest}, IDs: []int32{9, 10}})
	for range 2 {
		id, m = tm.receive()
		require.Contains(t, []int32{9, 10}, id)
		require.IsType(t, &protocol.GlobalStatusResult{}, m)
	}

	done := make(chan protocol.Message, 1)
	w.cfg.Peers.Send("db", "app:another", false, &protocol.BranchCommit{}, patience, func(m protocol.Message, err error) {
		if err != nil {
			w.t.Error(err)
		}
		done <- m
	})
	id, m = rm.receive()
	require.IsType(t, &protocol.BranchCommit{}, m)
	rm.send(frame.Response, id, &protocol.BranchCommitResult{BranchOutcome: protocol.BranchOutcome{TxResult: protocol.OK()}})
	require.IsType(t, &protocol.BranchCommitResult{}, <-done)
	w.cfg.Peers.DeleteUndoLogs(7)
	_, m = rm.receive()
	require.Equal(t, &protocol.UndoLogDelete{Type: protocol.TypeAT, ResourceID: "db", SaveDays: 7}, m)
	require.EqualValues(t, 3, w.connections.inside.Load(), "the connection and its two channels")
	require.NoError(t, conn.Close())
	require.Eventually(t, func() bool { return w.connections.inside.Load() == 0 }, patience, time.Millisecond)
	require.Zero(t, w.cfg.Peers.Stats().RMs)
}

// A refused channel learns why; so does everybody when the server stops.
func TestGRPCStatuses(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.MaxConnections = 3 })
	conn := w.dialGRPC()
	unregistered := w.channel(conn)
	unregistered.send(frame.Request, 1, statusRequest)
	err := unregistered.RecvMsg(new([]byte))
	require.Equal(t, codes.FailedPrecondition, grpcstatus.Code(err))
	require.ErrorContains(t, err, "a request came before any registration")
	require.Eventually(t, func() bool { return w.connections.inside.Load() == 1 }, patience, time.Millisecond)

	open := []*channel{w.channel(conn), w.channel(conn)}
	for _, c := range open {
		c.send(frame.Request, 1, &protocol.RegisterTM{Identity: identity})
		c.receive()
	}
	err = w.channel(conn).RecvMsg(new([]byte))
	require.Equal(t, codes.Unavailable, grpcstatus.Code(err))
	require.ErrorContains(t, err, "too many connections")
	w.end()
	for _, c := range open {
		err := c.RecvMsg(new([]byte))
		require.Equal(t, codes.Unavailable, grpcstatus.Code(err))
		require.ErrorContains(t, err, "the server shuts down")
	}
}

// A connection without a channel does not keep the server from stopping, nor is
// it kept for long.
func TestGRPCConnectionWithoutAChannel(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.FirstBytesTimeout = 200 * time.Millisecond })
	c := w.dial()
	c.write([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"))
	c.closedByServer()

	w = newWorld(t, nil)
	c = w.dial()
	c.write([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"))
	require.Eventually(t, func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return len(w.carriers) == 1
	}, patience, time.Millisecond)
	began := time.Now()
	w.end()
	require.Less(t, time.Since(began), patience/2)
	c.closedByServer()
	require.NotContains(t, w.log.String(), "level=WARN", fmt.Sprint(w.log))
}
