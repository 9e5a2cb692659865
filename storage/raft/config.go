package raft

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/hashicorp/raft-wal/types"
)

// Config says where a Store keeps its data and how.
type Config struct {
	// Dir is the data directory: this store's alone, on a local disk. It is
	// made when it does not exist.
	Dir string
	// Logger gets what the store has to say. The default discards it.
	Logger *slog.Logger
	// SnapshotBytes is the size to which the log grows before a snapshot is
	// written and the log cut. It bounds the time of a restart. The default is
	// 256 MiB.
	SnapshotBytes int64
	// ReserveBytes is the free space of the disk below which batches that begin
	// transactions or add branches are refused with storage.ErrFull. The default
	// is 256 MiB: two segments of the log and a snapshot. Negative means none.
	ReserveBytes int64
	// Cluster makes the store one of several nodes; nil is a node alone.
	Cluster *Cluster

	// electionTimeout is Raft's. With one node nobody else can be leader: it only
	// delays the start. The default is 50 ms.
	electionTimeout time.Duration
	// segmentBytes is the size of the log's segments; 0 is raft-wal's 64 MiB.
	segmentBytes int
	// wrapFiles and wrapMeta put a test's faults under the log.
	wrapFiles func(types.VFS) types.VFS
	wrapMeta  func(types.MetaStore) types.MetaStore
	// noLease has a leader answer whatever it remembers: a mistake that a test must
	// see.
	noLease bool
}

const (
	defaultSnapshotBytes = 256 << 20
	defaultReserveBytes  = 256 << 20
	defaultElection      = 50 * time.Millisecond
)

func (c Config) withDefaults() (Config, error) {
	if c.Dir == "" {
		return c, errors.New("the store needs a data directory: set Dir")
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.SnapshotBytes <= 0 {
		c.SnapshotBytes = defaultSnapshotBytes
	}
	if c.ReserveBytes == 0 {
		c.ReserveBytes = defaultReserveBytes
	}
	if c.electionTimeout == 0 {
		c.electionTimeout = defaultElection
	}
	if c.Cluster != nil {
		cluster, err := c.Cluster.withDefaults()
		if err != nil {
			return c, fmt.Errorf("the cluster: %w", err)
		}
		c.Cluster = &cluster
	}
	return c, nil
}
