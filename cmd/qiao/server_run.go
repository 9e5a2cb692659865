package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"runtime"
	"sync"
	"syscall"
	"time"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/server/cluster"
	"github.com/qiao-tx/qiao/server/config"
	"github.com/qiao-tx/qiao/server/coordinator"
	"github.com/qiao-tx/qiao/server/gateway"
	"github.com/qiao-tx/qiao/server/peers"
	"github.com/qiao-tx/qiao/server/txn"
	"github.com/qiao-tx/qiao/storage"
	"github.com/qiao-tx/qiao/storage/raft"
)

// undoDeletionDelay is how long after the start clients are first told to
// delete old undo logs, as in Seata.
const undoDeletionDelay = 3 * time.Minute

// message is short for use in types of functions.
type message = protocol.Message

// decider is what decides here: a coordinator, or at a node of a cluster what finds
// the leader's.
type decider interface {
	gateway.Coordinator
	Drain(ctx context.Context) error
}

// coordinatorServer is a running server: its parts in the order in which they
// were started.
type coordinatorServer struct {
	cfg        config.Config
	logger     *slog.Logger
	store      durableStore
	storePlace string
	peers      *peers.Registry
	decider    decider
	// here takes requests of other nodes, which nodes lists; nil where there are none.
	here  cluster.Requests
	nodes func() []storage.Node
	// node, run and resign are a cluster's only.
	node   *raft.Store
	run    func(context.Context)
	resign func(context.Context) error
	close  func() // of the decider
	// mesh is nil where no other coordinator shares the store.
	mesh    *cluster.Mesh
	gateway *gateway.Server
	// announcement is nil where no registry is configured.
	announcement *announcement

	cancel context.CancelFunc // ends work
	work   sync.WaitGroup
	served chan error
}

// heapFloor makes the garbage collector wait until this much garbage has
// gathered: a coordinator keeps little and throws away much, and would otherwise
// collect a few megabytes many times a second.
const heapFloor = 64 << 20

// runServer serves until ctx ends, and then until what is under way is done. A
// signal while it waits for that makes it stop at once.
func runServer(ctx context.Context, cfg config.Config, logger *slog.Logger, open storeOpener) error {
	floor := make([]byte, heapFloor) // never touched: it takes address space, not memory
	defer runtime.KeepAlive(floor)
	cfg, err := forCluster(cfg)
	if err != nil {
		return err
	}
	listener, err := listenTCP(cfg.Listen)
	if err != nil {
		return err
	}
	s, err := startServer(ctx, cfg, logger, listener, open)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	if s.announcement != nil && cfg.RegistryWait > 0 {
		if err := s.announcement.awaitListed(ctx, cfg.RegistryWait); err != nil {
			return errors.Join(err, s.stop(ctx))
		}
	}
	if cfg.PortFile != "" {
		if err := writePortFile(cfg.PortFile, listener.Addr()); err != nil {
			return errors.Join(err, s.stop(ctx))
		}
	}
	var failure error
	select {
	case <-ctx.Done():
		logger.Info("stopping: no new transactions; waiting for what is under way; a second signal stops at once")
	case <-s.store.Failed():
		failure = fmt.Errorf("the store in %s failed: %w; nothing acknowledged is lost; repair the cause and start again", s.storePlace, s.store.Err())
	case failure = <-s.served:
	}
	patience, done := context.WithTimeout(context.WithoutCancel(ctx), cfg.DrainTimeout)
	defer done()
	patience, release := signal.NotifyContext(patience, os.Interrupt, syscall.SIGTERM)
	defer release()
	// Should even stopping at once hang, on a dead disk perhaps, a further signal
	// kills as it kills any program.
	defer context.AfterFunc(patience, func() { signal.Reset(os.Interrupt, syscall.SIGTERM) })()
	if failure != nil {
		done() // nobody can be given an answer
	}
	err = s.stop(patience)
	logger.Info("stopped")
	if failure != nil {
		if err != nil {
			logger.Warn("the store did not close as it should", "error", err)
		}
		return failure
	}
	return err
}

// startServer opens the store and starts to serve the listener.
func startServer(ctx context.Context, cfg config.Config, logger *slog.Logger, listener net.Listener, open storeOpener) (*coordinatorServer, error) {
	address, err := advertisedAddress(cfg.Advertise, listener.Addr(), net.InterfaceAddrs)
	if err != nil {
		return nil, err
	}
	registry, err := openRegistry(&cfg, logger)
	if err != nil {
		return nil, err
	}
	opened, err := open(ctx, &cfg, address, logger)
	if err != nil {
		return nil, err
	}
	store := opened.store
	s := &coordinatorServer{
		cfg: cfg, logger: logger, store: store, storePlace: opened.place, peers: peers.New(logger), served: make(chan error, 1),
	}
	if err := s.decide(ctx, opened, address); err != nil {
		return nil, errors.Join(err, store.Close())
	}
	s.gateway = gateway.New(s.gatewayConfig())
	background := s.start(ctx, listener)
	logger.Info("serving", "address", listener.Addr().String(), "advertised", address, "data", cfg.Data, "version", buildVersion())
	if registry != nil {
		s.announcement = announce(background, registry, address, opened.sole, logger)
	}
	return s, nil
}

