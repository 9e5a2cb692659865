package coordinator

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/xid"
	"github.com/qiao-tx/qiao/server/txn"
	"github.com/qiao-tx/qiao/storage"
)

// Dispatcher carries orders to resource managers.
type Dispatcher interface {
	// Send gives an order to a channel of the resource, in Seata's order of
	// fallback from the client that registered the branch. done is called once,
	// from any goroutine, with the answer or with the error that there was none
	// within timeout. Send does not block.
	Send(resourceID, clientID string, anyApplication bool, order protocol.Message,
		timeout time.Duration, done func(protocol.Message, error))
}

// Config is what a Coordinator works with. Zero fields take the defaults.
type Config struct {
	Store      storage.Store
	Dispatcher Dispatcher
	// Sole: nobody but this Coordinator changes what the store holds, so that a
	// transaction stands as it was left here. With other nodes on the store each
	// answer that changes nothing is preceded by a Load.
	Sole bool
	// TellAgain has the failures of requests that are worth asking again, here or
	// at another node, carry HeadAgain.
	TellAgain bool
	// Address is host:port, the first part of the XIDs begun here.
	Address string
	// WorkerID, 0 to 1023, keeps the ids of nodes apart.
	WorkerID int
	// Worker, when not nil, is asked for the worker id of each new id instead: it
	// may change, on a store that coordinators share that do not ask before.
	Worker  func() int
	Machine txn.Machine
	Logger  *slog.Logger
	// Clock is the time by which everything is decided (time.Now).
	Clock func() time.Time
	// Spawn runs work that may wait for the store (default: on goroutines that
	// are used again); with a storage.Submitter nothing does. The simulator puts
	// its own scheduler here.
	Spawn func(func())
	// PollEvery is the period of the due-loop (100 ms).
	PollEvery time.Duration
	// AnswerTimeout is how long a resource manager has for an order (15 s).
	AnswerTimeout time.Duration
	// CallerTimeout is how long a caller waits for the first round of phase
	// two before it is told how things stand (25 s).
	CallerTimeout time.Duration
	// OrdersInFlight caps the orders that one client's resource has not
	// answered (1024), OrdersQueued those that wait for one of these places
	// (65 536); an order beyond is given again later.
	OrdersInFlight, OrdersQueued int
}

func (cfg Config) withDefaults() (Config, error) {
	if cfg.Store == nil || cfg.Dispatcher == nil {
		return cfg, errors.New("coordinator: a store and a dispatcher are required")
	}
	if _, _, err := xid.Parse(xid.New(cfg.Address, 1<<62)); err != nil {
		return cfg, fmt.Errorf("coordinator: address %q makes no XID: %w", cfg.Address, err)
	}
	if cfg.WorkerID < 0 || cfg.WorkerID > maxWorkerID {
		return cfg, fmt.Errorf("coordinator: worker id %d is not in 0..%d", cfg.WorkerID, maxWorkerID)
	}
	if cfg.Worker == nil {
		worker := cfg.WorkerID
		cfg.Worker = func() int { return worker }
	}
	cfg.Machine = cfg.Machine.WithDefaults()
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	setDefault(&cfg.PollEvery, 100*time.Millisecond)
	setDefault(&cfg.AnswerTimeout, 15*time.Second)
	setDefault(&cfg.CallerTimeout, 25*time.Second)
	setDefault(&cfg.OrdersInFlight, 1024)
	setDefault(&cfg.OrdersQueued, 65_536)
	return cfg, nil
}

func setDefault[T ~int | ~int64](field *T, value T) {
	if *field == 0 {
		*field = value
	}
}

// Coordinator decides the global transactions of one node. It is safe for
// concurrent use.
type Coordinator struct {
	cfg    Config
	ids    *ids
	seed   maphash.Seed
	lanes  [laneShards]laneShard
	queues orderQueues
	due    dueLoop
	stats  counters

	// submitter is the store, when it takes Batches without waiting.
	submitter storage.Submitter
	unused    sync.Pool // of *lane

	draining atomic.Bool
	closing  chan struct{}
	runners  *runners
	// work counts running lanes, queries and the due-loop. None starts once
	// stopped is set.
	work     sync.WaitGroup
	stopping sync.RWMutex
	stopped  bool
}

// New prepares a Coordinator; Start sets it going.
func New(ctx context.Context, cfg Config) (*Coordinator, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	last, err := cfg.Store.LastID(ctx)
	if err != nil {
		return nil, fmt.Errorf("coordinator: read the last id from the store: %w", err)
	}
	c := &Coordinator{
		cfg: cfg, ids: newIDs(cfg.Worker, cfg.Clock(), last),
		seed: maphash.MakeSeed(), closing: make(chan struct{}),
	}
	for i := range c.lanes {
		c.lanes[i].lanes = make(map[string]*lane)
	}
	c.submitter, _ = cfg.Store.(storage.Submitter)
	c.unused.New = c.newLane
	c.runners = newRunners()
	if c.cfg.Spawn == nil {
		c.cfg.Spawn = c.runners.spawn
	}
	c.queues.init(cfg)
	c.due.init()
	return c, nil
}

// Start resumes what a crash or a stop left unfinished and begins to watch the
// time. It returns at once.
func (c *Coordinator) Start(ctx context.Context) error {
	if err := c.Resume(ctx); err != nil {
		return err
	}
	c.stopping.RLock()
	defer c.stopping.RUnlock()
	if c.stopped {
		return errStopped
	}
	c.work.Go(c.runDueLoop)
	return nil
}

// Drain refuses new transactions and returns when no request is under way, or
// with ctx's error. Undecided transactions stay; they go on after a restart.
func (c *Coordinator) Drain(ctx context.Context) error {
	c.draining.Store(true)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for c.busy() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("requests still under way: %w", ctx.Err())
		case <-tick.C:
		}
	}
	return nil
}

// errStopped answers what comes too late.
var errStopped = errors.New("this coordinator has stopped; ask again: another node, or this one after its restart")

// Close stops the due-loop and waits for the decisions under way; the store
// must stay open until it has returned. Callers who wait for phase two, and
// everything that comes later, get an error: nothing more is decided here.
func (c *Coordinator) Close() {
	c.draining.Store(true)
	c.stopping.Lock()
	first := !c.stopped
	c.stopped = true
	c.stopping.Unlock()
	if first {
		close(c.closing)
	}
	c.work.Wait()
	if first {
		c.runners.close() // not sooner: what had entered may only now get to them
	}
	for i := range c.lanes {
		c.lanes[i].abandonAll()
	}
}

// enter begins work that Close waits for, until work.Done. It returns false after
// Close.
func (c *Coordinator) enter() bool {
	c.stopping.RLock()
	defer c.stopping.RUnlock()
	if !c.stopped {
		c.work.Add(1)
	}
	return !c.stopped
}

func (c *Coordinator) nowMillis() int64 { return c.cfg.Clock().UnixMilli() }
