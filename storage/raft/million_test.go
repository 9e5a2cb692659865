package raft

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// BenchmarkMillion fills a store with a million live transactions of two
// branches and reports how long it takes to open it from the log and from a
// snapshot, and how long Apply took at worst, with and without a snapshot being
// written. On a busy machine the latter show mostly the disk and the scheduler.
func BenchmarkMillion(b *testing.B) {
	const million = 1_000_000
	for b.Loop() {
		config := Config{Dir: b.TempDir(), ReserveBytes: -1, SnapshotBytes: 1 << 40}
		s := open(b, config)
		fill(b, s, million)
		reopened := func() time.Duration {
			require.NoError(b, s.Close())
			began := time.Now()
			s = open(b, config)
			took := time.Since(began)
			require.EqualValues(b, million, s.Stats().Globals)
			return took
		}
		b.ReportMetric(reopened().Seconds(), "open-from-log-s")
		id := int64(1 << 40)
		without := longestApply(b, s, &id, func() { <-time.After(5 * time.Second) })
		var took time.Duration
		with := longestApply(b, s, &id, func() {
			began := time.Now()
			if err := s.raft.Snapshot().Error(); err != nil {
				b.Error(err)
			}
			took = time.Since(began)
		})
		b.ReportMetric(float64(without.Microseconds())/1e3, "longest-ms")
		b.ReportMetric(float64(with.Microseconds())/1e3, "snapshot-longest-ms")
		b.ReportMetric(took.Seconds(), "snapshot-s")
		b.ReportMetric(reopened().Seconds(), "open-from-snapshot-s")
		require.NoError(b, s.Close())
	}
}

// fill begins transactions with two branches each.
func fill(b *testing.B, s *Store, n int64) {
	var next atomic.Int64
	var all sync.WaitGroup
	for range 512 {
		all.Go(func() {
			for i := next.Add(1); i <= n; i = next.Add(1) {
				for _, batch := range lifecycle(3 * i)[:3] {
					if err := s.Apply(context.Background(), batch); err != nil {
						b.Error(err)
						return
					}
				}
			}
		})
	}
	all.Wait()
}

// longestApply applies whole transactions, one batch at a time, while work goes
// on.
func longestApply(b *testing.B, s *Store, id *int64, work func()) time.Duration {
	done := make(chan struct{})
	go func() { defer close(done); work() }()
	var longest time.Duration
	for {
		select {
		case <-done:
			return longest
		default:
		}
		*id += 3
		for _, batch := range lifecycle(*id) {
			began := time.Now()
			require.NoError(b, s.Apply(context.Background(), batch))
			longest = max(longest, time.Since(began))
		}
	}
}
