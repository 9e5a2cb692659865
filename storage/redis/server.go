package redis

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// server finds the primary, and notices when it becomes another process.
type server struct {
	cfg    Config
	logger *slog.Logger
	keys   keys
	// changed is called when Redis has become another process, before anything is sent
	// to that one.
	changed func()

	client atomic.Pointer[goredis.Client]
	// moving is held while a cluster is asked who has the store.
	moving sync.Mutex
	old    []*goredis.Client

	mu sync.Mutex
	// run is the id of the process that we were connected to last.
	run string
}

// newServer connects to the primary.
func newServer(ctx context.Context, cfg Config, k keys, changed func()) (*server, error) {
	s := &server{cfg: cfg, logger: cfg.Logger, keys: k, changed: changed}
	switch cfg.Mode {
	case Single:
		s.client.Store(goredis.NewClient(s.options(cfg.Address)))
	case Sentinel:
		s.client.Store(goredis.NewFailoverClient(s.failoverOptions()))
	case Cluster:
		address, err := s.locate(ctx)
		if err != nil {
			return nil, err
		}
		s.client.Store(goredis.NewClient(s.options(address)))
	default:
		return nil, fmt.Errorf("%w: mode %q is not known; write single, sentinel or cluster", ErrConfig, cfg.Mode)
	}
	return s, nil
}

// dialTimeout bounds how long a connection may take to come about.
const dialTimeout = 2 * time.Second

// options are for the connections to one Redis. Nothing is tried again by the library:
// it does not know what may be.
func (s *server) options(address string) *goredis.Options {
	return &goredis.Options{
		Addr: address, Username: s.cfg.User, Password: s.cfg.Password, DB: s.cfg.Database,
		MaxRetries: -1, DialerRetries: 1, DialTimeout: dialTimeout, ReadTimeout: s.cfg.Timeout, WriteTimeout: s.cfg.Timeout,
		ContextTimeoutEnabled: true, PoolSize: s.cfg.Connections + readers, Protocol: 2, DisableIdentity: true,
		ReadBufferSize: 64 << 10, WriteBufferSize: 64 << 10,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
		OnConnect:                s.meet,
	}
}

// readers bounds the connections for everything but writing Batches.
const readers = 16

func (s *server) failoverOptions() *goredis.FailoverOptions {
	o := s.options("")
	return &goredis.FailoverOptions{
		MasterName: s.cfg.MasterName, SentinelAddrs: s.cfg.Sentinels,
		SentinelUsername: s.cfg.SentinelUser, SentinelPassword: s.cfg.SentinelPassword,
		Username: o.Username, Password: o.Password, DB: o.DB,
		MaxRetries: o.MaxRetries, DialerRetries: o.DialerRetries, DialTimeout: o.DialTimeout, ReadTimeout: o.ReadTimeout, WriteTimeout: o.WriteTimeout,
		ContextTimeoutEnabled: true, PoolSize: o.PoolSize, Protocol: o.Protocol, DisableIdentity: true,
		ReadBufferSize: o.ReadBufferSize, WriteBufferSize: o.WriteBufferSize,
		OnConnect: o.OnConnect,
	}
}

// meet looks at the Redis behind a new connection, before anything else is sent.
func (s *server) meet(ctx context.Context, conn *goredis.Conn) error {
	text, err := conn.Info(ctx, "everything").Result()
	var answer goredis.Error
	if errors.As(err, &answer) && strings.HasPrefix(answer.Error(), "NOPERM") {
		return nil // a user without INFO: a change of process is not noticed
	}
	if err != nil {
		return err
	}
	info := infoFields(text)
	if info["redis_mode"] == "sentinel" { // the library asks those the same way
		return nil
	}
	if role := info["role"]; role != "" && role != "master" {
		return fmt.Errorf("%w: it is a %s", errElsewhere, role)
	}
	s.noteRun(info["run_id"])
	return nil
}

