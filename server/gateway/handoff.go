package gateway

import (
	"net"
	"sync"
)

// handoff is a listener of connections that another listener accepted.
type handoff struct {
	conns chan net.Conn
	ended chan struct{}
	end   func()
}

func newHandoff() *handoff {
	h := &handoff{conns: make(chan net.Conn), ended: make(chan struct{})}
	h.end = sync.OnceFunc(func() { close(h.ended) })
	return h
}

// give passes a connection to whoever accepts, or closes it after the end.
func (h *handoff) give(nc net.Conn) {
	select {
	case h.conns <- nc:
	case <-h.ended:
		_ = nc.Close()
	}
}

func (h *handoff) Accept() (net.Conn, error) {
	select {
	case nc := <-h.conns:
		return nc, nil
	case <-h.ended:
		return nil, net.ErrClosed
	}
}

func (h *handoff) Close() error {
	h.end()
	return nil
}

// Addr is no particular address: each connection knows its own.
func (h *handoff) Addr() net.Addr { return &net.TCPAddr{} }
