// Package servertest runs a transaction coordinator inside a test's own process,
// as net/http/httptest does with a web server.
//
// Job: start the production coordinator over a store in memory, on a port of its
// own; stop it with the test.
// Owner: tests of services that take part in global transactions.
// It must not know: the services. It is not for production: what it remembers is
// gone when it stops.
//
//	c, err := client.Open(ctx, client.Config{
//		Addresses: []string{servertest.Start(t)}, ApplicationID: "order-service",
//	})
package servertest

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/qiao-tx/qiao/server/coordinator"
	"github.com/qiao-tx/qiao/server/gateway"
	"github.com/qiao-tx/qiao/server/peers"
	"github.com/qiao-tx/qiao/storage/memory"
)

const (
	maxConnections    = 1024
	maxRequests       = 1 << 16
	firstBytesTimeout = 10 * time.Second
	// stopTimeout bounds the wait for requests under way.
	stopTimeout = 10 * time.Second
)

// Start runs a coordinator on a free port of the loopback until the test ends, and
// returns its address, host:port. Clients opened after it must be closed before the
// test ends, which t.Cleanup does in the right order. The coordinator's log is shown
// when the test fails or is verbose.
func Start(t testing.TB) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("start a coordinator: %v", err)
	}
	address = listener.Addr().String()
	s, err := start(t.Context(), t.Output(), listener)
	if err != nil {
		t.Fatalf("start a coordinator: %v", errors.Join(err, listener.Close()))
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
		defer cancel()
		if err := s.stop(ctx); err != nil {
			t.Errorf("stop the coordinator: %v", err)
		}
	})
	return address
}

// server is a running coordinator: its parts in the order in which they start.
type server struct {
	store       *memory.Store
	coordinator *coordinator.Coordinator
	gateway     *gateway.Server
	served      chan error
}

func start(ctx context.Context, log io.Writer, listener net.Listener) (*server, error) {
	logger := slog.New(slog.NewTextHandler(log, nil))
	registry := peers.New(logger)
	s := &server{store: memory.New(), served: make(chan error, 1)}
	var err error
	s.coordinator, err = coordinator.New(ctx, coordinator.Config{
		Store: s.store, Dispatcher: registry, Address: listener.Addr().String(), Logger: logger,
	})
	if err == nil {
		err = s.coordinator.Start(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, s.store.Close())
	}
	s.gateway = gateway.New(gateway.Config{
		Coordinator: s.coordinator, Peers: registry, StoreStats: s.store.Stats, Health: func() error { return nil },
		Logger: logger, Version: "test",
		MaxConnections: maxConnections, MaxRequests: maxRequests, FirstBytesTimeout: firstBytesTimeout,
	})
	go func() { s.served <- s.gateway.Serve(listener) }()
	return s, nil
}

// stop ends the parts in the reverse order.
func (s *server) stop(ctx context.Context) error {
	s.gateway.Stop()
	err := s.coordinator.Drain(ctx)
	err = errors.Join(err, s.gateway.Close(ctx), <-s.served)
	s.coordinator.Close()
	return errors.Join(err, s.store.Close())
}
