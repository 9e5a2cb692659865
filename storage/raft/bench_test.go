package raft

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/storage"
)

// BenchmarkApply takes transactions with two branches from begin to tombstone,
// five batches each, from so many callers at once, each waiting for its own.
func BenchmarkApply(b *testing.B) {
	for _, callers := range []int{1, 64, 256, 1024} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			s := open(b, Config{Dir: b.TempDir(), ReserveBytes: -1})
			var ids, left atomic.Int64
			left.Store(int64(b.N))
			latencies := make([][]time.Duration, callers)
			before := cpuTime(b)
			b.ResetTimer()
			var all sync.WaitGroup
			for caller := range callers {
				all.Go(func() {
					var life []*storage.Batch
					for left.Add(-1) >= 0 {
						if len(life) == 0 {
							life = lifecycle(ids.Add(3))
						}
						start := time.Now()
						if err := s.Apply(context.Background(), life[0]); err != nil {
							b.Error(err)
							return
						}
						latencies[caller] = append(latencies[caller], time.Since(start))
						life = life[1:]
					}
				})
			}
			all.Wait()
			b.StopTimer()
			every := slices.Concat(latencies...)
			slices.Sort(every)
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "batches/s")
			b.ReportMetric(float64(every[len(every)/2].Microseconds()), "p50-us")
			b.ReportMetric(float64(every[len(every)*99/100].Microseconds()), "p99-us")
			b.ReportMetric(float64((cpuTime(b)-before).Nanoseconds())/1e3/float64(b.N), "cpu-us/batch")
			b.ReportMetric(float64(s.Stats().Batches)/float64(s.Stats().Entries), "batches/entry")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// lifecycle is what a committed transaction applies.
func lifecycle(id int64) []*storage.Batch {
	first := begin(id)
	decided := *first.Global
	decided.Status = protocol.StatusCommitting
	return []*storage.Batch{
		first, register(id, 1, id+1), register(id, 2, id+2),
		{XID: first.XID, Revision: 3, At: id, Global: &decided, UnlockAll: true},
		{XID: first.XID, Revision: 4, At: id, Finish: &storage.Tombstone{Outcome: protocol.StatusCommitted, ExpiresAt: id + 180_000}},
	}
}

func cpuTime(b *testing.B) time.Duration {
	var usage syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
