package relay

import (
	"io"
	"net"
	"sync"
	"testing"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/frame"
	"github.com/qiao-tx/qiao/protocol/native"
)

// Relay is a listener whose connections lead to the coordinator.
type Relay struct {
	listener net.Listener
	running  sync.WaitGroup

	mu       sync.Mutex
	upstream string
	open     map[net.Conn]struct{} // nil when closed
	traps    []*Trap
	begun    []string // XIDs, in order
}

// Fate is what becomes of a message.
type Fate uint8

const (
	// Lost: it never arrives; its connection is closed behind Act.
	Lost Fate = iota
	// Delivered: it arrives before Act is called.
	Delivered
	// Held: it arrives after Act has returned.
	Held
)

// Trap acts on one message. Message types name their direction.
type Trap struct {
	Message protocol.TypeCode
	// Nth counts the messages of that type from the moment that the trap is set; 1
	// is the next.
	Nth  int
	Fate Fate
	// Act may be nil. It is called on the goroutine of the message's connection
	// and direction, which waits for it.
	Act func()
}

// New starts a relay that leads nowhere yet. It is closed when the test ends.
func New(t testing.TB) *Relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &Relay{listener: l, open: map[net.Conn]struct{}{}}
	r.running.Go(r.accept)
	t.Cleanup(r.close)
	return r
}

// Address is where clients connect.
func (r *Relay) Address() string { return r.listener.Addr().String() }

// LeadTo makes the connections from now on end at the coordinator's address.
func (r *Relay) LeadTo(address string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.upstream = address
}

// Set adds a trap. It springs once.
func (r *Relay) Set(t Trap) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.traps = append(r.traps, &t)
}

// LastBegun is the XID of the transaction that was begun last.
func (r *Relay) LastBegun() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.begun) == 0 {
		return ""
	}
	return r.begun[len(r.begun)-1]
}

// HangUp closes the connections that there are.
func (r *Relay) HangUp() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closeAll()
}

func (r *Relay) closeAll() {
	for c := range r.open {
		_ = c.Close()
	}
}

func (r *Relay) close() {
	_ = r.listener.Close()
	r.mu.Lock()
	r.closeAll()
	r.open = nil
	r.mu.Unlock()
	r.running.Wait()
}

func (r *Relay) accept() {
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
func (r *Relay) pump(from, to net.Conn) {
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
func (r *Relay) carry(from io.Reader, to io.Writer) bool {
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
	if sprung == nil {
		_, err = to.Write(whole)
		return err == nil
	}
	return sprung.pass(whole, to)
}

// pass lets the trap decide the fate of its message.
func (t *Trap) pass(whole []byte, to io.Writer) bool {
	act := t.Act
	if act == nil {
		act = func() {}
	}
	switch t.Fate {
	case Delivered:
		_, err := to.Write(whole)
		act()
		return err == nil
	case Held:
		act()
		_, err := to.Write(whole)
		return err == nil
	default:
		act()
		return false
	}
}

// spring returns the trap that the frame sets off, if any.
func (r *Relay) spring(whole []byte) *Trap {
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
		if t.Message != m.TypeCode() {
			continue
		}
		if t.Nth--; t.Nth == 0 {
			r.traps = append(r.traps[:i:i], r.traps[i+1:]...)
			return t
		}
	}
	return nil
}
