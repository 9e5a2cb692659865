package main

import (
	"log/slog"

	"github.com/qiao-tx/qiao/server/config"
	"github.com/qiao-tx/qiao/storage"
	"github.com/qiao-tx/qiao/storage/raft"
)

// durableStore is a store that can fail for good.
type durableStore interface {
	storage.Store
	// Failed is closed at the first storage error, Err then tells which.
	Failed() <-chan struct{}
	Err() error
}

// storeOpener opens the store of a configuration and tells the node's worker id.
type storeOpener func(cfg *config.Config, logger *slog.Logger) (store durableStore, workerID int, err error)

func openEmbeddedStore(cfg *config.Config, logger *slog.Logger) (durableStore, int, error) {
	reserve := int64(cfg.DiskReserveMiB) << 20
	if reserve == 0 {
		reserve = -1 // none, for package raft
	}
	store, err := raft.Open(raft.Config{Dir: cfg.Data, Logger: logger, ReserveBytes: reserve})
	if err != nil {
		return nil, 0, err
	}
	return store, store.Identity().WorkerID, nil
}