func (s *server) noteRun(run string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if run == "" || run == s.run {
		return
	}
	last := s.run
	s.run = run
	if last != "" {
		s.logger.Warn("Redis is another process than before: it was restarted, or a replica took over. "+
			"What it had not yet synced to its disk, or to that replica, is lost although it was acknowledged (docs/stores.md)",
			"run", run, "before", last)
		s.changed()
	}
}

// infoFields reads the answer to INFO.
func infoFields(text string) map[string]string {
	fields := make(map[string]string)
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimRight(line, "\r\n"), ":"); ok {
			fields[name] = value
		}
	}
	return fields
}

// locate asks a cluster which primary has the store.
func (s *server) locate(ctx context.Context) (address string, err error) {
	var failures []error
	for _, seed := range s.cfg.Nodes {
		address, err := s.ask(ctx, seed)
		if err == nil {
			return address, nil
		}
		failures = append(failures, fmt.Errorf("%s: %w", seed, err))
	}
	return "", fmt.Errorf("find the store's primary in the cluster: %w", errors.Join(failures...))
}

func (s *server) ask(ctx context.Context, seed string) (address string, err error) {
	o := s.options(seed)
	o.OnConnect = nil // any node may tell
	c := goredis.NewClient(o)
	defer func() { err = errors.Join(err, c.Close()) }()
	slot, err := c.ClusterKeySlot(ctx, s.keys.live()).Result()
	if err != nil {
		return "", err
	}
	shards, err := c.ClusterShards(ctx).Result()
	if err != nil {
		return "", err
	}
	for _, shard := range shards {
		has := func(r goredis.SlotRange) bool { return r.Start <= slot && slot <= r.End }
		if !slices.ContainsFunc(shard.Slots, has) {
			continue
		}
		for _, node := range shard.Nodes {
			if node.Role == "master" && node.Health == "online" {
				return besides(node.Endpoint, node.Port, seed)
			}
		}
	}
	return "", fmt.Errorf("no node has slot %d", slot)
}

// besides completes the address of a node by the one that told it.
func besides(host string, port int64, seed string) (string, error) {
	if host == "" || host == "?" {
		var err error
		if host, _, err = net.SplitHostPort(seed); err != nil {
			return "", err
		}
	}
	return net.JoinHostPort(host, strconv.FormatInt(port, 10)), nil
}

// relocate looks for the primary after one answered that it is not. Where the library
// does that nothing has to be done.
func (s *server) relocate(ctx context.Context, failed *goredis.Client) {
	if s.cfg.Mode != Cluster {
		return
	}
	s.moving.Lock()
	defer s.moving.Unlock()
	if s.client.Load() != failed {
		return // another was faster
	}
	address, err := s.locate(ctx)
	if err != nil || address == failed.Options().Addr {
		return // the same question comes with the next failure
	}
	s.logger.Warn("another node of the Redis cluster has the store now", "address", address, "before", failed.Options().Addr)
	s.client.Store(goredis.NewClient(s.options(address)))
	s.old = append(s.old, failed) // others may be using it
}

func (s *server) close() error {
	err := s.client.Load().Close()
	s.moving.Lock()
	defer s.moving.Unlock()
	for _, c := range s.old {
		err = errors.Join(err, c.Close())
	}
	return err
}

// eval runs a script that may be run again.
func (s *server) eval(ctx context.Context, sc script, key string, args ...string) (reply any, err error) {
	err = s.try(ctx, func(c *goredis.Client) error {
		cmd := sc.call(ctx, key, args)
		err := c.Process(ctx, cmd)
		if errors.Is(err, goredis.Nil) {
			err = nil
		}
		reply = cmd.Val()
		return err
	})
	return reply, err
}

// try has f called until it succeeds, or fails for a reason that stays.
func (s *server) try(ctx context.Context, f func(c *goredis.Client) error) error {
	for attempt := 1; ; attempt++ {
		c := s.client.Load()
		err := f(c)
		if err == nil || attempt == maxTries || ctx.Err() != nil {
			return err
		}
		switch meaning(err) {
		case forgotten:
			if err := loadScripts(ctx, c); err != nil {
				return err
			}
		case moved:
			s.relocate(ctx, c)
		case unknownFailure: // a connection that broke while nobody used it
		default:
			return err
		}
	}
}

