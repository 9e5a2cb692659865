package saga_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/saga"
	"github.com/qiao-tx/qiao/saga/machine"
	"github.com/qiao-tx/qiao/saga/statelang"
)

// sourceVariable names a directory with a check-out of apache/incubator-seata. The
// suite then runs the machines of Seata's own tests, unchanged, to the statuses
// that those tests expect. Nothing of them is kept here.
const sourceVariable = "QIAO_SEATA_SOURCE"

func seataSource(t *testing.T) (dir string, given bool) {
	dir = os.Getenv(sourceVariable)
	if dir == "" {
		t.Logf("nothing to run: set %s to a check-out of apache/incubator-seata", sourceVariable)
	}
	return dir, dir != ""
}

// TestSeataMachinesAreRead parses every machine of the check-out. Those that Seata's
// own tests want refused are.
func TestSeataMachinesAreRead(t *testing.T) {
	dir, given := seataSource(t)
	if !given {
		return
	}
	read := 0
	require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".json") || !strings.Contains(path, "statelang") && !strings.HasSuffix(path, "public/test.json") ||
			strings.Contains(path, "node_modules") {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name := filepath.Base(path)
		m, err := statelang.Parse(text)
		if strings.Contains(name, "infinite_loop") || strings.Contains(name, "non_existed_name") || strings.Contains(name, "recursive_sub_machine") {
			assert.Error(t, err, path)
			t.Logf("%s: %v", name, err)
		} else if assert.NoError(t, err, path) {
			_, err = machine.Compile(m)
			assert.NoError(t, err, path)
			for _, w := range m.Warnings {
				t.Logf("%s: %s", name, w)
			}
		}
		read++
		return nil
	}))
	t.Logf("%d machines", read)
	assert.Greater(t, read, 15)
}

type params = map[string]any

// operation is a step of a scenario: start a machine, or take it up again.
type operation struct {
	do     string // start, forward, compensate
	params params
	want   string // status/compensation status
	fault  bool
}

type scenario struct {
	machine string
	steps   []operation
}

// seataScenarios are what StateMachineTests, StateMachineDBTests and
// StateMachineDBMockServerTests do.
func seataScenarios() []scenario {
	ten := []any{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}
	people := params{"name": "lilei", "age": 18}
	return []scenario{
		{"simpleTestStateMachine", []operation{{"start", params{}, "SU/", false}}},
		{"simpleChoiceTestStateMachine", []operation{{"start", params{"a": 1}, "SU/", false}}},
		{"simpleChoiceTestStateMachine", []operation{{"start", params{"a": 2}, "SU/", false}}},
		{"simpleChoiceNoDefaultTestStateMachine", []operation{{"start", params{"a": 3}, "UN/", true}}},
		{"simpleChoiceAndEndTestStateMachine", []operation{{"start", params{"a": 1}, "SU/", false}}},
		{"simpleChoiceAndEndTestStateMachine", []operation{{"start", params{"a": 3}, "FA/", false}}},
		{"simpleInputAssignmentStateMachine", []operation{{"start", params{"a": 1}, "SU/", false}}},
		{"simpleCachesStateMachine", []operation{{"start", params{"a": 1, "barThrowException": "true"}, "FA/", false}}},
		{"simpleScriptTaskStateMachine", []operation{{"start", params{"a": 1}, "SU/", false}}},
		{"simpleScriptTaskStateMachine", []operation{{"start", params{"scriptThrowException": true}, "FA/", false}}},
		{"designerSimpleScriptTaskStateMachine", []operation{{"start", params{"a": 1}, "SU/", false}}},
		{"designerSimpleScriptTaskStateMachine", []operation{{"start", params{"scriptThrowException": true}, "FA/", false}}},
		{"simpleStatusMatchingStateMachine", []operation{{"start", params{"a": 1, "barThrowException": "true"}, "UN/", false}}},
		{"simpleCompensationStateMachine", []operation{{"start", params{"a": 1, "barThrowException": "true"}, "UN/SU", false}}},
		{"simpleStateMachineWithCompensationAndSubMachine", []operation{
			{"start", params{"a": 2, "barThrowException": "true"}, "UN/", false},
			{"forward", params{"a": 2, "barThrowException": "false"}, "SU/", false}}},
		{"simpleStateMachineWithCompensationAndSubMachine_layout", []operation{
			{"start", params{"a": 2, "barThrowException": "true"}, "UN/", false},
			{"forward", params{"a": 2, "barThrowException": "false"}, "SU/", false}}},
		{"simpleStateMachineWithCompensationAndSubMachine", []operation{
			{"start", params{"a": 2, "fooThrowException": "true"}, "UN/", false},
			{"forward", params{"a": 2, "fooThrowException": "false"}, "SU/", false}}},
		{"simpleStateMachineWithCompensationAndSubMachine", []operation{
			{"start", params{"a": 2, "barThrowException": "true", "compensateFooThrowException": "true"}, "UN/", false},
			{"compensate", params{"a": 2, "barThrowException": "true", "compensateFooThrowException": "true"}, "UN/UN", false}}},
		{"simpleStateMachineWithUseDefCompensationSubMachine", []operation{
			{"start", params{"a": 2, "barThrowException": "true", "compensateFooThrowException": "true"}, "UN/", false},
			{"compensate", params{"a": 2, "barThrowException": "true", "compensateFooThrowException": "false"}, "UN/SU", false}}},
		{"simpleCompensationStateMachineForRecovery", []operation{
			{"start", params{"a": 1, "fooThrowException": "true"}, "UN/", false},
			{"forward", params{"a": 1, "fooThrowException": "false"}, "SU/", false}}},
		{"simpleCompensationStateMachineForRecovery", []operation{
			{"start", params{"a": 1, "fooThrowException": "true"}, "UN/", false},
			{"forward", params{"a": 1, "fooThrowException": "false", "barThrowException": "true"}, "UN/SU", false}}},
		{"simpleCompensationStateMachineForRecovery", []operation{
			{"start", params{"a": 1, "barThrowException": "true", "compensateFooThrowException": "true"}, "UN/UN", false},
			{"compensate", params{"a": 1, "barThrowException": "true", "compensateFooThrowException": "true"}, "UN/UN", false},
			{"compensate", params{"a": 1, "barThrowException": "false", "compensateFooThrowException": "false"}, "UN/SU", false}}},
		{"simpleStateMachineWithComplexParams", []operation{{"start", params{"people": people, "career": params{"name": "programmer"}}, "SU/", false}}},
		{"simpleStateMachineWithComplexParamsJackson", []operation{{"start", params{"people": people, "career": params{"name": "programmer"}}, "SU/", false}}},
		{"simpleStateMachineWithAsyncState", []operation{{"start", params{"a": 1}, "SU/", false}}},
		{"simpleUpdateStateMachine", []operation{{"start", params{"a": 1, "barThrowException": "true"}, "UN/", false}}},
		{"simpleStateMachineWithCompensationAndSubMachine", []operation{{"start", params{"a": 3, "barThrowException": "true"}, "UN/", false}}},
		{"simpleStateMachineWithCompensationAndSubMachine", []operation{{"start", params{"a": 4, "barThrowException": "true"}, "UN/", false}}},
		{"simpleLoopTestStateMachine", []operation{{"start", params{"a": 1, "collection": ten}, "SU/", false}}},
		{"simpleLoopTestStateMachine", []operation{{"start", params{"a": 1, "collection": ten, "fooThrowException": "true"}, "UN/", false}}},
		{"simpleLoopTestStateMachine", []operation{{"start", params{"a": 1, "collection": ten, "barThrowException": "true"}, "UN/SU", false}}},
		{"simpleLoopTestStateMachine", []operation{{"start", params{"a": 1, "collection": ten, "barThrowException": "true",
			"compensateFooThrowException": "true"}, "UN/UN", false}}},
		{"simpleLoopTestStateMachine", []operation{{"start", params{"a": 2, "collection": ten}, "SU/", false}}},
		{"simpleLoopTestStateMachine", []operation{
			{"start", params{"a": 2, "collection": ten, "barThrowException": "true"}, "UN/", false},
			{"forward", nil, "UN/", false}}},
		{"simpleRetryStateMachine", []operation{{"start", params{"a": 1, "barThrowException": "true"}, "FA/", false}}}, // waits for some seconds
		{"simpleStateMachineWithRecoverStrategy", []operation{{"start", params{"a": 1}, "SU/", false}}},
	}
}

