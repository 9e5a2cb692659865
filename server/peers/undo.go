package peers

import (
	"context"
	"time"
)

// DeleteUndoLogsEvery calls DeleteUndoLogs after delay and then once a period,
// until ctx ends.
func (r *Registry) DeleteUndoLogsEvery(ctx context.Context, delay, period time.Duration, days int16) {
	timer := time.NewTimer(delay)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			r.DeleteUndoLogs(days)
			timer.Reset(period)
		}
	}
}
