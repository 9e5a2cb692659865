package cluster

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/server/coordinator"
	"github.com/qiao-tx/qiao/server/peers"
	"github.com/qiao-tx/qiao/storage"
)

// Requests is what decides here: the coordinator.
type Requests interface {
	// Handle carries out a request that another node forwards. It must not forward
	// it again.
	Handle(from coordinator.Caller, m protocol.Message, head map[string]string, reply coordinator.Replier) bool
	// ResourceUp tells that a resource manager of another node has the resource.
	ResourceUp(resourceID string)
}

// Config is what a Mesh works with. Fields without a default are required.
type Config struct {
	// Address is where the other nodes reach this one, as they list it.
	Address string
	// Nodes lists the nodes there are now, this one among them or not. It is asked
	// several times a second and must not wait.
	Nodes    func() []storage.Node
	Peers    *peers.Registry
	Requests Requests
	Logger   *slog.Logger
	// AnswerTimeout is how long a resource manager has for an order of another node
	// (15 s), ForwardTimeout how long another node has for a request (30 s).
	AnswerTimeout, ForwardTimeout time.Duration
	// PollEvery is how often Nodes is asked (200 ms).
	PollEvery time.Duration
	// RetryMax is the longest pause between attempts to reach a node (2 s).
	RetryMax time.Duration
}

// Mesh is a node's links to the others, and theirs to it.
type Mesh struct {
	cfg   Config
	stats counters

	mu    sync.RWMutex
	links map[string]*link
	// guests are the links of other nodes to this one.
	guests map[string]*Guest
}

type counters struct {
	relayed, carried, forwarded, taken atomic.Uint64
}

// Stats counts what a Mesh has done since it began.
type Stats struct {
	// Nodes are the other nodes listed now, Links those of them that this one has a
	// link to, Guests those that have one to this.
	Nodes, Links, Guests int
	// Relayed are orders of this node that left through another, Carried those of
	// other nodes given to a client here.
	Relayed, Carried uint64
	// Forwarded are requests sent to another node, Taken those that others sent.
	Forwarded, Taken uint64
}

// New prepares a Mesh; Run sets it going.
func New(cfg Config) *Mesh {
	if cfg.AnswerTimeout == 0 {
		cfg.AnswerTimeout = 15 * time.Second
	}
	if cfg.ForwardTimeout == 0 {
		cfg.ForwardTimeout = 30 * time.Second
	}
	if cfg.PollEvery == 0 {
		cfg.PollEvery = 200 * time.Millisecond
	}
	if cfg.RetryMax == 0 {
		cfg.RetryMax = 2 * time.Second
	}
	return &Mesh{cfg: cfg, links: make(map[string]*link), guests: make(map[string]*Guest)}
}

// Run keeps a link to each other node that is listed, until ctx ends. The links are
// gone when it returns; links from other nodes end with their connections.
func (m *Mesh) Run(ctx context.Context) {
	var running sync.WaitGroup
	defer running.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	tick := time.NewTicker(m.cfg.PollEvery)
	defer tick.Stop()
	for {
		m.follow(ctx, &running)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// follow makes the links those of the nodes that are listed now.
func (m *Mesh) follow(ctx context.Context, running *sync.WaitGroup) {
	listed := make(map[string]bool)
	for _, node := range m.cfg.Nodes() {
		if node.Address != "" && node.Address != m.cfg.Address {
			listed[node.Address] = true
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for address, l := range m.links {
		if !listed[address] {
			delete(m.links, address)
			l.end()
		}
	}
	for address := range listed {
		if m.links[address] != nil {
			continue
		}
		own, end := context.WithCancel(ctx)
		l := &link{mesh: m, address: address, end: end, retry: make(chan struct{}, 1)}
		m.links[address] = l
		running.Go(func() {
			defer end()
			l.run(own)
		})
	}
}

// Stats returns the counts as of now.
func (m *Mesh) Stats() Stats {
	n := &m.stats
	s := Stats{
		Relayed: n.relayed.Load(), Carried: n.carried.Load(), Forwarded: n.forwarded.Load(), Taken: n.taken.Load(),
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	s.Nodes, s.Guests = len(m.links), len(m.guests)
	for _, l := range m.links {
		if l.conn.Load() != nil {
			s.Links++
		}
	}
	return s
}

// ErrNotLinked: there is no link to the node now, and nothing was sent. The request
// may be given to another node, or to this one later.
var ErrNotLinked = errors.New("no link to that node")
