package xa

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/rm"
)

var (
	// errNotFound: the database knows no prepared branch of that name that this
	// session could end.
	errNotFound = errors.New("XAER_NOTA: the database does not know the branch")
	// errRunning: phase one of the branch goes on in this process.
	errRunning = errors.New("phase one of the branch is still running")
	// errHeld: the session that prepared the branch lives on, elsewhere.
	errHeld = errors.New("the branch is prepared on a session that is still open, and only that can finish it")
)

// Times of phase two.
const (
	// stopWait is how long a rollback waits for phase one to give up.
	stopWait = 5 * time.Second
	// heldWait is how long a session that is being closed is waited for.
	heldWait = 2 * time.Second
	pollWait = 10 * time.Millisecond
)

// outcome is one of the two ways in which phase two can go.
type outcome struct {
	commit                bool
	done, again, notFound protocol.BranchStatus
	verb                  string
}

var (
	commitOutcome = outcome{
		commit: true, done: protocol.BranchPhaseTwoCommitted, again: protocol.BranchPhaseTwoCommitFailedRetryable,
		notFound: protocol.BranchPhaseTwoCommitFailedXAERNOTARetryable, verb: "commit",
	}
	rollbackOutcome = outcome{
		done: protocol.BranchPhaseTwoRollbacked, again: protocol.BranchPhaseTwoRollbackFailedRetryable,
		notFound: protocol.BranchPhaseTwoRollbackFailedXAERNOTARetryable, verb: "roll back",
	}
)

// Commit commits a prepared branch, whichever process prepared it. It is
// idempotent.
func (r *Resource) Commit(ctx context.Context, b rm.Branch) (protocol.BranchStatus, error) {
	return r.end(ctx, b, commitOutcome)
}

// Rollback rolls a branch back: one that is prepared, whichever process did it,
// and one whose phase one runs in this process, which it stops. It is idempotent.
// The status ...XAERNOTARetryable says that the database does not know the
// branch but that it may still appear.
func (r *Resource) Rollback(ctx context.Context, b rm.Branch) (protocol.BranchStatus, error) {
	return r.end(ctx, b, rollbackOutcome)
}

func (r *Resource) end(ctx context.Context, order rm.Branch, o outcome) (protocol.BranchStatus, error) {
	n := name{order.XID, order.ID}
	b, mine := r.branches.find(order)
	if b != nil && !r.phaseOneOver(ctx, b, o) {
		return o.again, fmt.Errorf("%s %v: %w", o.verb, n, errRunning)
	}
	if b != nil && r.endHeld(ctx, b, o) {
		r.branches.forget(b)
		return o.done, nil
	}
	status, err := r.endAnywhere(ctx, order, o, r.known(b, mine))
	if err != nil {
		return status, fmt.Errorf("%s %v: %w", o.verb, n, err)
	}
	if b != nil {
		r.branches.forget(b)
	}
	return status, nil
}

// phaseOneOver tells whether phase one has ended. To roll back, it is made to.
func (r *Resource) phaseOneOver(ctx context.Context, b *branch, o outcome) bool {
	if o.commit {
		select {
		case <-b.over:
			return true
		default:
			return false
		}
	}
	b.doomed.Store(true)
	s := b.tx.conn.session
	ctx, cancel := context.WithTimeout(ctx, stopWait)
	defer cancel()
	ticker := time.NewTicker(pollWait)
	defer ticker.Stop()
	for interrupted := false; ; {
		if s.mu.TryLock() {
			// Nobody uses the session, unless rows are being read.
			_ = b.tx.usable(ctx) // it rolls back
			s.mu.Unlock()
		} else if !interrupted {
			interrupted = true
			r.interrupt(ctx, b)
		}
		select {
		case <-b.over:
			return true
		case <-ctx.Done():
			return false
		case <-ticker.C:
		}
	}
}

// interrupt ends the statement that runs in phase one: it may wait for a lock as
// long as its transaction may.
func (r *Resource) interrupt(ctx context.Context, b *branch) {
	select {
	case <-b.over:
		return
	default:
	}
	err := r.borrow(ctx, func(s asker) error { return s.exec(ctx, r.db.interrupt(b.origin.place)) })
	if err != nil {
		r.cfg.Log.Warn("a statement of a branch that rolls back could not be interrupted", "xid", b.name.xid, "err", err)
	}
}

