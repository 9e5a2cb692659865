package machine_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/qiao-tx/qiao/saga/machine"
	"github.com/qiao-tx/qiao/saga/sagalog"
	"github.com/qiao-tx/qiao/saga/statelang"
)

// world drives executions of one machine: its log, the clock, what services answer.
type world struct {
	t       *rapid.T
	program *machine.Program
	log     *sagalog.Memory
	now     time.Time
	ids     int
	// answers are by state and element, always the same: a service that is called
	// again does the same again.
	answers map[string]string
	// crash is asked at each step whether the engine dies there.
	crash func() bool
	// calls are the calls in their order; done those whose end is in the log.
	calls []string
	done  map[string]bool
}

var errCrash = fmt.Errorf("crash")

func settings() machine.Settings {
	return machine.Settings{NewID: func(string) string { return "id" }}
}

// play runs the instance to its end, over all crashes.
func (w *world) play(params map[string]any) *machine.Execution {
	x := machine.New(w.program, settings(), &machine.Instance{ID: "saga", MachineID: "m", StartParams: params})
	step := x.Begin(w.tick())
	for {
		err := w.drive(x, step)
		if err == nil {
			return x
		}
		log, lost := w.log.Load(context.Background(), "saga")
		if lost != nil { // it died before it began
			return w.play(params)
		}
		log = throughJSON(w.t, log)
		x, err = machine.Reload(w.program, settings(), log)
		require.NoError(w.t, err)
		if !log.Instance.Live {
			return x
		}
		step = x.Resume(w.tick())
	}
}

func (w *world) tick() time.Time {
	w.now = w.now.Add(time.Millisecond)
	return w.now
}

// throughJSON makes of a log what a database would.
func throughJSON(t *rapid.T, log *machine.Log) *machine.Log {
	var own machine.Log
	text, err := json.Marshal(log)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &own))
	return &own
}

// drive carries steps out until the end or a crash. Several calls end in any order.
func (w *world) drive(x *machine.Execution, step machine.Step) error {
	var open []machine.Call
	for {
		if w.crash() {
			return errCrash
		}
		for _, r := range step.Batch.Begun {
			if r.ID == "" {
				w.ids++
				r.ID = fmt.Sprintf("r%04d", w.ids)
			}
		}
		if !step.Batch.Empty() {
			require.NoError(w.t, w.log.Write(context.Background(), &step.Batch))
		}
		for _, r := range step.Batch.Done {
			w.done[runOf(x, r)] = true
		}
		if step.Ended {
			return nil
		}
		open = append(open, step.Calls...)
		if w.crash() {
			return errCrash
		}
		require.NotEmpty(w.t, open, "an instance that has not ended waits for a call")
		i := 0 // what nobody waits for ends first; else the outcome depends on when it ends
		if len(open) > 1 && !slices.ContainsFunc(open, func(c machine.Call) bool { return c.State.Async && c.State.Loop == nil }) {
			i = rapid.IntRange(0, len(open)-1).Draw(w.t, "returns")
		}
		c := open[i]
		open = slices.Delete(open, i, i+1)
		require.False(w.t, w.done[runOf(x, c.Row)], "%s is called though its end is in the log", c.Row.Name)
		step = x.Returned(w.tick(), w.answer(c))
	}
}

// runOf names what a row runs: the same for all that repeat it.
func runOf(x *machine.Execution, r *machine.Row) string {
	if r.CompensatedFor != "" {
		return "the undoing of " + r.CompensatedFor
	}
	return x.Origin(r).ID
}

func (w *world) answer(c machine.Call) machine.Result {
	name := c.Row.Name
	if c.Row.CompensatedFor != "" {
		name += " of " + c.Row.CompensatedFor
	}
	w.calls = append(w.calls, name)
	r := machine.Result{Row: c.Row, Output: map[string]any{"of": c.Row.Name}}
	if class := w.answers[c.Row.Name]; class != "" {
		r.Output, r.Failure = nil, &machine.Failure{Class: class, Message: "no"}
	}
	return r
}

