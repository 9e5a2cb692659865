//go:build linux

package javatc

import (
	"bytes"
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/client"
	"github.com/qiao-tx/qiao/internal/relay"
	"github.com/qiao-tx/qiao/protocol"
)

// testUndoDeletion waits for the order to delete old undo logs. It has no
// answer; the connection must go on, and nobody be alarmed: a Java coordinator
// gives it for TCC actions, too.
func testUndoDeletion(t *testing.T, tc *coordinator) {
	var log lockedBuffer
	e := newEnv(t, tc, client.Config{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	e.action(hooks{})
	var again, orders atomic.Int32
	e.relay.Set(relay.Trap{Message: protocol.TypeRegisterTM, Nth: 1, Fate: relay.Delivered, Act: func() { again.Add(1) }})
	for range 3 { // two databases and an action
		e.relay.Set(relay.Trap{Message: protocol.TypeUndoLogDelete, Nth: 1, Fate: relay.Delivered, Act: func() { orders.Add(1) }})
	}
	for id, days := range []int{10, 1} {
		e.must(e.plain, "INSERT INTO undo_log (branch_id, xid, context, rollback_info, log_status, log_created, log_modified) "+
			"VALUES (?, 'old', '', '{}', 1, NOW(6) - INTERVAL ? DAY, NOW(6))", id, days)
	}
	var left int
	require.Eventually(t, func() bool {
		require.NoError(t, e.plain.QueryRow("SELECT COUNT(*) FROM undo_log").Scan(&left))
		return left == 1 && orders.Load() == 3
	}, 5*time.Minute, time.Second, "%d records left, %d orders", left, orders.Load())
	require.NoError(t, e.global(ample, func(ctx context.Context) error { return e.add(ctx, 1, 1) }))
	assert.Zero(t, again.Load(), "it is the connection of the beginning")
	assert.NotContains(t, log.String(), "undo")
}

// lockedBuffer keeps a log.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
