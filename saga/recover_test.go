package saga_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/saga"
	"github.com/qiao-tx/qiao/saga/machine"
	"github.com/qiao-tx/qiao/saga/sagalog"
)

// victimVariable makes the test binary a process that runs one saga on a log and
// kills itself at a certain step: "database|journal|machine|step".
const victimVariable = "QIAO_SAGA_VICTIM"

// journey is a machine with most of what can be interrupted: a choice, a script, a
// state that is not logged, a loop, a machine in the machine, a compensation with a
// state after it.
const journey = `{"Name": "journey", "StartState": "Plan", "Version": "1", "States": {
  "Plan": {"Type": "ServiceTask", "ServiceName": "s", "ServiceMethod": "do", "Input": ["plan"], "Output": {"plan": "$.name"},
    "CompensateState": "UndoPlan", "Next": "Note"},
  "Note": {"Type": "ServiceTask", "ServiceName": "s", "ServiceMethod": "do", "IsPersist": false, "Input": ["note"], "Output": {"note": "$.name"}, "Next": "Script"},
  "Script": {"Type": "ScriptTask", "ScriptContent": "plan + '/' + note", "Input": [{"plan": "$.[plan]", "note": "$.[note]"}],
    "Output": {"both": "$.#root"}, "Next": "Choose"},
  "Choose": {"Type": "Choice", "Choices": [{"Expression": "[both] == 'plan/note'", "Next": "Legs"}], "Default": "Undo"},
  "Legs": {"Type": "ServiceTask", "ServiceName": "s", "ServiceMethod": "do", "CompensateState": "UndoLeg",
    "Loop": {"Parallel": 2, "Collection": "$.[legs]", "ElementVariableName": "leg"},
    "Input": ["$.'leg' + [leg]"], "Output": {"leg": "$.name"}, "Next": "Inner"},
  "Inner": {"Type": "SubStateMachine", "StateMachineName": "inner", "Input": [{"x": "$.[both]"}], "Output": {"inner": "$.[y]"}, "Next": "Last"},
  "Last": {"Type": "ServiceTask", "ServiceName": "s", "ServiceMethod": "%s", "Input": ["last"], "CompensateState": "UndoLast",
    "Catch": [{"Exceptions": ["Full"], "Next": "Undo"}], "Next": "Done"},
  "UndoPlan": {"Type": "ServiceTask", "ServiceName": "s", "ServiceMethod": "do", "Input": ["undo plan"]},
  "UndoLeg": {"Type": "ServiceTask", "ServiceName": "s", "ServiceMethod": "do", "Input": ["$.'undo leg' + [leg]"]},
  "UndoLast": {"Type": "ServiceTask", "ServiceName": "s", "ServiceMethod": "do", "Input": ["undo last"]},
  "Undo": {"Type": "CompensationTrigger", "Next": "Tell"},
  "Tell": {"Type": "ServiceTask", "ServiceName": "s", "ServiceMethod": "do", "Input": ["tell"], "Next": "Failed"},
  "Failed": {"Type": "Fail", "ErrorCode": "FULL"},
  "Done": {"Type": "Succeed"}}}`

const inner = `{"Name": "inner", "StartState": "First", "Version": "1", "States": {
  "First": {"Type": "ServiceTask", "ServiceName": "s", "ServiceMethod": "do", "Input": ["first"], "Output": {"y": "$.name"}, "CompensateState": "UndoFirst", "Next": "Second"},
  "Second": {"Type": "ServiceTask", "ServiceName": "s", "ServiceMethod": "do", "Input": ["second"], "CompensateState": "UndoSecond"},
  "UndoFirst": {"Type": "ServiceTask", "ServiceName": "s", "ServiceMethod": "do", "Input": ["undo first"]},
  "UndoSecond": {"Type": "ServiceTask", "ServiceName": "s", "ServiceMethod": "do", "Input": ["undo second"]}}}`

// journeyEnds are how the two journeys end, and what they must have called.
var journeyEnds = map[string]struct {
	want   string
	called []string
}{
	"do": {"SU/", []string{"plan", "note", "leg0", "leg1", "leg2", "first", "second", "last"}},
	"refuse": {"UN/SU", []string{"plan", "note", "leg0", "leg1", "leg2", "first", "second", "last", "undo last", "undo second", "undo first",
		"undo leg2", "undo leg1", "undo leg0", "undo plan", "tell"}},
}

