//go:build linux

package compat

import (
	"encoding/binary"
	"io"
	"net"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/native"
)

// tap stands between one client and its coordinator and sees every message. Its
// connections to the coordinator come from the tap's own address, so that
// processes of this machine can seem to be on others.
type tap struct {
	listener net.Listener
	from     net.IP
	running  sync.WaitGroup

	mu       sync.Mutex
	upstream string
	open     map[net.Conn]struct{} // nil when closed
	seen     []seen
}

// seen is one message. Its type names its direction.
type seen struct {
	message protocol.Message
	// frame is the type of what the frame carried: message itself, or what
	// message is merged into.
	frame protocol.TypeCode
}

func newTap(t *testing.T, from string) *tap {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	r := &tap{listener: l, from: net.ParseIP(from), open: map[net.Conn]struct{}{}}
	r.running.Go(r.accept)
	t.Cleanup(r.close)
	return r
}

func (r *tap) address() string { return r.listener.Addr().String() }

func (r *tap) leadTo(address string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.upstream = address
}

// mark is the number of messages seen; since returns those after a mark.
func (r *tap) mark() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.seen)
}

func (r *tap) since(mark int) []seen {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]seen(nil), r.seen[mark:]...)
}

// count is how many messages of a type were seen since a mark.
func (r *tap) count(mark int, types ...protocol.TypeCode) (n int) {
	for _, s := range r.since(mark) {
		for _, t := range types {
			if s.message.TypeCode() == t {
				n++
			}
		}
	}
	return n
}

func (r *tap) close() {
	_ = r.listener.Close()
	r.mu.Lock()
	for c := range r.open {
		_ = c.Close()
	}
	r.open = nil
	r.mu.Unlock()
	r.running.Wait()
}

func (r *tap) accept() {
	for {
		client, err := r.listener.Accept()
		if err != nil {
			return
		}
		r.mu.Lock()
		upstream := r.upstream
		r.mu.Unlock()
		dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: r.from}}
		server, err := dialer.Dial("tcp", upstream)
		if err != nil { // the coordinator is down: so is this way to it
			_ = client.Close()
			continue
		}
		r.pump(client, server)
		r.pump(server, client)
	}
}

// pump carries frames one way until either end closes.
func (r *tap) pump(from, to net.Conn) {
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
func (r *tap) carry(from io.Reader, to io.Writer) bool {
	const header, largest = 16, 8 << 20
	whole := make([]byte, header)
	if _, err := io.ReadFull(from, whole); err != nil {
		return false
	}
	n, head := int(binary.BigEndian.Uint32(whole[3:])), int(binary.BigEndian.Uint16(whole[7:]))
	if head < header || n < head || n > largest {
		return false
	}
	whole = append(whole, make([]byte, n-header)...)
	if _, err := io.ReadFull(from, whole[header:]); err != nil {
		return false
	}
	// Noted first: who sees its effect must find it noted.
	if n > head && r.note(whole[head:]) != nil {
		return false
	}
	_, err := to.Write(whole)
	return err == nil
}

func (r *tap) note(body []byte) error {
	m, err := native.Decode(body)
	if err != nil {
		return err
	}
	parts := []protocol.Message{m}
	switch whole := m.(type) {
	case *protocol.Merged:
		parts = whole.Messages
	case *protocol.MergedResult:
		parts = whole.Messages
	case *protocol.BatchResult:
		parts = whole.Messages
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, part := range parts {
		r.seen = append(r.seen, seen{message: part, frame: m.TypeCode()})
	}
	return nil
}
