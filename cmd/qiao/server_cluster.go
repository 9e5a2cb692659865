package main

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/qiao-tx/qiao/server/cluster"
	"github.com/qiao-tx/qiao/server/config"
	"github.com/qiao-tx/qiao/server/coordinator"
	"github.com/qiao-tx/qiao/server/lead"
	"github.com/qiao-tx/qiao/storage"
	"github.com/qiao-tx/qiao/storage/raft"
)

// forCluster is the configuration as a node of a cluster has it; that of a server
// alone stays as it is.
func forCluster(cfg config.Config) (config.Config, error) {
	if cfg.Cluster.Nodes == "" {
		return cfg, nil
	}
	cfg, _, err := cfg.ForNode(net.InterfaceAddrs)
	return cfg, err
}

// clusterOf is what the embedded store has to know of the cluster, or nil.
func clusterOf(cfg *config.Config) (*raft.Cluster, error) {
	nodes, err := cfg.Cluster.List()
	if err != nil || len(nodes) == 0 {
		return nil, err
	}
	c := &raft.Cluster{Name: cfg.Cluster.Name, Self: cfg.Cluster.Node, ElectionTimeout: cfg.Cluster.ElectionTimeout}
	for _, n := range nodes {
		c.Members = append(c.Members, raft.Member{Name: n.Name, Address: n.Address})
	}
	return c, nil
}

// election is the store of a cluster as package lead sees it.
type election struct{ store *raft.Store }

func (e election) Lead(ctx context.Context) (lead.Term, error) {
	leads, err := e.store.Lead(ctx)
	if err != nil {
		return nil, err
	}
	return leads, nil
}

func (e election) Leader() (string, <-chan struct{}) {
	leader, changed := e.store.Leader()
	return leader.Address, changed
}

// joinCluster makes what decides at a node of a cluster: the leader's coordinator,
// wherever it is.
func (s *coordinatorServer) joinCluster(store *raft.Store, base coordinator.Config) {
	router := lead.New(lead.Config{
		Address: base.Address, Election: election{store}, Logger: s.logger,
		Coordinator: func(ctx context.Context, t lead.Term) (*coordinator.Coordinator, error) {
			of := base
			of.Store, of.Dispatcher, of.TellAgain = t, lead.Fenced(s.peers, t), true
			c, err := coordinator.New(ctx, of)
			if err != nil {
				return nil, err
			}
			if err := c.Start(ctx); err != nil {
				c.Close()
				return nil, err
			}
			return c, nil
		},
		Forward: func(node string, from coordinator.Caller, m message, head map[string]string, done func(message, map[string]string, error)) {
			s.mesh.Forward(node, from, m, head, done)
		},
		Unsent: cluster.Unsent,
	})
	s.decider, s.run = router, router.Run
	s.resign = store.Resign
	s.here = router.Here()
	s.nodes = func() []storage.Node {
		var all []storage.Node
		for _, m := range store.Members() {
			all = append(all, storage.Node{Address: m.Address})
		}
		return all
	}
	s.node = store
}

// standing is what a node tells of itself at /cluster.
type standing struct {
	Node    string `json:"node"`
	Leader  string `json:"leader"`
	Term    uint64 `json:"term"`
	Last    uint64 `json:"last"`
	Applied uint64 `json:"applied"`
	// SilentMillis is how long a follower has not heard of its leader.
	SilentMillis int64 `json:"silentMillis"`
}

func standingOf(store *raft.Store) any {
	r, _ := store.Role()
	return standing{r.Name, r.Leader, r.Term, r.Last, r.Applied, r.Silent.Milliseconds()}
}

// clusterMetrics are the metrics of a node of a cluster.
func clusterMetrics(store *raft.Store) []prometheus.Collector {
	gauge := func(name, help string, value func(raft.Role) float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "qiao_cluster_" + name, Help: help}, func() float64 {
			role, _ := store.Role()
			return value(role)
		})
	}
	is := func(b bool) float64 {
		if b {
			return 1
		}
		return 0
	}
	return []prometheus.Collector{
		gauge("leads", "1 while this node leads the cluster.", func(r raft.Role) float64 { return is(r.Leader == r.Name) }),
		gauge("has_leader", "1 while this node knows who leads the cluster.", func(r raft.Role) float64 { return is(r.Leader != "") }),
		gauge("term", "Number of the present leadership.", func(r raft.Role) float64 { return float64(r.Term) }),
		gauge("log_last", "Last entry of the log at this node.", func(r raft.Role) float64 { return float64(r.Last) }),
		gauge("log_applied", "Last entry with batches that this node has applied.", func(r raft.Role) float64 { return float64(r.Applied) }),
		gauge("leader_silent_seconds", "How long this node has not heard of its leader; 0 at the leader.", func(r raft.Role) float64 { return r.Silent.Seconds() }),
	}
}

// resignTimeout bounds how long a leader that stops tries to pass the lead on.
const resignTimeout = 2 * time.Second

// passOn has another node lead, if this one does, so that clients need not wait for
// an election.
func (s *coordinatorServer) passOn(ctx context.Context) {
	if s.resign == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, resignTimeout)
	defer cancel()
	if err := s.resign(ctx); err != nil && !errors.Is(err, context.Canceled) {
		s.logger.Warn("could not pass the lead on; the others will elect a leader", "error", err)
	}
}
