package redis

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/qiao-tx/qiao/storage"
)

// Ways to come by a Redis (Seata's store.redis.mode, which does not know cluster).
const (
	Single   = "single"
	Sentinel = "sentinel"
	Cluster  = "cluster"
)

// Config says where Redis is.
type Config struct {
	// Mode is Single (the default), Sentinel or Cluster.
	Mode string
	// Address is host:port, for Single.
	Address string
	// MasterName is what the Sentinels, each host:port, call the primary.
	MasterName                     string
	Sentinels                      []string
	SentinelUser, SentinelPassword string
	// Nodes are some of the cluster's, each host:port. HashTag, default qiao, is part
	// of every key there and decides which shard has them all.
	Nodes   []string
	HashTag string
	// User and Password are Redis's; without a user it is Redis's default one. Database
	// is its number, 0 in a cluster.
	User, Password string
	Database       int
	// Connections is how many write Batches at once; more are for reading. Default 4.
	Connections int
	// WaitReplicas is how many replicas must have a Batch before it counts as durable;
	// WaitTimeout is how long they may take. A Batch that fewer have in time has an
	// unknown outcome. Default 0 and 1 s.
	WaitReplicas int
	WaitTimeout  time.Duration
	// Timeout bounds one exchange with Redis, and how long a Batch is sent again whose
	// connection broke. Default 5 s.
	Timeout time.Duration
	// Node tells people and other nodes who this one is: host:port.
	Node string
	// Lease is how long a node that is not heard of keeps its worker id and its share
	// of the due work. Default 6 s.
	Lease time.Duration
	// Logger is told what Redis may lose, and when it has become another process. nil
	// is silence.
	Logger *slog.Logger
}

func (cfg Config) withDefaults() (Config, error) {
	if cfg.Mode == "" {
		cfg.Mode = Single
	}
	setDefault(&cfg.Connections, 4)
	setDefault(&cfg.WaitTimeout, time.Second)
	setDefault(&cfg.Timeout, 5*time.Second)
	setDefault(&cfg.Lease, 6*time.Second)
	if cfg.HashTag == "" {
		cfg.HashTag = "qiao"
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	switch {
	case cfg.Mode == Single && !validAddress(cfg.Address):
		return cfg, fmt.Errorf("%w: address %q: want host:port", ErrConfig, cfg.Address)
	case cfg.Mode == Sentinel && cfg.MasterName == "":
		return cfg, fmt.Errorf("%w: the name that the sentinels give the primary is missing", ErrConfig)
	case cfg.Mode == Sentinel && !allValid(cfg.Sentinels):
		return cfg, fmt.Errorf("%w: sentinels %q: want host:port of each", ErrConfig, cfg.Sentinels)
	case cfg.Mode == Cluster && !allValid(cfg.Nodes):
		return cfg, fmt.Errorf("%w: nodes of the cluster %q: want host:port of each", ErrConfig, cfg.Nodes)
	case cfg.Mode == Cluster && cfg.Database != 0:
		return cfg, fmt.Errorf("%w: a cluster has only database 0, not %d", ErrConfig, cfg.Database)
	case cfg.Mode == Cluster && strings.ContainsAny(cfg.HashTag, "{}"):
		return cfg, fmt.Errorf("%w: hash tag %q: write it without braces", ErrConfig, cfg.HashTag)
	case cfg.WaitReplicas > 0 && cfg.WaitTimeout < time.Millisecond:
		return cfg, fmt.Errorf("%w: replicas have %v to answer; want at least 1ms", ErrConfig, cfg.WaitTimeout)
	}
	return cfg, nil
}

func setDefault[T ~int | ~int64](field *T, value T) {
	if *field == 0 {
		*field = value
	}
}

// Store implements storage.Shared on a Redis that other coordinators may use at the
// same time.
type Store struct {
	cfg     Config
	keys    keys
	server  *server
	node    *node
	planner planner
	cache   *cache

	queue   *queue
	writing sync.WaitGroup
	holding sync.WaitGroup
	// tokens numbers this process's Batches.
	tokens  atomic.Uint64
	batches atomic.Uint64
	entries atomic.Uint64
	purged  atomic.Int64
	// pending is what the Batches since the last pipeline add to the counts.
	pending atomic.Int64

	stopping chan struct{} // closed when nothing new is taken
	ending   chan struct{} // closed when nothing is to be waited for any more
	closed   atomic.Bool
	closing  sync.Once
	err      error
}

var _ storage.Shared = (*Store)(nil)

// Open connects to Redis, tells the logger what that may lose, takes a worker id, and
// takes up what another program left under Seata's keys. The errors name the setting.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Store{cfg: cfg, cache: newCache(), queue: newQueue(), stopping: make(chan struct{}), ending: make(chan struct{})}
	if cfg.Mode == Cluster {
		s.keys.prefix = "{" + cfg.HashTag + "}"
	}
	if s.server, err = newServer(ctx, cfg, s.keys, s.cache.doubt); err != nil {
		return nil, err
	}
	if err := s.prepare(ctx); err != nil {
		return nil, errors.Join(err, s.server.close())
	}
	for range cfg.Connections {
		s.writing.Go(s.write)
	}
	s.holding.Go(s.node.hold)
	return s, nil
}

