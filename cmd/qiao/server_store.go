package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"

	"github.com/qiao-tx/qiao/server/config"
	"github.com/qiao-tx/qiao/storage"
	"github.com/qiao-tx/qiao/storage/move"
	"github.com/qiao-tx/qiao/storage/raft"
	"github.com/qiao-tx/qiao/storage/redis"
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
	// node is the store of a node of a cluster, or nil.
	node *raft.Store
	// place names it for people.
	place string
}

// storeOpener opens the store of a configuration for the coordinator at an address.
type storeOpener func(ctx context.Context, cfg *config.Config, address string, logger *slog.Logger) (openedStore, error)

// openStore opens the store that store.mode names, unless it is half a copy.
func openStore(ctx context.Context, cfg *config.Config, address string, logger *slog.Logger) (openedStore, error) {
	opened, err := openStoreOf(ctx, cfg, address, logger)
	if err != nil {
		return opened, err
	}
	if m, ok := opened.store.(storage.Movable); ok {
		if err := move.Unfinished(ctx, m); err != nil {
			return openedStore{}, errors.Join(fmt.Errorf("the store in %s: %w", opened.place, err), m.Close())
		}
	}
	return opened, nil
}

// openStoreOf opens the store that store.mode names.
func openStoreOf(ctx context.Context, cfg *config.Config, address string, logger *slog.Logger) (openedStore, error) {
	if strings.EqualFold(cfg.StoreMode, "db") {
		return openDatabaseStore(ctx, cfg, address, logger)
	}
	if strings.EqualFold(cfg.StoreMode, "redis") {
		return openRedisStore(ctx, cfg, address, logger)
	}
	return openEmbeddedStore(cfg, logger)
}

func openEmbeddedStore(cfg *config.Config, logger *slog.Logger) (openedStore, error) {
	reserve := int64(cfg.DiskReserveMiB) << 20
	if reserve == 0 {
		reserve = -1 // none, for package raft
	}
	of, err := clusterOf(cfg)
	if err != nil {
		return openedStore{}, err
	}
	store, err := raft.Open(raft.Config{Dir: cfg.Data, Logger: logger, ReserveBytes: reserve, Cluster: of})
	if err != nil {
		return openedStore{}, err
	}
	opened := openedStore{store: store, workerID: store.Identity().WorkerID, sole: of == nil, place: cfg.Data}
	if of != nil {
		opened.node = store
	}
	return opened, nil
}

func openDatabaseStore(ctx context.Context, cfg *config.Config, address string, logger *slog.Logger) (openedStore, error) {
	db := cfg.DB
	password, err := readPassword("store.db.password-file", db.PasswordFile)
	if err != nil {
		return openedStore{}, err
	}
	kind := strings.ToLower(db.Type)
	dsn, err := sqldb.DSN(kind, db.URL, db.User, password)
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
	if warning := store.Warning(); warning != "" {
		logger.Warn(warning)
	}
	logger.Info("the store is open", "url", db.URL, "worker", store.WorkerID(), "transactions", store.Stats().Globals)
	return openedStore{store: store, worker: store.WorkerID, place: db.URL}, nil
}

// readPassword reads the file that a setting names, if it names one.
func readPassword(setting, file string) (string, error) {
	if file == "" {
		return "", nil
	}
	password, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("%s: %w", setting, err)
	}
	return strings.TrimRight(string(password), "\r\n"), nil
}

func openRedisStore(ctx context.Context, cfg *config.Config, address string, logger *slog.Logger) (openedStore, error) {
	redis.SilenceLibrary()
	r := cfg.Redis
	password, err1 := readPassword("store.redis.password-file", r.PasswordFile)
	sentinelPassword, err2 := readPassword("store.redis.sentinel.password-file", r.SentinelPasswordFile)
	if err := errors.Join(err1, err2); err != nil {
		return openedStore{}, err
	}
	mode := strings.ToLower(r.Mode)
	place := "Redis " + map[string]string{
		redis.Single: net.JoinHostPort(r.Host, strconv.Itoa(r.Port)), redis.Sentinel: r.MasterName + " of " + r.SentinelHosts,
		redis.Cluster: "cluster " + r.ClusterNodes,
	}[mode]
	store, err := redis.Open(ctx, redis.Config{
		Mode: mode, Address: net.JoinHostPort(r.Host, strconv.Itoa(r.Port)),
		MasterName: r.MasterName, Sentinels: config.Hosts(r.SentinelHosts), SentinelUser: r.SentinelUser, SentinelPassword: sentinelPassword,
		Nodes: config.Hosts(r.ClusterNodes), HashTag: r.HashTag, User: r.User, Password: password, Database: r.Database,
		Connections: r.Connections, WaitReplicas: r.WaitReplicas, WaitTimeout: r.WaitTimeout,
		Node: address, Lease: r.NodeLease, Logger: logger,
	})
	if err != nil {
		return openedStore{}, fmt.Errorf("open the store in %s: %w", place, err)
	}
	logger.Info("the store is open", "place", place, "worker", store.WorkerID(), "transactions", store.Stats().Globals)
	return openedStore{store: store, workerID: store.WorkerID(), place: place}, nil
}