// open makes the engine of a journey, whose services write their calls to a file.
func openJourney(ctx context.Context, store sagalog.Store, journal, last string, before func()) (*saga.Engine, error) {
	e, err := saga.Open(ctx, saga.Config{Store: store, ErrorNames: map[string]error{"Full": errFull}})
	if err != nil {
		return nil, err
	}
	var mu sync.Mutex
	note := func(ctx context.Context, name string) error {
		before()
		mu.Lock()
		defer mu.Unlock()
		call, _ := saga.FromContext(ctx)
		f, err := os.OpenFile(journal, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(f, "%s\t%s\n", name, call.Key)
		return errors.Join(err, f.Close())
	}
	err = errors.Join(
		e.Func("s", "do", func(ctx context.Context, name string) (map[string]any, error) {
			return map[string]any{"name": name}, note(ctx, name)
		}),
		e.Func("s", "refuse", func(ctx context.Context, name string) error { return errors.Join(note(ctx, name), errFull) }))
	for _, text := range []string{inner, fmt.Sprintf(journey, last)} {
		if err == nil {
			_, err = e.Define(ctx, []byte(text))
		}
	}
	return e, err
}

var errFull = errors.New("the last leg is full")

// killer is a Store that kills the process before or after its n-th write.
type killer struct {
	sagalog.Store
	count *counter
}

func (k killer) Write(ctx context.Context, b *machine.Batch) error {
	k.count.step()
	err := k.Store.Write(ctx, b)
	k.count.step()
	return err
}

// counter kills the process at its n-th step.
type counter struct {
	mu sync.Mutex
	n  int
}

func (c *counter) step() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n--
	if c.n == 0 {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
}

// victim is the process that kills itself. It exits 0 if the saga ended first, and
// starts it, or goes on with what an earlier victim left.
func victim() {
	part := strings.Split(os.Getenv(victimVariable), "|")
	if part[2] == "code" {
		codeVictim(part)
	}
	ctx := context.Background()
	steps, err := strconv.Atoi(part[3])
	must(err)
	count := &counter{n: steps}
	db, err := openDB(part[0])
	must(err)
	store, err := sagalog.OpenSQL(ctx, sagalog.Config{DB: db})
	must(err)
	e, err := openJourney(ctx, killer{store, count}, part[1], part[2], count.step)
	must(err)
	n, err := e.Recover(ctx)
	must(err)
	if n == 0 {
		_, err = e.ByBusinessKey(ctx, "one")
		if errors.Is(err, sagalog.ErrNotFound) {
			_, err = e.Start(ctx, "journey", map[string]any{"legs": []any{0, 1, 2}}, saga.StartOptions{BusinessKey: "one"})
		}
		must(err)
	}
	must(e.Close(ctx))
	os.Exit(0)
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(3)
	}
}

// TestKilledAtEveryStep kills the process of a saga at each of its steps, before and
// after each write and each call, and in the recovery after that. Whatever the step,
// the saga ends as without a kill, no run of a state that is in the log as ended is
// repeated, and what was done is undone in the order that the log says.
func TestKilledAtEveryStep(t *testing.T) {
	for last, end := range journeyEnds {
		t.Run(last, func(t *testing.T) {
			t.Parallel()
			step := 1
			for ; ; step += 1 + step/8 { // all the early steps, and a sample of the later ones
				dir := t.TempDir()
				survived := kill(t, dir, last, step)
				if !survived {
					kill(t, dir, last, 1+step/2) // and once more, while it recovers
				}
				checkJourney(t, dir, last, end.want, end.called, survived)
				if survived {
					break
				}
			}
			assert.Greater(t, step, 20)
		})
	}
}

// kill runs a victim; survived tells that the saga ended first.
func kill(t *testing.T, dir, last string, step int) (survived bool) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s|%s|%s|%d", victimVariable, filepath.Join(dir, "saga.db"), filepath.Join(dir, "journal"), last, step))
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == -1 {
		return false
	}
	require.NoError(t, err, "%s", out)
	return true
}

func checkJourney(t *testing.T, dir, last, want string, called []string, undisturbed bool) {
	t.Helper()
	store := openSQLite(t, filepath.Join(dir, "saga.db"), "")
	e, err := openJourney(t.Context(), store, filepath.Join(dir, "journal"), last, func() {})
	require.NoError(t, err)
	defer func() { require.NoError(t, e.Close(t.Context())) }()
	_, err = e.Recover(t.Context())
	require.NoError(t, err)
	s, err := e.ByBusinessKey(t.Context(), "one")
	if errors.Is(err, sagalog.ErrNotFound) { // it was killed before it began
		return
	}
	require.NoError(t, err)
	assert.Equal(t, want, string(s.Status)+"/"+string(s.Compensation), states(s))
	assert.False(t, s.Running)
	assert.Equal(t, "plan/note", s.Variables["both"], "which only a script knew")

	names, keys := readJournal(t, filepath.Join(dir, "journal"))
	var distinct []string
	for _, n := range names {
		if !slices.Contains(distinct, n) {
			distinct = append(distinct, n)
		}
	}
	assert.ElementsMatch(t, called, distinct)
	if undo := slices.Index(distinct, "undo last"); undo >= 0 {
		got := slices.Clone(distinct[undo:]) // the elements of a loop run in any order
		slices.SortFunc(got[3:6], func(a, b string) int { return strings.Compare(b, a) })
		assert.Equal(t, called[8:], got, "the order of the compensation")
	}
	if undisturbed {
		assert.Len(t, names, len(called), "nothing is called twice")
	}
	for name, of := range keys {
		if name != "note" { // which is not in the log
			assert.Len(t, of, 1, "all calls of %s have one key", name)
		}
	}
}

