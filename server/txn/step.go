package txn

import (
	"fmt"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/storage"
)

// Machine decides. It is a value of constants: two machines with equal fields
// decide alike. All fields are milliseconds; a zero field takes its default.
type Machine struct {
	// DefaultTimeoutMillis is for a Begin without a time-out (60 000).
	DefaultTimeoutMillis int32
	// AnswerMillis is how long the answers of a round are awaited before the
	// due-loop looks at the transaction again (20 000). It must be longer than
	// the coordinator waits for a resource manager.
	AnswerMillis int64
	// RetryMillis is the wait after the first failed round (500); it doubles
	// with every further one up to RetryMaxMillis (30 000).
	RetryMillis, RetryMaxMillis int64
	// RetentionMillis is how long a finished transaction answers with its
	// outcome (180 000).
	RetentionMillis int64
	// NotFoundGraceMillis is how long after its time-out an XA branch that the
	// database does not know may still appear (60 000, or the transaction's own
	// time-out when that is longer), as in Java's DefaultCore.
	NotFoundGraceMillis int64
	// Parallel lets the branches of different resources commit, and roll back, at
	// once; those of one resource stay in their order
	// (server.enableParallelHandleBranch).
	Parallel bool
}

// WithDefaults fills the zero fields.
func (m Machine) WithDefaults() Machine {
	set := func(field *int64, value int64) {
		if *field == 0 {
			*field = value
		}
	}
	if m.DefaultTimeoutMillis == 0 {
		m.DefaultTimeoutMillis = 60_000
	}
	set(&m.AnswerMillis, 20_000)
	set(&m.RetryMillis, 500)
	set(&m.RetryMaxMillis, 30_000)
	set(&m.RetentionMillis, 180_000)
	set(&m.NotFoundGraceMillis, 60_000)
	return m
}

// Step computes the transition of s on e at now (milliseconds since the Unix
// epoch). The Batch is nil when nothing changes; the Effects may be let out
// only after the Batch is durable. An error means that the event cannot happen
// in that state at all: a mistake of the caller.
func (m Machine) Step(s storage.State, now int64, e Event) (*storage.Batch, []Effect, error) {
	t, err := new(Stepper).Step(&m, &s, now, e)
	return t.Batch, t.Effects, err
}

// Transition is what a Step decides.
type Transition struct {
	Batch *storage.Batch
	// Next is the state that the Batch leads to, or the one that the Step began
	// with. It must not be changed.
	Next    *storage.State
	Effects []Effect
}

// Stepper makes Steps with memory that it uses again. It is not safe for
// concurrent use.
type Stepper struct {
	step    step
	effects []Effect
}

// Step is Machine.Step. The Effects are good until Reset.
func (p *Stepper) Step(m *Machine, s *storage.State, now int64, e Event) (Transition, error) {
	st := &p.step
	first := len(p.effects)
	if begin, ok := e.(Begin); ok && s.XID == "" {
		s = &storage.State{XID: begin.XID}
	}
	*st = step{Machine: m, s: s, now: now, event: e, batch: new(storage.Batch), effects: p.effects}
	if answers, ok := e.(Answers); ok {
		st.digest = digestAnswers(st, answers)
	}
	if err := st.run(); err != nil {
		return Transition{}, err
	}
	t := Transition{Next: st.after()}
	if st.changed {
		t.Batch = st.sealed()
	}
	p.effects = st.effects
	t.Effects = p.effects[first:len(p.effects):len(p.effects)]
	return t, nil
}

// Reset forgets the Effects of all Steps, and whatever else they hold.
func (p *Stepper) Reset() {
	clear(p.effects)
	p.effects = p.effects[:0]
	p.step = step{}
}

// step is one transition under way.
type step struct {
	*Machine
	s     *storage.State // never changed
	now   int64
	event Event

	digest  digest
	batch   *storage.Batch
	changed bool
	// next is the state after the batch, once an action has asked for it: the
	// batch must not change any more then.
	next    *storage.State
	effects []Effect
}

func (st *step) run() error {
	phase := phaseOf(st.s)
	for i := range table[phase] {
		row := &table[phase][i]
		if row.on != st.event.kind() || row.when != nil && !row.when.holds(st) {
			continue
		}
		for j := range row.do {
			row.do[j].run(st)
		}
		return nil
	}
	return fmt.Errorf("no transition for %s in %s (%s)", st.event.kind(), phase, st.s.XID)
}

// global is the transaction's record as the batch will leave it.
func (st *step) global() *storage.Global {
	if st.batch.Global == nil {
		g := st.s.Global
		st.batch.Global = &g
		st.changed = true
	}
	return st.batch.Global
}

func (st *step) emit(e Effect) { st.effects = append(st.effects, e) }

func (st *step) refuse(code protocol.ExceptionCode, format string, args ...any) {
	st.emit(Reply{Status: Status(st.s), Refused: &Refusal{Code: code, Message: fmt.Sprintf(format, args...)}})
}

// after is the state that the whole batch leads to.
func (st *step) after() *storage.State {
	switch {
	case st.next != nil:
		return st.next
	case !st.changed:
		return st.s
	}
	next, err := st.s.Apply(st.sealed())
	if err != nil { // the batch was built from this very state
		panic(fmt.Sprintf("txn built a batch that does not apply to %s: %v", st.s.XID, err))
	}
	st.next = &next
	st.batch.LeadsTo(&next)
	return &next
}

// statusAfter is the status that the batch so far leads to.
func (st *step) statusAfter() protocol.GlobalStatus {
	switch {
	case st.batch.Finish != nil:
		return st.batch.Finish.Outcome
	case st.batch.Global != nil:
		return st.batch.Global.Status
	default:
		return Status(st.s)
	}
}

func (st *step) sealed() *storage.Batch {
	st.batch.XID, st.batch.Revision, st.batch.At = st.s.XID, st.s.Revision, st.now
	return st.batch
}

// Status is what the transaction answers to a question for its status:
// Finished when nobody knows it.
func Status(s *storage.State) protocol.GlobalStatus {
	switch {
	case s.Finished():
		return s.Outcome
	case s.Exists():
		return s.Global.Status
	default:
		return protocol.StatusFinished
	}
}
