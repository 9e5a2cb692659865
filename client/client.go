package client

import (
	"context"
	"fmt"
	"log/slog"
	"sync"

	"github.com/qiao-tx/qiao/protocol/compress"
	"github.com/qiao-tx/qiao/protocol/rpc"
	"github.com/qiao-tx/qiao/rm"
	"github.com/qiao-tx/qiao/tm"
)

// Client is an application's connection to the coordinator. It reconnects by
// itself, for as long as it is open; requests made meanwhile wait. It may be
// used concurrently.
type Client struct {
	cfg       Config
	log       *slog.Logger
	resources *rm.Manager
	pool      *pool
	orders    *dispatcher
	tm        *tm.Manager
	// compressors is the working memory of all connections, if messages are packed.
	compressors compress.Pool
	// handle takes the orders of all connections.
	handle func(*rpc.Conn, rpc.Request)
	stop   context.CancelFunc

	mu      sync.Mutex
	closing bool
	// running counts the goroutines that end with stop.
	running sync.WaitGroup
}

// Open connects to the coordinator and returns when the application is
// registered with one node, or at once with Config.DoNotWait. It waits as long
// as ctx and Config.TMTimeout allow; the error then wraps tm.ErrUnavailable and
// says what is wrong with each node, and nothing is left behind. The Client
// outlives ctx: Close ends it.
func Open(ctx context.Context, cfg Config) (*Client, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("open client: %w", err)
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	c := &Client{
		cfg:       cfg,
		log:       cfg.Logger,
		resources: rm.NewManager(cfg.Logger),
		pool:      newPool(),
		stop:      stop,
	}
	c.orders = newDispatcher(c.resources, cfg)
	c.tm = tm.NewManager(transactions{c}, cfg.TM)
	c.handle = func(conn *rpc.Conn, r rpc.Request) { c.orders.submit(running, conn, r) }
	c.spawn(func() { c.follow(running) })
	c.spawn(func() { c.tm.Probe(running) })
	if cfg.DoNotWait {
		return c, nil
	}
	waiting, cancel := context.WithTimeoutCause(ctx, cfg.TMTimeout, errTooLong)
	defer cancel()
	if _, err := c.pool.take(waiting, choice{}); err != nil {
		c.shut()
		return nil, &tm.Unavailable{Op: "open client", SafeToRetry: true, Cause: err}
	}
	return c, nil
}

// TM returns the transaction manager: what begins and decides transactions.
func (c *Client) TM() *tm.Manager { return c.tm }

// RM returns what resources and TCC actions register with.
func (c *Client) RM() rm.Coordinator { return branches{c} }

// Close refuses new requests and orders, waits for the orders that run, and
// then disconnects. When ctx ends first, Close returns its error: the orders'
// contexts are then ended and the connections closed, but a resource that does
// not heed its context may still be at work. Close may be repeated.
func (c *Client) Close(ctx context.Context) error {
	c.pool.close()
	err := c.orders.drain(ctx)
	c.shut()
	if err != nil {
		return fmt.Errorf("close client: phase-two orders are still running: %w", err)
	}
	return nil
}

// shut ends the goroutines of the connections and waits for them.
func (c *Client) shut() {
	c.pool.close()
	c.mu.Lock()
	c.closing = true
	c.mu.Unlock()
	c.stop()
	c.running.Wait()
}

// spawn runs fn on a goroutine that shut waits for. It returns false, and does
// not, when the client is already closing.
func (c *Client) spawn(fn func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closing {
		c.running.Go(fn)
	}
	return !c.closing
}
