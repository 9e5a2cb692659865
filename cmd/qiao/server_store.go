package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"github.com/qiao-tx/qiao/server/config"
	"github.com/qiao-tx/qiao/storage"
	"github.com/qiao-tx/qiao/storage/raft"
	"github.com/qiao-tx/qiao/storage/sqldb"
)

// durableStore is a store that can fail for good.
type durableStore interface {
	storage.Store
	// Failed is closed at the first storage error, Err then tells which.
	Failed() <-chan struct{}
	Err() error
}

// openedStore is a store with what a coordinator has to know of it.
type openedStore struct {
	store    durableStore
	workerID int
	// worker is asked instead where the worker id may change.
	worker func() int
	// sole: no other coordinator uses it.
	sole bool
	// place names it for people.
	place string
}

// storeOpener opens the store of a configuration for the coordinator at an address.
type storeOpener func(ctx context.Context, cfg *config.Config, address string, logger *slog.Logger) (openedStore, error)

// openStore opens the store that store.mode names.
func openStore(ctx context.Context, cfg *config.Config, address string, logger *slog.Logger) (openedStore, error) {
	if strings.EqualFold(cfg.StoreMode, "db") {
		return openDatabaseStore(ctx, cfg, address, logger)
	}
	return openEmbeddedStore(cfg, logger)
}

func openEmbeddedStore(cfg *config.Config, logger *slog.Logger) (openedStore, error) {
	reserve := int64(cfg.DiskReserveMiB) << 20
	if reserve == 0 {
		reserve = -1 // none, for package raft
	}
	store, err := raft.Open(raft.Config{Dir: cfg.Data, Logger: logger, ReserveBytes: reserve})
	if err != nil {
		return openedStore{}, err
	}
	return openedStore{store: store, workerID: store.Identity().WorkerID, sole: true, place: cfg.Data}, nil
}

func openDatabaseStore(ctx context.Context, cfg *config.Config, address string, logger *slog.Logger) (openedStore, error) {
	db := cfg.DB
	var password []byte
	if db.PasswordFile != "" {
		var err error
		if password, err = os.ReadFile(db.PasswordFile); err != nil {
			return openedStore{}, fmt.Errorf("store.db.password-file: %w", err)
		}
	}
	kind := strings.ToLower(db.Type)
	dsn, err := sqldb.DSN(kind, db.URL, db.User, strings.TrimRight(string(password), "\r\n"))
	if err != nil {
		return openedStore{}, fmt.Errorf("store.db.url: %w", err)
	}
	store, err := sqldb.Open(ctx, sqldb.Config{
		Type: kind, DSN: dsn, CreateTables: db.CreateTables, Connections: db.Connections, Address: address, Lease: db.NodeLease,
		Logger: logger,
	})
	if err != nil {
		return openedStore{}, fmt.Errorf("open the store in %s: %w", db.URL, err)
	}
	logger.Info("the store is open", "url", db.URL, "worker", store.WorkerID(), "transactions", store.Stats().Globals)
	return openedStore{store: store, worker: store.WorkerID, place: db.URL}, nil
}
