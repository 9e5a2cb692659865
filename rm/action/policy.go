package action

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/rm"
)

// Retry says how a function of phase two is repeated. The zero value calls it
// once for each order and leaves the repetition to the coordinator, which never
// gives up.
type Retry struct {
	// Attempts is how often one order calls the function before it is answered as
	// failed. The coordinator gives the order again later. Default 1.
	Attempts int
	// Wait is the pause after the first failed call; it doubles with each.
	// Default 100 ms.
	Wait time.Duration
	// GiveUpAfter, when not 0, is how long after the try a failure counts as
	// Unretryable: the coordinator stops, and somebody has to look. The times are
	// those of the hosts' clocks.
	GiveUpAfter time.Duration
}

// Policy is how a function of phase two is called.
type Policy struct {
	// Timeout ends the context of one call. Zero leaves the coordinator client's
	// bound for a whole order.
	Timeout time.Duration
	Retry   Retry
}

// Validate answers what cannot be meant.
func (p Policy) Validate() error {
	switch {
	case p.Timeout < 0:
		return fmt.Errorf("time-out %v: must not be negative", p.Timeout)
	case p.Retry.Attempts < 0 || p.Retry.Wait < 0 || p.Retry.GiveUpAfter < 0:
		return fmt.Errorf("retry %+v: must not be negative", p.Retry)
	}
	return nil
}

// Obey carries out an order for branch b: it decodes the argument and calls fn.
// Data that does not decode counts as retryable: the next version of the program
// may read it.
func Obey[T any](ctx context.Context, p Policy, b rm.Branch, fn func(context.Context, T) error) error {
	c, err := Parse(b.ApplicationData)
	if err != nil {
		return err
	}
	arg, err := Decode[T](c)
	if err != nil {
		return err
	}
	var started time.Time
	if p.Retry.GiveUpAfter > 0 {
		started = c.Started()
	}
	return p.repeat(WithBranch(ctx, b), started, func(ctx context.Context) error { return fn(ctx, arg) })
}

func (p Policy) repeat(ctx context.Context, started time.Time, fn func(context.Context) error) error {
	wait := p.Retry.Wait
	if wait == 0 {
		wait = 100 * time.Millisecond
	}
	for attempt := 1; ; attempt++ {
		err := p.once(ctx, fn)
		var final unretryable
		if err == nil || errors.As(err, &final) {
			return err
		}
		if attempt >= p.Retry.Attempts || !pause(ctx, wait) {
			return p.judge(err, started)
		}
		wait *= 2
	}
}

func (p Policy) once(ctx context.Context, fn func(context.Context) error) error {
	if p.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, p.Timeout)
		defer cancel()
	}
	return fn(ctx)
}

// judge gives up where the policy says so.
func (p Policy) judge(err error, started time.Time) error {
	if age := time.Since(started); p.Retry.GiveUpAfter > 0 && !started.IsZero() && age > p.Retry.GiveUpAfter {
		return Unretryable(fmt.Errorf("given up %v after the try: %w", age.Round(time.Millisecond), err))
	}
	return err
}

// pause waits, and returns false when ctx ends first.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

type unretryable struct{ error }

func (u unretryable) Unwrap() error { return u.error }

// Unretryable marks an error of a function of phase two as one that no repetition
// can mend. The coordinator then stops, keeps the transaction with the error's
// text, and somebody has to look. It returns nil for nil.
func Unretryable(err error) error {
	if err == nil {
		return nil
	}
	return unretryable{err}
}

// Status chooses the answer to an order by how its function went.
func Status(err error, done, retryable, stop protocol.BranchStatus) protocol.BranchStatus {
	var final unretryable
	switch {
	case err == nil:
		return done
	case errors.As(err, &final):
		return stop
	}
	return retryable
}

// CommitStatus is the answer to an order to commit.
func CommitStatus(err error) protocol.BranchStatus {
	return Status(err, protocol.BranchPhaseTwoCommitted,
		protocol.BranchPhaseTwoCommitFailedRetryable, protocol.BranchPhaseTwoCommitFailedUnretryable)
}

// RollbackStatus is the answer to an order to roll back.
func RollbackStatus(err error) protocol.BranchStatus {
	return Status(err, protocol.BranchPhaseTwoRollbacked,
		protocol.BranchPhaseTwoRollbackFailedRetryable, protocol.BranchPhaseTwoRollbackFailedUnretryable)
}
