package peers

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/qiao-tx/qiao/protocol"
)

// Conn is what this package needs of a connection.
type Conn interface {
	// Go sends a request. done is called once, from any goroutine, with the
	// answer or with the error that there was none within timeout.
	Go(m protocol.Message, timeout time.Duration, done func(protocol.Message, error))
	// Send sends a request that has no answer.
	Send(m protocol.Message) error
}

// ErrEnded: the channel's connection has ended.
var ErrEnded = errors.New("the connection has ended")

// MaxResources bounds the resources of one channel.
const MaxResources = 10_000

// Registry holds the channels of one server. It is safe for concurrent use.
type Registry struct {
	logger *slog.Logger

	mu       sync.RWMutex
	channels map[*Channel]struct{}
	hosts    map[hostKey]*host
	// clients finds the channels of hosts by their client ids.
	clients map[string]*Channel
	// resources lists the hosts that serve a resource.
	resources map[string]map[hostKey]*host
}

// hostKey is one application on one address: Seata takes its channels for
// parts of one process.
type hostKey struct {
	application string
	ip          netip.Addr
}

// clientID is "applicationId:ip:port".
func (k hostKey) clientID(port uint16) string {
	return k.application + ":" + netip.AddrPortFrom(k.ip, port).String()
}

// host is what the registered resource managers of one hostKey have in common.
type host struct {
	channels map[uint16]*Channel
	// resources holds what any of the channels ever registered; it lasts until
	// the last of them is gone.
	resources map[string]struct{}
}

// New returns a Registry without channels.
func New(logger *slog.Logger) *Registry {
	return &Registry{
		logger:    logger,
		channels:  make(map[*Channel]struct{}),
		hosts:     make(map[hostKey]*host),
		clients:   make(map[string]*Channel),
		resources: make(map[string]map[hostKey]*host),
	}
}

// Channel is one connection of a client: of its transaction manager, its
// resource manager, or both.
type Channel struct {
	registry *Registry
	conn     Conn
	remote   netip.AddrPort
	identity atomic.Pointer[Identity]

	// Under registry.mu.
	host      *host // nil while no resource manager
	hostKey   hostKey
	resources map[string]struct{}
	closed    bool
}

// Identity is what a channel's last registration said.
type Identity struct {
	// ClientID is "applicationId:ip:port".
	ClientID      string
	ApplicationID string
	Group         string
	Version       Version
	// Qiao: the peer is one of ours.
	Qiao bool
	// TM and RM are the roles registered so far.
	TM, RM bool
}

// Open makes a channel of a connection. It is unregistered; Close it when the
// connection has ended.
func (r *Registry) Open(conn Conn, remote netip.AddrPort) *Channel {
	remote = netip.AddrPortFrom(remote.Addr().Unmap(), remote.Port())
	return &Channel{registry: r, conn: conn, remote: remote, resources: make(map[string]struct{})}
}

// Identity returns what the channel registered as, or nil before it has.
func (c *Channel) Identity() *Identity { return c.identity.Load() }

// RegisterTM registers the channel as a transaction manager's. The error is
// ErrEnded.
func (c *Channel) RegisterTM(who *protocol.Identity, qiao bool) error {
	r := c.registry
	r.mu.Lock()
	defer r.mu.Unlock()
	if c.closed {
		return ErrEnded
	}
	id := c.identify(who, qiao)
	id.TM = true
	c.become(id)
	return nil
}

// RegisterRM registers the channel as a resource manager's, with further
// resources (comma-separated, maybe none). It returns those that are new on the
// channel. An error leaves the channel as it was; the client must not repeat
// the registration.
func (c *Channel) RegisterRM(who *protocol.Identity, resourceIDs string, qiao bool) ([]string, error) {
	ids := splitResources(resourceIDs)
	r := c.registry
	r.mu.Lock()
	defer r.mu.Unlock()
	if c.closed {
		return nil, ErrEnded
	}
	if n := len(c.resources) + len(ids); n > MaxResources {
		return nil, fmt.Errorf("%d resources on one connection, at most %d are allowed; spread them over several processes", n, MaxResources)
	}
	id := c.identify(who, qiao)
	id.RM = true
	c.become(id)
	var added []string
	for _, resource := range ids {
		if _, known := c.resources[resource]; known {
			continue
		}
		c.resources[resource] = struct{}{}
		added = append(added, resource)
		r.serve(c.hostKey, c.host, resource)
	}
	return added, nil
}

