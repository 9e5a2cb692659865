package raft

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// BenchmarkMillion fills a store with a million live transactions of two
// branches and reports how long it takes to open it from the log and from a
// snapshot, and how long Apply takes while nothing else goes on, during a garbage
// collection, and during a snapshot and the removal of what it replaces. Each is
// measured several times, next to each other: on a busy machine only the
// difference says something. TMPDIR=/dev/shm takes the disk out of it.
func BenchmarkMillion(b *testing.B) {
	const million = 1_000_000
	for b.Loop() {
		config := Config{Dir: b.TempDir(), ReserveBytes: -1, SnapshotBytes: 1 << 40}
		s := open(b, config)
		applyMany(b, s, 3, million, 3)
		reopened := func() time.Duration {
			require.NoError(b, s.Close())
			began := time.Now()
			s = open(b, config)
			took := time.Since(began)
			require.EqualValues(b, million, s.Stats().Globals)
			return took
		}
		b.ReportMetric(reopened().Seconds(), "open-from-log-s")
		runtime.GC()
		first := int64(1 << 40)
		for _, callers := range []int{1, 1, 1, 64} { // from the third on there is an old snapshot to remove
			measure := func(what string, work func()) {
				apply := delays(b, s, callers, &first, work)
				b.Logf("%2d callers, %-8s %v", callers, what, apply)
				b.ReportMetric(apply.at(1).Seconds()*1e3, fmt.Sprintf("%s-longest-ms/%d", what, callers))
			}
			measure("nothing", func() { <-time.After(5 * time.Second) })
			measure("gc", runtime.GC)
			measure("snapshot", func() {
				if err := s.raft.Snapshot().Error(); err != nil {
					b.Error(err)
				}
				for !removed(b, config.Dir) {
					<-time.After(10 * time.Millisecond)
				}
			})
			first = applyMany(b, s, first, 100_000, 5) // two segments of the log
		}
		b.ReportMetric(reopened().Seconds(), "open-from-snapshot-s")
		require.NoError(b, s.Close())
	}
}

// applyMany applies the first batches of n transactions, and returns the id after
// theirs.
func applyMany(b *testing.B, s *Store, first, n int64, batches int) int64 {
	var next atomic.Int64
	var all sync.WaitGroup
	for range 512 {
		all.Go(func() {
			for i := next.Add(1); i <= n; i = next.Add(1) {
				for _, batch := range lifecycle(first + 3*i)[:batches] {
					if err := s.Apply(context.Background(), batch); err != nil {
						b.Error(err)
						return
					}
				}
			}
		})
	}
	all.Wait()
	return first + 3*(n+1)
}

// removed tells whether nothing is left of the log before the snapshot and of
// older snapshots.
func removed(b *testing.B, dir string) bool {
	segments, err := os.ReadDir(filepath.Join(dir, logDir))
	require.NoError(b, err)
	snapshots, err := os.ReadDir(filepath.Join(dir, snapshotsDir))
	require.NoError(b, err)
	parts := slices.ContainsFunc(snapshots, func(e os.DirEntry) bool { return strings.HasSuffix(e.Name(), unfinished) })
	return len(segments) <= 3 && !parts // with the metadata, and the end of the log in two
}

// distribution has the longest first.
type distribution []time.Duration

func (d distribution) at(quantile float64) time.Duration {
	return d[int(float64(len(d)-1)*(1-quantile))].Round(10 * time.Microsecond)
}

func (d distribution) String() string {
	over := slices.IndexFunc(d, func(took time.Duration) bool { return took <= 20*time.Millisecond })
	return fmt.Sprintf("n %6d p50 %v p99 %v p99.99 %v longest %v, over 20 ms: %d", len(d), d.at(.5), d.at(.99), d.at(.9999), d.at(1), over)
}

// delays measures each Apply of callers who take transactions through their
// lives, one batch at a time, until work is done.
func delays(b *testing.B, s *Store, callers int, first *int64, work func()) distribution {
	done := make(chan struct{})
	go func() { defer close(done); work() }()
	id := atomic.Int64{}
	id.Store(*first)
	took := make([]distribution, callers)
	var all sync.WaitGroup
	for caller := range callers {
		all.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				for _, batch := range lifecycle(id.Add(3)) {
					began := time.Now()
					if err := s.Apply(context.Background(), batch); err != nil {
						b.Error(err)
						return
					}
					took[caller] = append(took[caller], time.Since(began))
				}
			}
		})
	}
	all.Wait()
	*first = id.Load() + 3
	every := distribution(slices.Concat(took...))
	slices.Sort(every)
	slices.Reverse(every)
	return every
}