func TestSeataMachinesRunAsInSeatasTests(t *testing.T) {
	dir, given := seataSource(t)
	if !given {
		return
	}
	for name, store := range stores(t) {
		t.Run(name, func(t *testing.T) {
			e := openEngine(t, saga.Config{Store: store})
			require.NoError(t, e.Service("demoService", &demo{}))
			defineAll(t, e, filepath.Join(dir, "test/src/test/resources/saga/statelang"))
			for _, c := range seataScenarios() {
				t.Run(c.machine, func(t *testing.T) { runSteps(t, e, c.machine, c.steps) })
			}
		})
	}
}

func runSteps(t *testing.T, e *saga.Engine, name string, steps []operation) {
	var s *saga.Saga
	var err error
	for _, o := range steps {
		switch o.do {
		case "start":
			s, err = e.Start(t.Context(), name, o.params, saga.StartOptions{})
		case "forward":
			s, err = e.Forward(t.Context(), s.ID, o.params)
		case "compensate":
			s, err = e.Compensate(t.Context(), s.ID, o.params)
		}
		assert.Equal(t, o.fault, errors.Is(err, saga.ErrFault), "%v", err)
		if !o.fault {
			require.NoError(t, err)
		}
		assert.Equal(t, o.want, string(s.Status)+"/"+string(s.Compensation), "%s %v: %v\n%s", o.do, o.params, s.Failure, states(s))
		stored, err := e.Get(t.Context(), s.ID)
		require.NoError(t, err)
		assert.Equal(t, states(s), states(stored), "what the log has")
		assert.Equal(t, s.Variables, stored.Variables)
		assert.Equal(t, s.Status, stored.Status)
		assert.Equal(t, s.Compensation, stored.Compensation)
		assert.Equal(t, s.Failure, stored.Failure)
		assert.False(t, stored.Running)
	}
}

// states shows the runs of a saga, one a line.
func states(s *saga.Saga) string {
	var b strings.Builder
	for _, r := range s.States {
		b.WriteString(r.Name + " " + string(r.Status))
		if r.Compensation != "" {
			b.WriteString(" compensation " + string(r.Compensation))
		}
		if r.Superseded {
			b.WriteString(" repeated")
		}
		if r.Failure != nil {
			b.WriteString(" " + r.Failure.Error())
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func defineAll(t *testing.T, e *saga.Engine, dir string) {
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, f := range files {
		text, err := os.ReadFile(f)
		require.NoError(t, err)
		_, err = e.Define(t.Context(), text)
		require.NoError(t, err, f)
	}
}
