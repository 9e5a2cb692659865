package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"time"
)

func main() {
	o := options{}
	flag.IntVar(&o.kills, "kills", 10, "how often the leader is killed")
	flag.IntVar(&o.callers, "callers", 64, "callers, each with one transaction at a time")
	flag.DurationVar(&o.pause, "pause", 2*time.Second, "how long the callers work between two kills")
	flag.StringVar(&o.program, "qiao", "", "the qiao `program`; empty builds it")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := runIn(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "failover:", err)
		stop()
		os.Exit(1)
	}
}

// options are what a run is told.
type options struct {
	kills, callers int
	pause          time.Duration
	program        string
}

// runIn runs in a new directory, which goes when all is well.
func runIn(ctx context.Context, o options) error {
	dir, err := os.MkdirTemp("", "failover-")
	if err != nil {
		return err
	}
	if o.program == "" {
		o.program = filepath.Join(dir, "qiao")
		if out, err := exec.CommandContext(ctx, "go", "build", "-o", o.program, "./cmd/qiao").CombinedOutput(); err != nil {
			return fmt.Errorf("build qiao: %w\n%s", err, out)
		}
	}
	r, err := run(ctx, o, dir, func(format string, args ...any) { fmt.Printf(format+"\n", args...) })
	if err != nil {
		return fmt.Errorf("%w; the logs are in %s", err, dir)
	}
	fmt.Println(r)
	return os.RemoveAll(dir)
}

// report is what a run showed.
type report struct {
	callers int
	// away is for each kill how long it took until a transaction was begun that no
	// caller had asked for before the kill.
	away  []time.Duration
	tally tallied
}

func (r *report) median() time.Duration {
	sorted := slices.Sorted(slices.Values(r.away))
	return sorted[len(sorted)/2]
}

func (r *report) String() string {
	return fmt.Sprintf("%d kills under %d callers: back after %v in the median, %v at most\n%v",
		len(r.away), r.callers, r.median().Round(time.Millisecond), slices.Max(r.away).Round(time.Millisecond), r.tally)
}

// run kills, measures and checks.
func run(ctx context.Context, o options, dir string, say func(string, ...any)) (r *report, err error) {
	f, err := startFleet(ctx, o.program, dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.stop()) }()
	l, err := startLoad(ctx, f.addresses(), o.callers)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, l.stop()) }()
	r = &report{callers: o.callers}
	for i := range o.kills {
		if err := sleep(ctx, o.pause); err != nil {
			return nil, err
		}
		leader, err := f.leader(ctx)
		if err != nil {
			return nil, err
		}
		killed := time.Now()
		if err := leader.process.Kill(); err != nil {
			return nil, err
		}
		begun, err := l.begunAfter(ctx, killed)
		if err != nil {
			return nil, err
		}
		r.away = append(r.away, begun.Sub(killed))
		next, err := f.leader(ctx)
		if err != nil {
			return nil, err
		}
		say("kill %d: %s was killed, a transaction was begun %v later, %s leads", i+1, leader.name,
			begun.Sub(killed).Round(time.Millisecond), next.name)
		if err := f.restart(ctx, leader); err != nil {
			return nil, err
		}
	}
	if err := sleep(ctx, o.pause); err != nil {
		return nil, err
	}
	l.end()
	if err := f.awaitEmpty(ctx); err != nil {
		return nil, err
	}
	r.tally, err = l.check(ctx)
	return r, err
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
