package rpc

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/qiao-tx/qiao/protocol/frame"
)

// tickEvery is the resolution of all deadlines of a connection.
const tickEvery = 200 * time.Millisecond

// tick is the ticker goroutine.
func (c *Conn) tick() {
	t := time.NewTicker(tickEvery)
	defer t.Stop()
	started := time.Now()
	read, written := idle{since: started}, idle{since: started}
	for {
		select {
		case <-c.done:
			return
		case now := <-t.C:
			c.failOverdue(now)
			if d := read.elapsed(&c.bytesRead, now); c.o.ReadIdle > 0 && d >= c.o.ReadIdle {
				c.Close(fmt.Errorf("%w: %v, the limit is %v", ErrIdle, d.Round(time.Millisecond), c.o.ReadIdle))
				return
			}
			if c.o.WriteIdle > 0 && written.elapsed(&c.bytesWritten, now) >= c.o.WriteIdle {
				c.ping()
				written.since = now
			}
		}
	}
}

// idle watches a counter of bytes. Reading the clock here and not at every
// message is what makes its grain that of the ticker.
type idle struct {
	count uint64
	since time.Time
}

// elapsed returns how long the counter has stood still.
func (i *idle) elapsed(counter *atomic.Uint64, now time.Time) time.Duration {
	if n := counter.Load(); n != i.count {
		i.count, i.since = n, now
	}
	return now.Sub(i.since)
}

// ping sends a heartbeat. It fails only when the connection is closed or its
// queue is full, and then no heartbeat is missed.
func (c *Conn) ping() {
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = c.enqueue(&frame.Frame{MessageType: frame.HeartbeatRequest, Codec: c.own.Load().codec, ID: c.nextID()}, nil, 0)
}

// pong answers the heartbeat f.
func (c *Conn) pong(f *frame.Frame) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	answer := frame.Frame{MessageType: frame.HeartbeatResponse, Codec: f.Codec, ID: f.ID}
	if err := c.enqueue(&answer, nil, 0); err != nil && !errors.Is(err, ErrOverloaded) {
		return err
	}
	return nil
}