// drawMachine makes a machine: a chain of tasks with loops, choices, catches and
// compensations, and a trigger with a state after it.
func drawMachine(t *rapid.T) *machine.Program {
	n := rapid.IntRange(1, 6).Draw(t, "tasks")
	var states []string
	for i := range n {
		next := fmt.Sprintf("T%d", i+1)
		if i == n-1 {
			next = "End"
		}
		s := fmt.Sprintf(`"T%d": {"Type": "ServiceTask", "ServiceName": "s", "ServiceMethod": "m", "Output": {"v%d": "$.[of]"}, "Next": %q`, i, i, next)
		form := rapid.IntRange(0, 4).Draw(t, "form")
		if form != 1 && rapid.Bool().Draw(t, "compensated") {
			s += fmt.Sprintf(`, "CompensateState": "U%d"`, i)
			states = append(states, fmt.Sprintf(`"U%d": {"Type": "ServiceTask", "ServiceName": "s", "ServiceMethod": "u"}`, i))
		}
		if rapid.Bool().Draw(t, "caught") {
			s += `, "Catch": [{"Exceptions": ["Known"], "Next": "Undo"}]`
		}
		switch form {
		case 0:
			s += `, "Loop": {"Parallel": 2, "Collection": "$.[items]"}`
		case 1: // what is not in the log cannot be undone after a crash
			s += `, "IsPersist": false`
		case 2:
			s += `, "IsAsync": true`
		}
		if rapid.Bool().Draw(t, "update") {
			s += `, "IsRetryPersistModeUpdate": true`
		}
		states = append(states, s+"}")
	}
	after := rapid.SampledFrom([]string{``, `, "Next": "Failed"`, `, "Next": "Tell"`}).Draw(t, "after")
	states = append(states, `"Undo": {"Type": "CompensationTrigger"`+after+`}`, `"Failed": {"Type": "Fail", "ErrorCode": "E"}`, `"End": {"Type": "Succeed"}`,
		`"Tell": {"Type": "ServiceTask", "ServiceName": "s", "ServiceMethod": "m", "Next": "Failed"}`)
	m, err := statelang.Parse([]byte(`{"Name": "m", "StartState": "T0", "States": {` + strings.Join(states, ",\n") + `}}`))
	require.NoError(t, err)
	p, err := machine.Compile(m)
	require.NoError(t, err)
	return p
}

func newWorld(t *rapid.T, p *machine.Program, answers map[string]string, crash func() bool) *world {
	return &world{t: t, program: p, log: sagalog.NewMemory(), now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), answers: answers, crash: crash, done: map[string]bool{}}
}

// TestCrashesChangeNothing: with crashes before and after any write, an instance ends
// as it would have without, has called the same services, and has undone the same.
// What the log says has ended is not called again (see drive).
func TestCrashesChangeNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := drawMachine(t)
		answers := map[string]string{}
		for _, name := range p.Machine.Order {
			s := p.Machine.States[name]
			class := rapid.SampledFrom([]string{"", "", "", "Known", "Other"}).Draw(t, "answer of "+name)
			if s.Loop != nil { // all elements alike: which fails first is a matter of time
				for i := range 3 {
					answers[fmt.Sprintf("%s-loop-%d", name, i)] = class
				}
			} else if name != "Tell" && (!s.IsTask() || s.Persist) {
				answers[name] = class
			}
		}
		params := map[string]any{"items": []any{"a", "b", "c"}[:rapid.IntRange(1, 3).Draw(t, "items")]}
		calm := newWorld(t, p, answers, func() bool { return false })
		want := calm.play(params)
		left := rapid.IntRange(1, 8).Draw(t, "crashes")
		wild := newWorld(t, p, answers, func() bool {
			if left == 0 || rapid.IntRange(0, 3).Draw(t, "crash") > 0 {
				return false
			}
			left--
			return true
		})
		got := wild.play(params)
		assert.Equal(t, want.Instance.Status, got.Instance.Status)
		assert.Equal(t, want.Instance.Compensation, got.Instance.Compensation)
		assert.Equal(t, want.Instance.Failure, got.Instance.Failure)
		assert.Equal(t, undone(want), undone(got), "what was undone, in its order")
		if !anyLoop(p, want) { // the runs of a loop that fails depend on when
			assert.Equal(t, distinct(calm.calls), distinct(wild.calls))
			assert.Equal(t, want.Variables(), got.Variables())
		}
	})
}

// undone lists the states whose runs were undone, without the elements of loops.
func undone(x *machine.Execution) []string {
	var names []string
	for _, r := range x.Rows {
		name, element := r.State()
		if r.IsCompensation() && r.Status == machine.Succeeded && (element < 0 && !slices.Contains(names, name)) {
			names = append(names, name)
		}
	}
	return names
}

func anyLoop(p *machine.Program, _ *machine.Execution) bool {
	for _, s := range p.Machine.States {
		if s.Loop != nil {
			return true
		}
	}
	return false
}

// distinct lists the calls without repetitions and rows' numbers, sorted.
func distinct(calls []string) []string {
	var names []string
	for _, c := range calls {
		name, _, _ := strings.Cut(c, " of ")
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func TestWaitsBetweenAttempts(t *testing.T) {
	rules := []statelang.Retry{{Exceptions: []string{"Busy"}, IntervalSeconds: 1, MaxAttempts: 3, BackoffRate: 2}, {IntervalSeconds: 0.5, MaxAttempts: 1}}
	busy, lost := &machine.Failure{Class: "Busy"}, &machine.Failure{Class: "x", Network: machine.NoAnswer}
	var a machine.Attempts
	var waits []time.Duration
	for _, f := range []*machine.Failure{busy, lost, busy, busy, busy} {
		wait, again := a.Next(rules, f)
		if !again {
			wait = -1
		}
		waits = append(waits, wait)
	}
	assert.Equal(t, []time.Duration{time.Second, time.Second / 2, 2 * time.Second, 4 * time.Second, -1}, waits)
	_, again := a.Next(rules, &machine.Failure{Class: "Other"})
	assert.False(t, again, "no rule names it")
}