// decide makes what decides, over the open store.
func (s *coordinatorServer) decide(ctx context.Context, opened openedStore, address string) error {
	cfg := &s.cfg
	base := coordinator.Config{
		Store: s.store, Sole: opened.sole, Dispatcher: s.peers, Address: address, WorkerID: opened.workerID, Worker: opened.worker, Logger: s.logger,
		AnswerTimeout: cfg.AnswerTimeout,
		Machine: txn.Machine{
			// An answer that comes at the last moment still comes in time.
			AnswerMillis:    (cfg.AnswerTimeout + 5*time.Second).Milliseconds(),
			RetryMillis:     cfg.RetryAfter.Milliseconds(),
			RetryMaxMillis:  cfg.RetryMax.Milliseconds(),
			RetentionMillis: cfg.Retention.Milliseconds(),

			NotFoundGraceMillis: cfg.XANotFoundGrace.Milliseconds(),
			Parallel:            cfg.ParallelBranches,
		},
	}
	if opened.node != nil {
		s.joinCluster(opened.node, base)
	} else {
		c, err := coordinator.New(ctx, base)
		if err == nil {
			err = c.Start(ctx)
		}
		if err != nil {
			return err
		}
		s.decider, s.close = c, c.Close
		if shared, ok := s.store.(storage.Shared); ok {
			s.here, s.nodes = c, shared.Nodes
		}
	}
	if s.nodes != nil {
		s.mesh = cluster.New(cluster.Config{
			Address: address, Nodes: s.nodes, Peers: s.peers, Requests: s.here, Logger: s.logger, AnswerTimeout: cfg.AnswerTimeout,
		})
	}
	return nil
}

func (s *coordinatorServer) gatewayConfig() gateway.Config {
	cfg := &s.cfg
	groups, _ := s.store.(gateway.GroupStore) // nil when the store keeps none
	g := gateway.Config{
		Groups:      gateway.Groups{Store: groups, Namespace: cfg.Namespace, Cluster: cfg.NamingCluster},
		Coordinator: s.decider, Peers: s.peers, Mesh: s.mesh, StoreStats: s.store.Stats, Health: s.store.Err,
		Logger: s.logger, Version: buildVersion(),
		MaxConnections: cfg.MaxConnections, MaxRequests: cfg.MaxRequests,
		FirstBytesTimeout: cfg.FirstBytesTimeout, ReadIdleTimeout: cfg.ReadIdleTimeout,
		BatchResponses: cfg.BatchResponses,
	}
	if s.node != nil {
		g.Store, g.Collectors = s.node.Serve, clusterMetrics(s.node)
		g.Standing = func() any { return standingOf(s.node) }
	}
	return g
}

// start starts the server's goroutines. They work until cancel is called.
func (s *coordinatorServer) start(ctx context.Context, listener net.Listener) context.Context {
	var background context.Context
	background, s.cancel = context.WithCancel(context.WithoutCancel(ctx))
	s.work.Go(func() { s.served <- s.gateway.Serve(listener) })
	if s.mesh != nil {
		s.work.Go(func() { s.mesh.Run(background) })
	}
	if s.run != nil {
		s.work.Go(func() { s.run(background) })
	}
	s.work.Go(func() {
		s.peers.DeleteUndoLogsEvery(background, undoDeletionDelay, s.cfg.UndoDeletePeriod, int16(s.cfg.UndoSaveDays))
	})
	return background
}

// stop ends the parts in the reverse order. When ctx ends first it does not
// wait for requests under way; what they decided is durable all the same.
func (s *coordinatorServer) stop(ctx context.Context) error {
	if s.announcement != nil {
		s.announcement.withdraw(ctx, s.cfg.RegistryLeaveWait)
	}
	s.passOn(ctx) // while the next leader can still connect
	s.gateway.Stop()
	if err := s.decider.Drain(ctx); err != nil {
		s.logger.Warn("stopping although requests are under way; their clients will ask again", "error", err)
	}
	if err := s.gateway.Close(ctx); err != nil {
		s.logger.Warn("stopping although clients have not read their answers; they will ask again", "error", err)
	}
	s.cancel()
	s.work.Wait()
	if s.close != nil {
		s.close()
	}
	return s.store.Close()
}
