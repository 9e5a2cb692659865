package sim

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/qiao-tx/qiao/server/txn"
	"github.com/qiao-tx/qiao/storage"
)

// Options of a run.
type Options struct {
	// Trace gets a line for everything that happens; nil for none.
	Trace io.Writer
	// Mutant is the defect to build in, for a test of the checker.
	Mutant Mutant
}

// Report is what a run showed.
type Report struct {
	// Violations of the invariants, the earliest first; none is a pass.
	Violations []string
	// Hash is the trace's: equal seeds have equal hashes.
	Hash uint64
	// Committed, RolledBack and Undecided count transactions, Parked those of
	// them that wait for an operator; Batches what became durable.
	Committed, RolledBack, Undecided, Parked, Batches int
	// Simulated is how much virtual time passed.
	Simulated time.Duration
}

// settling is how long everything has to end once the faults have stopped: the
// longest time-out of a transaction, the largest skew and some rounds.
const settling = 3 * time.Minute

// afterwards is for how many quiet seconds messages may still be on their way,
// and must change nothing.
const afterwards = 11

// Run lives through the world of a seed. Equal seeds and options give equal
// runs, to the last line of the trace.
func Run(seed uint64, o Options) Report {
	w := newWorld(seed, o)
	for _, n := range w.nodes {
		n.skew = w.between(-w.plan.MaxSkew, w.plan.MaxSkew)
		n.start()
	}
	for i := range w.plan.Transactions {
		t := newTransaction(w, i)
		w.transactions = append(w.transactions, t)
		w.after(w.between(0, w.plan.Trouble), t.begin)
	}
	if w.plan.Retention == shortRetention {
		// Tombstones expire only while somebody goes on deciding.
		w.every(2*time.Second, func() {
			w.after(2*shortRetention, func() { w.transactions = append(w.transactions, beginAnother(w)) })
		})
	}
	w.scheduleFaults()
	w.runUntil(w.plan.Trouble)
	w.calm()
	end := w.now + settling
	for quiet := 0; quiet < afterwards && w.now < end; quiet++ {
		w.runUntil(w.now + time.Second)
		if !w.atRest() {
			quiet = -1
		}
	}
	w.checkEnd()
	for _, n := range w.nodes {
		n.life++
		n.kill()
	}
	return w.report()
}

// scheduleFaults sets the crashes and clock jumps going.
func (w *world) scheduleFaults() {
	for _, n := range w.nodes {
		w.every(w.plan.NodeCrash, func() {
			if n.alive {
				n.crash()
			}
		})
		w.every(w.plan.ClockJump, n.jumpClock)
	}
	if w.election != nil {
		w.every(w.plan.Election, w.election.elect)
	}
	for _, d := range w.databases {
		w.every(w.plan.ForeignWrite, d.writeForeign)
	}
	for _, p := range w.participants {
		w.every(w.plan.ParticipantCrash, func() {
			if p.running() {
				p.crash()
				w.after(w.between(50*time.Millisecond, 3*time.Second), p.restart)
			}
		})
	}
}

// every runs f again and again while there are faults; mean 0 means never.
func (w *world) every(mean time.Duration, f func()) {
	if mean == 0 {
		return
	}
	w.after(w.between(mean/2, mean*3/2), func() {
		if w.faulty {
			f()
			w.every(mean, f)
		}
	})
}

// calm stops the faults: clocks are right, and what crashed comes back by itself.
func (w *world) calm() {
	w.logf("the faults stop")
	w.faulty = false
	for _, n := range w.nodes {
		n.skew = 0
	}
}

// atRest tells whether every transaction has ended, and every client.
func (w *world) atRest() bool {
	for _, t := range w.transactions {
		if !t.over || t.late > 0 {
			return false
		}
	}
	for _, r := range w.truth.records {
		if !r.state.Finished() && !r.parked() {
			return false
		}
	}
	return true
}

// checkEnd checks what must hold when everything has come to rest.
func (w *world) checkEnd() {
	for _, r := range w.truth.sorted() {
		if r.parked() {
			w.checkParked(r)
			continue
		}
		if !r.state.Finished() {
			w.violate("end", "%s never ended: %s, due at %d: %s", r.state.XID,
				txn.Status(&r.state), r.state.Global.DueAt, r.state.Global.Evidence)
			continue
		}
		for _, b := range r.branches {
			if did := w.participant(b.ResourceID).outcome(b.ID); did != undecided && did != r.decision {
				w.violate("I1", "%s: decided is %s, branch %d of %s did %s", r.state.XID, r.decision, b.ID, b.ResourceID, did)
			}
		}
	}
	_ = w.truth.ScanLocks(context.Background(), func(k storage.RowKey, l storage.Lock) bool {
		if !w.truth.waits(l.BranchID) {
			w.violate("I4", "at the end %s is still locked by %s", k, l.XID)
		}
		return true
	})
	for _, n := range w.nodes {
		for _, id := range slices.Sorted(maps.Keys(n.unanswered)) {
			w.violate("answers", "node %d never answered %T%+v", n.index, n.unanswered[id], n.unanswered[id])
		}
	}
	var sum, want int64
	for _, p := range w.participants {
		for _, left := range p.unfinished() {
			w.violate("end", "left over: %s", left)
		}
		sum += p.balance()
	}
	want = opening * int64((w.plan.Databases+w.plan.XADatabases)*w.plan.Rows+w.plan.Actions+w.plan.Compensables)
	if sum != want {
		w.violate("I1", "there were %d in all, now there are %d", want, sum)
	}
}

// checkParked checks a transaction that waits for an operator: foreign writes
// are the reason, it says so, and it has kept its locks (I4, I11).
func (w *world) checkParked(r *record) {
	dirty := false
	for _, d := range w.databases {
		for i := range r.state.Branches {
			b := &r.state.Branches[i]
			dirty = dirty || d.dirty[b.ID] && b.Locked
		}
	}
	if !dirty || !strings.Contains(r.state.Global.Evidence, errDirty.Error()) {
		w.violate("I11", "%s waits for an operator as %s without a dirty branch in locks and evidence: %q",
			r.state.XID, r.state.Global.Status, r.state.Global.Evidence)
	}
}

func (w *world) report() Report {
	r := Report{Violations: w.broken, Hash: w.hash.Sum64(), Simulated: w.now}
	for _, rec := range w.truth.records {
		switch rec.decision {
		case commit:
			r.Committed++
		case rollback:
			r.RolledBack++
		default:
			r.Undecided++
		}
		if rec.parked() {
			r.Parked++
		}
		r.Batches += int(rec.state.Revision)
	}
	return r
}

// String is one line about the run.
func (r Report) String() string {
	return fmt.Sprintf("%d committed, %d rolled back, %d undecided, %d parked, %d batches in %s, hash %016x, %d violations",
		r.Committed, r.RolledBack, r.Undecided, r.Parked, r.Batches, r.Simulated, r.Hash, len(r.Violations))
}
