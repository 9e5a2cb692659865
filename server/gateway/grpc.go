package gateway

import (
	"net"

	"github.com/qiao-tx/qiao/protocol/rpc/grpc"
)

// serveGRPC serves the channels of a connection that speaks gRPC.
func (s *Server) serveGRPC(nc net.Conn) {
	c := grpc.NewCarrier(nc, grpc.Options{Accept: s.serveStream, Idle: s.cfg.FirstBytesTimeout})
	s.mu.Lock()
	s.carriers[c] = struct{}{}
	if s.stopped {
		c.Close()
	}
	s.mu.Unlock()
	err := c.Serve()
	s.mu.Lock()
	delete(s.carriers, c)
	s.mu.Unlock()
	if err != nil {
		s.logEnd("a gRPC connection ended", nc, err)
	}
}

// serveStream serves one stream as what it is to Seata, a connection; it counts
// as one, beside that which carries it.
func (s *Server) serveStream(stream net.Conn) {
	if !s.enter(stream) {
		if t, ok := stream.(interface{ CloseCause(error) error }); ok {
			_ = t.CloseCause(errTooMany)
		}
		return
	}
	defer s.connections.leave()
	s.serveSeata(stream, "grpc")
}
