package rpc

import (
	"context"
	"fmt"
	"time"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/frame"
)

// call is a request that waits for its answer. It belongs to whoever removed
// it from Conn.pending.
type call struct {
	kind protocol.TypeCode
	// start is the position of its first byte in all bytes ever queued.
	start uint64

	// Of an asynchronous call, one of done and respond:
	done     func(protocol.Message, error)
	respond  func(Response, error)
	timeout  time.Duration
	deadline time.Time

	// Of a synchronous call: result and err are set before answered has a value.
	answered chan struct{}
	result   Response
	err      error
}

// Call sends a request and waits for its answer or for the end of ctx. head is
// the frame's head map, or nil. The error is an *Error; its field Sent tells
// whether the request may be repeated.
func (c *Conn) Call(ctx context.Context, m protocol.Message, head map[string]string) (Response, error) {
	if err := ctx.Err(); err != nil {
		return Response{}, &Error{Op: "call", Type: m.TypeCode(), Err: err}
	}
	p := c.calls.Get().(*call)
	defer c.recycle(p)
	id, err := c.begin(p, m, head)
	if err != nil {
		return Response{}, err
	}
	select {
	case <-p.answered:
		return p.result, p.err
	case <-ctx.Done():
	}
	if c.remove(id) != nil {
		return Response{}, &Error{Op: "call", Type: m.TypeCode(), Sent: true, Err: ctx.Err()}
	}
	<-p.answered // the answer is on its way to this call
	return p.result, p.err
}

// Go sends a request; done is called exactly once with its answer or an *Error,
// at the latest about 200 ms after timeout. It is called on a goroutine of the
// connection, or by Go itself when the request cannot be sent; it must not
// block.
func (c *Conn) Go(m protocol.Message, timeout time.Duration, done func(protocol.Message, error)) {
	p := c.calls.Get().(*call)
	p.done, p.timeout, p.deadline = done, timeout, time.Now().Add(timeout)
	if _, err := c.begin(p, m, nil); err != nil {
		c.recycle(p)
		done(nil, err)
	}
}

// Ask is Go for a request with a head map, which is not changed and may be nil,
// whose answer's head map matters too.
func (c *Conn) Ask(m protocol.Message, head map[string]string, timeout time.Duration, respond func(Response, error)) {
	p := c.calls.Get().(*call)
	p.respond, p.timeout, p.deadline = respond, timeout, time.Now().Add(timeout)
	if _, err := c.begin(p, m, head); err != nil {
		c.recycle(p)
		respond(Response{}, err)
	}
}

// begin queues the request m and makes p wait for its answer.
func (c *Conn) begin(p *call, m protocol.Message, head map[string]string) (int32, error) {
	p.kind = m.TypeCode()
	own := c.own.Load()
	f, rest, err := c.frameOf(frame.Request, *own, m)
	if err != nil {
		return 0, &Error{Op: "call", Type: p.kind, Err: err}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	f.ID, f.Head = c.nextID(), head
	p.start = c.queue.end()
	if err := c.enqueue(&f, rest, own.names); err != nil {
		return 0, &Error{Op: "call", Type: p.kind, Err: err}
	}
	c.pending[f.ID] = p
	return f.ID, nil
}

// nextID returns a positive id that no pending call has. The caller holds mu.
func (c *Conn) nextID() int32 {
	for {
		if c.lastID++; c.lastID <= 0 {
			c.lastID = 1
		}
		if _, taken := c.pending[c.lastID]; !taken {
			return c.lastID
		}
	}
}

// remove ends the waiting of the call with the id and returns the call, or nil
// when there is none.
func (c *Conn) remove(id int32) *call {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.pending[id]
	if p != nil {
		delete(c.pending, id)
	}
	return p
}

// resolve gives an answer to the call with the id. An answer that nobody waits
// for any more is dropped.
func (c *Conn) resolve(id int32, r Response) {
	if p := c.remove(id); p != nil {
		c.deliver(p, r, nil)
	}
}

// deliver ends p, which is no longer pending.
func (c *Conn) deliver(p *call, r Response, err error) {
	switch done, respond := p.done, p.respond; {
	case done != nil:
		c.recycle(p)
		done(r.Message, err)
		return
	case respond != nil:
		c.recycle(p)
		respond(r, err)
		return
	}
	p.result, p.err = r, err
	p.answered <- struct{}{}
}

func (c *Conn) recycle(p *call) {
	*p = call{answered: p.answered}
	c.calls.Put(p)
}

// failPending ends all calls after the connection was closed.
func (c *Conn) failPending() {
	c.mu.Lock()
	pending, taken, err := c.pending, c.queue.taken, c.err
	c.pending = nil
	c.mu.Unlock()
	for _, p := range pending {
		c.deliver(p, Response{}, &Error{Op: "call", Type: p.kind, Sent: p.start < taken, Err: err})
	}
}

// failOverdue ends the asynchronous calls whose time is over.
func (c *Conn) failOverdue(now time.Time) {
	var overdue []*call
	c.mu.Lock()
	for id, p := range c.pending {
		if (p.done != nil || p.respond != nil) && now.After(p.deadline) {
			overdue = append(overdue, p)
			delete(c.pending, id)
		}
	}
	c.mu.Unlock()
	for _, p := range overdue {
		c.deliver(p, Response{}, &Error{
			Op: "call", Type: p.kind, Sent: true, Err: fmt.Errorf("%w: %v", ErrTimeout, p.timeout),
		})
	}
}
