package cluster

import (
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/rpc"
	"github.com/qiao-tx/qiao/server/peers"
)

// maxRemote caps the resource managers that one node may announce.
const maxRemote = 100_000

// errReplaced closes a link whose node has opened another one.
var errReplaced = errors.New("the node has opened a new link")

// Guest is the far end, at this node, of another node's link.
type Guest struct {
	mesh *Mesh
	conn *rpc.Conn
	node string
	// callers is the connection's reader's.
	callers callers

	mu sync.Mutex
	// channels are the resource managers announced, by their numbers there; nil once
	// the link has ended.
	channels map[uint64]*peers.Channel
}

// IsNode tells whether a registration opens a link.
func IsNode(head map[string]string) bool {
	_, ok := head[HeadNode]
	return ok
}

// Accept takes over a connection whose first message opens a link, and answers that.
// A nil Guest is a refusal: the other node goes. Otherwise all further messages are
// for Guest.Handle, and when the connection has ended, Guest.Close must be called.
func (m *Mesh) Accept(conn *rpc.Conn, r rpc.Request) *Guest {
	from, meant := r.Head[HeadNode], r.Head[HeadMeant]
	if err := m.refuses(from, meant); err != nil {
		Refuse(conn, r, err)
		return nil
	}
	g := &Guest{mesh: m, conn: conn, node: from, callers: make(callers), channels: make(map[uint64]*peers.Channel)}
	m.mu.Lock()
	old := m.guests[from]
	m.guests[from] = g
	l := m.links[from]
	m.mu.Unlock()
	if old != nil {
		// What was asked of it fails before the new link announces who may be asked.
		old.conn.Close(errReplaced)
		old.conn.Wait()
		old.Close()
	}
	if l != nil {
		l.heard()
	}
	m.cfg.Logger.Debug("another coordinator opened a link", "node", from, "from", conn.RemoteAddr())
	g.reply(r, &protocol.RegisterTMResult{
		Result: protocol.Result{Code: protocol.ResultSuccess}, Identified: true, Version: protocol.SeataVersion,
	}, map[string]string{HeadNode: m.cfg.Address})
	return g
}

// refuses says why a link cannot be, or nil.
func (m *Mesh) refuses(from, meant string) error {
	switch {
	case from == m.cfg.Address:
		return fmt.Errorf("the coordinator at %s has reached itself, or another one has its address; give each an address of its own (advertise)", from)
	case meant != m.cfg.Address:
		return fmt.Errorf("this is the coordinator %s, and not %s", m.cfg.Address, meant)
	}
	return nil
}

// Refuse answers a message that opens a link with the reason why it cannot be.
func Refuse(conn *rpc.Conn, r rpc.Request, why error) {
	err := conn.Reply(r, &protocol.RegisterTMResult{
		Result: protocol.Result{Code: protocol.ResultFailed, Message: why.Error()}, Version: protocol.SeataVersion,
	}, nil)
	if err != nil {
		conn.Close(err)
	}
}

// Close forgets the node's resource managers. It may be called again.
func (g *Guest) Close() {
	g.mesh.mu.Lock()
	if g.mesh.guests[g.node] == g {
		delete(g.mesh.guests, g.node)
	}
	g.mesh.mu.Unlock()
	g.mu.Lock()
	channels := g.channels
	g.channels = nil
	g.mu.Unlock()
	for _, c := range channels {
		c.Close()
	}
}

// Handle takes one message of the other node. It runs on the connection's reader
// and does not block.
func (g *Guest) Handle(r rpc.Request) {
	switch m := r.Message.(type) {
	case *protocol.RegisterRM:
		g.register(r, m)
	case *protocol.UnregisterRM:
		g.unregister(r, m)
	default:
		g.mesh.stats.taken.Add(1)
		if !g.mesh.cfg.Requests.Handle(g.callers.of(r.Head), m, r.Head, func(answer protocol.Message, head map[string]string) {
			g.reply(r, answer, head)
		}) {
			g.conn.Close(fmt.Errorf("a message of another node is no request to a coordinator: %T", m))
		}
	}
}

// reply sends an answer. A node that cannot be answered is disconnected, so that it
// asks again instead of waiting.
func (g *Guest) reply(r rpc.Request, m protocol.Message, head map[string]string) {
	if err := g.conn.Reply(r, m, head); err != nil {
		g.conn.Close(err)
	}
}

func (g *Guest) register(r rpc.Request, m *protocol.RegisterRM) {
	c, err := g.channel(r)
	if err != nil {
		g.conn.Close(err)
		return
	}
	if c == nil {
		return // the link has ended
	}
	added, err := c.RegisterRM(&m.Identity, m.ResourceIDs, false)
	result := protocol.Result{Code: protocol.ResultSuccess}
	if err != nil {
		result = protocol.Result{Code: protocol.ResultFailed, Message: err.Error()}
	}
	g.reply(r, &protocol.RegisterRMResult{Result: result, Identified: err == nil, Version: protocol.SeataVersion}, nil)
	for _, resource := range added {
		g.mesh.cfg.Requests.ResourceUp(resource)
	}
}

// channel finds the channel that r is about, or makes it. It is nil after Close.
func (g *Guest) channel(r rpc.Request) (*peers.Channel, error) {
	number, err := channelOf(r.Head)
	if err != nil {
		return nil, err
	}
	address, err := addressOf(r.Head)
	if err != nil {
		return nil, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.channels == nil {
		return nil, nil
	}
	if c := g.channels[number]; c != nil {
		return c, nil
	}
	if len(g.channels) >= maxRemote {
		return nil, fmt.Errorf("node %s announces more than %d resource managers", g.node, maxRemote)
	}
	c := g.mesh.cfg.Peers.OpenRemote(g.node, &way{g, map[string]string{HeadChannel: strconv.FormatUint(number, 10)}}, address)
	g.channels[number] = c
	return c, nil
}

func (g *Guest) unregister(r rpc.Request, m *protocol.UnregisterRM) {
	number, err := channelOf(r.Head)
	if err != nil {
		g.conn.Close(err)
		return
	}
	g.mu.Lock()
	c := g.channels[number]
	if m.ResourceIDs == "" {
		delete(g.channels, number)
	}
	g.mu.Unlock()
	switch {
	case c == nil:
	case m.ResourceIDs == "":
		c.Close()
	default:
		c.Unregister(m.ResourceIDs)
	}
	g.reply(r, &protocol.UnregisterRMResult{
		Result: protocol.Result{Code: protocol.ResultSuccess}, Identified: true, Version: protocol.SeataVersion,
	}, nil)
}

// way is how orders get to a resource manager of another node.
type way struct {
	guest *Guest
	head  map[string]string
}

// Go implements peers.Carrier.
func (w *way) Go(m protocol.Message, timeout time.Duration, done func(protocol.Message, error)) {
	g := w.guest
	g.mesh.stats.relayed.Add(1)
	g.conn.Ask(m, w.head, timeout, func(r rpc.Response, err error) {
		if why, ok := r.Head[HeadUndelivered]; ok && err == nil {
			err = errors.New(why)
			if _, gone := r.Head[HeadGone]; gone {
				err = fmt.Errorf("%w: %s", peers.ErrEnded, why)
			}
		}
		if err != nil {
			done(nil, fmt.Errorf("by way of node %s: %w", g.node, err))
			return
		}
		done(r.Message, nil)
	})
}
