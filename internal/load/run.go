package load

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/qiao-tx/qiao/protocol/rpc"
)

// ErrNotDrained reports that phase-two orders are missing after DrainTimeout.
var ErrNotDrained = errors.New("phase-two orders are missing")

// ErrNoneCommitted reports that requests failed and no transaction committed.
var ErrNoneCommitted = errors.New("no transaction committed")

// answerTimeout is how long the last answers may take after the load.
const answerTimeout = 30 * time.Second

// progressEvery is how often Run reports.
const progressEvery = time.Second

// Run puts the load on the target, waits for the phase-two orders of all
// transactions it decided, and reports. Progress, which may be nil, is called
// from one goroutine, once a second. The error wraps ErrOptions, ErrNotDrained
// or ErrNoneCommitted (the report is complete then), ctx's error, or is that of a
// connection.
func Run(ctx context.Context, o Options, progress func(Progress)) (*Report, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	if progress == nil {
		progress = func(Progress) {}
	}
	counts := new(tally)
	conns, err := connectAll(ctx, o, counts)
	if err != nil {
		return nil, err
	}
	defer func() {
		for _, conn := range conns {
			disconnect(conn)
		}
	}()
	before, figuresErr := scrape(ctx, o.Metrics)

	start := time.Now()
	watch := startWatch(counts, start, progress)
	latency, err := call(ctx, o, conns, counts, start)
	loaded := time.Now()
	if err != nil {
		watch.stop()
		return nil, err
	}
	watch.draining.Store(true)
	drainErr := drain(ctx, o, counts)
	drained := time.Since(loaded)
	watch.stop()

	r := &Report{
		Mode: o.Mode, Branches: o.Branches, Concurrency: o.Concurrency, Connections: len(conns),
		Committed: counts.committed.Load(), Conflicts: counts.conflicts.Load(), Errors: counts.errors.Load(),
		Registered: counts.registered.Load(), Callbacks: counts.callbacks.Load(),
		P50MS: latency.quantileMS(0.50), P99MS: latency.quantileMS(0.99),
		DrainS: drained.Seconds(),
	}
	if first := counts.firstError.Load(); first != nil {
		r.FirstError = (*first).Error()
		if r.Committed == 0 {
			drainErr = errors.Join(fmt.Errorf("%w: the first of %d errors: %w", ErrNoneCommitted, r.Errors, *first), drainErr)
		}
	}
	r.TxPerS = float64(r.Committed) / loaded.Sub(start).Seconds()
	if figuresErr == nil {
		var after serverFigures
		if after, figuresErr = scrape(ctx, o.Metrics); figuresErr == nil {
			r.setServerFigures(before, after)
		}
	}
	r.serverFiguresMissing = figuresErr
	return r, drainErr
}

func connectAll(ctx context.Context, o Options, counts *tally) ([]*rpc.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	var conns []*rpc.Conn
	targets := o.targets()
	for i := range o.Connections {
		conn, err := connect(ctx, o, targets[i%len(targets)], counts)
		if err != nil {
			for _, conn := range conns {
				disconnect(conn)
			}
			return nil, err
		}
		conns = append(conns, conn)
	}
	return conns, nil
}

// call runs all callers for the load's duration and merges what they measured.
func call(ctx context.Context, o Options, conns []*rpc.Conn, counts *tally, start time.Time) (*histogram, error) {
	ctx, cancel := context.WithTimeout(ctx, o.Duration+answerTimeout)
	defer cancel()
	var nextRow atomic.Int64
	nextRow.Store(start.UnixNano()) // rows of earlier runs may still be locked
	callers := make([]*caller, o.Concurrency)
	failures := make([]error, o.Concurrency)
	var running sync.WaitGroup
	for i := range callers {
		c := &caller{
			o: o, conn: conns[i%len(conns)], counts: counts, nextRow: &nextRow,
			random: rand.New(rand.NewPCG(uint64(i), 0)),
		}
		callers[i] = c
		running.Go(func() {
			if failures[i] = c.run(ctx, start.Add(o.Duration)); failures[i] != nil {
				cancel()
			}
		})
	}
	running.Wait()
	var latency histogram
	for i, c := range callers {
		if failures[i] != nil {
			return nil, failures[i]
		}
		latency.merge(&c.latency)
	}
	return &latency, ctx.Err()
}

// drain waits until every branch of a decided transaction has had its order.
func drain(ctx context.Context, o Options, counts *tally) error {
	ctx, cancel := context.WithTimeout(ctx, o.DrainTimeout)
	defer cancel()
	for counts.backlog() > 0 {
		if pause(ctx, time.Millisecond); ctx.Err() != nil {
			return fmt.Errorf("%w: of %d branches after %s", ErrNotDrained, counts.backlog(), o.DrainTimeout)
		}
	}
	return nil
}

// watch reports the progress once a second on a goroutine of its own.
type watch struct {
	draining atomic.Bool
	quit     chan struct{}
	done     sync.WaitGroup
}

func startWatch(counts *tally, start time.Time, report func(Progress)) *watch {
	w := &watch{quit: make(chan struct{})}
	w.done.Go(func() {
		ticker := time.NewTicker(progressEvery)
		defer ticker.Stop()
		last, lastAt := uint64(0), start
		for {
			select {
			case <-w.quit:
				return
			case now := <-ticker.C:
				committed := counts.committed.Load()
				report(Progress{
					Elapsed: now.Sub(start), Committed: committed,
					Rate:      float64(committed-last) / now.Sub(lastAt).Seconds(),
					Conflicts: counts.conflicts.Load(), Errors: counts.errors.Load(),
					Backlog: counts.backlog(), Draining: w.draining.Load(),
				})
				last, lastAt = committed, now
			}
		}
	})
	return w
}

func (w *watch) stop() {
	close(w.quit)
	w.done.Wait()
}
