package xa

import (
	"context"
	"crypto/rand"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/rm"
)

// branch is a branch whose phase one runs, or ran, in this process and which
// phase two has not ended.
type branch struct {
	name   name
	origin origin
	tx     *localTx
	// doomed: phase two rolls back, so phase one must not go on.
	doomed atomic.Bool
	// over is closed when phase one has ended. How it ended is final then.
	over chan struct{}
	end  phaseOneEnd

	// held is the session that the branch is prepared on, if only it can finish
	// the branch; nil when it was closed. The registry's mutex guards it.
	held  *session
	since time.Time
}

// phaseOneEnd is how phase one of a branch ended.
type phaseOneEnd uint8

const (
	// endedUnknown: the session broke over it, so the branch may be prepared.
	endedUnknown phaseOneEnd = iota
	endedPrepared
	endedFailed
)

// registry knows the branches of this process. It may be used concurrently.
type registry struct {
	// process is one of its kind.
	process string
	last    atomic.Uint64

	mu sync.Mutex
	// running and left branches, by their numbers.
	branches map[uint64]*branch
	// idle sessions have finished a branch and wait for the pool to need one.
	idle []idleSession
	held int
	// closed: no session is held any more.
	closed bool
}

type idleSession struct {
	*session
	since time.Time
}

func newRegistry() *registry {
	return &registry{process: rand.Text(), branches: make(map[uint64]*branch)}
}

// begin knows a branch from before its registration on: phase two may be
// ordered before the registration's answer is read.
func (r *registry) begin(tx *localTx, x string, at place) *branch {
	b := &branch{
		name: name{xid: x}, tx: tx, over: make(chan struct{}),
		origin: origin{Process: r.process, Branch: r.last.Add(1), place: at},
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.branches[b.origin.Branch] = b
	return b
}

// find returns the branch that an order is about. mine tells that its phase one
// ran in this process: if nothing is found then, the branch failed, or phase
// two has ended it.
func (r *registry) find(b rm.Branch) (found *branch, mine bool) {
	o, ok := originOf(b.ApplicationData)
	if !ok || o.Process != r.process {
		return nil, false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.branches[o.Branch], true
}

// forget ends what is known of a branch: it failed in phase one, or phase two
// has ended it.
func (r *registry) forget(b *branch) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.branches, b.origin.Branch)
}

// fail ends phase one of a branch that is certainly not prepared.
func (r *registry) fail(b *branch) {
	r.forget(b)
	b.end = endedFailed
	close(b.over)
}

// hold keeps the session of a branch that it has prepared. False: there is no
// room, and the caller closes it.
func (r *registry) hold(b *branch, s *session) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed || r.held+len(r.idle) >= maxHeld {
		return false
	}
	r.held++
	b.held, b.since = s, time.Now()
	return true
}

// take returns the held session of a branch, for phase two; nil without one.
func (r *registry) take(b *branch) *session {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := b.held
	if s != nil {
		b.held = nil
		r.held--
	}
	return s
}

// recycle offers a session that has finished its branch to the pool.
func (r *registry) recycle(s *session) {
	r.mu.Lock()
	full := r.closed || r.held+len(r.idle) >= maxHeld
	if !full {
		r.idle = append(r.idle, idleSession{s, time.Now()})
	}
	r.mu.Unlock()
	if full {
		_ = s.close() // it is only given up
	}
}

// reuse returns a session for the pool, nil when none waits.
func (r *registry) reuse() *session {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := len(r.idle)
	if n == 0 {
		return nil
	}
	s := r.idle[n-1].session
	r.idle = r.idle[:n-1]
	return s
}

// expired takes out the sessions that were held or idle for too long.
func (r *registry) expired(before time.Time) []*session {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []*session
	for _, b := range r.branches {
		if b.held != nil && (r.closed || b.since.Before(before)) {
			out = append(out, b.held)
			b.held = nil
			r.held--
		}
	}
	kept := r.idle[:0]
	for _, s := range r.idle {
		if r.closed || s.since.Before(before) {
			out = append(out, s.session)
		} else {
			kept = append(kept, s)
		}
	}
	r.idle = kept
	return out
}

// close makes all sessions expire.
func (r *registry) close() []*session {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	return r.expired(time.Time{})
}

// report tells the coordinator how phase one ended. It saves work only: phase
// two finds out by itself.
func (r *Resource) report(ctx context.Context, b *branch, status protocol.BranchStatus) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupWait)
	defer cancel()
	err := r.cfg.Coordinator.ReportBranch(ctx, rm.Report{
		Branch: rm.Branch{XID: b.name.xid, ID: b.name.id, Type: protocol.TypeXA, ResourceID: r.cfg.ResourceID},
		Status: status,
	})
	if err != nil {
		r.cfg.Log.Warn("the end of phase one could not be reported", "xid", b.name.xid, "branch", b.name.id, "status", status, "err", err)
	}
}

func (n name) String() string { return fmt.Sprintf("branch %d of %s", n.id, n.xid) }
