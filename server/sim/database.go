package sim

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/qiao-tx/qiao/protocol"
)

// opening is what every row holds at first.
const opening = 1_000

// database is a resource manager in AT mode: rows, an undo log, and local
// transactions that lock the row they change.
type database struct {
	process
	rows []int64
	undo map[int64]image
	// defence marks branches rolled back before their local commit, which must
	// not come any more.
	defence map[int64]bool
	// dirty marks branches whose row somebody foreign changed after them;
	// foreign sums what they changed.
	dirty   map[int64]bool
	foreign int64
	// locked rows belong to an open local transaction; a crash ends it.
	locked map[int]bool
}

// image is one undo record.
type image struct {
	row           int
	before, after int64
}

func newDatabase(w *world, index int) *database {
	d := &database{
		process: newProcess(w, fmt.Sprintf("jdbc:mysql://db%d:3306/bank", index)),
		undo:    make(map[int64]image), defence: make(map[int64]bool),
		dirty: make(map[int64]bool), locked: make(map[int]bool),
	}
	for range w.plan.Rows {
		d.rows = append(d.rows, opening)
	}
	return d
}

func (d *database) crash() {
	d.process.crash()
	clear(d.locked)
}

// maxLockTries bounds how often a statement that met a lock is run again.
const maxLockTries = 6

func (d *database) work(t *transaction, row int, delta int64, done func(bool)) {
	d.try(t, row%len(d.rows), delta, maxLockTries, done)
}

// try runs the statement once, as one local transaction that ends with the
// registration of the branch and the local commit.
func (d *database) try(t *transaction, row int, delta int64, tries int, done func(bool)) {
	if tries == 0 {
		done(false)
		return
	}
	retry := func() {
		wait := d.w.between(20*time.Millisecond, 300*time.Millisecond)
		d.w.after(wait, d.alive(func() { d.try(t, row, delta, tries-1, done) }))
	}
	if d.locked[row] {
		retry()
		return
	}
	if d.w.chance(0.1) {
		d.w.call(call{tries: 1, request: request{from: d.caller(), message: &protocol.GlobalLockQuery{
			XID: t.xid, ResourceID: d.name, Type: protocol.TypeAT, LockKey: "account:" + strconv.Itoa(row),
		}}}, func(protocol.Message) {})
	}
	d.locked[row] = true
	before := d.rows[row]
	m := &protocol.BranchRegister{
		XID: t.xid, Type: protocol.TypeAT, ResourceID: d.name, LockKey: "account:" + strconv.Itoa(row),
	}
	d.register(m, "", func(r *protocol.BranchRegisterResult) {
		switch {
		case r == nil || r.Code != protocol.ResultSuccess && r.Exception != protocol.ExceptionLockKeyConflict:
			d.locked[row] = false
			done(false)
		case r.Code != protocol.ResultSuccess:
			d.locked[row] = false
			retry()
		case d.w.chance(0.05): // the local transaction fails
			d.locked[row] = false
			d.reportFailed(m, r.BranchID)
			done(false)
		default:
			d.w.after(d.w.between(0, 5*time.Millisecond), d.alive(func() {
				done(d.commitLocally(row, before, delta, r.BranchID))
			}))
		}
	})
}

func (d *database) commitLocally(row int, before, delta, branchID int64) bool {
	d.locked[row] = false
	if d.defence[branchID] {
		return false
	}
	if d.ended[branchID] != undecided {
		d.w.violate("I5", "%s: branch %d commits locally after its phase two", d.name, branchID)
	}
	d.undo[branchID] = image{row: row, before: before, after: before + delta}
	d.rows[row] = before + delta
	d.w.logf("%s: branch %d: row %d from %d to %d", d.name, branchID, row, before, before+delta)
	return true
}

func (d *database) obey(m protocol.Message) protocol.Message {
	o, decided := orderOf(m)
	if d.w.chance(d.w.plan.Nonsense) {
		return d.nonsense(o, decided)
	}
	if decided == rollback {
		if err := d.rollBack(o.BranchID); err != nil {
			status := again(rollback)
			if errors.Is(err, errDirty) {
				status = protocol.BranchPhaseTwoRollbackFailedUnretryable
			}
			return result(o, rollback, status, err.Error())
		}
	}
	delete(d.undo, o.BranchID)
	d.end(o, decided)
	return result(o, decided, done(decided), "")
}

var (
	errDirty = errors.New("the row was changed since")
	errBusy  = errors.New("a local transaction has locked the row")
)

// rollBack puts the before image back if the after image is still there.
func (d *database) rollBack(branchID int64) error {
	u, ok := d.undo[branchID]
	switch {
	case !ok:
		d.defence[branchID] = true
		return nil
	case d.locked[u.row]:
		return errBusy
	case d.rows[u.row] != u.after:
		if d.dirty[branchID] {
			return errDirty
		}
		d.w.violate("I5", "%s: branch %d left %d in row %d, now it is %d",
			d.name, branchID, u.after, u.row, d.rows[u.row])
		return errDirty
	}
	d.rows[u.row] = u.before
	return nil
}

// writeForeign changes a row outside of all global transactions.
func (d *database) writeForeign() {
	row := d.w.rng.IntN(len(d.rows))
	if !d.up || d.locked[row] {
		return
	}
	d.rows[row] += 10_000
	d.foreign += 10_000
	d.w.logf("%s: somebody writes row %d", d.name, row)
	for id, u := range d.undo {
		if u.row == row {
			d.dirty[id] = true
		}
	}
}

// balance leaves out what is not the transactions' doing: foreign writes, and
// what branches did that wait for an operator.
func (d *database) balance() int64 {
	sum := -d.foreign
	for id, u := range d.undo {
		if d.w.truth.waits(id) {
			sum -= u.after - u.before
		}
	}
	for _, v := range d.rows {
		sum += v
	}
	return sum
}

func (d *database) unfinished() []string {
	var left []string
	for _, id := range slices.Sorted(maps.Keys(d.undo)) {
		if d.w.truth.waits(id) {
			continue
		}
		left = append(left, fmt.Sprintf("%s: undo record of branch %d", d.name, id))
	}
	return left
}
