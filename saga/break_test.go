package saga_test

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/saga"
	"github.com/qiao-tx/qiao/saga/machine"
	"github.com/qiao-tx/qiao/saga/sagalog"
)

// Code of the application that panics, or ends its goroutine, is an error of the
// call: the saga ends, and so does whoever waits for it.
func TestApplicationsCodeThatBreaksOff(t *testing.T) {
	const scripted = `{"Name": "one", "StartState": "A", "States": {"A": {"Type": "ScriptTask", "ScriptType": "own", "ScriptContent": "x"}}}`
	for _, c := range []struct {
		name, machine string
		service       func() any
		script        saga.ScriptRunner
	}{
		{name: "a script runner panics", machine: scripted,
			script: func(context.Context, string, map[string]any) (any, error) { panic("oh") }},
		{name: "a result's MarshalJSON panics", machine: oneStep, service: func() any { return panicking{} }},
		{name: "Goexit", machine: oneStep, service: func() any { runtime.Goexit(); return nil }},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := openEngine(t, saga.Config{Store: sagalog.NewMemory(), Logger: slog.New(slog.DiscardHandler),
				Scripts: map[string]saga.ScriptRunner{"own": c.script}})
			if c.service != nil {
				require.NoError(t, e.Func("s", "do", c.service))
				require.NoError(t, e.Func("s", "undo", func() {}))
			}
			define(t, e, c.machine)
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			s, err := e.Start(ctx, "one", nil, saga.StartOptions{})
			require.NoError(t, err)
			require.NotNil(t, s)
			assert.NotEqual(t, machine.Succeeded, s.Status)
			require.NotNil(t, s.Failure)
		})
	}
}

type panicking struct{}

func (panicking) MarshalJSON() ([]byte, error) { panic("oh") }

