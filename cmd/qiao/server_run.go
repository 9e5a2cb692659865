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

	"github.com/qiao-tx/qiao/server/config"
	"github.com/qiao-tx/qiao/server/coordinator"
	"github.com/qiao-tx/qiao/server/gateway"
	"github.com/qiao-tx/qiao/server/peers"
	"github.com/qiao-tx/qiao/server/txn"
)

// undoDeletionDelay is how long after the start clients are first told to
// delete old undo logs, as in Seata.
const undoDeletionDelay = 3 * time.Minute

// coordinatorServer is a running server: its parts in the order in which they
// were started.
type coordinatorServer struct {
	cfg         config.Config
	logger      *slog.Logger
	store       durableStore
	storePlace  string
	peers       *peers.Registry
	coordinator *coordinator.Coordinator
	gateway     *gateway.Server
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
	s.coordinator, err = coordinator.New(ctx, coordinator.Config{
		Store: store, Sole: opened.sole, Dispatcher: s.peers, Address: address, WorkerID: opened.workerID, Worker: opened.worker, Logger: logger,
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
	})
	if err == nil {
		err = s.coordinator.Start(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, store.Close())
	}
	s.gateway = gateway.New(gateway.Config{
		Coordinator: s.coordinator, Peers: s.peers, StoreStats: store.Stats, Health: store.Err,
		Logger: logger, Version: buildVersion(),
		MaxConnections: cfg.MaxConnections, MaxRequests: cfg.MaxRequests,
		FirstBytesTimeout: cfg.FirstBytesTimeout, ReadIdleTimeout: cfg.ReadIdleTimeout,
		BatchResponses: cfg.BatchResponses,
	})
	var background context.Context
	background, s.cancel = context.WithCancel(context.WithoutCancel(ctx))
	s.work.Go(func() { s.served <- s.gateway.Serve(listener) })
	s.work.Go(func() {
		s.peers.DeleteUndoLogsEvery(background, undoDeletionDelay, cfg.UndoDeletePeriod, int16(cfg.UndoSaveDays))
	})
	logger.Info("serving", "address", listener.Addr().String(), "advertised", address, "data", cfg.Data, "version", buildVersion())
	if registry != nil {
		s.announcement = announce(background, registry, address, opened.sole, logger)
	}
	return s, nil
}

// stop ends the parts in the reverse order. When ctx ends first it does not
// wait for requests under way; what they decided is durable all the same.
func (s *coordinatorServer) stop(ctx context.Context) error {
	if s.announcement != nil {
		s.announcement.withdraw(ctx, s.cfg.RegistryLeaveWait)
	}
	s.gateway.Stop()
	if err := s.coordinator.Drain(ctx); err != nil {
		s.logger.Warn("stopping although requests are under way; their clients will ask again", "error", err)
	}
	if err := s.gateway.Close(ctx); err != nil {
		s.logger.Warn("stopping although clients have not read their answers; they will ask again", "error", err)
	}
	s.cancel()
	s.work.Wait()
	s.coordinator.Close()
	return s.store.Close()
}
