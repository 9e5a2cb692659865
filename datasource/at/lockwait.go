package at

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/qiao-tx/qiao/rm"
)

// awaitLocks makes attempts until one does not fail with a lock conflict or a
// deadlock, at most for LockWait, at ever longer intervals. It makes at least
// one. An attempt must be a local transaction of its own.
func (r *Resource) awaitLocks(ctx context.Context, attempt func() error) error {
	return r.poll(ctx, r.cfg.LockWait, "global locks", func(err error) bool {
		return errors.Is(err, rm.ErrLockConflict) || r.db.deadlock(err)
	}, attempt)
}

// holdLocks is awaitLocks for a caller that holds local locks meanwhile: it
// waits shortly, and not at all when the holder of the global lock rolls back,
// which may need the very rows that the caller holds. On SQLite the caller
// holds the whole file, so it never waits.
func (r *Resource) holdLocks(ctx context.Context, attempt func() error) error {
	if !r.db.rowLocks {
		return attempt()
	}
	return r.poll(ctx, r.cfg.HoldWait, "global locks, with local locks held", func(err error) bool {
		var conflict *rm.LockConflict
		return errors.As(err, &conflict) && !conflict.FailFast
	}, attempt)
}

// poll repeats attempt while again says so of its error.
func (r *Resource) poll(ctx context.Context, wait time.Duration, what string, again func(error) bool, attempt func() error) error {
	end := time.Now().Add(wait)
	interval := r.cfg.LockPoll
	for {
		err := attempt()
		if err == nil || !again(err) {
			return err
		}
		if time.Until(end) < interval {
			return fmt.Errorf("waited %v for %s: %w", wait, what, err)
		}
		select {
		case <-time.After(interval):
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w (last: %w)", what, ctx.Err(), err)
		}
		interval = min(2*interval, maxPollGrowth*r.cfg.LockPoll)
	}
}
