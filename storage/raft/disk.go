package raft

import (
	"log/slog"
	"sync/atomic"
	"syscall"
	"time"
)

// diskReserve tells whether the disk has less free space than the reserve. It
// asks at most once a second, and logs when the answer changes: what is refused
// meanwhile only its clients would hear of.
type diskReserve struct {
	dir     string
	reserve int64
	log     *slog.Logger
	nextAsk atomic.Int64 // Unix nanoseconds
	isLow   atomic.Bool
}

func (d *diskReserve) low() bool {
	if d.reserve < 0 {
		return false
	}
	now := time.Now().UnixNano()
	next := d.nextAsk.Load()
	if now >= next && d.nextAsk.CompareAndSwap(next, now+int64(time.Second)) {
		// A disk that does not answer is found out by the next write.
		if free, err := freeBytes(d.dir); err == nil {
			d.set(free)
		}
	}
	return d.isLow.Load()
}

func (d *diskReserve) set(free int64) {
	low := free < d.reserve
	if d.isLow.Swap(low) == low {
		return
	}
	if low {
		d.log.Warn("the disk is nearly full: no transaction is begun and no branch added until there is room again",
			"dir", d.dir, "free_mib", free>>20, "reserve_mib", d.reserve>>20)
		return
	}
	d.log.Info("the disk has room again: transactions are begun", "dir", d.dir, "free_mib", free>>20, "reserve_mib", d.reserve>>20)
}

func freeBytes(dir string) (int64, error) {
	var stat syscall.Statfs_t
	if err := syscall.Statfs(dir, &stat); err != nil {
		return 0, err
	}
	return int64(stat.Bavail) * int64(stat.Bsize), nil
}
