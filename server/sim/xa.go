package sim

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/qiao-tx/qiao/protocol"
)

// branchTimeout is how long phase one of an XA branch may take; notFoundGrace how
// long a coordinator waits for one to appear: longer, whatever its clock does.
const (
	branchTimeout = 2 * time.Second
	notFoundGrace = 15 * time.Second
)

// xaDatabase is a resource manager in XA mode: its database prepares branches,
// which survive a crash, and forgets those that it has not prepared.
type xaDatabase struct {
	process
	rows     []int64
	branches map[int64]*xaBranch
	// locked rows belong to a branch until that ends.
	locked   map[int]*xaBranch
	requests int
}

// xaBranch is a branch that was started.
type xaBranch struct {
	row   int
	delta int64
	state xaState
}

type xaState uint8

const (
	xaActive xaState = iota
	xaPrepared
	xaCommitted
	xaRolledBack
)

func newXADatabase(w *world, index int) *xaDatabase {
	d := &xaDatabase{
		process:  newProcess(w, fmt.Sprintf("jdbc:postgresql://xa%d:5432/bank", index)),
		branches: make(map[int64]*xaBranch), locked: make(map[int]*xaBranch),
	}
	for range w.plan.Rows {
		d.rows = append(d.rows, opening)
	}
	return d
}

// crash ends the sessions, and with them what is not prepared.
func (d *xaDatabase) crash() {
	d.process.crash()
	for _, id := range slices.Sorted(maps.Keys(d.branches)) {
		if b := d.branches[id]; b.state == xaActive {
			d.finish(b, xaRolledBack)
		}
	}
}

func (d *xaDatabase) finish(b *xaBranch, s xaState) {
	b.state = s
	if d.locked[b.row] == b {
		delete(d.locked, b.row)
	}
}

func (d *xaDatabase) work(t *transaction, row int, delta int64, done func(bool)) {
	m := &protocol.BranchRegister{XID: t.xid, Type: protocol.TypeXA, ResourceID: d.name}
	key := ""
	if t.qiao {
		d.requests++
		key = fmt.Sprintf("%s-%d", d.name, d.requests)
		m.ApplicationData = fmt.Sprint(d.life) // the sessions of this life
	}
	began := d.w.now
	d.register(m, key, func(r *protocol.BranchRegisterResult) {
		if r == nil || r.Code != protocol.ResultSuccess {
			done(false)
			return
		}
		fail := func() {
			d.reportFailed(m, r.BranchID)
			done(false)
		}
		row := row % len(d.rows)
		if d.branches[r.BranchID] != nil || d.locked[row] != nil || d.w.now > began+branchTimeout {
			fail() // a rollback came first, or the row is another's
			return
		}
		b := &xaBranch{row: row, delta: delta}
		d.branches[r.BranchID], d.locked[row] = b, b
		d.w.after(d.w.latency(), d.alive(func() {
			switch {
			case b.state == xaRolledBack: // by phase two
				done(false)
			case d.w.now > began+branchTimeout || d.w.chance(0.05):
				d.finish(b, xaRolledBack)
				fail()
			default:
				b.state = xaPrepared
				d.w.logf("%s: branch %d is prepared", d.name, r.BranchID)
				done(true)
			}
		}))
	})
}

func (d *xaDatabase) obey(m protocol.Message) protocol.Message {
	o, decided := orderOf(m)
	if d.w.chance(d.w.plan.Nonsense) {
		return d.nonsense(o, decided)
	}
	b := d.branches[o.BranchID]
	switch {
	case decided == commit && b != nil && b.state == xaPrepared:
		d.rows[b.row] += b.delta
		d.finish(b, xaCommitted)
	case decided == commit && b != nil && b.state == xaCommitted:
	case decided == commit:
		return result(o, decided, protocol.BranchPhaseTwoCommitFailedXAERNOTARetryable, "XAER_NOTA")
	case b != nil && b.state == xaCommitted:
		return result(o, decided, again(decided), "the branch is committed")
	case b != nil:
		d.finish(b, xaRolledBack)
	default:
		// Phase one must not start any more in this life. Sessions of an earlier one
		// are gone; a client that does not say which cannot tell.
		d.branches[o.BranchID] = &xaBranch{state: xaRolledBack, row: -1}
		if o.ApplicationData == "" {
			return result(o, decided, protocol.BranchPhaseTwoRollbackFailedXAERNOTARetryable, "XAER_NOTA")
		}
	}
	d.end(o, decided)
	return result(o, decided, done(decided), "")
}

// outcome is also what the database does by itself: a branch that is not there
// counts as rolled back.
func (d *xaDatabase) outcome(branchID int64) decision {
	b := d.branches[branchID]
	switch {
	case b == nil || b.state == xaRolledBack:
		return rollback
	case b.state == xaCommitted:
		return commit
	}
	return undecided
}

func (d *xaDatabase) balance() (sum int64) {
	for _, v := range d.rows {
		sum += v
	}
	return sum
}

func (d *xaDatabase) unfinished() (left []string) {
	for _, id := range slices.Sorted(maps.Keys(d.branches)) {
		if s := d.branches[id].state; (s == xaActive || s == xaPrepared) && !d.w.truth.waits(id) {
			left = append(left, fmt.Sprintf("%s: branch %d is in doubt", d.name, id))
		}
	}
	return left
}
