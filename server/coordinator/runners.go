package coordinator

import (
	"sync"
	"sync/atomic"
)

// maxIdleRunners caps the goroutines that wait for work.
const maxIdleRunners = 1024

// runners runs work on goroutines that are used again: a decision grows a new
// goroutine's stack several times, which under load costs more than deciding.
type runners struct {
	work chan func()
	idle atomic.Int64
	all  sync.WaitGroup
}

func newRunners() *runners { return &runners{work: make(chan func())} }

// spawn runs f on a waiting goroutine, or on a new one. It must not be called
// once close has been.
func (r *runners) spawn(f func()) {
	select {
	case r.work <- f:
	default:
		r.all.Go(func() { r.run(f) })
	}
}

// run runs f and whatever comes after it, until close or until enough others
// wait.
func (r *runners) run(f func()) {
	for ok := true; ok; {
		f()
		ok = false
		if r.idle.Add(1) <= maxIdleRunners {
			f, ok = <-r.work
		}
		r.idle.Add(-1)
	}
}

// close ends the goroutines that wait, and waits for the others.
func (r *runners) close() {
	close(r.work)
	r.all.Wait()
}
