package peers

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/protocol"
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

// Seata's clients before 0.8 close the connection on a message they do not know.
func TestOldClientsAreNotToldToDeleteUndoLogs(t *testing.T) {
	w := newWorld()
	for version, want := range map[string]int{"0.6.1": 0, "0.7.1": 0, "0.8.0": 1, "": 1} {
		c := w.open("10.0.0.1:1")
		_, err := c.RegisterRM(&protocol.Identity{Version: version, ApplicationID: "app"}, "db", false)
		require.NoError(t, err)
		w.DeleteUndoLogs(7)
		require.Len(t, c.conn.(*fakeConn).told(), want, version)
		c.Close()
	}
}
