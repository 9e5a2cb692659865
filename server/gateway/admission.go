package gateway

import (
	"net"
	"sync/atomic"
)

// admission bounds how many are inside at a time.
type admission struct {
	limit   int64
	inside  atomic.Int64
	refused atomic.Uint64
	// full is set from the first refusal until there is room again.
	full atomic.Bool
}

// enter answers whether there was room; first, whether this is the first
// refusal since there was some.
func (a *admission) enter() (ok, first bool) {
	if a.inside.Add(1) <= a.limit {
		return true, false
	}
	a.inside.Add(-1)
	a.refused.Add(1)
	return false, a.full.CompareAndSwap(false, true)
}

// leave makes room for another.
func (a *admission) leave() {
	// Below the limit by some, so that a server at its limit does not log each
	// refusal.
	if a.inside.Add(-1) <= a.limit*9/10 && a.full.Load() {
		a.full.Store(false)
	}
}

// admitted is a connection that leaves when it is closed.
type admitted struct {
	net.Conn
	leave func()
}

func (c *admitted) Close() error {
	defer c.leave()
	return c.Conn.Close()
}

// CloseWrite lets package http end a connection politely.
func (c *admitted) CloseWrite() error { return closeWrite(c.Conn) }
