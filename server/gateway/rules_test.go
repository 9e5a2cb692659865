package gateway

import (
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/frame"
	"github.com/qiao-tx/qiao/server/coordinator"
)

// Java's clients send credentials with RegisterTM; a server that has none set up
// takes whatever they are, as Java's own does (DefaultCheckAuthHandler).
func TestCredentialsThatNobodyAsksFor(t *testing.T) {
	for name, extra := range map[string]string{
		"of a Java client": "ak=a\ndigest=g,192.0.2.2,1795725410169\ntimestamp=1795725410169\nauthVersion=V4\nvgroup=g\nip=192.0.2.2\n",
		"without a digest": "ak=a\n",
		"none":             "",
		"no pairs":         "\x00\xff===\n\n",
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, nil)
			c := w.dial()
			who := protocol.Identity{Version: "2.5.0", ApplicationID: "app", Group: "g", ExtraData: extra}
			c.send(frame.Request, 1, &protocol.RegisterTM{Identity: who}, nil)
			_, m := c.receive()
			require.True(t, m.(*protocol.RegisterTMResult).Identified)
			c.send(frame.Request, 2, statusRequest, nil)
			_, m = c.receive()
			require.IsType(t, &protocol.GlobalStatusResult{}, m)
		})
	}
}

// The lock query of a channel reaches the coordinator as it was sent, and its
// answer the channel.
func TestGlobalLockQuery(t *testing.T) {
	w := newWorld(t, nil)
	query := &protocol.GlobalLockQuery{XID: "192.0.2.2:8091:1", Type: protocol.TypeAT, ResourceID: "db", LockKey: "t:1,2;u:3"}
	w.coordinator.handle = func(from coordinator.Caller, m protocol.Message, _ map[string]string, reply coordinator.Replier) bool {
		q, ok := m.(*protocol.GlobalLockQuery)
		if ok {
			reply(&protocol.GlobalLockQueryResult{TxResult: protocol.OK(), Lockable: *q == *query}, nil)
		}
		return ok
	}
	c := w.dial()
	c.registerTM("2.5.0")
	c.send(frame.Request, 2, query, nil)
	_, m := c.receive()
	require.True(t, m.(*protocol.GlobalLockQueryResult).Lockable)
}

// A resource that was withdrawn gets no more orders, and no more is said of its
// undo logs; others of the same connection do.
func TestUnregisterRM(t *testing.T) {
	w := newWorld(t, nil)
	c := w.dial()
	who := protocol.Identity{Version: "2.6.0", ApplicationID: "app", Group: "g"}
	c.send(frame.Request, 1, &protocol.RegisterRM{Identity: who, ResourceIDs: "db1,db2"}, nil)
	c.receive()
	c.send(frame.Request, 2, &protocol.UnregisterRM{Identity: who, ResourceIDs: "db1,unknown"}, nil)
	f, m := c.receive()
	require.EqualValues(t, 2, f.ID)
	require.True(t, m.(*protocol.UnregisterRMResult).Identified)

	failed := make(chan error, 1)
	w.cfg.Peers.Send("db1", "app:"+c.LocalAddr().String(), true, &protocol.BranchCommit{}, patience,
		func(_ protocol.Message, err error) { failed <- err })
	require.Error(t, <-failed)
	w.cfg.Peers.DeleteUndoLogs(7)
	f, m = c.receive()
	require.Equal(t, frame.OneWay, f.MessageType)
	require.Equal(t, "db2", m.(*protocol.UndoLogDelete).ResourceID)
}

// Seata's server gives up a client after 15 s of silence; a client that sends
// its heartbeat every 5 s stays. Without heartbeats (0) silence means nothing.
func TestIdleClosing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, test := range []struct {
			limit, every time.Duration
			stays        bool
		}{
			{15 * time.Second, 5 * time.Second, true},
			{15 * time.Second, 16 * time.Second, false},
			{0, 10 * time.Minute, true},
		} {
			pipes := newHandoff()
			w := newWorldOn(t, pipes, func(c *Config) { c.ReadIdleTimeout = test.limit })
			ours, theirs := net.Pipe()
			pipes.give(theirs)
			c := &client{ours, t}
			c.registerTM("2.5.0")
			for range 3 {
				time.Sleep(test.every)
				if !test.stays {
					c.closedByServer()
					w.eventuallyLogs("nothing was received for too long: 15")
					break
				}
				c.send(frame.Request, 2, statusRequest, nil)
				c.receive()
			}
			require.NoError(t, c.Close())
			w.end()
		}
	})
}
