package etcd

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"

	"github.com/qiao-tx/qiao/client/naming"
)

// keyPrefix is what all keys of Seata begin with.
const keyPrefix = "registry-seata-"

const (
	// requestWait bounds one request to etcd.
	requestWait = 3 * time.Second
	// pingAfter is how long a connection may be silent before etcd is asked whether
	// it is still there; etcd allows it every 5 s.
	pingAfter = 10 * time.Second

	firstDelay = 100 * time.Millisecond
	lastDelay  = 5 * time.Second
	// maxNodes caps the entries that are read.
	maxNodes = 10_000
)

// ErrClosed reports a Registry that is closed.
var ErrClosed = errors.New("the etcd registry is closed")

// Registry is the registry of one cluster of coordinators. It may be used
// concurrently.
type Registry struct {
	cfg    Config
	prefix string // of the cluster's keys

	mu     sync.Mutex
	client *clientv3.Client
	closed bool
	// odd are the entries that made no sense last, by key.
	odd map[string]string
	// revision is the newest that etcd has told of. forgot is closed and replaced
	// when it tells of an older one, because it has lost its data.
	revision int64
	forgot   chan struct{}
}

var (
	_ naming.Watcher   = (*Registry)(nil)
	_ naming.Announcer = (*Registry)(nil)
)

// New returns a Registry. It connects when it is first used.
func New(cfg Config) (*Registry, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	return &Registry{cfg: cfg, prefix: keyPrefix + cfg.Cluster + "-", forgot: make(chan struct{})}, nil
}

// Close disconnects from etcd; what still waits for an answer fails. Close the Client
// that uses the Registry first. It may be repeated.
func (r *Registry) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	if r.client == nil {
		return nil
	}
	client := r.client
	r.client = nil
	if err := client.Close(); err != nil && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("close the connection to etcd: %w", err)
	}
	return nil
}

// connected returns the connection to etcd. With a password, making it needs an
// etcd that answers.
func (r *Registry) connected() (*clientv3.Client, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, ErrClosed
	}
	if r.client != nil {
		return r.client, nil
	}
	client, err := clientv3.New(clientv3.Config{
		Endpoints: r.cfg.Endpoints, TLS: r.cfg.TLS,
		Username: r.cfg.Username, Password: r.cfg.Password,
		DialTimeout: requestWait, DialKeepAliveTime: pingAfter, DialKeepAliveTimeout: requestWait,
		MaxUnaryRetries: 3,
		DialOptions: []grpc.DialOption{
			grpc.WithChainUnaryInterceptor(failFast),
			grpc.WithConnectParams(grpc.ConnectParams{
				Backoff:           backoff.Config{BaseDelay: firstDelay, Multiplier: 1.6, Jitter: 0.2, MaxDelay: lastDelay},
				MinConnectTimeout: requestWait,
			}),
		},
		Logger: zap.NewNop(), // what goes wrong is returned
	})
	if err != nil {
		return nil, r.wrap("connect", err)
	}
	r.client = client
	return client, nil
}

// failFast makes a request fail with the reason why there is no connection. The
// etcd client would have it wait for one until its time has run out.
func failFast(ctx context.Context, method string, question, answer any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
	return invoke(ctx, method, question, answer, cc, append(slices.Clip(options), grpc.WaitForReady(false))...)
}

// disconnect gives a connection up; the next use makes another.
func (r *Registry) disconnect(client *clientv3.Client) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.client == client {
		r.client = nil
		_ = client.Close() // it is of no more use
	}
}

func (r *Registry) wrap(what string, err error) error {
	return fmt.Errorf("etcd at %s: %s: %w", strings.Join(r.cfg.Endpoints, ","), what, err)
}

// Resolve returns the nodes of the cluster, sorted. Entries that make no sense are
// left out, with a warning.
func (r *Registry) Resolve(ctx context.Context) ([]string, error) {
	client, err := r.connected()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, requestWait)
	defer cancel()
	answer, err := client.Get(ctx, r.prefix, clientv3.WithPrefix(), clientv3.WithLimit(maxNodes))
	if err != nil {
		return nil, r.wrap("read the coordinators of cluster "+r.cfg.Cluster, err)
	}
	r.note(answer.Header.GetRevision())
	entries := make(map[string]string, len(answer.Kvs))
	for _, kv := range answer.Kvs {
		entries[string(kv.Key)] = string(kv.Value)
	}
	addresses, odd := r.addresses(entries)
	r.complain(odd)
	if len(addresses) > 0 {
		return addresses, nil
	}
	err = fmt.Errorf("no coordinator is listed under %s*: start one with registry.type etcd3 and registry.etcd3.cluster %s", r.prefix, r.cfg.Cluster)
	for _, key := range slices.Sorted(maps.Keys(odd)) {
		err = fmt.Errorf("%w; %s is %.100q, which is no host:port", err, key, odd[key])
	}
	return nil, r.wrap("resolve", err)
}

// addresses returns those in entries, sorted, and the entries that make no sense. A
// key that goes on with another text than the value is of another cluster, whose
// name begins with this one's and a hyphen.
func (r *Registry) addresses(entries map[string]string) (addresses []string, odd map[string]string) {
	odd = make(map[string]string)
	for key, value := range entries {
		address, err := naming.FromSeata(value)
		switch {
		case err != nil:
			odd[key] = value
		case key == r.prefix+value && !slices.Contains(addresses, address):
			addresses = append(addresses, address)
		}
	}
	slices.Sort(addresses)
	return addresses, odd
}

// complain tells of odd entries that it has not told of the last time.
func (r *Registry) complain(odd map[string]string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for key, value := range odd {
		if old, known := r.odd[key]; !known || old != value {
			r.cfg.Logger.Warn("an entry in etcd is no coordinator's host:port and is left out", "key", key, "value", fmt.Sprintf("%.100q", value))
		}
	}
	r.odd = odd
}

// Watch implements naming.Watcher.
func (r *Registry) Watch(ctx context.Context, changed func()) {
	for attempt := 0; ctx.Err() == nil; attempt++ {
		if r.watch(ctx, changed) {
			attempt = 0
		}
		sleep(ctx, attempt)
	}
}

// watch does so until something goes wrong. It returns whether it had begun.
func (r *Registry) watch(ctx context.Context, changed func()) (begun bool) {
	client, err := r.connected()
	if err != nil {
		return false // Resolve says why
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	forgot := r.forgotten()
	// Without a leader nothing would be heard of, so that is an error.
	events := client.Watch(clientv3.WithRequireLeader(ctx), r.prefix, clientv3.WithPrefix(), clientv3.WithCreatedNotify())
	for {
		select {
		case event, ok := <-events:
			if !ok || event.Err() != nil {
				return begun
			}
			begun = true
			changed() // also at the start, for what happened before
		case <-forgot:
			return begun
		}
	}
}

// note compares a revision with those before. The etcd client takes up a broken
// watch at the revision where it was; an etcd that counts from 1 again would have
// nothing to tell for long.
func (r *Registry) note(revision int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if revision < r.revision {
		close(r.forgot)
		r.forgot = make(chan struct{})
	}
	r.revision = revision
}

func (r *Registry) forgotten() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.forgot
}

// sleep pauses before attempt number n, each time about twice as long and random,
// so that nodes and clients do not come back in step; or until ctx ends.
func sleep(ctx context.Context, n int) {
	d := min(firstDelay<<min(n, 10), lastDelay)
	timer := time.NewTimer(d/2 + rand.N(d))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
