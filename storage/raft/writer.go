package raft

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	hraft "github.com/hashicorp/raft"

	"github.com/qiao-tx/qiao/storage"
)

// enqueueTimeout bounds one attempt to hand an entry to Raft, so that the writer
// notices a failed store.
const enqueueTimeout = time.Second

// request is one caller's batch.
type request struct {
	leads   *Leadership // whose batch it is
	batch   *storage.Batch
	encoded []byte
	done    func(error)
}

// queue holds requests until the writer is free, and then all of them become one
// entry. Nobody waits for company: under load it comes by itself.
type queue struct {
	mu      sync.Mutex
	filled  sync.Cond
	waiting []*request
	closed  bool
}

func newQueue() *queue {
	q := &queue{}
	q.filled.L = &q.mu
	return q
}

// put adds r; false means that the queue is closed.
func (q *queue) put(r *request) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return false
	}
	q.waiting = append(q.waiting, r)
	q.filled.Signal()
	return true
}

// wait returns when there is something to take.
func (q *queue) wait() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.waiting) == 0 && !q.closed {
		q.filled.Wait()
	}
}

// take moves the requests of one entry into dst; after a wait none means that the
// queue is closed and empty.
func (q *queue) take(dst []*request) []*request {
	q.mu.Lock()
	defer q.mu.Unlock()
	n, bytes := 0, 0
	for n < len(q.waiting) && n < maxEntryBatches && bytes < maxEntryBytes {
		bytes += len(q.waiting[n].encoded)
		n++
	}
	dst = append(dst, q.waiting[:n]...)
	rest := copy(q.waiting, q.waiting[n:])
	clear(q.waiting[rest:])
	q.waiting = q.waiting[:rest]
	return dst
}

// close lets the writer end when it has taken what is there.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.filled.Signal()
}

// write turns requests into entries, one after the other, until the queue is
// closed and empty. The callers of one entry are answered while the next is
// written.
func (s *Store) write() {
	written := make(chan proposal)
	spare := make(chan []*request, 2)
	spare <- nil
	spare <- nil
	var answering sync.WaitGroup
	answering.Go(func() {
		for p := range written {
			s.answerAll(p)
			clear(p.requests)
			spare <- p.requests[:0]
		}
	})
	defer answering.Wait()
	defer close(written)
	var data []byte
	company := false // the last entry had several batches
	for {
		requests := <-spare
		if s.queue.wait(); company {
			// Goroutines that are about to submit get to do so: fewer entries, at
			// 64 callers with a tenth less CPU time.
			runtime.Gosched()
		}
		p := proposal{requests: s.queue.take(requests)}
		if len(p.requests) == 0 {
			return
		}
		company = len(p.requests) > 1
		if p.requests = s.ofOneTerm(p.requests); len(p.requests) == 0 {
			spare <- p.requests
			continue
		}
		data = appendEntry(data[:0], s.termOf(p.requests), p.requests)
		s.underWay.begin(data, p.requests)
		p.results, p.err = s.propose(data, p.requests[0].leads)
		s.underWay.end()
		if p.err == nil {
			s.entries.Add(1)
		}
		if p.err != nil || !s.alone() {
			// Raft may still look at it, to send it to the others. The next entry is
			// about as long.
			data = make([]byte, 0, len(data)+len(data)/4)
		}
		written <- p
	}
}

// proposal is the requests of an entry of the log with the result of each, or with
// the error of all.
type proposal struct {
	requests []*request
	results  []error
	err      error
}

func (s *Store) answerAll(p proposal) {
	for i, r := range p.requests {
		if p.err != nil {
			s.answer(r, p.err)
		} else {
			s.answer(r, p.results[i])
		}
	}
}

// answer passes the result of a request on. Its caller does not block.
func (s *Store) answer(r *request, err error) {
	if err == nil {
		s.batches.Add(1)
	}
	done := r.done
	r.leads, r.batch, r.done = nil, nil, nil
	if cap(r.encoded) <= keptBytes {
		s.requests.Put(r)
	}
	done(err)
}

// keptBytes bounds the memory that a request keeps for the next.
const keptBytes = 64 << 10

// propose makes an entry durable and applies it, and returns the result of each
// of its batches.
func (s *Store) propose(data []byte, leads *Leadership) ([]error, error) {
	for {
		if err := s.latch.err(); err != nil {
			return nil, unavailable(err)
		}
		began := time.Now()
		future := s.raft.Apply(data, enqueueTimeout)
		switch err := future.Error(); {
		case err == nil:
		case errors.Is(err, hraft.ErrEnqueueTimeout):
			continue
		case s.latch.err() != nil:
			return nil, unknown(s.latch.err())
		case errors.Is(err, hraft.ErrNotLeader), errors.Is(err, hraft.ErrLeadershipTransferInProgress):
			if s.alone() {
				return nil, unavailable(err)
			}
			return nil, s.notLeader()
		default:
			return nil, unknown(err)
		}
		switch response := future.Response().(type) {
		case []error:
			if s.contacts != nil {
				s.contacts.committed(leads.term, began)
			}
			return response, nil
		case otherTerm:
			return nil, s.notLeader()
		case error:
			return nil, unknown(response)
		default:
			return nil, unknown(fmt.Errorf("unexpected response %T", response))
		}
	}
}

// ofOneTerm answers the requests of leaderships that are over, and returns those of
// the present one.
func (s *Store) ofOneTerm(requests []*request) []*request {
	if s.alone() {
		return requests
	}
	present, _, _ := s.standing.get()
	kept := requests[:0]
	for _, r := range requests {
		if r.leads == present {
			kept = append(kept, r)
		} else {
			s.answer(r, s.notLeader())
		}
	}
	clear(requests[len(kept):])
	return kept
}

// termOf is the term that an entry of these requests is for; 0 is any.
func (s *Store) termOf(requests []*request) uint64 {
	if s.alone() {
		return 0
	}
	return requests[0].leads.term
}

// unavailable says that nothing was written.
func unavailable(cause error) error { return fmt.Errorf("%w: %w", storage.ErrUnavailable, cause) }

// unknown says that the batch may be durable or not.
func unknown(cause error) error {
	return fmt.Errorf("the outcome of the batch is unknown: ask again: %w", cause)
}