// Unregister withdraws resources (comma-separated) from the channel.
func (c *Channel) Unregister(resourceIDs string) {
	r := c.registry
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, resource := range splitResources(resourceIDs) {
		if _, own := c.resources[resource]; !own {
			continue
		}
		delete(c.resources, resource)
		if !c.host.registered(resource) {
			delete(c.host.resources, resource)
			r.withdraw(c.hostKey, resource)
		}
	}
}

// Close forgets the channel. It may be called again.
func (c *Channel) Close() {
	r := c.registry
	r.mu.Lock()
	defer r.mu.Unlock()
	c.leave()
	delete(r.channels, c)
	c.closed = true
}

// identify merges a registration into what is known. The lock is held.
func (c *Channel) identify(who *protocol.Identity, qiao bool) Identity {
	id := Identity{
		ClientID:      hostKey{who.ApplicationID, c.remote.Addr()}.clientID(c.remote.Port()),
		ApplicationID: who.ApplicationID,
		Group:         who.Group,
		Version:       ParseVersion(who.Version),
		Qiao:          qiao,
	}
	if old := c.identity.Load(); old != nil {
		id.TM, id.RM = old.TM, old.RM
	}
	return id
}

// become takes the identity on and moves the channel to where it belongs. The
// lock is held.
func (c *Channel) become(id Identity) {
	c.identity.Store(&id)
	c.registry.channels[c] = struct{}{}
	key := hostKey{id.ApplicationID, c.remote.Addr()}
	if !id.RM || c.host != nil && c.hostKey == key {
		return
	}
	c.leave()
	c.join(key)
}

// join makes the channel one of its host's. The lock is held.
func (c *Channel) join(key hostKey) {
	r := c.registry
	h := r.hosts[key]
	if h == nil {
		h = &host{channels: make(map[uint16]*Channel), resources: make(map[string]struct{})}
		r.hosts[key] = h
	}
	// A client that reconnects from the same port has lost its old connection,
	// even if nothing was heard of that yet.
	h.channels[c.remote.Port()] = c
	c.host, c.hostKey = h, key
	r.clients[key.clientID(c.remote.Port())] = c
	for resource := range c.resources {
		r.serve(key, h, resource)
	}
}

// leave undoes join. The lock is held.
func (c *Channel) leave() {
	h := c.host
	if h == nil {
		return
	}
	r := c.registry
	if h.channels[c.remote.Port()] == c {
		delete(h.channels, c.remote.Port())
		delete(r.clients, c.hostKey.clientID(c.remote.Port()))
	}
	c.host = nil
	if len(h.channels) > 0 {
		return
	}
	delete(r.hosts, c.hostKey)
	for resource := range h.resources {
		r.withdraw(c.hostKey, resource)
	}
}

// serve notes that a host has a resource. The lock is held.
func (r *Registry) serve(key hostKey, h *host, resource string) {
	h.resources[resource] = struct{}{}
	hosts := r.resources[resource]
	if hosts == nil {
		r.warnOfSimilar(resource, key.application)
		hosts = make(map[hostKey]*host)
		r.resources[resource] = hosts
	}
	hosts[key] = h
}

// withdraw is the reverse of serve. The lock is held.
func (r *Registry) withdraw(key hostKey, resource string) {
	hosts := r.resources[resource]
	delete(hosts, key)
	if len(hosts) == 0 {
		delete(r.resources, resource)
	}
}

// registered tells whether a channel of the host registered the resource itself.
func (h *host) registered(resource string) bool {
	for _, c := range h.channels {
		if c.serves(resource) {
			return true
		}
	}
	return false
}

func (c *Channel) serves(resource string) bool {
	_, ok := c.resources[resource]
	return ok
}

// splitResources takes a comma-separated list apart, without its empty parts.
func splitResources(list string) []string {
	var ids []string
	for id := range strings.SplitSeq(list, ",") {
		if id != "" {
			ids = append(ids, id)
		}
	}
	return ids
}

// Stats counts what is connected now.
type Stats struct {
	// TMs and RMs are registered channels; one with both roles is in both.
	TMs, RMs int
	// Resources are the different resource ids that are served.
	Resources int
}

// Stats returns the counts as of now.
func (r *Registry) Stats() Stats {
	r.mu.RLock()
	defer r.mu.RUnlock()
	s := Stats{Resources: len(r.resources)}
	for c := range r.channels {
		id := c.identity.Load()
		if id.TM {
			s.TMs++
		}
		if id.RM {
			s.RMs++
		}
	}
	return s
}
