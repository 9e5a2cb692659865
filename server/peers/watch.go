package peers

import (
	"maps"
	"net/netip"
	"slices"

	"github.com/qiao-tx/qiao/protocol"
)

// Watch gathers which resource managers connected to this node have changed. It
// holds each changed channel once, however often it changed, so that whoever reads
// slowly misses nothing and makes nobody wait.
type Watch struct {
	registry *Registry
	wake     chan struct{} // capacity 1: dirty is not empty
	dirty    map[*Channel]struct{}
}

// Watch begins with all resource managers there are. Close ends it.
func (r *Registry) Watch() *Watch {
	r.mu.Lock()
	defer r.mu.Unlock()
	w := &Watch{registry: r, wake: make(chan struct{}, 1), dirty: make(map[*Channel]struct{})}
	r.watches[w] = struct{}{}
	for c := range r.channels {
		w.note(c)
	}
	return w
}

// Close ends the watch.
func (w *Watch) Close() {
	w.registry.mu.Lock()
	defer w.registry.mu.Unlock()
	delete(w.registry.watches, w)
}

// Changed has a value when Take has something to return.
func (w *Watch) Changed() <-chan struct{} { return w.wake }

// LocalRM is a resource manager that is connected to this node, as it is now.
type LocalRM struct {
	Channel *Channel
	// Gone: its connection has ended, and nothing below is set.
	Gone bool
	// Who is what it registered as.
	Who protocol.Identity
	// Address is its end of the connection.
	Address netip.AddrPort
	// Resources are those it serves, in order.
	Resources []string
}

// Take returns the resource managers that changed since the last Take, in the
// order of their channels' numbers.
func (w *Watch) Take() []LocalRM {
	w.registry.mu.Lock()
	defer w.registry.mu.Unlock()
	all := make([]LocalRM, 0, len(w.dirty))
	for c := range w.dirty {
		all = append(all, c.local())
	}
	clear(w.dirty)
	slices.SortFunc(all, func(a, b LocalRM) int { return int(a.Channel.number) - int(b.Channel.number) })
	return all
}

// local describes the channel. The lock is held.
func (c *Channel) local() LocalRM {
	if c.closed {
		return LocalRM{Channel: c, Gone: true}
	}
	id := c.identity.Load()
	return LocalRM{
		Channel: c, Address: c.remote, Resources: slices.Sorted(maps.Keys(c.resources)),
		Who: protocol.Identity{Version: id.Version.String(), ApplicationID: id.ApplicationID, Group: id.Group},
	}
}

// changed tells the watches of a channel of this node. The lock is held.
func (c *Channel) changed() {
	for w := range c.registry.watches {
		w.note(c)
	}
}

// note marks a channel as changed, if it is a resource manager's here. The lock is
// held.
func (w *Watch) note(c *Channel) {
	if id := c.identity.Load(); c.node != "" || id == nil || !id.RM {
		return
	}
	w.dirty[c] = struct{}{}
	select {
	case w.wake <- struct{}{}:
	default:
	}
}
