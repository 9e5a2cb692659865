package tm

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/xid"
)

// DefaultTimeout is the time-out of a transaction that names none.
const DefaultTimeout = 60 * time.Second

// rollbackWait bounds how long telling the coordinator of a rollback may
// outlive the caller's context. What is not told then, the coordinator's
// time-out brings about.
const rollbackWait = 10 * time.Second

// Coordinator is what a transaction manager asks of the transaction
// coordinator. client implements it over the wire.
//
// Each method waits for a coordinator as long as ctx allows and repeats the
// request itself where that is safe. Errors are or wrap *Unavailable,
// ErrRefused, ErrNotFound.
type Coordinator interface {
	// Begin starts a transaction that the coordinator rolls back by itself
	// after timeout, and returns its XID.
	Begin(ctx context.Context, name string, timeout time.Duration) (string, error)
	// Commit asks for commit and returns the status that this led to.
	Commit(ctx context.Context, xid string) (protocol.GlobalStatus, error)
	// Rollback asks for rollback and returns the status that this led to.
	Rollback(ctx context.Context, xid string) (protocol.GlobalStatus, error)
	// Status returns the transaction's status; StatusFinished when it is unknown.
	Status(ctx context.Context, xid string) (protocol.GlobalStatus, error)
}

// Manager begins and decides global transactions. It may be used concurrently.
type Manager struct {
	coordinator Coordinator
	cfg         Config
	log         *slog.Logger
	degrade     *degrade
}

// New returns a Manager on c that does nothing beside.
func New(c Coordinator) *Manager { return NewManager(c, Config{}) }

// NewManager returns a Manager on c.
func NewManager(c Coordinator, cfg Config) *Manager {
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	return &Manager{coordinator: c, cfg: cfg, log: cfg.Logger, degrade: newDegrade(cfg.DegradeCheck, cfg.Logger)}
}

// Options describe a transaction.
type Options struct {
	// Name appears in the coordinator's console and logs. Empty is
	// "default", as in Java.
	Name string
	// Timeout is the time after which the coordinator rolls the transaction back
	// by itself. Zero means DefaultTimeout; it is rounded up to a millisecond.
	Timeout time.Duration
	// Propagation says what Run does inside another transaction.
	Propagation Propagation
	// RollbackFor, when not empty, names the errors of Run's function that roll
	// back: all others commit. NoRollbackFor names errors that commit. An error
	// that both pick rolls back, and so do panics and what lasts too long. Run
	// returns the function's error in any case. (In Java, a transaction that has
	// noRollbackFor alone commits on every exception; here the others roll back.)
	RollbackFor, NoRollbackFor []ErrorRule
	// Hooks are told of this transaction, after those of the Manager.
	Hooks []Hook
}

// Tx is a global transaction that this process began and decides. Run needs no
// Tx; it is for programs whose transactions do not fit into a function.
type Tx struct {
	manager *Manager
	name    string
	xid     string
	timeout time.Duration
	// started lies before the coordinator's own start, so that a deadline seen
	// here is never later than the coordinator's.
	started time.Time
	doom    atomic.Pointer[error]
	// asked: a request to commit may have been carried out, so that only the
	// coordinator can tell how the transaction ends.
	asked atomic.Bool
	// told: hooks have been told of the commit; completed: they and the guard of
	// the end.
	told, completed atomic.Bool
	exit            func(error) // the guard's

	mu    sync.Mutex
	hooks []Hook
}

// Begin starts a global transaction, whatever ctx carries. Whoever gets the Tx
// must Commit or Rollback it. A failed Begin leaves nothing behind that a
// time-out would not end, so it may be retried.
func (m *Manager) Begin(ctx context.Context, opts Options) (*Tx, error) {
	timeout := opts.Timeout
	if timeout == 0 {
		timeout = DefaultTimeout
	}
	if timeout < 0 || timeout.Milliseconds() >= math.MaxInt32 {
		return nil, fmt.Errorf("begin global transaction %q: time-out %v: want more than 0 and less than %v",
			opts.Name, timeout, math.MaxInt32*time.Millisecond)
	}
	timeout = (timeout + time.Millisecond - 1).Truncate(time.Millisecond)
	t := &Tx{manager: m, name: opts.Name, timeout: timeout, exit: func(error) {}, hooks: slices.Concat(m.cfg.Hooks, opts.Hooks)}
	if err := m.begin(ctx, t); err != nil {
		err = fmt.Errorf("begin global transaction %q: %w", opts.Name, err)
		m.failed(ctx, BeginFailed, t.info(), err)
		t.complete(ctx, err)
		return nil, err
	}
	return t, nil
}

func (m *Manager) begin(ctx context.Context, t *Tx) error {
	if m.cfg.Guard != nil {
		exit, err := m.cfg.Guard.Enter(ctx, t.name)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrProtected, err)
		}
		t.exit = exit
	}
	m.notify(t.hooks, "before begin", func(h Hook) func() { return bind(ctx, h.BeforeBegin, t.info()) })
	t.started = time.Now()
	x, err := m.coordinator.Begin(ctx, t.name, t.timeout)
	m.degrade.heard(ctx, err)
	if err != nil {
		return err
	}
	t.xid = x
	m.notify(t.hooks, "after begin", func(h Hook) func() { return bind(ctx, h.AfterBegin, t.info()) })
	return nil
}

