package wiretap

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// Direction of what passes.
type Direction uint8

// Directions: from the client that connected, or to it.
const (
	ToTarget Direction = iota
	FromTarget
)

// Event is something that a proxy saw.
type Event struct {
	At time.Time
	// Connection counts from 1.
	Connection int
	Direction  Direction
	// Piece is what passed, unless Note says what happened to the connection.
	Piece Piece
	Note  string
}

// Proxy forwards connections and shows what passes. Bytes are forwarded whatever
// they are: a message that nobody understands reaches its receiver all the same.
type Proxy struct {
	// Target is the host:port that each connection is forwarded to.
	Target string
	// Show is given all events, one at a time. A slow Show slows the connections
	// down: nothing is dropped.
	Show func(Event)
	// ShowFirst has a message shown before it is forwarded, so that no answer to it
	// can be seen earlier, by this proxy or by another one. Otherwise bytes are
	// forwarded before they are looked at.
	ShowFirst bool

	mu    sync.Mutex // held around Show
	count int        // connections so far; of the accepting goroutine
}

// Serve forwards what the listener accepts until ctx ends, and then closes all
// connections and returns nil. The error is the listener's.
func (p *Proxy) Serve(ctx context.Context, listener net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = listener.Close() })
	defer stop()
	for {
		client, err := listener.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("accept: %w", err)
		}
		p.count++
		c := &connection{proxy: p, number: p.count, client: client}
		running.Go(func() { c.forward(ctx) })
	}
}

// connection is one of a proxy's.
type connection struct {
	proxy          *Proxy
	number         int
	client, target net.Conn
}

func (c *connection) forward(ctx context.Context) {
	defer c.client.Close()
	c.note(fmt.Sprintf("open from %s", c.client.RemoteAddr()))
	target, err := new(net.Dialer).DialContext(ctx, "tcp", c.proxy.Target)
	if err != nil {
		c.note(fmt.Sprintf("closed: the target cannot be reached: %v", err))
		return
	}
	defer target.Close()
	c.target = target
	stop := context.AfterFunc(ctx, func() {
		_ = c.client.Close()
		_ = target.Close()
	})
	defer stop()
	var answers sync.WaitGroup
	answers.Go(func() { c.pipe(FromTarget, c.client, target) })
	c.pipe(ToTarget, target, c.client)
	answers.Wait()
	c.note("closed")
}

// pipe forwards one direction until its source ends, and then says so to its
// destination.
func (c *connection) pipe(d Direction, to, from net.Conn) {
	var stream Stream
	show := func(piece Piece) { c.show(Event{Direction: d, Piece: piece}) }
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			if c.proxy.ShowFirst {
				stream.Feed(buf[:n], show)
			}
			if _, failed := to.Write(buf[:n]); failed != nil {
				err = errors.Join(err, failed)
			}
			if !c.proxy.ShowFirst {
				stream.Feed(buf[:n], show)
			}
		}
		if err == nil {
			continue
		}
		stream.Close(show)
		if half, ok := to.(interface{ CloseWrite() error }); ok && errors.Is(err, io.EOF) {
			_ = half.CloseWrite() // the other direction may go on
			return
		}
		_ = to.Close()
		_ = from.Close()
		return
	}
}

func (c *connection) note(text string) { c.show(Event{Note: text}) }

func (c *connection) show(e Event) {
	e.At, e.Connection = time.Now(), c.number
	c.proxy.mu.Lock()
	defer c.proxy.mu.Unlock()
	c.proxy.Show(e)
}
