package client

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/qiao-tx/qiao/client/naming"
	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/rpc"
)

const (
	// writeIdle is when a heartbeat is sent; a Seata server closes a connection
	// on which it reads nothing for 15 s.
	writeIdle = 5 * time.Second
	// readIdle is when a node that answers not even heartbeats is given up.
	readIdle = 15 * time.Second

	firstDelay = 100 * time.Millisecond
	lastDelay  = 5 * time.Second
)

// Keys of a frame's head map that Qiao's own ends understand.
const (
	headExtension = "qiao"
	headRequest   = "qiao-request"
	headHolder    = "qiao-holder"
	headStatus    = "qiao-status"
)

// extensionLevel is what this client speaks.
const extensionLevel = 1

// delay returns a random pause before attempt number n (from 0): each about
// twice the one before, and random so that clients do not come back in step.
func delay(n int) time.Duration {
	d := min(firstDelay<<min(n, 10), lastDelay)
	return d/2 + rand.N(d)
}

// sleep waits for d, or returns false when ctx ends first.
func sleep(ctx context.Context, d time.Duration) bool { return sleepUnless(ctx, d, nil) }

// sleepUnless waits for d or until woken, or returns false when ctx ends first.
func sleepUnless(ctx context.Context, d time.Duration, woken <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-woken:
		return true
	case <-ctx.Done():
		return false
	}
}

// follow keeps a connection to every node that the Resolver names, until ctx
// ends and all of them are closed.
func (c *Client) follow(ctx context.Context) {
	var running sync.WaitGroup
	defer running.Wait()
	changed := make(chan struct{}, 1)
	if w, ok := c.cfg.Resolver.(naming.Watcher); ok {
		running.Go(func() {
			w.Watch(ctx, func() {
				select {
				case changed <- struct{}{}:
				default: // a question is due already
				}
			})
		})
	}
	for failures := 0; ; {
		addresses, err := c.resolve(ctx)
		if ctx.Err() != nil {
			return
		}
		pause := c.cfg.ResolveEvery
		if err != nil {
			if c.pool.failed("", err) {
				c.log.Warn("coordinator nodes not found; asking again", "error", err)
			}
			pause = min(pause, delay(failures))
			failures++
		} else {
			failures = 0
			c.pool.failed("", nil)
		}
		if err == nil || c.pool.knowsNone() {
			c.keepTo(ctx, &running, addresses)
		}
		if !sleepUnless(ctx, pause, changed) {
			return
		}
	}
}

// resolve asks the Resolver. Addresses with an error are old.
func (c *Client) resolve(ctx context.Context) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.ConnectTimeout)
	defer cancel()
	addresses, err := c.cfg.Resolver.Resolve(ctx)
	if err == nil && len(addresses) == 0 {
		err = errors.New("there are none")
	}
	if err != nil {
		return addresses, fmt.Errorf("resolve coordinator nodes: %w", err)
	}
	return addresses, nil
}

// keepTo starts to look after the nodes that are new in addresses. One that is no
// longer there may be draining, or have lost only the registry: it gets no new
// transactions, but goes on with its own until it closes the connection.
func (c *Client) keepTo(ctx context.Context, running *sync.WaitGroup, addresses []string) {
	fresh, gone := c.pool.list(addresses)
	for _, address := range gone {
		c.log.Info("coordinator node is gone from the list: no new transactions go there", "address", address)
	}
	for _, address := range fresh {
		running.Go(func() { c.keepConnected(ctx, address) })
	}
}

// keepConnected has one session after the other with a node, while it is listed.
func (c *Client) keepConnected(ctx context.Context, address string) {
	for failures := 0; c.pool.worthConnecting(address); failures++ {
		used, err := c.session(ctx, address)
		if ctx.Err() != nil {
			return
		}
		if used && !c.pool.lists(address) {
			c.log.Info("coordinator node has closed its connection after it left the list", "address", address)
			continue
		}
		if used {
			failures = 0
			c.log.Warn("connection to the coordinator lost; reconnecting", "address", address, "error", err)
		} else if c.pool.failed(address, err) {
			c.log.Warn("coordinator not reached; trying again", "address", address, "error", err)
		}
		if !sleep(ctx, delay(failures)) {
			return
		}
	}
}