// readJournal returns the calls in their order, and the keys of each.
func readJournal(t *testing.T, path string) (names []string, keys map[string]map[string]bool) {
	f, err := os.Open(path)
	require.NoError(t, err)
	defer func() { require.NoError(t, f.Close()) }()
	keys = map[string]map[string]bool{}
	for s := bufio.NewScanner(f); s.Scan(); {
		name, key, _ := strings.Cut(s.Text(), "\t")
		names = append(names, name)
		if keys[name] == nil {
			keys[name] = map[string]bool{}
		}
		keys[name][key] = true
	}
	return names, keys
}

// TestAThousandInterruptedSagas are all gone on with, at once.
func TestAThousandInterruptedSagas(t *testing.T) {
	const n = 1000
	path := filepath.Join(t.TempDir(), "saga.db")
	first := openSQLite(t, path, "")
	block := make(chan struct{})
	begun := make(chan struct{}, n)
	open := func(store sagalog.Store, wait bool) *saga.Engine {
		e, err := saga.Open(t.Context(), saga.Config{Store: store})
		require.NoError(t, err)
		require.NoError(t, e.Func("s", "do", func(ctx context.Context, i int) error {
			if wait {
				begun <- struct{}{}
				select {
				case <-block:
				case <-ctx.Done():
				}
			}
			return ctx.Err()
		}))
		_, err = e.Define(t.Context(), []byte(`{"Name":"m","StartState":"A","Version":"1","States":{
		  "A":{"Type":"ServiceTask","ServiceName":"s","ServiceMethod":"do","Input":["$.[i]"],"CompensateState":"U","Next":"B"},
		  "B":{"Type":"ServiceTask","ServiceName":"s","ServiceMethod":"do","Input":["$.[i]"],"CompensateState":"U"},
		  "U":{"Type":"ServiceTask","ServiceName":"s","ServiceMethod":"do","Input":["$.[i]"]}}}`))
		require.NoError(t, err)
		return e
	}
	e := open(first, true)
	var runs []*saga.Run
	var mu sync.Mutex
	var starting sync.WaitGroup
	for i := range n {
		starting.Go(func() {
			r, err := e.StartAsync(t.Context(), "m", map[string]any{"i": i}, saga.StartOptions{})
			assert.NoError(t, err)
			mu.Lock()
			defer mu.Unlock()
			runs = append(runs, r)
		})
	}
	starting.Wait()
	for range n {
		<-begun
	}
	stopped, cancel := context.WithCancel(t.Context())
	cancel()
	require.Error(t, e.Close(stopped))
	for _, r := range runs {
		_, err := r.Wait(t.Context())
		require.ErrorIs(t, err, saga.ErrClosed)
	}

	second := openSQLite(t, path, "") // fences the first
	e = open(second, false)
	defer func() { require.NoError(t, e.Close(t.Context())) }()
	from := time.Now()
	recovered, err := e.Recover(t.Context())
	require.NoError(t, err)
	t.Logf("%d sagas recovered in %v", recovered, time.Since(from))
	assert.Equal(t, n, recovered)
	for _, r := range runs {
		s, err := e.Get(t.Context(), r.ID)
		require.NoError(t, err)
		require.Equal(t, machine.Succeeded, s.Status, states(s))
		require.Len(t, s.States, 3, "A, A again, B")
	}
	left, err := second.Interrupted(t.Context())
	require.NoError(t, err)
	assert.Empty(t, left)
	assert.ErrorIs(t, first.Write(t.Context(), &machine.Batch{Insert: &machine.Instance{ID: "late"}}), sagalog.ErrFenced)
}

// TestSagasOfADeadNode are adopted by another, once its lease has run out.
func TestSagasOfADeadNode(t *testing.T) {
	db, err := openDB(filepath.Join(t.TempDir(), "saga.db"))
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	open := func(node string, do func(context.Context) error) (*saga.Engine, *sagalog.SQL) {
		store, err := sagalog.OpenSQL(t.Context(), sagalog.Config{DB: db, Node: node, Lease: 300 * time.Millisecond})
		require.NoError(t, err)
		e, err := saga.Open(t.Context(), saga.Config{Store: store})
		require.NoError(t, err)
		require.NoError(t, e.Func("s", "do", do))
		require.NoError(t, e.Func("s", "undo", func() {}))
		define(t, e, oneStep)
		return e, store
	}
	entered := make(chan struct{})
	dying, store := open("a", func(ctx context.Context) error { close(entered); <-ctx.Done(); return ctx.Err() })
	run, err := dying.StartAsync(t.Context(), "one", nil, saga.StartOptions{})
	require.NoError(t, err)
	<-entered
	other, living := open("b", func(context.Context) error { return nil })
	defer func() {
		require.NoError(t, other.Close(t.Context()))
		require.NoError(t, living.Close())
	}()
	n, err := other.Recover(t.Context())
	require.NoError(t, err)
	assert.Zero(t, n, "a lives")
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	require.Error(t, dying.Close(ended))
	require.NoError(t, store.Close())
	require.Eventually(t, func() bool {
		_, err := other.Recover(t.Context())
		require.NoError(t, err)
		s, err := other.Get(t.Context(), run.ID)
		require.NoError(t, err)
		return s.Status == machine.Succeeded
	}, 20*time.Second, 20*time.Millisecond)
}
