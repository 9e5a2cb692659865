package peers

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestDeleteUndoLogsEvery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		conn := w.rm(t, "app", "10.0.0.1:1", "db").conn.(*fakeConn)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			w.DeleteUndoLogsEvery(ctx, 3*time.Minute, 24*time.Hour, 7)
			close(done)
		}()
		told := func(after time.Duration) int {
			time.Sleep(after)
			synctest.Wait()
			return len(conn.told())
		}
		require.Equal(t, 0, told(3*time.Minute-1))
		require.Equal(t, 1, told(1))
		require.Equal(t, 1, told(24*time.Hour-1))
		require.Equal(t, 2, told(1))
		cancel()
		<-done
		require.Equal(t, 2, told(100*time.Hour))
	})
}
