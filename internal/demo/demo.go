package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/qiao-tx/qiao/internal/child"
	"github.com/qiao-tx/qiao/internal/promtext"
)

// Config says how much to do.
type Config struct {
	// Orders to place: default 3000. Concurrency: default 32.
	Orders, Concurrency int
	// MySQL is the DSN of a MySQL or MariaDB server on which the services' databases
	// are made; empty: SQLite files.
	MySQL string
	// Command are the first arguments of this program that make it run the rest
	// as a command which ends when its standard input does.
	Command []string
	// Out receives progress and result.
	Out io.Writer
}

// ErrInconsistent: what was printed last says what differs.
var ErrInconsistent = errors.New("the shop's books do not agree")

const (
	downTime = time.Second
	// settleTimeout is long enough for the transactions of a dead service to
	// time out and for orders to be retried.
	settleTimeout = 90 * time.Second
)

// Run is the whole demo. Its files are removed at the end, unless the books
// disagree: then ErrInconsistent, and the directory is printed.
func Run(ctx context.Context, cfg Config) (err error) {
	if cfg.Orders == 0 {
		cfg.Orders = 3000
	}
	if cfg.Concurrency == 0 {
		cfg.Concurrency = 32
	}
	if cfg.Orders < 0 || cfg.Concurrency < 0 {
		return fmt.Errorf("%d orders by %d customers at once: want positive numbers", cfg.Orders, cfg.Concurrency)
	}
	dir, err := os.MkdirTemp("", "qiao-demo-")
	if err != nil {
		return err
	}
	w := world{orders: cfg.Orders}
	b, err := openBooks(ctx, dir, cfg.MySQL, w)
	if err != nil {
		return errors.Join(err, os.RemoveAll(dir))
	}
	defer func() {
		err = errors.Join(err, b.close())
		if errors.Is(err, ErrInconsistent) {
			fmt.Fprintf(cfg.Out, "databases and logs are kept in %s\n", dir)
			return
		}
		err = errors.Join(err, b.drop(), os.RemoveAll(dir))
	}()
	f, err := newFleet(dir, cfg.Command, b.dsns)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.stop()) }()
	if err := f.start(ctx); err != nil {
		return err
	}
	s := &show{cfg: cfg, out: cfg.Out, began: time.Now(), fleet: f, books: b, customers: newCustomers(f.order.Address, w, cfg.Concurrency)}
	return s.run(ctx)
}

// show is a demo whose programs run.
type show struct {
	cfg       Config
	began     time.Time
	fleet     *fleet
	books     *books
	customers *customers
	timedOut  int64 // counted by coordinators that were killed

	mu  sync.Mutex // guards out: two goroutines tell what happens
	out io.Writer
}

func (s *show) say(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintf(s.out, "%4.0f s  %s\n", time.Since(s.began).Seconds(), fmt.Sprintf(format, args...))
}

func (s *show) run(ctx context.Context) error {
	s.say("a coordinator and four services run; %d customers at once place %d orders", s.cfg.Concurrency, s.cfg.Orders)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var beside sync.WaitGroup
	ordersDone := make(chan struct{})
	beside.Go(func() { s.progress(ordersDone) })
	beside.Go(func() {
		if err := s.sabotage(ctx, ordersDone); err != nil {
			cancel(err) // a process did not come back
		}
	})
	s.customers.run(ctx, s.cfg.Concurrency)
	close(ordersDone)
	beside.Wait()
	if err := context.Cause(ctx); err != nil {
		return err
	}
	s.report()
	left, err := s.settle(ctx)
	if err != nil {
		return err
	}
	a, err := newAudit(ctx, s.books, s.customers, left, s.timedOut+left.timedOut)
	if err != nil {
		return err
	}
	a.print(s.out)
	if len(a.differences) > 0 {
		return ErrInconsistent
	}
	return nil
}

func (s *show) progress(done <-chan struct{}) {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-done:
			return
		case <-ticker.C:
			s.report()
		}
	}
}

func (s *show) report() {
	c := s.customers
	s.say("%5d of %d orders: %d committed, %d refused, %d rolled back, %d without an answer", c.answered(), s.cfg.Orders,
		c.counts[placed].Load(), c.counts[noStock].Load()+c.counts[noMoney].Load(), c.counts[rolledBack].Load(), c.counts[unknown].Load())
}

// sabotage kills each program once, when its share of the orders is answered,
// and starts it again.
func (s *show) sabotage(ctx context.Context, done <-chan struct{}) error {
	for _, act := range []struct {
		at     float64
		victim *child.Process
	}{{0.15, s.fleet.stock}, {0.35, s.fleet.coordinator}, {0.5, s.fleet.account}, {0.65, s.fleet.points}, {0.8, s.fleet.order}} {
		for s.customers.answered() < int64(act.at*float64(s.cfg.Orders)) {
			timer := time.NewTimer(5 * time.Millisecond)
			select {
			case <-ctx.Done():
				timer.Stop()
				return nil
			case <-done:
				timer.Stop()
				return nil
			case <-timer.C:
			}
		}
		if err := s.crash(ctx, act.victim); err != nil {
			return err
		}
	}
	return nil
}

func (s *show) crash(ctx context.Context, victim *child.Process) error {
	if victim == s.fleet.coordinator {
		values, err := s.metrics(ctx)
		if err != nil {
			return err
		}
		s.timedOut += int64(values["qiao_transactions_timed_out_total"])
	}
	if err := victim.Kill(); err != nil {
		return fmt.Errorf("kill -9 %s: %w", victim.Name, err)
	}
	s.say("kill -9 %s (pid %d)", victim.Name, victim.PID())
	if pause(ctx, downTime); ctx.Err() != nil {
		return nil
	}
	if err := victim.Start(ctx); err != nil {
		return fmt.Errorf("start again: %w", err)
	}
	s.say("%s runs again (pid %d)", victim.Name, victim.PID())
	return nil
}

func (s *show) metrics(ctx context.Context) (promtext.Values, error) {
	return promtext.Fetch(ctx, "http://"+s.fleet.coordinator.Address+"/metrics")
}

// leftovers is what a finished transaction does not leave.
type leftovers struct {
	transactions, locks, undo int64
	timedOut                  int64
}

func (l leftovers) none() bool { return l.transactions == 0 && l.locks == 0 && l.undo == 0 }

// settle waits until no transaction is under way, or not for ever.
func (s *show) settle(ctx context.Context) (leftovers, error) {
	s.say("waiting for the last transactions to end")
	deadline := time.Now().Add(settleTimeout)
	for {
		values, err := s.metrics(ctx)
		if err != nil {
			return leftovers{}, err
		}
		left := leftovers{
			transactions: int64(values["qiao_store_transactions"]), locks: int64(values["qiao_store_locks"]),
			timedOut: int64(values["qiao_transactions_timed_out_total"]),
		}
		if left.undo, err = s.books.undoRows(ctx); err != nil {
			return left, err
		}
		if left.none() || time.Now().After(deadline) {
			return left, nil
		}
		if pause(ctx, 100*time.Millisecond); ctx.Err() != nil {
			return left, ctx.Err()
		}
	}
}
