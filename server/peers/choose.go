package peers

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/qiao-tx/qiao/protocol"
)

// ErrNoChannel: no connected client serves the resource. One may come back.
var ErrNoChannel = errors.New("no connected client serves the resource")

// Send gives an order to a channel of the resource and passes the answer on to
// done, which is called once, from any goroutine. Whatever is not the answer to
// this order, or none within timeout, is an error. Send does not block.
//
// The channel is the one of clientID, which registered the branch, or else one
// of the same application on the same address, of the same application, and,
// with anyApplication or without a clientID, of another one. Of equals, one of a
// client that is connected here comes before one at another node.
func (r *Registry) Send(resourceID, clientID string, anyApplication bool, order protocol.Message,
	timeout time.Duration, done func(protocol.Message, error),
) {
	r.send(&request{resourceID, clientID, anyApplication, order, timeout, done}, nil)
}

// request is what Send was asked for.
type request struct {
	resourceID, clientID string
	anyApplication       bool
	order                protocol.Message
	timeout              time.Duration
	done                 func(protocol.Message, error)
}

// send gives the order to the best channel but those that had ended before they got
// it, which this node may learn later than from their node's answer.
func (r *Registry) send(s *request, ended []*Channel) {
	c := r.choose(s.resourceID, s.clientID, s.anyApplication, ended...)
	if c == nil {
		s.done(nil, fmt.Errorf("%w %s, for a branch of %s", ErrNoChannel, s.resourceID, s.clientID))
		return
	}
	c.carrier.Go(s.order, s.timeout, func(answer protocol.Message, err error) {
		if errors.Is(err, ErrEnded) {
			r.send(s, append(ended, c))
			return
		}
		if err == nil {
			if err = checkAnswer(s.order, answer); err != nil {
				r.logger.Warn("a resource manager answered nonsense", "client", c.Identity().ClientID,
					"resource", s.resourceID, "order", fmt.Sprintf("%T", s.order), "error", err)
			}
		}
		if err != nil {
			s.done(nil, fmt.Errorf("resource manager %s: %w", c.Identity().ClientID, err))
			return
		}
		s.done(answer, nil)
	})
}

// choose picks a channel that is none of those excluded, or returns nil.
func (r *Registry) choose(resourceID, clientID string, anyApplication bool, excluded ...*Channel) *Channel {
	r.mu.RLock()
	defer r.mu.RUnlock()
	// A new process may have the port of one that is gone.
	for _, c := range r.clients[clientID] {
		if c.serves(resourceID) && !slices.Contains(excluded, c) {
			return c
		}
	}
	hosts := r.resources[resourceID]
	application, address := splitClientID(clientID)
	wanted := hostKey{application: application, ip: address.Addr()}
	anyApplication = anyApplication || clientID == ""
	var best *Channel
	bestRank := rankNone
	for key, h := range hosts {
		if key.application != application && !anyApplication {
			continue
		}
		for _, c := range h.channels {
			if rank := rankOf(key, wanted, c.serves(resourceID)); rank < bestRank && !slices.Contains(excluded, c) {
				best, bestRank = c, rank
			}
		}
	}
	return best
}

// Ranks of a channel for an order, best first. Those that registered the
// resource themselves come before those that only stand in for another channel
// of their host, at the same node: Java does not tell the two apart, and so may
// ask a process that has never heard of the resource while another one that has
// is connected. Within each rank the clients of this node come first.
const (
	rankSameHost = 2 * iota
	rankSameApplication
	rankOtherApplication
	rankStandIn
	rankNone      = 2 * rankStandIn
	rankElsewhere = 1
)

func rankOf(have, want hostKey, registered bool) int {
	rank := rankOtherApplication
	switch {
	case have.application == want.application && have.ip == want.ip:
		rank = rankSameHost
	case have.application == want.application:
		rank = rankSameApplication
	}
	if !registered {
		rank += rankStandIn
	}
	if have.node != "" {
		rank += rankElsewhere
	}
	return rank
}

// splitClientID takes "applicationId:ip:port" apart. The application may have
// colons of its own. Of what is no client id it makes the text before the first
// colon and an address that no channel has.
func splitClientID(clientID string) (application string, address netip.AddrPort) {
	colon := strings.LastIndexByte(clientID, ':') // before the port
	if bracket := strings.LastIndexByte(clientID, '['); bracket > 0 {
		colon = bracket - 1
	} else if colon > 0 {
		colon = strings.LastIndexByte(clientID[:colon], ':')
	}
	if colon > 0 {
		if address, err := netip.ParseAddrPort(clientID[colon+1:]); err == nil {
			return clientID[:colon], netip.AddrPortFrom(address.Addr().Unmap(), address.Port())
		}
	}
	application, _, _ = strings.Cut(clientID, ":")
	return application, netip.AddrPort{}
}

// checkAnswer tells whether answer is one to order.
func checkAnswer(order, answer protocol.Message) error {
	var asked *protocol.BranchOrder
	var outcome *protocol.BranchOutcome
	switch o := order.(type) {
	case *protocol.BranchCommit:
		asked = &o.BranchOrder
		if a, ok := answer.(*protocol.BranchCommitResult); ok {
			outcome = &a.BranchOutcome
		}
	case *protocol.BranchRollback:
		asked = &o.BranchOrder
		if a, ok := answer.(*protocol.BranchRollbackResult); ok {
			outcome = &a.BranchOutcome
		}
	}
	switch {
	case outcome == nil:
		return fmt.Errorf("it answered %T with %T", order, answer)
	case outcome.XID != asked.XID || outcome.BranchID != asked.BranchID:
		return fmt.Errorf("asked for branch %d of %s it answered for branch %d of %q",
			asked.BranchID, asked.XID, outcome.BranchID, outcome.XID)
	case outcome.Status < protocol.BranchUnknown || outcome.Status > protocol.BranchStopRetry:
		return fmt.Errorf("it answered with branch status %d, which does not exist", outcome.Status)
	}
	return nil
}

// DeleteUndoLogs tells one channel of each resource to delete undo logs that
// are older than days; other nodes tell those of their own clients. It has no answer; a channel that cannot be told is told
// the next time. A client before Seata 0.8 does not know the message, and gets
// none.
func (r *Registry) DeleteUndoLogs(days int16) {
	type order struct {
		resource string
		channel  *Channel
	}
	var orders []order
	r.mu.RLock()
	for resource, hosts := range r.resources {
		if c := anyServing(hosts, resource); c != nil {
			orders = append(orders, order{resource, c})
		}
	}
	r.mu.RUnlock()
	for _, o := range orders {
		m := &protocol.UndoLogDelete{Type: protocol.TypeAT, ResourceID: o.resource, SaveDays: days}
		if err := o.channel.conn.Send(m); err != nil {
			r.logger.Info("a resource manager was not told to delete old undo logs",
				"client", o.channel.Identity().ClientID, "resource", o.resource, "error", err)
		}
	}
}

func anyServing(hosts map[hostKey]*host, resource string) *Channel {
	for _, h := range hosts {
		for _, c := range h.channels {
			if c.conn != nil && c.serves(resource) && c.knowsUndoLogDelete() {
				return c
			}
		}
	}
	return nil
}

// knowsUndoLogDelete: a client that tells no version is not Seata's own; it is
// taken for a new one.
func (c *Channel) knowsUndoLogDelete() bool {
	v := c.identity.Load().Version
	return v == 0 || v >= versionUndoLogDelete
}
