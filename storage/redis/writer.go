package redis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/qiao-tx/qiao/storage"
)

const (
	// maxPipeline bounds the Batches of one pipeline, and maxPipelineBytes their size.
	maxPipeline      = 128
	maxPipelineBytes = 4 << 20
	// purgeEvery is how often tombstones that have expired are deleted, in milliseconds
	// by the clock of the Batches; purgeMany is how many at once.
	purgeEvery = 1000
	purgeMany  = 1000
)

// request is one caller's Batch.
type request struct {
	*plan
	at   int64
	done chan error
	// began is when it was sent first.
	began time.Time
	// uncertain: it was sent and not answered. The mark that it leaves lets it be sent
	// again: it is applied once.
	uncertain bool
}

func (r *request) script() script {
	if r.adds {
		return applyScript
	}
	return decideScript
}

// queue holds requests until a writer is free, and then as many as may become one
// pipeline.
type queue struct {
	mu      sync.Mutex
	filled  sync.Cond
	waiting []*request
	// writing is how many pipelines are under way.
	writing int
	closed  bool
}

// beside is how many requests are worth a pipeline beside one that is under way. Fewer
// wait for its end: small pipelines cost both sides a third more.
const beside = 16

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

// take waits for requests; none means that the queue is closed and empty. After others
// done must be called.
func (q *queue) take() []*request {
	q.mu.Lock()
	defer q.mu.Unlock()
	for !q.closed && (len(q.waiting) == 0 || q.writing > 0 && len(q.waiting) < beside) {
		q.filled.Wait()
	}
	n, size := 0, 0
	for n < len(q.waiting) && n < maxPipeline && size < maxPipelineBytes {
		size += len(q.waiting[n].words.buf)
		n++
	}
	taken := slices.Clone(q.waiting[:n])
	q.waiting = slices.Delete(q.waiting, 0, n)
	if n > 0 {
		q.writing++
	}
	if len(q.waiting) > 0 {
		q.filled.Signal()
	}
	return taken
}

// done ends what take began.
func (q *queue) done() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.writing--
	if len(q.waiting) > 0 {
		q.filled.Signal()
	}
}

func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.filled.Broadcast()
}

// write carries out what is queued, pipeline by pipeline, until the queue is closed and
// empty.
func (s *Store) write() {
	for {
		requests := s.queue.take()
		if len(requests) == 0 {
			return
		}
		s.writeAll(requests)
		s.queue.done()
	}
}

// writeAll sends the requests until each is answered.
func (s *Store) writeAll(requests []*request) {
	wait := time.Millisecond
	for tries := 1; ; tries++ {
		client := s.server.client.Load()
		again, why := s.send(client, requests, tries)
		if len(again) == 0 {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), s.cfg.Timeout)
		switch why {
		case forgotten:
			_ = loadScripts(ctx, client) // what keeps it from that is told to the next try
		case moved:
			s.server.relocate(ctx, client)
		}
		cancel()
		requests = again
		if tries > 1 {
			s.pause(wait)
			wait = min(2*wait, 200*time.Millisecond)
		}
	}
}

// pause waits for d, or until the store closes.
func (s *Store) pause(d time.Duration) {
	select {
	case <-time.After(d):
	case <-s.stopping:
	}
}

// send sends one pipeline, and answers the requests whose outcome it tells. The others
// are to be sent again, for the reason that it names.
func (s *Store) send(client *goredis.Client, requests []*request, tries int) (again []*request, why failure) {
	ctx, cancel := context.WithTimeout(context.Background(), s.cfg.Timeout+s.cfg.WaitTimeout)
	defer cancel()
	pipe := client.Pipeline()
	cmds := make([]*goredis.Cmd, len(requests))
	clock := int64(0)
	for i, r := range requests {
		if r.began.IsZero() {
			r.began = time.Now()
		}
		clock = max(clock, r.at)
		cmds[i] = r.script().callPacked(ctx, r.key, r.words.packed())
		_ = pipe.Process(ctx, cmds[i]) // only queues
	}
	purge := s.purge(ctx, pipe, clock)
	counted := s.counts(ctx, pipe)
	enough := s.awaitReplicas(ctx, pipe)
	_, _ = pipe.Exec(ctx) // each command has its own error
	short := s.replicated(enough)
	applied := false
	for i, r := range requests {
		f, sendAgain, err := s.outcome(r, cmds[i], tries)
		if sendAgain {
			again, why = append(again, r), f
			continue
		}
		if err == nil { // counted before its caller knows
			s.batches.Add(1)
			if !applied {
				s.entries.Add(1)
			}
			applied = true
			s.pending.Add(r.count)
			if err = short; err != nil {
				s.cache.drop(r.next.XID)
			}
		}
		r.done <- err
	}
	s.purgedUpTo(purge, clock)
	counted()
	return again, why
}

