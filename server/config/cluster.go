package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"
)

// Cluster makes servers the nodes of one cluster, for StoreMode "raft". All of them
// can have the same file.
type Cluster struct {
	// Nodes are all nodes, as name=host:port with commas between; empty is a server
	// alone.
	Nodes string
	// Node is this server's name among them; empty is the one whose address is this
	// machine's.
	Node string
	// Name is the cluster's: nodes refuse those of another.
	Name string
	// ElectionTimeout is how long a node waits for word from the leader, at least,
	// before it asks for votes.
	ElectionTimeout time.Duration
}

// ClusterNode is one entry of Cluster.Nodes.
type ClusterNode struct{ Name, Address string }

// List reads Nodes. The store checks the names and the addresses further.
func (c *Cluster) List() ([]ClusterNode, error) {
	if strings.TrimSpace(c.Nodes) == "" {
		return nil, nil
	}
	var all []ClusterNode
	for part := range strings.SplitSeq(c.Nodes, ",") {
		name, address, ok := strings.Cut(strings.TrimSpace(part), "=")
		if _, _, err := net.SplitHostPort(address); !ok || name == "" || err != nil {
			return nil, fmt.Errorf("cluster.nodes: %q: want name=host:port", part)
		}
		all = append(all, ClusterNode{name, address})
	}
	return all, nil
}

// validateCluster leaves the rest to the store.
func (c *Config) validateCluster() error {
	nodes, err := c.Cluster.List()
	switch {
	case err != nil:
		return err
	case len(nodes) == 0 && c.Cluster.Node != "":
		return errors.New("cluster.node is set, but cluster.nodes is not: it lists all nodes of the cluster")
	case len(nodes) > 0 && !strings.EqualFold(c.StoreMode, "raft"):
		return fmt.Errorf("cluster.nodes is set, but store.mode is %s; nodes of a cluster keep the log of store.mode raft", c.StoreMode)
	case len(nodes) > 0 && c.Cluster.ElectionTimeout < 100*time.Millisecond:
		return fmt.Errorf("cluster.election-timeout %v: want at least 100ms", c.Cluster.ElectionTimeout)
	}
	return nil
}

// ForNode returns the configuration of this node of the cluster, which listens on
// its own address of the list unless another was configured, and is known by it.
// cards tells the addresses of this machine.
func (c Config) ForNode(cards func() ([]net.Addr, error)) (Config, ClusterNode, error) {
	nodes, err := c.Cluster.List()
	if err != nil {
		return c, ClusterNode{}, err
	}
	self, err := c.Cluster.self(nodes, cards)
	if err != nil {
		return c, ClusterNode{}, err
	}
	c.Cluster.Node, c.Advertise = self.Name, self.Address
	if c.Listen == Default().Listen {
		c.Listen = self.Address
	}
	return c, self, c.validateListen()
}

// self is the node that this server is.
func (c *Cluster) self(nodes []ClusterNode, cards func() ([]net.Addr, error)) (ClusterNode, error) {
	if c.Node != "" {
		for _, n := range nodes {
			if n.Name == c.Node {
				return n, nil
			}
		}
		return ClusterNode{}, fmt.Errorf("cluster.node %q is none of cluster.nodes: %s", c.Node, c.Nodes)
	}
	addresses, err := cards()
	if err != nil {
		return ClusterNode{}, fmt.Errorf("find out which of cluster.nodes this machine is: %w; name it with cluster.node", err)
	}
	var here []ClusterNode
	for _, n := range nodes {
		if isHere(n.Address, addresses) {
			here = append(here, n)
		}
	}
	if len(here) != 1 {
		return ClusterNode{}, fmt.Errorf("%d of cluster.nodes have an address of this machine: %s; name this node with cluster.node", len(here), c.Nodes)
	}
	return here[0], nil
}

// isHere tells whether a host:port is of this machine, as far as the address says:
// what a name stands for is the network's to tell, and may change.
func isHere(address string, cards []net.Addr) bool {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return false
	}
	for _, card := range cards {
		if prefix, err := netip.ParsePrefix(card.String()); err == nil && prefix.Addr().Unmap() == at.Addr().Unmap() {
			return true
		}
	}
	return false
}
