package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/compress"
	"github.com/qiao-tx/qiao/protocol/rpc"
	"github.com/qiao-tx/qiao/protocol/rpc/grpc"
	"github.com/qiao-tx/qiao/server/cluster"
	"github.com/qiao-tx/qiao/server/coordinator"
	"github.com/qiao-tx/qiao/server/peers"
	"github.com/qiao-tx/qiao/storage"
)

// Coordinator is what the gateway needs of package coordinator.
type Coordinator interface {
	Handle(from coordinator.Caller, m protocol.Message, head map[string]string, reply coordinator.Replier) bool
	ResourceUp(resourceID string)
	Stats() coordinator.Stats
}

// Config is what a Server works with. All fields are required, but for those
// with a comment that explains their zero.
type Config struct {
	Coordinator Coordinator
	Peers       *peers.Registry
	// Mesh takes the connections of other nodes; nil where there are none.
	Mesh *cluster.Mesh
	// Store takes the connections of other nodes' stores, from their first byte on; nil
	// where there are none. It closes what it refuses, and says why.
	Store func(net.Conn) error
	// Standing is what /cluster tells; nil where there is no cluster.
	Standing func() any
	// Collectors are metrics beside the server's own.
	Collectors []prometheus.Collector
	// StoreStats and Health are asked when somebody reads the metrics or the
	// health. Health answers why the server cannot work, or nil.
	StoreStats func() storage.Stats
	Health     func() error
	Logger     *slog.Logger
	// Groups are the transaction groups that this server's cluster serves; the zero
	// keeps none.
	Groups Groups
	// Version is the build's, for /version.
	Version string
	// MaxConnections bounds the open connections, MaxRequests the requests that
	// have no answer yet.
	MaxConnections, MaxRequests int
	// FirstBytesTimeout is how long a connection may take to show its protocol.
	FirstBytesTimeout time.Duration
	// ReadIdleTimeout closes a Seata connection silent for so long; 0 never.
	ReadIdleTimeout time.Duration
	// BatchResponses: clients from 1.5.0 and before 2.3.0 get a BatchResult for
	// a merged request.
	BatchResponses bool
}

// Server serves one listener.
type Server struct {
	cfg         Config
	http        *http.Server
	handoff     *handoff // of HTTP's connections
	connections admission
	requests    admission
	compressors compress.Pool // of clients that compress

	mu       sync.Mutex
	listener net.Listener
	// sniffing are connections whose protocol is not known yet, sessions those
	// of Seata's, carriers those of gRPC, whose streams are sessions.
	sniffing map[net.Conn]struct{}
	carriers map[*grpc.Carrier]struct{}
	sessions map[*session]struct{}
	stopped  bool

	stop chan struct{}  // closed by Stop
	work sync.WaitGroup // the goroutines that Serve started
}

// New prepares a Server; Serve runs it.
func New(cfg Config) *Server {
	s := &Server{
		cfg:         cfg,
		connections: admission{limit: int64(cfg.MaxConnections)},
		requests:    admission{limit: int64(cfg.MaxRequests)},
		sniffing:    make(map[net.Conn]struct{}),
		carriers:    make(map[*grpc.Carrier]struct{}),
		sessions:    make(map[*session]struct{}),
		handoff:     newHandoff(),
		stop:        make(chan struct{}),
	}
	s.http = s.newHTTPServer()
	return s
}

// Errors with which the server itself ends connections.
var (
	errShutdown     = fmt.Errorf("%w: the server shuts down", grpc.ErrUnavailable)
	errTooMany      = fmt.Errorf("%w: too many connections", grpc.ErrUnavailable)
	errUnregistered = errors.New("a request came before any registration")
	errNoRequest    = errors.New("the message is no request to a coordinator")

	errNoCluster         = errors.New("this server is no node of a cluster (cluster.nodes)")
	errAlone             = errors.New("this coordinator shares its store with no other one")
	errBothClientAndNode = errors.New("a client's connection cannot become another node's")
)

// Serve accepts connections of l, which it closes, until Stop. It may be called
// once.
func (s *Server) Serve(l net.Listener) error {
	s.mu.Lock()
	if s.stopped {
		s.mu.Unlock()
		return l.Close()
	}
	s.listener = l
	s.work.Go(func() {
		// It ends with ErrServerClosed, after Close.
		_ = s.http.Serve(s.handoff)
	})
	s.mu.Unlock()
	return s.accept(l)
}

// accept runs the accept loop until Stop.
func (s *Server) accept(l net.Listener) error {
	const retryMax = time.Second
	retry := 5 * time.Millisecond
	for {
		nc, err := l.Accept()
		select {
		case <-s.stop:
			if err == nil {
				_ = nc.Close()
			}
			return nil
		default:
		}
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return fmt.Errorf("accept connections: %w", err)
			}
			// Such as too many open files: it passes when connections end.
			s.cfg.Logger.Error("cannot accept a connection", "error", err, "retry_in", retry)
			select {
			case <-time.After(retry):
			case <-s.stop:
			}
			retry = min(2*retry, retryMax)
			continue
		}
		retry = 5 * time.Millisecond
		s.admit(nc)
	}
}