// maxTries is how often something is sent that was not carried out for a reason that
// may be over at once.
const maxTries = 3

// SilenceLibrary keeps the library for Redis from writing to standard error by itself:
// what it says is in the errors too. It concerns the whole process.
func SilenceLibrary() { goredis.SetLogger(silence{}) }

type silence struct{}

func (silence) Printf(context.Context, string, ...any) {}

// Durability is what Redis does with what it acknowledges.
type Durability struct {
	Version string
	// AOF: there is an append-only file; Fsync is always, everysec or no, and empty
	// when Redis does not tell.
	AOF   bool
	Fsync string
	// Replicas are connected now.
	Replicas int
	// MaxMemory is in bytes, 0 is no limit; Policy is what Redis does at it.
	MaxMemory int64
	Policy    string
}

// durability asks Redis.
func (s *server) durability(ctx context.Context) (d Durability, err error) {
	c := s.client.Load()
	text, err := c.Info(ctx, "everything").Result()
	if err != nil {
		return d, fmt.Errorf("ask Redis how it keeps data: %w", err)
	}
	info := infoFields(text)
	d = Durability{Version: info["redis_version"], AOF: info["aof_enabled"] == "1", Policy: info["maxmemory_policy"]}
	d.Replicas, _ = strconv.Atoi(info["connected_slaves"])
	d.MaxMemory, _ = strconv.ParseInt(info["maxmemory"], 10, 64)
	if values, err := c.ConfigGet(ctx, "appendfsync").Result(); err == nil { // a hosted Redis may not tell
		d.Fsync = values["appendfsync"]
	}
	return d, nil
}

// check refuses a Redis on which transactions disappear by themselves, or that lacks
// what the scripts need.
func (d Durability) check() error {
	major, _, _ := strings.Cut(d.Version, ".")
	if n, err := strconv.Atoi(major); err == nil && n < 7 {
		return fmt.Errorf("%w: this is Redis %s; want 7 or later", ErrConfig, d.Version)
	}
	if d.MaxMemory > 0 && strings.HasPrefix(d.Policy, "allkeys-") {
		return fmt.Errorf("%w: maxmemory-policy is %s: Redis would drop transactions and locks when its memory is full; set it to noeviction",
			ErrConfig, d.Policy)
	}
	return nil
}

// warnings say what Redis may lose of what it has acknowledged, and what to do.
func (d Durability) warnings(wait int) []string {
	var list []string
	switch {
	case !d.AOF:
		list = append(list, "Redis has no append-only file: when it ends it loses what was acknowledged since its last snapshot; set appendonly yes and appendfsync always")
	case d.Fsync == "always":
	case d.Fsync == "":
		list = append(list, "Redis does not tell its appendfsync (CONFIG GET is refused): unless that is always, it may lose acknowledged transactions when its machine fails")
	default:
		list = append(list, fmt.Sprintf("appendfsync is %s: when its machine fails Redis loses what was acknowledged in the last second or more; set it to always", d.Fsync))
	}
	if d.Replicas > 0 && wait == 0 {
		list = append(list, "replicas get writes after they are acknowledged: a fail-over loses the newest ones; set store.redis.wait-replicas, and min-replicas-to-write in Redis")
	}
	if d.Replicas < wait {
		list = append(list, fmt.Sprintf("store.redis.wait-replicas is %d, but %d replicas are connected: nothing can be acknowledged until they are", wait, d.Replicas))
	}
	return list
}

// validAddress tells whether text is host:port.
func validAddress(text string) bool {
	host, port, err := net.SplitHostPort(text)
	_, bad := strconv.ParseUint(port, 10, 16)
	return err == nil && bad == nil && host != ""
}

func allValid(addresses []string) bool {
	return len(addresses) > 0 && !slices.ContainsFunc(addresses, func(a string) bool { return !validAddress(a) })
}
