package tm

import (
	"context"
	"fmt"
	"time"

	"github.com/qiao-tx/qiao/protocol"
)

// firstLook and lastLook are how long Wait waits between two questions.
const (
	firstLook = 20 * time.Millisecond
	lastLook  = 2 * time.Second
)

// Wait asks how transaction x stands until nothing more happens to it by itself,
// and returns its last status: Committed, Rollbacked, TimeoutRollbacked, a …Failed
// one that an operator has to look at, or Finished when the coordinator does not
// know it, or no longer. It is for callers to whom a commit that is decided is
// not enough, and after ErrOutcomeUnknown. When ctx ends first, the status is the
// last one heard, with an error that wraps ctx's.
func (m *Manager) Wait(ctx context.Context, x string) (protocol.GlobalStatus, error) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	last := protocol.StatusUnKnown
	for pause := firstLook; ; pause = min(2*pause, lastLook) {
		select {
		case <-ctx.Done():
			return last, fmt.Errorf("wait for the end of %s, which is %s: %w", x, last, context.Cause(ctx))
		case <-timer.C:
		}
		status, err := m.Status(ctx, x)
		if err != nil {
			return last, err
		}
		if last = status; settled(status) {
			return status, nil
		}
		timer.Reset(pause)
	}
}

// Ended tells whether nothing can happen to transaction x any more, so that what
// was kept for its end may go: it is committed or rolled back on every branch, or
// the coordinator does not know it, or no longer. A transaction that waits for an
// operator has not ended.
func (m *Manager) Ended(ctx context.Context, x string) (bool, error) {
	switch status, err := m.Status(ctx, x); status {
	case protocol.StatusCommitted, protocol.StatusRollbacked, protocol.StatusTimeoutRollbacked, protocol.StatusFinished:
		return err == nil, err
	default:
		return false, err
	}
}

// settled tells whether a status stays.
func settled(s protocol.GlobalStatus) bool {
	switch s {
	case protocol.StatusBegin, protocol.StatusCommitting, protocol.StatusCommitRetrying,
		protocol.StatusAsyncCommitting, protocol.StatusRollbacking, protocol.StatusRollbackRetrying,
		protocol.StatusTimeoutRollbacking, protocol.StatusTimeoutRollbackRetrying, protocol.StatusUnKnown:
		return false
	}
	return true
}
