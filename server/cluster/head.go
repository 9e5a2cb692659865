package cluster

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/qiao-tx/qiao/server/coordinator"
	"github.com/qiao-tx/qiao/server/peers"
)

// Keys of the head map on a link.
const (
	// HeadNode is the advertised address of the node that speaks: a RegisterTM with
	// it opens a link, and the answer has it when the link is accepted.
	HeadNode = "qiao-node"
	// HeadMeant is the node that the link is meant for.
	HeadMeant = "qiao-meant"
	// HeadChannel is the number, at the near end, of a resource manager's channel.
	HeadChannel = "qiao-channel"
	// HeadAddress is ip:port of a client, as the node sees it that it is connected to.
	HeadAddress = "qiao-address"
	// HeadUndelivered says why an order has no answer, and HeadGone that it was not
	// given because the client is gone.
	HeadUndelivered = "qiao-undelivered"
	HeadGone        = "qiao-gone"
	// HeadClient is the client id and HeadGroup the service group of the client that
	// a forwarded request is from.
	HeadClient = "qiao-client"
	HeadGroup  = "qiao-group"

	// headLevel is there when the client is one of ours (see package gateway).
	headLevel = "qiao"
	level     = "1"
)

// channelOf reads HeadChannel.
func channelOf(head map[string]string) (uint64, error) {
	n, err := strconv.ParseUint(head[HeadChannel], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("a message of another node names the channel %q; is it of another version?", head[HeadChannel])
	}
	return n, nil
}

// addressOf reads HeadAddress. A client without an address, over a transport that
// has none, gets the zero one.
func addressOf(head map[string]string) (netip.AddrPort, error) {
	text := head[HeadAddress]
	if text == "" {
		return netip.AddrPort{}, nil
	}
	address, err := netip.ParseAddrPort(text)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("a message of another node names the address %q: %w", text, err)
	}
	return address, nil
}

// forwarded is the head map of a request that the caller sent with head.
func forwarded(from *coordinator.Caller, head map[string]string) map[string]string {
	all := make(map[string]string, len(head)+3)
	for key, value := range head {
		all[key] = value
	}
	delete(all, headLevel)
	if from.Qiao {
		all[headLevel] = level
	}
	all[HeadClient], all[HeadGroup] = from.ClientID, from.Group
	return all
}

// maxCallers caps the clients of one link that are remembered.
const maxCallers = 4096

// callers is the reverse of forwarded. It remembers who was read, so that all that is
// kept of a client, such as its id in each of its branches, is one text.
type callers map[callerKey]coordinator.Caller

type callerKey struct {
	id, group string
	qiao      bool
}

// of reads the caller of a forwarded request.
func (c callers) of(head map[string]string) coordinator.Caller {
	_, qiao := head[headLevel]
	key := callerKey{head[HeadClient], head[HeadGroup], qiao}
	if caller, ok := c[key]; ok {
		return caller
	}
	if len(c) >= maxCallers {
		clear(c)
	}
	key.id, key.group = strings.Clone(key.id), strings.Clone(key.group)
	c[key] = coordinator.Caller{ClientID: key.id, ApplicationID: peers.ApplicationOf(key.id), Group: key.group, Qiao: qiao}
	return c[key]
}
