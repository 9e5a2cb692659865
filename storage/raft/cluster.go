package raft

import (
	"cmp"
	"errors"
	"fmt"
	"hash/crc32"
	"net"
	"slices"
	"strings"
	"time"

	hraft "github.com/hashicorp/raft"
)

// Cluster makes a Store one of several nodes that keep one log. All fields but
// ElectionTimeout are required.
type Cluster struct {
	// Name is the cluster's. Nodes refuse those of another.
	Name string
	// Self is this node's name among Members.
	Self string
	// Members are all nodes, the same on each of them: three, five or seven. This
	// release does not change them once the log has begun.
	Members []Member
	// ElectionTimeout is how long a node waits for word from its leader before it
	// asks for votes, at least; on average it takes half as long again. The
	// same on all nodes. The default is 1 s.
	ElectionTimeout time.Duration
}

// Member is one node of a cluster.
type Member struct {
	// Name is the node's for good: its data directory bears it.
	Name string
	// Address is host:port, where the node accepts connections of all kinds.
	Address string
}

const (
	defaultClusterElection = time.Second
	shortestElection       = 50 * time.Millisecond
	longestName            = 64
)

func (c Cluster) withDefaults() (Cluster, error) {
	if c.ElectionTimeout == 0 {
		c.ElectionTimeout = defaultClusterElection
	}
	if c.ElectionTimeout < shortestElection {
		return c, fmt.Errorf("the election time-out %v is shorter than %v", c.ElectionTimeout, shortestElection)
	}
	if !isName(c.Name) {
		return c, fmt.Errorf("the cluster's name %q: want 1 to %d letters, digits, dots, hyphens or underscores", c.Name, longestName)
	}
	c.Members = slices.SortedFunc(slices.Values(c.Members), func(a, b Member) int { return cmp.Compare(a.Name, b.Name) })
	return c, c.checkMembers()
}

func (c *Cluster) checkMembers() error {
	if n := len(c.Members); n < 3 || n > 7 || n%2 == 0 {
		return fmt.Errorf("a cluster of %d nodes: want 3, 5 or 7; one node alone needs no cluster", n)
	}
	addresses := make(map[string]string)
	for i, m := range c.Members {
		if !isName(m.Name) {
			return fmt.Errorf("the node's name %q: want 1 to %d letters, digits, dots, hyphens or underscores", m.Name, longestName)
		}
		if i > 0 && c.Members[i-1].Name == m.Name {
			return fmt.Errorf("two nodes of the cluster are called %s", m.Name)
		}
		if _, _, err := net.SplitHostPort(m.Address); err != nil {
			return fmt.Errorf("the address %q of node %s: want host:port", m.Address, m.Name)
		}
		if other, taken := addresses[m.Address]; taken {
			return fmt.Errorf("nodes %s and %s of the cluster have one address, %s", other, m.Name, m.Address)
		}
		addresses[m.Address] = m.Name
	}
	if c.index(c.Self) < 0 {
		return fmt.Errorf("this node, %q, is not one of the cluster's: %s", c.Self, c.list())
	}
	return nil
}

func isName(s string) bool {
	strange := func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '.' && r != '-' && r != '_'
	}
	return s != "" && len(s) <= longestName && !strings.ContainsFunc(s, strange)
}

// index is the place of a node among all, in the order of their names, or -1.
func (c *Cluster) index(name string) int {
	return slices.IndexFunc(c.Members, func(m Member) bool { return m.Name == name })
}

func (c *Cluster) member(name string) Member {
	if i := c.index(name); i >= 0 {
		return c.Members[i]
	}
	return Member{}
}

// list is all members as text, in the order of their names.
func (c *Cluster) list() string {
	parts := make([]string, len(c.Members))
	for i, m := range c.Members {
		parts[i] = m.Name + "=" + m.Address
	}
	return strings.Join(parts, ",")
}

// digest stands for what must be the same on all nodes: the members, and the
// election time-out, on which the leader's lease rests.
func (c *Cluster) digest() string {
	text := c.list() + " " + c.ElectionTimeout.String()
	return fmt.Sprintf("%08x", crc32.Checksum([]byte(text), crc32.MakeTable(crc32.Castagnoli)))
}

// configuration is the membership as Raft has it.
func (c *Cluster) configuration() hraft.Configuration {
	var all hraft.Configuration
	for _, m := range c.Members {
		all.Servers = append(all.Servers, hraft.Server{ID: hraft.ServerID(m.Name), Address: hraft.ServerAddress(m.Address)})
	}
	return all
}

// checkConfiguration refuses a list of members other than that which the log has.
func (c *Cluster) checkConfiguration(logged hraft.Configuration) error {
	var have Cluster
	for _, server := range logged.Servers {
		have.Members = append(have.Members, Member{Name: string(server.ID), Address: string(server.Address)})
	}
	slices.SortFunc(have.Members, func(a, b Member) int { return cmp.Compare(a.Name, b.Name) })
	if have.list() != c.list() {
		return fmt.Errorf("the cluster was begun with the nodes %s, and is configured with %s; this release does not change them: configure the first list",
			have.list(), c.list())
	}
	return nil
}

// ErrOtherNode: the data directory belongs to another node, or to a node alone
// where one of a cluster is wanted, or the reverse. Choose the right directory.
var ErrOtherNode = errors.New("the data directory is another node's")

// check refuses the directory of anybody but this node; c is nil for a node alone.
func (id *Identity) check(c *Cluster) error {
	switch {
	case c == nil && id.Node == "", c != nil && id.Node == c.Self && id.Cluster == c.Name:
		return nil
	case c == nil:
		return fmt.Errorf("%w: it is that of node %s of cluster %s; configure the cluster, or choose another directory", ErrOtherNode, id.Node, id.Cluster)
	case id.Node == "":
		return fmt.Errorf("%w: it is that of a node alone, whose log this release does not turn into a cluster's; choose an empty directory for node %s",
			ErrOtherNode, c.Self)
	default:
		return fmt.Errorf("%w: it is that of node %s of cluster %s, and this is node %s of cluster %s; choose that one's directory",
			ErrOtherNode, id.Node, id.Cluster, c.Self, c.Name)
	}
}