// Status asks the coordinator how transaction x stands. StatusFinished means
// that the coordinator does not know it, or no longer.
func (m *Manager) Status(ctx context.Context, x string) (protocol.GlobalStatus, error) {
	status, err := m.coordinator.Status(ctx, x)
	if err != nil {
		return status, fmt.Errorf("status of %s: %w", x, err)
	}
	return status, nil
}

// XID returns the transaction's identity.
func (t *Tx) XID() string { return t.xid }

type txKey struct{}

// Bind returns a context for work inside the transaction. It carries the XID
// and ends with the transaction's time-out; its cause is then ErrTimedOut.
// cancel releases its timer and does not touch the transaction.
func (t *Tx) Bind(ctx context.Context) (bound context.Context, cancel context.CancelFunc) {
	return context.WithDeadlineCause(t.within(ctx), t.started.Add(t.timeout), ErrTimedOut)
}

// launcher returns the Tx that ctx was bound by, or nil when ctx carries no
// transaction or one that began elsewhere.
func launcher(ctx context.Context) *Tx {
	t, _ := ctx.Value(txKey{}).(*Tx)
	if t == nil || t.xid != xid.FromContext(ctx) {
		return nil
	}
	return t
}

// SetRollbackOnly rules out the commit of the transaction that ctx carries:
// its Commit rolls back and returns an error that wraps ErrRollbackOnly and
// cause. It returns false, and has no effect, when this process did not begin
// that transaction.
func SetRollbackOnly(ctx context.Context, cause error) bool {
	t := launcher(ctx)
	if t == nil {
		return false
	}
	t.doom.CompareAndSwap(nil, &cause)
	return true
}

// Commit commits the transaction; nil means that the coordinator has decided
// so, though branches may still be carrying it out. It rolls back instead, and
// returns why, when the time-out has passed (ErrTimedOut), when a participant
// ruled commit out (ErrRollbackOnly) or when ctx has ended. Other errors are an
// *Outcome or those of Coordinator; they wrap ErrOutcomeUnknown unless the
// request certainly was not carried out, in which case the time-out rolls back.
// Commit may be repeated: once a request may have been carried out, it only asks
// how the transaction ends.
func (t *Tx) Commit(ctx context.Context) error {
	err := t.commit(ctx)
	t.complete(ctx, err)
	return err
}

// commit is Commit but for the end, which it does not tell of.
func (t *Tx) commit(ctx context.Context) error {
	if !t.asked.Load() {
		t.beforeCommit(ctx)
		if err := t.whyNotCommit(ctx); err != nil {
			err = errors.Join(err, t.rollback(ctx))
			t.committed(ctx, err)
			return err
		}
	}
	err := t.ask(ctx)
	t.committed(ctx, err)
	return err
}

func (t *Tx) ask(ctx context.Context) error {
	status, err := t.manager.coordinator.Commit(ctx, t.xid)
	t.manager.degrade.heard(ctx, err)
	if err == nil {
		t.asked.Store(true)
		return commitOutcome(t.xid, status)
	}
	if !certainlyNotCommitted(err) {
		t.asked.Store(true)
	}
	if t.asked.Load() {
		err = fmt.Errorf("%w: %w", ErrOutcomeUnknown, err)
	}
	return fmt.Errorf("commit of %s: %w", t.xid, err)
}

// certainlyNotCommitted reads the error of a commit request.
func certainlyNotCommitted(err error) bool {
	var lost *Unavailable
	if errors.As(err, &lost) {
		return lost.SafeToRetry
	}
	return errors.Is(err, ErrTimedOut)
}

func (t *Tx) whyNotCommit(ctx context.Context) error {
	if doom := t.doom.Load(); doom != nil {
		return fmt.Errorf("%s is rolled back: %w: %w", t.xid, ErrRollbackOnly, *doom)
	}
	if t.expired() {
		return fmt.Errorf("%s is rolled back: %w: it lasted more than %v", t.xid, ErrTimedOut, t.timeout)
	}
	if err := ctx.Err(); err != nil {
		if cause := context.Cause(ctx); cause != err {
			err = fmt.Errorf("%w: %w", err, cause)
		}
		return fmt.Errorf("%s is rolled back: %w", t.xid, err)
	}
	return nil
}

func (t *Tx) expired() bool { return time.Since(t.started) >= t.timeout }

// Rollback rolls the transaction back. It does so even when ctx has ended, and
// then takes 10 s at most. An error is an *Outcome or one of Coordinator's; a
// coordinator that did not hear it rolls back when the time-out passes.
// Rollback may be repeated. After a Commit it may come too late: the error then
// wraps ErrHeuristic, or ErrOutcomeUnknown if the coordinator has forgotten the
// transaction.
func (t *Tx) Rollback(ctx context.Context) error {
	err := t.rollback(ctx)
	t.complete(ctx, err)
	return err
}

// rollback is Rollback but for the end, which it does not tell of.
func (t *Tx) rollback(ctx context.Context) error {
	t.beforeRollback(ctx)
	status, err := rollback(ctx, t.manager.coordinator, t.xid, t.asked.Load())
	t.rolledBack(ctx, status, err)
	return err
}

// rollback rolls x back; asked is as in Tx.
func rollback(ctx context.Context, c Coordinator, x string, asked bool) (protocol.GlobalStatus, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), rollbackWait)
	defer cancel()
	status, err := c.Rollback(ctx, x)
	if err != nil {
		return status, fmt.Errorf("rollback of %s: %w", x, err)
	}
	return status, rollbackOutcome(x, status, asked)
}
