package cluster

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/rpc"
	"github.com/qiao-tx/qiao/server/peers"
)

const (
	// announcing caps the announcements that the far end has not answered.
	announcing = 64
	// announceTimeout is how long it has for one. A link that is slower is closed.
	announceTimeout = 10 * time.Second
	// announceMax is how many resources one announcement names at most.
	announceMax = 500
)

// announcer tells the far end of one link which resource managers are connected
// here, and takes its orders to them.
type announcer struct {
	mesh *Mesh

	mu sync.Mutex
	// announced has what the far end knows, by the channels' numbers.
	announced map[uint64]*announced
}

type announced struct {
	channel   *peers.Channel
	who       protocol.Identity
	address   netip.AddrPort
	resources []string
}

// announce tells the far end all and then each change, until the link or ctx ends.
func (a *announcer) announce(ctx context.Context, conn *rpc.Conn) error {
	watch := a.mesh.cfg.Peers.Watch()
	defer watch.Close()
	window := make(chan struct{}, announcing)
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-conn.Done():
			return conn.Err()
		case <-watch.Changed():
		}
		for _, rm := range watch.Take() {
			for _, m := range a.news(rm) {
				select {
				case window <- struct{}{}:
				case <-conn.Done():
					return conn.Err()
				}
				conn.Ask(m, headOf(rm), announceTimeout, func(r rpc.Response, err error) {
					<-window
					a.answered(conn, m, r, err)
				})
			}
		}
	}
}

// answered closes a link on which an announcement is lost: the next one begins
// anew.
func (a *announcer) answered(conn *rpc.Conn, m protocol.Message, r rpc.Response, err error) {
	if err != nil {
		conn.Close(fmt.Errorf("an announcement was not answered: %w", err))
		return
	}
	var result *protocol.Result
	switch answer := r.Message.(type) {
	case *protocol.RegisterRMResult:
		result = &answer.Result
	case *protocol.UnregisterRMResult:
		result = &answer.Result
	default:
		conn.Close(fmt.Errorf("%T was answered with %T", m, r.Message))
		return
	}
	if result.Code != protocol.ResultSuccess {
		a.mesh.cfg.Logger.Error("another coordinator does not take a resource manager of this one, which gets no orders of it",
			"node", conn.RemoteAddr(), "reason", result.Message)
	}
}

func headOf(rm peers.LocalRM) map[string]string {
	head := map[string]string{HeadChannel: strconv.FormatUint(rm.Channel.Number(), 10)}
	if rm.Address.IsValid() {
		head[HeadAddress] = rm.Address.String()
	}
	return head
}

// news notes how a resource manager is now and returns what the far end has to be
// told of it. From then on the far end's orders are for what was noted.
func (a *announcer) news(rm peers.LocalRM) []protocol.Message {
	a.mu.Lock()
	defer a.mu.Unlock()
	number := rm.Channel.Number()
	before := a.announced[number]
	var news []protocol.Message
	if before != nil && (rm.Gone || before.who != rm.Who || before.address != rm.Address) {
		news = append(news, &protocol.UnregisterRM{Identity: before.who})
		delete(a.announced, number)
		before = nil
	}
	if rm.Gone {
		return news
	}
	var known []string
	if before != nil {
		known = before.resources
	}
	a.announced[number] = &announced{rm.Channel, rm.Who, rm.Address, rm.Resources}
	added, removed := difference(rm.Resources, known), difference(known, rm.Resources)
	for part := range slices.Chunk(removed, announceMax) {
		news = append(news, &protocol.UnregisterRM{Identity: rm.Who, ResourceIDs: strings.Join(part, ",")})
	}
	for part := range slices.Chunk(added, announceMax) {
		news = append(news, &protocol.RegisterRM{Identity: rm.Who, ResourceIDs: strings.Join(part, ",")})
	}
	if before == nil && len(added) == 0 {
		news = append(news, &protocol.RegisterRM{Identity: rm.Who})
	}
	return news
}

// difference is what a has and b has not.
func difference(a, b []string) []string {
	known := make(map[string]struct{}, len(b))
	for _, s := range b {
		known[s] = struct{}{}
	}
	return slices.DeleteFunc(slices.Clone(a), func(s string) bool { _, ok := known[s]; return ok })
}

// order hands an order of the far end to the resource manager it names. It runs on
// the link's reader and does not block.
func (a *announcer) order(conn *rpc.Conn, r rpc.Request) {
	undelivered := noOutcome(r.Message)
	number, err := channelOf(r.Head)
	if err == nil && undelivered == nil {
		err = fmt.Errorf("a message of another node is no order: %T", r.Message)
	}
	if err != nil {
		conn.Close(err)
		return
	}
	reply := func(m protocol.Message, head map[string]string) {
		err := conn.Reply(r, m, head)
		if err != nil && head == nil && !errors.Is(err, rpc.ErrClosed) {
			// Such as an answer that cannot be written: no reason to end the link.
			err = conn.Reply(r, undelivered, without(err))
		}
		if err != nil {
			conn.Close(err) // so that the far end asks again instead of waiting
		}
	}
	a.mu.Lock()
	to := a.announced[number]
	a.mu.Unlock()
	if to == nil {
		reply(undelivered, map[string]string{HeadUndelivered: "the client has left the node", HeadGone: ""})
		return
	}
	a.mesh.stats.carried.Add(1)
	to.channel.Order(r.Message, a.mesh.cfg.AnswerTimeout, func(answer protocol.Message, err error) {
		if err != nil {
			reply(undelivered, without(err))
			return
		}
		reply(answer, nil)
	})
}

// without is the head map of what is no answer.
func without(err error) map[string]string {
	const maxReason = 1024
	why := err.Error()
	if len(why) > maxReason {
		why = strings.ToValidUTF8(why[:maxReason], "")
	}
	return map[string]string{HeadUndelivered: why}
}

// noOutcome is the body that goes with HeadUndelivered, or nil for what is no order.
func noOutcome(order protocol.Message) protocol.Message {
	none := func(o *protocol.BranchOrder) protocol.BranchOutcome {
		return protocol.BranchOutcome{
			TxResult: protocol.Failure(protocol.ExceptionUnknown, "the order was not delivered"),
			XID:      o.XID, BranchID: o.BranchID, Status: protocol.BranchUnknown,
		}
	}
	switch o := order.(type) {
	case *protocol.BranchCommit:
		return &protocol.BranchCommitResult{BranchOutcome: none(&o.BranchOrder)}
	case *protocol.BranchRollback:
		return &protocol.BranchRollbackResult{BranchOutcome: none(&o.BranchOrder)}
	}
	return nil
}
