package coordinator

import (
	"sync/atomic"
	"time"

	"github.com/qiao-tx/qiao/storage"
)

// The layout of an id is Seata's (org.apache.seata.common.util.IdWorker): ten
// bits of worker id, then 53 bits that start as the milliseconds since idEpoch
// shifted by twelve and from then on only count.
const (
	maxWorkerID    = 1023
	idSequenceBits = 12
	idEpochMillis  = 1_588_435_200_000 // 2020-05-03T00:00:00+08:00
)

// ids makes transaction and branch ids that were never used before.
type ids struct {
	worker  func() int
	counter atomic.Int64
}

// newIDs starts above last, the latest id that was ever stored by any node: an
// id leaves the node only after it is stored, so no clock set back can repeat one.
func newIDs(worker func() int, now time.Time, last int64) *ids {
	const mask = 1<<storage.SequenceBits - 1
	g := &ids{worker: worker}
	g.counter.Store(max((now.UnixMilli()-idEpochMillis)<<idSequenceBits, last&mask))
	return g
}

func (g *ids) next() int64 {
	return int64(g.worker())<<storage.SequenceBits | g.counter.Add(1)
}