// admit starts to serve a connection, or closes one too many.
func (s *Server) admit(nc net.Conn) {
	if !s.enter(nc) {
		_ = nc.Close()
		return
	}
	c := &admitted{Conn: nc, leave: sync.OnceFunc(s.connections.leave)}
	s.mu.Lock()
	if s.stopped {
		s.mu.Unlock()
		_ = c.Close()
		return
	}
	s.sniffing[c] = struct{}{}
	s.work.Go(func() { s.serve(c) })
	s.mu.Unlock()
}

// enter counts a connection in, if there is room for it.
func (s *Server) enter(nc net.Conn) bool {
	ok, first := s.connections.enter()
	if first {
		s.cfg.Logger.Error("too many connections: further ones are closed at once; raise max-connections or look for clients that leak them",
			"limit", s.cfg.MaxConnections, "client", nc.RemoteAddr())
	}
	return ok
}

// serve finds out what a connection speaks and serves it.
func (s *Server) serve(nc net.Conn) {
	spoken, c, err := sniff(nc, s.cfg.FirstBytesTimeout)
	s.mu.Lock()
	delete(s.sniffing, nc)
	s.mu.Unlock()
	switch {
	case err != nil:
		s.logEnd("closed a connection before its protocol was known", nc, err)
		_ = nc.Close()
	case spoken == speaksHTTP2:
		s.serveGRPC(c)
	case spoken == speaksNode:
		s.serveStore(c)
	case spoken == speaksHTTP:
		s.handoff.give(c)
	default:
		s.serveSeata(c, "seata")
	}
}

// serveStore gives a connection to the store.
func (s *Server) serveStore(nc net.Conn) {
	take := s.cfg.Store
	if take == nil {
		s.logEnd("refused another server's store", nc, errNoCluster)
		_ = nc.Close()
		return
	}
	if err := take(nc); err != nil {
		s.logEnd("refused another server's store", nc, err)
	}
}

// serveSeata serves a channel; transport is what carries it, in Seata's words.
func (s *Server) serveSeata(nc net.Conn, transport string) {
	ses := &session{server: s, transport: transport, ready: make(chan struct{})}
	ses.conn = rpc.New(nc, rpc.Options{
		Handler: ses.handle, ReadIdle: s.cfg.ReadIdleTimeout, Compressors: &s.compressors,
	})
	ses.channel = s.cfg.Peers.Open(ses.conn, remoteOf(nc))
	close(ses.ready)
	s.mu.Lock()
	s.sessions[ses] = struct{}{}
	if s.stopped {
		ses.conn.Close(errShutdown)
	}
	s.mu.Unlock()

	<-ses.conn.Done()
	ses.channel.Close()
	ses.conn.Wait()
	if ses.guest != nil {
		ses.guest.Close()
	}
	s.mu.Lock()
	delete(s.sessions, ses)
	s.mu.Unlock()
	s.logEnd("a connection ended", nc, ses.conn.Err(), "application", ses.application())
}

func remoteOf(nc net.Conn) netip.AddrPort {
	if a, ok := nc.RemoteAddr().(*net.TCPAddr); ok {
		return a.AddrPort()
	}
	return netip.AddrPort{}
}

// Stop ends accepting. What is connected stays so.
func (s *Server) Stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return
	}
	s.stopped = true
	close(s.stop)
	if s.listener != nil {
		// Nothing was promised to who is not accepted yet.
		_ = s.listener.Close()
	}
}

// Close stops, lets the answers that were given leave, closes all connections
// and waits for everything that Serve started. When ctx ends first, answers are
// lost and the error says so.
func (s *Server) Close(ctx context.Context) error {
	s.Stop()
	s.mu.Lock()
	for nc := range s.sniffing {
		_ = nc.Close()
	}
	sessions := make([]*session, 0, len(s.sessions))
	for ses := range s.sessions {
		sessions = append(sessions, ses)
	}
	s.mu.Unlock()
	lost := 0
	for _, ses := range sessions {
		if err := ses.conn.Flush(ctx); err != nil && !errors.Is(err, rpc.ErrClosed) {
			lost++
		}
		ses.conn.Close(errShutdown)
	}
	s.mu.Lock()
	for c := range s.carriers {
		c.Close()
	}
	s.mu.Unlock()
	err := s.http.Shutdown(ctx)
	if err != nil {
		err = errors.Join(err, s.http.Close())
	}
	s.handoff.end()
	s.work.Wait()
	if lost > 0 {
		err = errors.Join(err, fmt.Errorf("answers to %d clients may be lost: %w", lost, ctx.Err()))
	}
	return err
}