// session connects to a node, registers, and lets the connection be used until
// it breaks or ctx ends. used tells whether it came that far.
func (c *Client) session(ctx context.Context, address string) (used bool, err error) {
	dialer := net.Dialer{Timeout: c.cfg.ConnectTimeout}
	nc, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return false, fmt.Errorf("connect to the coordinator: %w", err)
	}
	conn := rpc.New(nc, rpc.Options{
		Handler:     c.handle,
		WriteIdle:   writeIdle,
		ReadIdle:    readIdle,
		Codec:       c.cfg.codec,
		Compressor:  c.cfg.compressor,
		Compressors: &c.compressors,
	})
	defer conn.Wait()
	defer func() { conn.Close(err) }()
	l := &link{conn: conn, address: address, resolved: conn.RemoteAddr().String()}
	if err := c.introduce(ctx, l); err != nil {
		return false, fmt.Errorf("register with the coordinator at %s: %w", address, err)
	}
	c.log.Info("connected to the coordinator", "address", address, "extension", l.extension)
	select {
	case <-conn.Done():
		err = conn.Err()
	case <-ctx.Done():
		flush(conn) // the last answers to phase-two orders
		err = ErrClosed
	}
	c.pool.remove(l, fmt.Errorf("%s: %w", address, err))
	return true, err
}

// flush gives conn a moment to write what it has been given.
func flush(conn *rpc.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = conn.Flush(ctx) // what is lost here, the coordinator asks for again
}

// introduce registers the application and all its resources with the node, and
// puts the link into use.
func (c *Client) introduce(ctx context.Context, l *link) error {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.ConnectTimeout)
	defer cancel()
	answer, err := l.conn.Call(ctx, &protocol.RegisterTM{Identity: c.identity()}, extensionHead())
	if err != nil {
		return err
	}
	tmResult, ok := answer.Message.(*protocol.RegisterTMResult)
	switch {
	case !ok:
		return answeredOddly(answer.Message, "the registration of a transaction manager")
	case !tmResult.Identified:
		return fmt.Errorf("it refused the application %q: %s", c.cfg.ApplicationID, reason(tmResult.Message))
	}
	if answer.Head[headExtension] != "" {
		l.extension = extensionLevel
	}
	for {
		// The generation is read before the resources, so that one added between
		// the two is at worst told twice.
		l.resources = c.pool.generationNow()
		if err := c.tellResources(ctx, l, c.resources.IDs()); err != nil {
			return err
		}
		if c.pool.add(l) {
			return nil
		}
	}
}

// tellResources registers resources with the node. An empty list announces the
// resource manager.
func (c *Client) tellResources(ctx context.Context, l *link, ids []string) error {
	answer, err := l.conn.Call(ctx, &protocol.RegisterRM{
		Identity: c.identity(), ResourceIDs: strings.Join(ids, ","),
	}, extensionHead())
	if err != nil {
		return err
	}
	result, ok := answer.Message.(*protocol.RegisterRMResult)
	switch {
	case !ok:
		return answeredOddly(answer.Message, "the registration of resources")
	case !result.Identified:
		return fmt.Errorf("it refused the resources %q: %s", ids, reason(result.Message))
	}
	return nil
}

// reason is what a coordinator says of a refusal. In frames of version 1, one of
// Seata's has no place for it.
func reason(message string) string {
	if message == "" {
		return "it gave no reason; look into its log"
	}
	return message
}

func (c *Client) identity() protocol.Identity {
	return protocol.Identity{
		Version: protocol.SeataVersion, ApplicationID: c.cfg.ApplicationID, Group: c.cfg.Group,
	}
}

func extensionHead() map[string]string {
	return map[string]string{headExtension: strconv.Itoa(extensionLevel)}
}

func answeredOddly(m protocol.Message, to string) error {
	return fmt.Errorf("the coordinator answered %T to %s", m, to)
}