func (s *Store) prepare(ctx context.Context) error {
	d, err := s.server.durability(ctx)
	if err != nil {
		return err
	}
	if err := d.check(); err != nil {
		return err
	}
	log := s.cfg.Logger
	log.Info("transactions are kept in Redis", "version", d.Version, "appendonly", d.AOF, "appendfsync", d.Fsync,
		"replicas", d.Replicas, "wait-replicas", s.cfg.WaitReplicas)
	for _, warning := range d.warnings(s.cfg.WaitReplicas) {
		log.Warn(warning)
	}
	if s.cfg.Mode == Cluster {
		log.Info("all keys are in one shard of the cluster, as every step must be atomic: more shards make it no faster", "hash-tag", s.cfg.HashTag)
	}
	if s.node, err = s.join(ctx); err != nil {
		return err
	}
	s.planner = planner{keys: s.keys, lease: s.keys.lease(s.node.worker), token: s.node.token}
	found, err := s.takeUp(ctx)
	if err != nil {
		return err
	}
	if len(s.node.nodes()) == 1 && (found > 0 || s.node.crashed > 0) {
		return s.recount(ctx)
	}
	return nil
}

// open answers why nothing can be asked now, or nil.
func (s *Store) open(ctx context.Context) error {
	if s.closed.Load() {
		return storage.ErrClosed
	}
	return ctx.Err()
}

// batchToken is a text that no other Batch of any node has.
func (s *Store) batchToken() string {
	return s.node.short + "." + strconv.FormatUint(s.tokens.Add(1), 36)
}

// Apply implements storage.Store.
func (s *Store) Apply(ctx context.Context, b *storage.Batch) error {
	if s.closed.Load() {
		return storage.ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%w: %w", storage.ErrUnavailable, err)
	}
	if err := s.node.fit(); err != nil {
		return err
	}
	if b.Note != nil {
		return s.applyNote(ctx, b)
	}
	before, err := s.before(ctx, b)
	if err != nil {
		return err
	}
	p, err := s.planner.plan(before, b, s.batchToken())
	if err != nil {
		return err
	}
	s.node.used(p.next, b)
	r := &request{plan: p, at: b.At, done: make(chan error, 1)} // the caller may have gone
	if !s.queue.put(r) {
		return storage.ErrClosed
	}
	select {
	case err := <-r.done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", errUnknown, ctx.Err())
	}
}

// before is the transaction that a Batch was computed from.
func (s *Store) before(ctx context.Context, b *storage.Batch) (*record, error) {
	if b.Revision == 0 && b.Global != nil {
		return &record{}, nil // if there is one, Redis says so
	}
	r, lossy := s.cache.get(b.XID)
	switch {
	case r != nil && r.Revision == b.Revision:
		return r, nil
	case r == nil && lossy, r != nil && r.Revision > b.Revision:
		return nil, storage.ErrMoved
	}
	r, _, err := s.load(ctx, b.XID)
	if err != nil {
		return nil, err
	}
	switch {
	case r == nil && b.Revision == 0:
		return &record{}, nil
	case r == nil || r.Revision != b.Revision:
		return nil, storage.ErrMoved
	}
	return r, nil
}

// closeTimeout bounds the last words with Redis.
const closeTimeout = 20 * time.Second

// Close implements storage.Store. It may be called again. The last node to go lists the
// transactions where a Java coordinator looks for them.
func (s *Store) Close() error {
	s.closing.Do(func() {
		s.closed.Store(true)
		close(s.stopping)
		s.queue.close()
		s.writing.Wait()
		close(s.ending)
		s.holding.Wait()
		ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
		defer cancel()
		pipe := s.server.client.Load().Pipeline()
		s.counts(ctx, pipe)
		_, _ = pipe.Exec(ctx) // counts are for people
		err := s.handOver(ctx)
		if err != nil {
			err = fmt.Errorf("list the transactions for a Java coordinator, which cannot find them now: %w", err)
		}
		s.err = errors.Join(err, s.node.leave(ctx), s.server.close())
	})
	return s.err
}

// WorkerID is this node's part of new ids, 0 to 1023. It is nobody else's.
func (s *Store) WorkerID() int { return s.node.worker }

// Nodes implements storage.Shared.
func (s *Store) Nodes() []storage.Node { return s.node.nodes() }

// Failed is closed when this node must not go on: see ErrLeaseLost.
func (s *Store) Failed() <-chan struct{} { return s.node.failed }

// Err tells why the node failed, or nil.
func (s *Store) Err() error { return s.node.failure() }
