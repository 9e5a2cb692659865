package gateway

import (
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/rpc"
	"github.com/qiao-tx/qiao/server/cluster"
	"github.com/qiao-tx/qiao/server/coordinator"
	"github.com/qiao-tx/qiao/server/peers"
)

// headLevel is the head-map key by which our own peers recognise each other;
// its value is the level of extensions.
const (
	headLevel = "qiao"
	level     = "1"
)

// session is one connection of a Seata client.
type session struct {
	server  *Server
	conn    *rpc.Conn
	channel *peers.Channel
	// transport is "seata" or "grpc", for the log.
	transport string
	ready     chan struct{} // closed when conn and channel are set
	// guest is set, by the connection's reader, once it is a link of another node.
	guest *cluster.Guest
}

// handle takes one message. It runs on the connection's reader and does not
// block.
func (s *session) handle(_ *rpc.Conn, r rpc.Request) {
	<-s.ready
	if s.guest != nil {
		s.guest.Handle(r)
		return
	}
	switch m := r.Message.(type) {
	case *protocol.RegisterTM:
		s.registerTM(r, m)
	case *protocol.RegisterRM:
		s.registerRM(r, m)
	case *protocol.UnregisterRM:
		s.unregisterRM(r, m)
	default:
		id := s.channel.Identity()
		if id == nil {
			s.refuse(errUnregistered, m)
			return
		}
		if merged, ok := m.(*protocol.Merged); ok {
			s.merged(id, r, merged)
			return
		}
		ok := s.request(id, m, r.Head, func(answer protocol.Message, head map[string]string) {
			s.reply(r, answer, head)
		})
		if !ok {
			s.refuse(errNoRequest, m)
		}
	}
}

// refuse closes the connection because of a message.
func (s *session) refuse(why error, m protocol.Message) {
	s.conn.Close(fmt.Errorf("%w: %T", why, m))
}

// request has one request carried out. It returns false, and answers nothing,
// for a message that is none.
func (s *session) request(id *peers.Identity, m protocol.Message, head map[string]string, reply coordinator.Replier) bool {
	requests := &s.server.requests
	ok, first := requests.enter()
	if !ok {
		if first {
			s.server.cfg.Logger.Error("too many requests under way: further ones fail at once; raise max-requests or add servers",
				"limit", requests.limit, "client", id.ClientID)
		}
		answer := coordinator.Failed(m, fmt.Sprintf(
			"the coordinator is overloaded: %d requests are under way; nothing was done, try again later", requests.limit))
		if answer == nil {
			return false
		}
		reply(answer, nil)
		return true
	}
	from := coordinator.Caller{ClientID: id.ClientID, ApplicationID: id.ApplicationID, Group: id.Group, Qiao: id.Qiao}
	ok = s.server.cfg.Coordinator.Handle(from, m, head, func(answer protocol.Message, head map[string]string) {
		requests.leave()
		reply(forVersion(id.Version, answer), head)
	})
	if !ok {
		requests.leave()
	}
	return ok
}

// reply sends an answer. A client that cannot be answered is disconnected, so
// that it asks again instead of waiting.
func (s *session) reply(r rpc.Request, m protocol.Message, head map[string]string) {
	if err := s.conn.Reply(r, m, head); err != nil && !errors.Is(err, rpc.ErrClosed) {
		s.conn.Close(err)
	}
}

func (s *session) registerTM(r rpc.Request, m *protocol.RegisterTM) {
	if cluster.IsNode(r.Head) {
		s.registerNode(r)
		return
	}
	qiao := isQiao(r)
	if err := s.channel.RegisterTM(&m.Identity, qiao); err != nil {
		return // the connection has ended
	}
	s.conn.SpeakAs(r)
	s.logRegistration("a transaction manager registered", &m.Identity)
	s.reply(r, &protocol.RegisterTMResult{Result: succeeded(), Identified: true, Version: protocol.SeataVersion}, levelHead(qiao))
}

// registerNode makes the session another node's.
func (s *session) registerNode(r rpc.Request) {
	mesh := s.server.cfg.Mesh
	switch {
	case s.channel.Identity() != nil:
		s.refuse(errBothClientAndNode, r.Message)
	case mesh == nil:
		cluster.Refuse(s.conn, r, errAlone)
	default:
		s.guest = mesh.Accept(s.conn, r)
	}
}

func (s *session) registerRM(r rpc.Request, m *protocol.RegisterRM) {
	qiao := isQiao(r)
	added, err := s.channel.RegisterRM(&m.Identity, m.ResourceIDs, qiao)
	switch {
	case errors.Is(err, peers.ErrEnded):
		return
	case err != nil:
		s.server.cfg.Logger.Warn("refused to register a resource manager", "client", s.conn.RemoteAddr(),
			"application", m.ApplicationID, "error", err)
		s.reply(r, &protocol.RegisterRMResult{Result: failed(err), Version: protocol.SeataVersion}, levelHead(qiao))
		return
	}
	// Orders go out as the client last introduced itself: whatever it is configured
	// for, that it understands. (Java's server sends them in the server's own
	// codec, which a client that allows another one alone drops.)
	s.conn.SpeakAs(r)
	s.logRegistration("a resource manager registered", &m.Identity, "resources", m.ResourceIDs)
	s.reply(r, &protocol.RegisterRMResult{Result: succeeded(), Identified: true, Version: protocol.SeataVersion}, levelHead(qiao))
	for _, resource := range added {
		s.server.cfg.Coordinator.ResourceUp(resource)
	}
}

func (s *session) unregisterRM(r rpc.Request, m *protocol.UnregisterRM) {
	s.channel.Unregister(m.ResourceIDs)
	s.logRegistration("a resource manager withdrew resources", &m.Identity, "resources", m.ResourceIDs)
	s.reply(r, &protocol.UnregisterRMResult{Result: succeeded(), Identified: true, Version: protocol.SeataVersion}, levelHead(isQiao(r)))
}

func isQiao(r rpc.Request) bool {
	_, ok := r.Head[headLevel]
	return ok
}

func levelHead(qiao bool) map[string]string {
	if !qiao {
		return nil
	}
	return map[string]string{headLevel: level}
}

func succeeded() protocol.Result { return protocol.Result{Code: protocol.ResultSuccess} }

func failed(err error) protocol.Result {
	return protocol.Result{Code: protocol.ResultFailed, Message: err.Error()}
}

func (s *session) application() string {
	if id := s.channel.Identity(); id != nil {
		return id.ApplicationID
	}
	return ""
}

func (s *session) logRegistration(message string, who *protocol.Identity, more ...any) {
	s.server.cfg.Logger.Info(message, append([]any{"client", s.conn.RemoteAddr(), "transport", s.transport,
		"application", who.ApplicationID, "group", who.Group, "version", who.Version}, more...)...)
}

// logEnd logs why a connection ended: quietly when the peer went or we shut
// down, else so that the peer's operator can be told.
func (s *Server) logEnd(message string, nc net.Conn, err error, more ...any) {
	args := append([]any{"client", nc.RemoteAddr(), "reason", err}, more...)
	switch {
	case errors.Is(err, errShutdown), errors.Is(err, io.EOF), errors.Is(err, net.ErrClosed),
		errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		s.cfg.Logger.Debug(message, args...)
	default:
		s.cfg.Logger.Warn(message, args...)
	}
}
