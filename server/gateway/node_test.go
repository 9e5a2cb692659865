package gateway

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/frame"
	"github.com/qiao-tx/qiao/server/cluster"
	"github.com/qiao-tx/qiao/server/coordinator"
	"github.com/qiao-tx/qiao/storage"
)

// nodeOf registers as the other node "b" and returns the answer.
func (c *client) nodeOf(meant string) *protocol.RegisterTMResult {
	c.t.Helper()
	c.send(frame.Request, 1, &protocol.RegisterTM{}, map[string]string{cluster.HeadNode: "b", cluster.HeadMeant: meant})
	_, m := c.receive()
	return m.(*protocol.RegisterTMResult)
}

func withMesh(handle func(coordinator.Caller, protocol.Message, map[string]string, coordinator.Replier) bool) func(*Config) {
	return func(cfg *Config) {
		cfg.Coordinator.(*scripted).handle = handle
		cfg.Mesh = cluster.New(cluster.Config{
			Address: "a", Nodes: func() []storage.Node { return nil }, Peers: cfg.Peers, Requests: cfg.Coordinator, Logger: cfg.Logger,
		})
	}
}

// What another node forwards was counted there, and is not refused here.
func TestForwardedRequestsAreNotAdmittedTwice(t *testing.T) {
	replies := make(chan coordinator.Replier, 2)
	w := newWorld(t, func(cfg *Config) {
		withMesh(func(from coordinator.Caller, _ protocol.Message, _ map[string]string, reply coordinator.Replier) bool {
			replies <- reply
			return true
		})(cfg)
		cfg.MaxRequests = 1
	})
	own := w.dial()
	own.registerTM("2.5.0")
	own.send(frame.Request, 2, &protocol.GlobalStatusRequest{}, nil)
	first := <-replies
	node := w.dial()
	require.True(t, node.nodeOf("a").Identified)
	node.send(frame.Request, 7, &protocol.GlobalStatusRequest{}, map[string]string{cluster.HeadClient: "app:10.0.0.1:1"})
	(<-replies)(&protocol.GlobalStatusResult{TxResult: protocol.OK()}, map[string]string{"k": "v"})
	f, m := node.receive()
	require.EqualValues(t, 7, f.ID)
	require.Equal(t, map[string]string{"k": "v"}, f.Head)
	require.Equal(t, protocol.ResultSuccess, m.(*protocol.GlobalStatusResult).Code)
	first(&protocol.GlobalStatusResult{}, nil)
	require.Equal(t, 1, w.cfg.Mesh.Stats().Guests)
	require.NoError(t, node.Close())
	require.Eventually(t, func() bool { return w.cfg.Mesh.Stats().Guests == 0 }, patience, time.Millisecond)
}

// A link that cannot be ends with a reason or with the connection.
func TestNodesThatAreRefused(t *testing.T) {
	alone := newWorld(t, nil)
	require.False(t, alone.dial().nodeOf("a").Identified)
	w := newWorld(t, withMesh(status))
	require.False(t, w.dial().nodeOf("c").Identified)
	c := w.dial()
	c.registerTM("2.5.0")
	c.send(frame.Request, 2, &protocol.RegisterTM{}, map[string]string{cluster.HeadNode: "b", cluster.HeadMeant: "a"})
	c.closedByServer()
	w.eventuallyLogs(errBothClientAndNode.Error())
	for _, m := range []protocol.Message{
		&protocol.UndoLogDelete{},                        // no request
		&protocol.RegisterRM{ResourceIDs: "db"},          // whose?
		&protocol.UnregisterRM{ResourceIDs: "db"},        // whose?
		&protocol.Merged{Messages: []protocol.Message{}}, // nodes do not merge
	} {
		node := w.dial()
		require.True(t, node.nodeOf("a").Identified)
		node.send(frame.Request, 2, m, nil)
		node.closedByServer()
	}
	node := w.dial()
	require.True(t, node.nodeOf("a").Identified)
	node.send(frame.Request, 2, &protocol.RegisterRM{ResourceIDs: "db"}, map[string]string{cluster.HeadChannel: "1", cluster.HeadAddress: "nowhere"})
	node.closedByServer()
	w.eventuallyLogs("nowhere")
	require.Equal(t, 0, w.cfg.Peers.Stats().Remote)
}
