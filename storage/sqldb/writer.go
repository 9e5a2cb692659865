package sqldb

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/qiao-tx/qiao/storage"
)

const (
	// maxGroup bounds the Batches of one SQL transaction, and maxGroupRows the rows
	// that they lock; one Batch alone may lock more.
	maxGroup     = 256
	maxGroupRows = 4000
	// maxAttempts is how often a group is tried that others are in the way of.
	maxAttempts = 20
	// lostAttempts is how often one is tried whose connection fails.
	lostAttempts = 3
)

// request is one caller's Batch.
type request struct {
	batch *storage.Batch
	done  chan error
}

// queue holds requests until the writer is free, and then as many as may become
// one SQL transaction.
type queue struct {
	mu      sync.Mutex
	filled  sync.Cond
	waiting []request
	closed  bool
}

func newQueue() *queue {
	q := &queue{}
	q.filled.L = &q.mu
	return q
}

// put adds r; false means that the queue is closed.
func (q *queue) put(r request) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return false
	}
	q.waiting = append(q.waiting, r)
	q.filled.Signal()
	return true
}

// take waits for requests; none means that the queue is closed and empty.
func (q *queue) take() []request {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.waiting) == 0 && !q.closed {
		q.filled.Wait()
	}
	n, size := 0, 0
	for n < len(q.waiting) && n < maxGroup && size < maxGroupRows {
		for _, b := range q.waiting[n].batch.Add {
			size += 1 + len(b.LockKey)/8 // about a row for eight bytes
		}
		n++
	}
	taken := slices.Clone(q.waiting[:n])
	q.waiting = slices.Delete(q.waiting, 0, n)
	return taken
}

func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.filled.Broadcast()
}

// write carries out what is queued, group by group, until the queue is closed and
// empty.
func (s *Store) write() {
	for {
		requests := s.queue.take()
		if len(requests) == 0 {
			return
		}
		s.writeAll(requests)
	}
}

// writeAll carries out one group. When the database refuses the whole of it, which
// may be the fault of one Batch, each is tried by itself.
func (s *Store) writeAll(requests []request) {
	batches := make([]*storage.Batch, len(requests))
	for i, r := range requests {
		batches[i] = r.batch
	}
	results, err := s.commit(batches)
	if len(requests) > 1 && (errors.Is(err, errRefused) || errors.Is(err, storage.ErrFull)) {
		for _, r := range requests {
			s.writeAll([]request{r})
		}
		return
	}
	for i, r := range requests {
		if err != nil {
			r.done <- err
		} else {
			r.done <- results[i]
		}
	}
}

// errRefused: the database did not take a statement for what it says.
var errRefused = errors.New("the database refused it")

// commit decides the Batches and makes what they amount to durable. It returns the
// result of each, or the error of all.
func (s *Store) commit(batches []*storage.Batch) ([]error, error) {
	wait := time.Millisecond
	for attempt := 1; ; attempt++ {
		g := newGroup(batches)
		wrote, err := s.try(g)
		if err == nil {
			s.count(g, wrote)
			return g.results, nil
		}
		if again, err := s.judge(err, attempt); !again {
			return nil, err
		}
		select {
		case <-time.After(wait):
		case <-s.ending:
			return nil, storage.ErrClosed
		}
		wait = min(2*wait, 50*time.Millisecond)
	}
}

// judge says whether a group that failed, and of which nothing was written, is
// tried again, and else what its callers are told.
func (s *Store) judge(err error, attempt int) (again bool, told error) {
	if errors.Is(err, errUnknown) {
		return false, err
	}
	switch s.dialect.failure(err) {
	case raced:
	case readOnly: // after a fail-over: the next connections find the new primary
		s.forgetConnections()
		return false, fmt.Errorf("%w: the database takes no writes: %w", storage.ErrUnavailable, err)
	case full:
		return false, fmt.Errorf("%w: %w", storage.ErrFull, err)
	case refused:
		return false, fmt.Errorf("%w: %w: %w", storage.ErrUnavailable, errRefused, err)
	default:
		if !errors.Is(err, errRaced) {
			// The connection may be the only thing that was lost.
			return attempt < lostAttempts && !errors.Is(err, context.DeadlineExceeded), fmt.Errorf("%w: %w", storage.ErrUnavailable, err)
		}
	}
	return attempt < maxAttempts, fmt.Errorf("%w: others were in the way %d times: %w", storage.ErrUnavailable, attempt, err)
}

// try carries the group out in one SQL transaction. Unless the error wraps
// errUnknown, nothing was written.
func (s *Store) try(g *group) (wrote bool, err error) {
	s.tries.Add(1)
	ctx, cancel := context.WithTimeout(context.Background(), s.timeout)
	defer cancel()
	if err := s.prepareMark(ctx); err != nil {
		return false, err
	}
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return false, err
	}
	defer func() { _ = tx.Rollback() }() // after a commit it does nothing
	if err := g.read(ctx, tx, s.dialect); err != nil {
		return false, err
	}
	if err := g.classify(ctx, tx, s.dialect, s.rowKeys); err != nil {
		return false, err
	}
	if !g.decide() {
		return false, nil
	}
	w := newChangeWriter(ctx, tx, s.dialect)
	w.now = time.Now().UnixMicro()
	s.purge(w, g.clock)
	s.markCommit(w)
	if err := g.change().write(w); err != nil {
		return false, err
	}
	if unanswered := tx.Commit(); unanswered != nil {
		committed, err := s.settle()
		switch {
		case err != nil:
			return false, fmt.Errorf("%w: %w; %w", errUnknown, unanswered, err)
		case !committed:
			return false, fmt.Errorf("commit: %w", unanswered)
		}
	}
	if g.clock >= s.purged.Load()+purgeEvery {
		s.purged.Store(g.clock)
	}
	return true, nil
}

// purgeEvery is how often tombstones that have expired are deleted, by the clock
// of the Batches.
const purgeEvery = 5000

// purge deletes tombstones that have expired.
func (s *Store) purge(w *changeWriter, clock int64) {
	if clock < s.purged.Load()+purgeEvery {
		return
	}
	// By this node's clock and the database's: one that is fast must not take what
	// others left.
	w.begin("DELETE FROM qiao_tombstone WHERE expires_at<=").number(clock).add(" AND expires_at<=" + s.dialect.clock)
}

// count counts the Batches that were applied.
func (s *Store) count(g *group, wrote bool) {
	if !wrote {
		return
	}
	s.entries.Add(1)
	for _, err := range g.results {
		if err == nil {
			s.batches.Add(1)
		}
	}
}