// Machines that run each other without end are stopped.
func TestMachinesThatRunEachOther(t *testing.T) {
	e := openEngine(t, saga.Config{Store: sagalog.NewMemory()})
	for _, pair := range [][2]string{{"a", "b"}, {"b", "a"}} {
		define(t, e, fmt.Sprintf(`{"Name": %q, "StartState": "S", "States": {"S": {"Type": "SubStateMachine", "StateMachineName": %q}}}`, pair[0], pair[1]))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	s, err := e.Start(ctx, "a", nil, saga.StartOptions{})
	require.NoError(t, err)
	assert.Equal(t, machine.Unknown, s.Status)
}

// A time-out ends a circle of scripts, too.
func TestCircleOfScripts(t *testing.T) {
	e := openEngine(t, saga.Config{Store: sagalog.NewMemory(), Timeout: 50 * time.Millisecond})
	define(t, e, `{"Name": "circle", "StartState": "A", "States": {
	  "A": {"Type": "ScriptTask", "ScriptContent": "return 1", "Next": "C"},
	  "C": {"Type": "Choice", "Choices": [{"Expression": "1 == 2", "Next": "E"}], "Default": "A"},
	  "E": {"Type": "Succeed"}}}`)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	s, err := e.Start(ctx, "circle", nil, saga.StartOptions{})
	require.NotNil(t, s, "%v", err)
	assert.NotEqual(t, machine.Succeeded, s.Status)
	require.NotNil(t, s.Failure)
	assert.True(t, s.Failure.Expired)
}

// deaf is a store whose first write is made, but not answered for.
type deaf struct {
	sagalog.Store
	lost bool
}

func (d *deaf) Write(ctx context.Context, b *machine.Batch) error {
	err := d.Store.Write(ctx, b)
	if !d.lost && err == nil {
		d.lost = true
		return fmt.Errorf("%w: the connection broke", sagalog.ErrUnanswered)
	}
	return err
}

// A saga whose first write went unanswered has begun all the same: it is not left
// in the log with nobody to drive it.
func TestUnansweredStart(t *testing.T) {
	for name, store := range stores(t) {
		t.Run(name, func(t *testing.T) {
			e := openEngine(t, saga.Config{Store: &deaf{Store: store}, Logger: slog.New(slog.DiscardHandler)})
			require.NoError(t, e.Func("s", "do", func() {}))
			require.NoError(t, e.Func("s", "undo", func() {}))
			define(t, e, oneStep)
			_, err := e.Start(t.Context(), "one", nil, saga.StartOptions{BusinessKey: "k"})
			t.Log(err)
			require.Eventually(t, func() bool {
				s, err := e.ByBusinessKey(t.Context(), "k")
				return err == nil && s.Status == machine.Succeeded && !s.Running
			}, 10*time.Second, 20*time.Millisecond)
		})
	}
}

// A service that was not reached in the end may have been reached before: by the
// attempt before, by the run that is repeated, or by the crashed engine's. And a
// function of this process was reached, whatever it did not reach itself. Such a run
// is in doubt, and undone.
func TestDoubtStays(t *testing.T) {
	const order = `{"Name": "one", "StartState": "A", "IsRetryPersistModeUpdate": %v, "States": {
	  "A": {"Type": "ServiceTask", "ServiceType": "%s", "ServiceName": "s", "ServiceMethod": "do", "CompensateState": "U",
	    "Retry": [{"Exceptions": ["Silent"], "MaxAttempts": %d}]},
	  "U": {"Type": "ServiceTask", "ServiceType": "%[2]s", "ServiceName": "s", "ServiceMethod": "undo"}}}`
	silent := &saga.Exception{Class: "Silent", NoAnswer: true}
	refused := fmt.Errorf("dial: %w", syscall.ECONNREFUSED)
	for _, c := range []struct {
		name      string
		kind      string
		update    bool
		attempts  int
		answers   []error
		forwards  int
		undone    bool
		wantState machine.Status
	}{
		{name: "never reached", kind: "x", answers: []error{refused}, wantState: machine.Failed},
		{name: "never reached, twice", kind: "x", answers: []error{refused, refused}, forwards: 1, wantState: machine.Failed},
		{name: "an attempt before", kind: "x", attempts: 1, answers: []error{silent, refused}, undone: true, wantState: machine.Unknown},
		{name: "a run before", kind: "x", answers: []error{silent, refused}, forwards: 1, undone: true, wantState: machine.Unknown},
		{name: "a run before, in the same row", kind: "x", update: true, answers: []error{silent, refused}, forwards: 1, undone: true, wantState: machine.Unknown},
		{name: "runs before", kind: "x", answers: []error{silent, refused, refused}, forwards: 2, undone: true, wantState: machine.Unknown},
		{name: "a function", answers: []error{refused}, undone: true, wantState: machine.Unknown},
		{name: "a function that says so", answers: []error{&saga.Exception{Class: "X", NotSent: true}}, wantState: machine.Failed},
	} {
		t.Run(c.name, func(t *testing.T) {
			calls, undone := 0, false
			do := func() error { calls++; return c.answers[calls-1] }
			e := openEngine(t, saga.Config{Store: sagalog.NewMemory(), Invokers: map[string]saga.Invoker{
				"x": invoker(func(_ context.Context, r saga.Request) (any, error) {
					if r.Method == "undo" {
						undone = true
						return nil, nil
					}
					return nil, do()
				})}})
			require.NoError(t, e.Func("s", "do", do))
			require.NoError(t, e.Func("s", "undo", func() { undone = true }))
			define(t, e, fmt.Sprintf(order, c.update, c.kind, c.attempts))
			s, err := e.Start(t.Context(), "one", nil, saga.StartOptions{})
			require.NoError(t, err)
			for range c.forwards {
				s, err = e.Forward(t.Context(), s.ID, nil)
				require.NoError(t, err)
			}
			assert.Equal(t, c.wantState, s.States[len(s.States)-1].Status)
			_, err = e.Compensate(t.Context(), s.ID, nil)
			require.NoError(t, err)
			assert.Equal(t, c.undone, undone)
			assert.Len(t, c.answers, calls)
		})
	}
}