// endHeld finishes a branch on the session that prepared it, if that is held.
func (r *Resource) endHeld(ctx context.Context, b *branch, o outcome) bool {
	s := r.branches.take(b)
	if s == nil {
		return false
	}
	s.mu.Lock()
	err := error(errHeld)
	if !s.broken {
		err = r.db.finish(ctx, s, b.name, o.commit)
	}
	s.mu.Unlock()
	if err == nil {
		r.branches.recycle(s)
		return true
	}
	_ = s.close() // then any session can finish the branch
	return false
}

// knowledge is what this process knows of a branch before it asks the database.
type knowledge struct {
	// impossible: the branch is not prepared and cannot become so any more, or it
	// is finished.
	impossible bool
	// closing: this process has closed the session that prepared the branch.
	closing bool
}

func (r *Resource) known(b *branch, mine bool) knowledge {
	switch {
	case !mine || b != nil && b.end == endedUnknown:
		return knowledge{}
	case b == nil || b.end == endedFailed || !r.db.attached():
		return knowledge{impossible: b == nil || b.end == endedFailed || b.end == endedPrepared}
	}
	return knowledge{closing: true}
}

// endAnywhere finishes a branch on a session of the resource's own. A branch
// that is not found is finished, or never was prepared, only if the session of
// phase one was gone before it was looked for.
func (r *Resource) endAnywhere(ctx context.Context, order rm.Branch, o outcome, k knowledge) (status protocol.BranchStatus, err error) {
	n := name{order.XID, order.ID}
	deadline := time.Now().Add(heldWait)
	status = o.again
	err = r.borrow(ctx, func(s asker) error {
		for {
			where, err := r.whereabouts(ctx, s, order, k)
			if err != nil {
				return err
			}
			listed, err := r.finishUnless(ctx, s, n, o.commit, where == present && r.db.attached())
			switch {
			case err == nil || errors.Is(err, errNotFound) && !listed && where == gone:
				status = o.done
				return nil
			case !errors.Is(err, errNotFound):
				return err
			case !listed && !k.closing:
				status = o.notFound
				return err
			case time.Now().After(deadline):
				return errHeld
			}
			if err := pause(ctx, pollWait); err != nil {
				return fmt.Errorf("%w: %w", errHeld, err)
			}
		}
	})
	return status, err
}

// detachWait is how long a server is given to make a branch anybody's after the
// session that prepared it has left the list of sessions. MariaDB takes it off
// first: without the wait, branches that seemed to be finished in between kept
// their locks.
const detachWait = 300 * time.Millisecond

// whereabouts looks for the session of phase one, if it matters. When it is gone,
// what it prepared may be finished by another.
func (r *Resource) whereabouts(ctx context.Context, s asker, order rm.Branch, k knowledge) (presence, error) {
	if k.impossible {
		return gone, nil
	}
	origin, ok := originOf(order.ApplicationData)
	if !ok {
		return untold, nil
	}
	where, err := r.db.look(ctx, s, origin.place)
	if err != nil {
		return untold, fmt.Errorf("look for the session of phase one: %w", err)
	}
	if where == gone && r.db.attached() {
		err = pause(ctx, detachWait)
	}
	return where, err
}

// finishUnless is finish, but only looks when the branch is held: its session
// may be about to end.
func (r *Resource) finishUnless(ctx context.Context, s asker, n name, commit, held bool) (listed bool, err error) {
	if !held {
		return r.finish(ctx, s, n, commit)
	}
	return r.listed(ctx, s, n)
}

// finish ends a prepared branch; when it is not found, listed tells whether some
// session has it prepared.
func (r *Resource) finish(ctx context.Context, s asker, n name, commit bool) (listed bool, err error) {
	if err = r.db.finish(ctx, s, n, commit); !errors.Is(err, errNotFound) {
		return false, err
	}
	return r.listed(ctx, s, n)
}

// listed tells whether a branch is prepared. Its error is errNotFound if no other
// went wrong.
func (r *Resource) listed(ctx context.Context, s asker, n name) (bool, error) {
	names, err := r.db.prepared(ctx, s)
	if err != nil {
		return false, fmt.Errorf("list the prepared branches: %w", err)
	}
	return slices.Contains(names, n), errNotFound
}

// pause waits between two looks.
func pause(ctx context.Context, wait time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(wait):
		return nil
	}
}

// ruleOut makes certain that a branch of which it is unknown whether it was
// prepared is rolled back.
func (r *Resource) ruleOut(ctx context.Context, b *branch) error {
	order := rm.Branch{XID: b.name.xid, ID: b.name.id, ApplicationData: b.origin.String()}
	status, err := r.endAnywhere(ctx, order, rollbackOutcome, knowledge{closing: true})
	if err == nil && status != protocol.BranchPhaseTwoRollbacked {
		err = errNotFound
	}
	return err
}