// outcome says how a request ended, or that it has to be sent again.
func (s *Store) outcome(r *request, cmd *goredis.Cmd, tries int) (f failure, again bool, err error) {
	reply, err := cmd.Result()
	if err != nil {
		f = meaning(err)
		return s.failed(r, err, f, tries)
	}
	switch reply {
	case int64(answerDone):
		if r.next.Finished() {
			s.cache.drop(r.next.XID)
		} else {
			s.cache.put(r.next)
		}
		return 0, false, nil
	case int64(answerMoved):
		s.cache.drop(r.next.XID)
		err = storage.ErrMoved
	case int64(answerFenced):
		err = s.fenced()
	default:
		held, bad := lockHeld(reply, r.wanted)
		if err = bad; bad == nil {
			err = held
		}
	}
	if r.uncertain { // the try that was not answered may have been carried out after all
		s.cache.drop(r.next.XID)
		err = fmt.Errorf("%w: sent again it was refused: %w", errUnknown, err)
	}
	return 0, false, err
}

// failed says what follows from an error: the same again while that may help, and for a
// request that may have been carried out as long as there is time.
func (s *Store) failed(r *request, err error, f failure, tries int) (failure, bool, error) {
	switch {
	case f == unknownFailure:
		r.uncertain = true
	case (f == forgotten || f == moved) && tries < maxTries:
		return f, true, nil
	}
	if r.uncertain && !s.closed.Load() && time.Since(r.began) < s.cfg.Timeout {
		return f, true, nil
	}
	s.cache.drop(r.next.XID)
	if r.uncertain {
		return f, false, fmt.Errorf("%w: %w", errUnknown, err)
	}
	return f, false, f.storeError(err)
}

// fenced is the answer to what Redis refused for the lack of a lease.
func (s *Store) fenced() error {
	s.node.look()
	return fmt.Errorf("%w: Redis does not have this node's lease", storage.ErrUnavailable)
}

// awaitReplicas ends a pipeline with a wait for replicas, if there is to be one.
func (s *Store) awaitReplicas(ctx context.Context, pipe goredis.Pipeliner) *goredis.IntCmd {
	if s.cfg.WaitReplicas == 0 {
		return nil
	}
	cmd := goredis.NewIntCmd(ctx, "WAIT", s.cfg.WaitReplicas, s.cfg.WaitTimeout.Milliseconds())
	_ = pipe.Process(ctx, cmd) // only queues
	return cmd
}

// replicated is nil when enough replicas have what the pipeline wrote.
func (s *Store) replicated(enough *goredis.IntCmd) error {
	if enough == nil {
		return nil
	}
	n, err := enough.Result()
	switch {
	case err != nil:
		return fmt.Errorf("%w: written, but it is not known which replicas have it: %w", errUnknown, err)
	case n < int64(s.cfg.WaitReplicas):
		return fmt.Errorf("%w: written, but after %v only %d replicas have it, not %d (store.redis.wait-replicas)",
			errUnknown, s.cfg.WaitTimeout, n, s.cfg.WaitReplicas)
	}
	return nil
}

// purge adds the deletion of tombstones to a pipeline, when it is time for that.
func (s *Store) purge(ctx context.Context, pipe goredis.Pipeliner, clock int64) *goredis.Cmd {
	if clock < s.purged.Load()+purgeEvery {
		return nil
	}
	cmd := purgeScript.call(ctx, s.keys.tombstones(), []string{strconv.FormatInt((clock+1)<<graveBits, 10), strconv.Itoa(purgeMany)})
	_ = pipe.Process(ctx, cmd) // only queues
	return cmd
}

// counts adds what has been counted to a pipeline. It returns what is to be called when
// that was sent: a number that Redis did not take is sent again.
func (s *Store) counts(ctx context.Context, pipe goredis.Pipeliner) (sent func()) {
	n := s.pending.Swap(0)
	if n == 0 {
		return func() {}
	}
	cmd := pipe.IncrBy(ctx, s.keys.counts(), n)
	return func() {
		if cmd.Err() != nil {
			s.pending.Add(n)
		}
	}
}

// purgedUpTo remembers the clock up to which everything expired is deleted. What could
// not be deleted is tried again with the next pipeline.
func (s *Store) purgedUpTo(cmd *goredis.Cmd, clock int64) {
	if cmd == nil {
		return
	}
	if n, err := cmd.Int(); err == nil && n < purgeMany {
		s.purged.Store(clock)
	}
}

// failedRead wraps an error of a command that only reads.
func (s *Store) failedRead(attempted string, err error) error {
	if s.closed.Load() {
		return storage.ErrClosed
	}
	if errors.Is(err, ErrDamaged) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%s: %w", attempted, err)
	}
	return fmt.Errorf("%s: %w: %w", attempted, storage.ErrUnavailable, err)
}
