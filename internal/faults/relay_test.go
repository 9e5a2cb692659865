//go:build linux

package faults

import (
	"io"
	"net"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/frame"
	"github.com/qiao-tx/qiao/protocol/native"
)

// relay stands between the clients and the coordinator, on an address that
// stays while the coordinator's changes, and sees every message. Message types
// name their direction.
type relay struct {
	listener net.Listener
	running  sync.WaitGroup

	mu       sync.Mutex
	upstream string
	open     map[net.Conn]struct{} // nil when closed
	traps    []*trap
	begun    []string // XIDs, in order
}

// trap acts on the nth message of a type.
type trap struct {
	message protocol.TypeCode
	nth     int
	// delivered: the message reaches its receiver before act is called; else it
	// never does, as the connection is closed behind act.
	delivered bool
	act       func()
}

func newRelay(t *testing.T) *relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	r := &relay{listener: l, open: map[net.Conn]struct{}{}}
	r.running.Go(r.accept)
	t.Cleanup(r.close)
	return r
}

func (r *relay) address() string { return r.listener.Addr().String() }

func (r *relay) leadTo(address string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.upstream = address
}

func (r *relay) set(t *trap) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.traps = append(r.traps, t)
}

// lastBegun is the XID of the transaction that was begun last.
func (r *relay) lastBegun() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.begun) == 0 {
		return ""
	}
	return r.begun[len(r.begun)-1]
}

func (r *relay) close() {
	_ = r.listener.Close()
	r.mu.Lock()
	for c := range r.open {
		_ = c.Close()
	}
	r.open = nil
	r.mu.Unlock()
	r.running.Wait()
}

func (r *relay) accept() {
	for {
		client, err := r.listener.Accept()
		if err != nil {
			return
		}
		r.mu.Lock()
		upstream := r.upstream
		r.mu.Unlock()
		server, err := net.Dial("tcp", upstream)
		if err != nil {
			_ = client.Close()
			continue
		}
		r.pump(client, server)
		r.pump(server, client)
	}
}

// pump carries frames one way until either end closes.
func (r *relay) pump(from, to net.Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.open == nil {
		_ = from.Close()
		return
	}
	r.open[from] = struct{}{}
	r.running.Go(func() {
		for r.carry(from, to) {
		}
		_ = from.Close()
		_ = to.Close()
		r.mu.Lock()
		delete(r.open, from)
		r.mu.Unlock()
	})
}

// carry passes one frame on; false ends the connection.
func (r *relay) carry(from io.Reader, to io.Writer) bool {
	header := make([]byte, frame.HeaderLen)
	if _, err := io.ReadFull(from, header); err != nil {
		return false
	}
	n, err := frame.Length(header, frame.MaxLen)
	if err != nil {
		return false
	}
	whole := append(header, make([]byte, n-len(header))...)
	if _, err := io.ReadFull(from, whole[len(header):]); err != nil {
		return false
	}
	sprung := r.spring(whole)
	if sprung != nil && !sprung.delivered {
		sprung.act()
		return false
	}
	_, err = to.Write(whole)
	if sprung != nil {
		sprung.act()
	}
	return err == nil
}

// spring returns the trap that the frame sets off, if any.
func (r *relay) spring(whole []byte) *trap {
	f, err := frame.Decode(whole)
	if err != nil || len(f.Body) == 0 {
		return nil
	}
	m, err := native.Decode(f.Body)
	if err != nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if begun, ok := m.(*protocol.GlobalBeginResult); ok {
		r.begun = append(r.begun, begun.XID)
	}
	for i, t := range r.traps {
		if t.message != m.TypeCode() {
			continue
		}
		if t.nth--; t.nth == 0 {
			r.traps = append(r.traps[:i:i], r.traps[i+1:]...)
			return t
		}
	}
	return nil
}
