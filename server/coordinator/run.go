package coordinator

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/server/txn"
	"github.com/qiao-tx/qiao/storage"
)

// run is what one service of a lane knows between its steps: which calls it
// decides, and the Batch that is under way. It belongs to whoever serves the
// lane: the goroutine that started it, and after each Batch the one on which the
// store answers.
type run struct {
	// state is the transaction's; nil when it is not known and has to be loaded.
	state *storage.State
	// remembered: the state is what an earlier service of the lane left. A Batch
	// from it is refused if another node was faster; to answer without one it has
	// to be loaded.
	remembered bool
	calls      []call
	// apart are calls of a Batch that met a conflict: one registration's is not
	// the others' concern, so they are decided one by one.
	apart   []call
	stepper txn.Stepper
	folded  folded
	// moves counts how often the calls were decided again because another node
	// was faster.
	moves int
	// applied is lane.applied, made once.
	applied func(error)
}

// maxMoves bounds run.moves.
const maxMoves = 100

// serve decides what waits in the lane, Batch by Batch, until nothing does. When
// a Batch is under way it returns, and applied goes on.
func (l *lane) serve() {
	for l.next() {
		if !l.decide() {
			return
		}
	}
	l.c.work.Done()
}

// next chooses the calls to decide.
func (l *lane) next() bool {
	r := &l.run
	r.moves = 0
	if len(r.apart) > 0 {
		r.calls = append(r.calls[:0], r.apart[0])
		r.apart = r.apart[1:]
		return true
	}
	r.apart = nil
	return l.take()
}

// applied goes on after the store's answer to the Batch that was under way.
func (l *lane) applied(err error) {
	if l.outcome(err) || l.decide() {
		l.serve()
	}
}

// decide has the calls carried out in one Batch. It returns false while that is
// under way.
//
// The calls of several callers share it, so none's context can end it: it runs
// until the store answers.
func (l *lane) decide() bool {
	r := &l.run
	for {
		if err := l.load(); err != nil {
			fail(r.calls, err)
			return true
		}
		if err := l.fold(); err != nil {
			fail(r.calls, err)
			return true
		}
		if r.folded.batch == nil {
			if r.remembered && !l.c.cfg.Sole {
				r.state = nil
				continue
			}
			l.release()
			return true
		}
		err, answered := l.apply(r.folded.batch)
		if !answered {
			return false
		}
		if l.outcome(err) {
			return true
		}
	}
}

// apply gives the Batch to the store. Unless it is answered at once, applied
// gets the answer.
func (l *lane) apply(b *storage.Batch) (err error, answered bool) {
	if l.c.submitter == nil {
		return l.c.cfg.Store.Apply(context.Background(), b), true
	}
	if err := l.c.submitter.Submit(b, l.run.applied); err != nil {
		return err, true
	}
	return nil, false
}

// outcome acts on the store's answer. It returns false when the calls have to be
// decided again.
func (l *lane) outcome(err error) bool {
	r, stats := &l.run, &l.c.stats
	switch {
	case err == nil:
		stats.batches.Add(1)
		r.state, r.remembered = r.folded.next, false
		l.release()
	case errors.Is(err, storage.ErrMoved):
		stats.moved.Add(1)
		r.state = nil
		if r.moves++; r.moves < maxMoves {
			return false
		}
		fail(r.calls, fmt.Errorf("%s changed %d times under this decision: %w", l.xid, maxMoves, storage.ErrUnavailable))
	case len(r.calls) > 1 && isConflict(err):
		r.apart = append(r.apart, r.calls...)
	default:
		fail(r.calls, err)
		if !isConflict(err) {
			r.state = nil
		}
	}
	return true
}

func isConflict(err error) bool {
	var held *storage.LockHeld
	return errors.As(err, &held) || errors.Is(err, storage.ErrFull)
}

// load sees to it that the state is known.
func (l *lane) load() error {
	r := &l.run
	if r.state != nil {
		return nil
	}
	var state storage.State
	// A new transaction's XID is new, or the store says that it moved.
	if _, begins := r.calls[0].event.(txn.Begin); !begins || r.moves > 0 {
		var err error
		if state, err = l.c.cfg.Store.Load(context.Background(), l.xid); err != nil {
			return fmt.Errorf("load %s: %w", l.xid, err)
		}
	}
	state.XID = l.xid
	r.state, r.remembered = &state, false
	return nil
}

// folded is what several calls amount to at a moment: one batch, nil when
// nothing changes, the state that it leads to, and the effects of each call.
type folded struct {
	at      int64
	batch   *storage.Batch
	next    *storage.State
	effects []released
}

// released is the effects of one call.
type released struct {
	call    call
	effects []txn.Effect
}

// fold steps through the calls.
func (l *lane) fold() error {
	r := &l.run
	r.stepper.Reset()
	f := &r.folded
	*f = folded{at: l.c.nowMillis(), next: r.state, effects: f.effects[:0]}
	for _, one := range r.calls {
		t, err := r.stepper.Step(&l.c.cfg.Machine, f.next, f.at, one.event)
		if err != nil {
			return err
		}
		f.next = t.Next
		f.effects = append(f.effects, released{one, t.Effects})
		switch {
		case f.batch == nil:
			f.batch = t.Batch
		case t.Batch != nil:
			f.batch = f.batch.Then(t.Batch)
		}
	}
	if len(r.calls) > 1 {
		f.withdraw(txn.Status(f.next))
		if f.batch != nil {
			next := *f.next
			next.Revision = r.state.Revision + 1 // all the batches count as one
			f.next = &next
			f.batch.LeadsTo(f.next)
		}
	}
	return nil
}

// withdraw takes back orders that a later event of the same fold made wrong: a
// saga's client may turn it round, or end it, in the Batch that decided.
func (f *folded) withdraw(status protocol.GlobalStatus) {
	for i := range f.effects {
		f.effects[i].effects = slices.DeleteFunc(f.effects[i].effects, func(e txn.Effect) bool {
			s, ok := e.(txn.Send)
			return ok && (!txn.InPhaseTwo(status) || s.Rollback != txn.RollingBack(status))
		})
	}
}

// release lets the effects out. What they follow from is durable.
func (l *lane) release() {
	f := &l.run.folded
	for _, r := range f.effects {
		replied := false
		for _, e := range r.effects {
			switch e := e.(type) {
			case txn.Reply:
				r.call.answer(e, nil)
				replied = true
			case txn.Wait:
				l.await(r.call)
				replied = true
			case txn.Settled:
				l.c.settle(l.xid, e.Status)
			case txn.Send:
				l.c.order(l.xid, e, f.at)
			case txn.Decided:
				l.c.stats.decided(e.Status)
			case txn.Ended:
				l.c.ended(l.xid, e)
			}
		}
		if !replied {
			r.call.answer(txn.Reply{}, nil)
		}
	}
	clear(f.effects)
	f.batch = nil
	l.run.stepper.Reset()
}

// order gives the orders that were decided at a moment, unless this node has
// stood still for so long since that the due-loop, here or on another node,
// gives them again: what was decided may have moved on.
func (c *Coordinator) order(x string, s txn.Send, decidedAt int64) {
	if c.nowMillis()-decidedAt > c.cfg.Machine.AnswerMillis {
		c.stats.withheld.Add(uint64(len(s.Orders)))
		return
	}
	c.dispatch(x, s)
}

func (one call) answer(r txn.Reply, err error) {
	if one.done != nil {
		one.done(r, err)
	}
}

func fail(calls []call, err error) {
	for _, one := range calls {
		one.answer(txn.Reply{}, err)
	}
}
