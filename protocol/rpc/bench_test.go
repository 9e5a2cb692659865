//go:build unix

package rpc

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/qiao-tx/qiao/protocol"
)

// BenchmarkRoundTrip measures a branch registration and its answer over
// loopback TCP, both ends in this process. cpu-us/op is the user and system
// time of the whole process.
func BenchmarkRoundTrip(b *testing.B) {
	for _, callers := range []int{1, 64} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			answer := &protocol.BranchRegisterResult{TxResult: protocol.OK(), BranchID: 1}
			client, _ := newPair(b, Options{}, Options{Handler: func(c *Conn, r Request) { _ = c.Reply(r, answer, nil) }})
			ctx := testContext(b)
			m := &protocol.BranchRegister{XID: "192.0.2.2:8091:42", ResourceID: "jdbc:mysql://h:3306/d", LockKey: "t:1"}
			work := make(chan struct{}, 1024)
			b.ReportAllocs()
			before := processTime(b)
			b.ResetTimer()
			ended := make(chan error, callers)
			for range callers {
				go func() {
					for range work {
						if _, err := client.Call(ctx, m, nil); err != nil {
							ended <- err
							return
						}
					}
					ended <- nil
				}()
			}
			for range b.N {
				work <- struct{}{}
			}
			close(work)
			for range callers {
				if err := <-ended; err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64((processTime(b)-before).Microseconds())/float64(b.N), "cpu-us/op")
		})
	}
}

func processTime(tb testing.TB) time.Duration {
	tb.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
