package sim

import (
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/qiao-tx/qiao/storage/memory"
)

// epoch is when every world begins.
var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// world is all there is. One thread runs it: the next event in virtual time,
// to its end, then the next. Whatever could happen at once in reality happens
// here in an order that the seed chose.
type world struct {
	plan   plan
	rng    *rand.Rand
	now    time.Duration
	events eventQueue
	// running is the task under way, nil outside of tasks.
	running *task
	// faulty: messages are lost, nodes crash. False at the end, when everything
	// has to come to rest.
	faulty bool

	truth *truth
	saga  *sagaApp
	nodes []*node
	// election is nil where every node decides.
	election *election
	// services take part in transactions; participants are they and the
	// application that drives sagas.
	services, participants []participant
	databases              []*database
	transactions           []*transaction

	trace  io.Writer
	hash   hashWriter
	line   []byte
	broken []string
}

type hashWriter interface {
	io.Writer
	Sum64() uint64
}

func newWorld(seed uint64, o Options) *world {
	w := &world{
		rng: rand.New(rand.NewPCG(seed, 0x51a0)), hash: fnv.New64a(), trace: o.Trace, faulty: true,
	}
	w.plan = newPlan(w.rng)
	w.logf("seed %d: %+v", seed, w.plan)
	w.truth = newTruth(w, memory.New())
	if w.plan.Led {
		w.election = &election{w: w}
	}
	for i := range w.plan.Nodes {
		w.nodes = append(w.nodes, newNode(w, i, o.Mutant))
	}
	for i := range w.plan.Databases {
		d := newDatabase(w, i)
		w.databases = append(w.databases, d)
		w.services = append(w.services, d)
	}
	for i := range w.plan.Actions {
		w.services = append(w.services, newTCC(w, i))
	}
	for i := range w.plan.Compensables {
		w.services = append(w.services, newCompensable(w, i))
	}
	for i := range w.plan.XADatabases {
		w.services = append(w.services, newXADatabase(w, i))
	}
	w.saga = newSagaApp(w)
	w.participants = append(slices.Clone(w.services), w.saga)
	return w
}

// after has f run when d has passed.
func (w *world) after(d time.Duration, f func()) { w.events.push(w.now+d, f) }

// runUntil runs events up to a moment of virtual time.
func (w *world) runUntil(end time.Duration) {
	for {
		at, ok := w.events.next()
		if !ok || at > end {
			w.now = end
			return
		}
		w.now = at
		w.events.pop()()
	}
}

// logf adds a line to the trace, and to its hash.
func (w *world) logf(format string, args ...any) {
	w.line = fmt.Appendf(w.line[:0], "%9.4f ", w.now.Seconds())
	w.line = append(fmt.Appendf(w.line, format, args...), '\n')
	_, _ = w.hash.Write(w.line) // a hash never fails
	if w.trace != nil {
		_, _ = w.trace.Write(w.line) // the trace is for reading along only
	}
}

// maxViolations bounds what one run reports; the first ones tell the story.
const maxViolations = 10

// violate reports that an invariant does not hold.
func (w *world) violate(invariant, format string, args ...any) {
	text := invariant + ": " + fmt.Sprintf(format, args...)
	w.logf("VIOLATION %s", text)
	if len(w.broken) < maxViolations {
		w.broken = append(w.broken, fmt.Sprintf("at %s: %s", w.now, text))
	}
}

// chance is true with probability p, and never when the faults have stopped.
func (w *world) chance(p float64) bool { return w.faulty && w.rng.Float64() < p }

func (w *world) between(low, high time.Duration) time.Duration {
	return low + time.Duration(w.rng.Int64N(int64(high-low)+1))
}

// deliver is the network: f runs when the message arrives, which may be late,
// twice or never. A message that must not be doubled (one over a connection
// whose sender takes no second copy for the same) is once.
func (w *world) deliver(once bool, f func()) {
	if w.chance(w.plan.Loss) {
		w.logf("lost")
		return
	}
	w.after(w.latency(), f)
	if !once && w.chance(w.plan.Duplicate) {
		w.after(w.latency(), f)
	}
}

func (w *world) latency() time.Duration {
	if w.chance(w.plan.Late) {
		return w.between(100*time.Millisecond, 5*time.Second)
	}
	return w.between(100*time.Microsecond, 10*time.Millisecond)
}
