package coordinator

import "sync"

// maxIdleRunners caps the goroutines that wait for work.
const maxIdleRunners = 1024

// runners runs work on goroutines that are used again: a decision grows a new
// goroutine's stack several times, which under load costs more than deciding.
type runners struct {
	work    chan func()
	closing <-chan struct{}
	idle    chan struct{} // a place for each that waits
	all     sync.WaitGroup
}

func newRunners(closing <-chan struct{}) *runners {
	return &runners{work: make(chan func()), closing: closing, idle: make(chan struct{}, maxIdleRunners)}
}

// spawn runs f on a waiting goroutine, or on a new one.
func (r *runners) spawn(f func()) {
	select {
	case r.work <- f:
	default:
		r.all.Go(func() { r.run(f) })
	}
}

// run runs f and whatever comes after it, until closing or until enough others
// wait.
func (r *runners) run(f func()) {
	for {
		f()
		select {
		case r.idle <- struct{}{}:
		default:
			return
		}
		select {
		case f = <-r.work:
			<-r.idle
		case <-r.closing:
			return
		}
	}
}

// wait waits for the goroutines to end, once closing is closed.
func (r *runners) wait() { r.all.Wait() }
