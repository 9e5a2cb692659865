package memory

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/storage"
)

// lifecycle is what a committed transaction with two branches applies.
func lifecycle(id, at int64) []*storage.Batch {
	branch := func(revision uint64, n int64) *storage.Batch {
		return &storage.Batch{XID: testXID(id), Revision: revision, At: at, Add: []storage.Branch{{
			ID: id + n, Status: protocol.BranchRegistered, ResourceID: "jdbc:mysql://127.0.0.1:3306/bench",
			ClientID: "bench:127.0.0.1:50123", LockKey: fmt.Sprintf("account:%d", id+n), Locked: true, RegisteredAt: at,
		}}}
	}
	global := storage.Global{
		ID: id, Status: protocol.StatusBegin, ApplicationID: "bench", Group: "default_tx_group", Name: "bench",
		BeganAt: at, TimeoutMillis: 60_000, DueAt: at + 60_000,
	}
	decided := global
	decided.Status, decided.DueAt = protocol.StatusCommitting, at+1_000
	return []*storage.Batch{
		{XID: testXID(id), At: at, Global: &global},
		branch(1, 1),
		branch(2, 2),
		{XID: testXID(id), Revision: 3, At: at, Global: &decided, UnlockAll: true},
		{XID: testXID(id), Revision: 4, At: at, Finish: &storage.Tombstone{Outcome: protocol.StatusCommitted, ExpiresAt: at + 180_000}},
	}
}

// BenchmarkTransaction is one transaction's five batches, decoded as the log
// delivers them, among 10,000 live ones; building and encoding them included.
func BenchmarkTransaction(b *testing.B) {
	s := New()
	fill(b, s, 10_000)
	id := int64(1 << 40)
	b.ReportAllocs()
	for b.Loop() {
		id += 3
		for _, batch := range lifecycle(id, id/25) {
			decoded, err := storage.DecodeBatch(storage.AppendBatch(nil, batch))
			if err != nil {
				b.Fatal(err)
			}
			if err := s.Apply(context.Background(), decoded); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// BenchmarkApply is the store's own part of BenchmarkTransaction.
func BenchmarkApply(b *testing.B) {
	s := New()
	fill(b, s, 10_000)
	id := int64(1 << 40)
	b.ReportAllocs()
	const group = 1_000
	for n := 0; n < b.N; n += group {
		b.StopTimer()
		var batches []*storage.Batch
		for range group {
			id += 3
			batches = append(batches, lifecycle(id, id/25)...)
		}
		errs := make([]error, len(batches))
		b.StartTimer()
		s.ApplyAll(batches, errs)
	}
}

// fill begins n transactions with two branches each, through the codec.
func fill(tb testing.TB, s *Store, n int) {
	for i := range int64(n) {
		for _, batch := range lifecycle(3*i+1, i)[:3] {
			decoded, err := storage.DecodeBatch(storage.AppendBatch(nil, batch))
			require.NoError(tb, err)
			require.NoError(tb, s.Apply(context.Background(), decoded))
		}
	}
}

// BenchmarkMillion reports the bytes a live transaction takes, and how long
// Apply took at worst, with and without a snapshot of a million of them being
// written. On a busy machine both show mostly the scheduler.
func BenchmarkMillion(b *testing.B) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	s := New()
	fill(b, s, 1_000_000)
	runtime.GC()
	runtime.ReadMemStats(&after)

	id := int64(1 << 40)
	longest := func(work func()) time.Duration {
		var done atomic.Bool
		go func() { work(); done.Store(true) }()
		var longest time.Duration
		for !done.Load() {
			id += 3
			for _, batch := range lifecycle(id, 1_000_000) {
				start := time.Now()
				require.NoError(b, s.Apply(context.Background(), batch))
				longest = max(longest, time.Since(start))
			}
		}
		return longest
	}
	var with, without time.Duration
	for b.Loop() {
		without = max(without, longest(func() {
			for start := time.Now(); time.Since(start) < 2*time.Second; {
			}
		}))
		with = max(with, longest(func() {
			n, err := s.Snapshot()
			require.NoError(b, err)
			defer n.Release()
			require.NoError(b, n.Write(io.Discard))
		}))
	}
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/1e6, "B/live")
	b.ReportMetric(float64(with.Microseconds())/1e3, "snapshot-longest-ms")
	b.ReportMetric(float64(without.Microseconds())/1e3, "longest-ms")
}
