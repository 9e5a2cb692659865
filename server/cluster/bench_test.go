//go:build unix

package cluster_test

import (
	"context"
	"log/slog"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/rpc"
	"github.com/qiao-tx/qiao/server/cluster"
	"github.com/qiao-tx/qiao/server/coordinator"
	"github.com/qiao-tx/qiao/server/peers"
	"github.com/qiao-tx/qiao/storage"
)

// prompt answers every request at once.
type prompt struct{}

func (prompt) Handle(_ coordinator.Caller, _ protocol.Message, _ map[string]string, reply coordinator.Replier) bool {
	reply(&protocol.BranchRegisterResult{TxResult: protocol.OK(), BranchID: 1}, nil)
	return true
}

func (prompt) ResourceUp(string) {}

// BenchmarkForward is what a forwarded request costs both nodes, with 64 under way,
// beside a bare call of the same message.
func BenchmarkForward(b *testing.B) {
	logger := slog.New(slog.DiscardHandler)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(b, err)
	address := l.Addr().String()
	list := func() []storage.Node { return []storage.Node{{Address: address}} }
	mesh := func(own string) *cluster.Mesh {
		return cluster.New(cluster.Config{Address: own, Nodes: list, Peers: peers.New(logger), Requests: prompt{}, Logger: logger})
	}
	far, near := mesh(address), mesh("near")
	var running sync.WaitGroup
	running.Go(func() { serve(l, far) })
	ctx, cancel := context.WithCancel(b.Context())
	running.Go(func() { near.Run(ctx) })
	for near.Stats().Links == 0 {
		time.Sleep(time.Millisecond)
	}
	request := &protocol.BranchRegister{
		XID: "10.0.0.1:8091:4611686018427387904", Type: protocol.TypeAT,
		ResourceID: stock, LockKey: "t:1", ApplicationData: `{"autoCommit":false}`,
	}
	caller := coordinator.Caller{ClientID: "stock-service:10.0.0.7:54321", ApplicationID: "stock-service", Group: "default_tx_group", Qiao: true}
	b.Run("forward", func(b *testing.B) {
		b.ReportAllocs()
		pipelined(b, func(done func(error)) {
			near.Forward(address, caller, request, nil, func(_ protocol.Message, _ map[string]string, err error) { done(err) })
		})
	})
	b.Run("bare", func(b *testing.B) {
		nc, err := net.Dial("tcp", address)
		require.NoError(b, err)
		conn := rpc.New(nc, rpc.Options{})
		defer conn.Wait()
		defer conn.Close(nil)
		b.ReportAllocs()
		pipelined(b, func(done func(error)) {
			conn.Go(request, patience, func(_ protocol.Message, err error) { done(err) })
		})
	})
	cancel()
	require.NoError(b, l.Close())
	running.Wait()
}

// serve is as much of a gateway as the benchmark needs.
func serve(l net.Listener, m *cluster.Mesh) {
	var all sync.WaitGroup
	defer all.Wait()
	for {
		nc, err := l.Accept()
		if err != nil {
			return
		}
		all.Go(func() {
			var guest *cluster.Guest
			conn := rpc.New(nc, rpc.Options{Handler: func(conn *rpc.Conn, r rpc.Request) {
				switch {
				case guest != nil:
					guest.Handle(r)
				case cluster.IsNode(r.Head):
					guest = m.Accept(conn, r)
				default:
					_ = conn.Reply(r, &protocol.BranchRegisterResult{TxResult: protocol.OK(), BranchID: 1}, nil)
				}
			}})
			conn.Wait()
			if guest != nil {
				guest.Close()
			}
		})
	}
}

// pipelined keeps 64 requests under way.
func pipelined(b *testing.B, request func(done func(error))) {
	window := make(chan struct{}, 64)
	before := cpuTime(b)
	for b.Loop() {
		window <- struct{}{}
		request(func(err error) {
			if err != nil {
				b.Error(err)
			}
			<-window
		})
	}
	for range cap(window) {
		window <- struct{}{}
	}
	b.ReportMetric(float64(cpuTime(b)-before)/float64(b.N), "cpu-ns/op")
}

// cpuTime is what this process has used: on a busy machine it tells more than the
// time that passed.
func cpuTime(b *testing.B) time.Duration {
	var used syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &used))
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
