package peers

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/qiao-tx/qiao/protocol"
)

// Conn is what this package needs of a connection.
type Conn interface {
	Carrier
	// Send sends a request that has no answer.
	Send(m protocol.Message) error
}

// Carrier takes orders to a resource manager.
type Carrier interface {
	// Go sends a request. done is called once, from any goroutine, with the
	// answer or with the error that there was none within timeout. Go does not
	// block. An error that wraps ErrEnded says that the resource manager did not
	// get the request and never will; it is then given to another.
	Go(m protocol.Message, timeout time.Duration, done func(protocol.Message, error))
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
	// clients finds the channels of hosts by their client ids: at most one of each
	// node, those of this one first.
	clients map[string][]*Channel
	// resources lists the hosts that serve a resource.
	resources map[string]map[hostKey]*host
	watches   map[*Watch]struct{}
	// numbered counts the channels ever opened.
	numbered uint64
}

// hostKey is one application on one address, as one node sees it: Seata takes its
// channels for parts of one process.
type hostKey struct {
	application string
	ip          netip.Addr
	// node is the coordinator that it is connected to; empty for this one.
	node string
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
		clients:   make(map[string][]*Channel),
		resources: make(map[string]map[hostKey]*host),
		watches:   make(map[*Watch]struct{}),
	}
}

// Channel is one connection of a client: of its transaction manager, its
// resource manager, or both.
type Channel struct {
	registry *Registry
	// node is the coordinator that the client is connected to; empty for this one.
	node string
	// number is the channel's among those of this Registry.
	number  uint64
	carrier Carrier
	// conn is the carrier of a client that is connected here, else nil.
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
	c := r.open("", conn, remote)
	c.conn = conn
	return c
}

// OpenRemote makes a channel of a client that is connected to another node, as
// remote there. Its orders leave by carrier. It is for a resource manager, and a
// channel of a client that is connected here comes before it where either would do.
func (r *Registry) OpenRemote(node string, carrier Carrier, remote netip.AddrPort) *Channel {
	return r.open(node, carrier, remote)
}

func (r *Registry) open(node string, carrier Carrier, remote netip.AddrPort) *Channel {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.numbered++
	return &Channel{
		registry: r, node: node, number: r.numbered, carrier: carrier,
		remote:    netip.AddrPortFrom(remote.Addr().Unmap(), remote.Port()),
		resources: make(map[string]struct{}),
	}
}

// Number is the channel's: no other of its Registry ever has it.
func (c *Channel) Number() uint64 { return c.number }

// Order gives an order to this channel, whatever resources it has, as Send does.
// That the answer is one to it is for the caller to see.
func (c *Channel) Order(order protocol.Message, timeout time.Duration, done func(protocol.Message, error)) {
	c.carrier.Go(order, timeout, done)
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

// Resources lists what the channel serves, in order.
func (c *Channel) Resources() []string {
	c.registry.mu.RLock()
	defer c.registry.mu.RUnlock()
	return slices.Sorted(maps.Keys(c.resources))
}

// ApplicationOf is the application in a client id, "applicationId:ip:port".
func ApplicationOf(clientID string) string {
	application, _ := splitClientID(clientID)
	return application
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
		c.changed()
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
	c.changed()
}

// identify merges a registration into what is known. The lock is held.
func (c *Channel) identify(who *protocol.Identity, qiao bool) Identity {
	id := Identity{
		ClientID:      hostKey{application: who.ApplicationID, ip: c.remote.Addr()}.clientID(c.remote.Port()),
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
	c.changed()
	key := hostKey{id.ApplicationID, c.remote.Addr(), c.node}
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
	r.addClient(key.clientID(c.remote.Port()), c)
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
		r.removeClient(c.hostKey.clientID(c.remote.Port()), c)
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

// addClient notes c under its client id, in place of an older one of the same node.
// The lock is held.
func (r *Registry) addClient(id string, c *Channel) {
	all := r.clients[id]
	if i := slices.IndexFunc(all, func(other *Channel) bool { return other.node == c.node }); i >= 0 {
		all[i] = c
		return
	}
	if c.node == "" {
		r.clients[id] = slices.Insert(all, 0, c)
	} else {
		r.clients[id] = append(all, c)
	}
}

// removeClient is the reverse of addClient. The lock is held.
func (r *Registry) removeClient(id string, c *Channel) {
	all := slices.DeleteFunc(r.clients[id], func(other *Channel) bool { return other == c })
	if r.clients[id] = all; len(all) == 0 {
		delete(r.clients, id)
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
	// Remote are resource managers' channels at other nodes, not among RMs.
	Remote int
	// Resources are the different resource ids that are served, here or there.
	Resources int
}

// Stats returns the counts as of now.
func (r *Registry) Stats() Stats {
	r.mu.RLock()
	defer r.mu.RUnlock()
	s := Stats{Resources: len(r.resources)}
	for c := range r.channels {
		id := c.identity.Load()
		if c.node != "" {
			s.Remote++
			continue
		}
		if id.TM {
			s.TMs++
		}
		if id.RM {
			s.RMs++
		}
	}
	return s
}
