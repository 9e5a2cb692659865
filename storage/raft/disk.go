package raft

import (
	"sync/atomic"
	"syscall"
	"time"
)

// diskReserve tells whether the disk has less free space than the reserve. It
// asks at most once a second.
type diskReserve struct {
	dir     string
	reserve int64
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
			d.isLow.Store(free < d.reserve)
		}
	}
	return d.isLow.Load()
}

func freeBytes(dir string) (int64, error) {
	var stat syscall.Statfs_t
	if err := syscall.Statfs(dir, &stat); err != nil {
		return 0, err
	}
	return int64(stat.Bavail) * int64(stat.Bsize), nil
}
