package saga_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/saga"
	"github.com/qiao-tx/qiao/saga/machine"
	"github.com/qiao-tx/qiao/saga/sagalog"
)

// A parallel loop that breaks off is undone for exactly the elements that it was
// called for, each with its own, also when the list has been replaced since.
func TestUndoingABrokenLoop(t *testing.T) {
	for name, store := range stores(t) {
		for _, fails := range []int{0, 2, 5, -1} {
			for _, replaced := range []bool{false, true} {
				t.Run(fmt.Sprint(name, fails, replaced), func(t *testing.T) {
					e := openEngine(t, saga.Config{Store: store, Logger: slog.New(slog.DiscardHandler)})
					var mu sync.Mutex
					var done, undone []string
					require.NoError(t, e.Func("s", "do", func(item string, n int) error {
						mu.Lock()
						defer mu.Unlock()
						done = append(done, fmt.Sprint(item, n))
						if n == fails {
							return fmt.Errorf("no %s", item)
						}
						return nil
					}))
					require.NoError(t, e.Func("s", "undo", func(item string, n int) {
						mu.Lock()
						defer mu.Unlock()
						undone = append(undone, fmt.Sprint(item, n))
					}))
					require.NoError(t, e.Func("s", "list", func() any {
						if replaced {
							return []string{"x"}
						}
						return nil
					}))
					require.NoError(t, e.Func("s", "fail", func() error { return fmt.Errorf("no") }))
					_, err := e.Define(t.Context(), []byte(`{"Name": "loop", "StartState": "A", "States": {
					  "A": {"Type": "ServiceTask", "ServiceName": "s", "ServiceMethod": "do", "CompensateState": "U", "Next": "L",
					    "Loop": {"Collection": "$.[items]", "Parallel": 3, "ElementVariableName": "e", "ElementIndexName": "n"},
					    "Input": ["$.[e]", "$.[n]"], "Catch": [{"Exceptions": ["java.lang.Throwable"], "Next": "T"}]},
					  "U": {"Type": "ServiceTask", "ServiceName": "s", "ServiceMethod": "undo", "Input": ["$.[e]", "$.[n]"]},
					  "L": {"Type": "ServiceTask", "ServiceName": "s", "ServiceMethod": "list", "Output": {"items": "$.#root"}, "Next": "F"},
					  "F": {"Type": "ServiceTask", "ServiceName": "s", "ServiceMethod": "fail", "Catch": [{"Exceptions": ["java.lang.Throwable"], "Next": "T"}]},
					  "T": {"Type": "CompensationTrigger", "Next": "X"}, "X": {"Type": "Fail"}}}`))
					require.NoError(t, err)
					s, err := e.Start(t.Context(), "loop", map[string]any{"items": []string{"a", "b", "c", "d", "e", "f"}}, saga.StartOptions{})
					require.NoError(t, err)
					assert.Equal(t, machine.Succeeded, s.Compensation)
					slices.Sort(done)
					slices.Sort(undone)
					assert.Equal(t, done, undone)
				})
			}
		}
	}
}

// losing is a store that loses the answer to one write: the saga goes on from the
// log, as after a crash.
type losing struct {
	sagalog.Store
	at, writes int
}

func (l *losing) Write(ctx context.Context, b *machine.Batch) error {
	err := l.Store.Write(ctx, b)
	if l.writes++; err == nil && l.writes == l.at {
		return fmt.Errorf("%w: the connection broke", sagalog.ErrUnanswered)
	}
	return err
}

// A machine that comes to a loop twice runs all of it twice, and undoes all of it,
// also when it was interrupted at any step.
func TestALoopInACircle(t *testing.T) {
	for at := 1; ; at++ {
		store := &losing{Store: sagalog.NewMemory(), at: at}
		e := openEngine(t, saga.Config{Store: store, Logger: slog.New(slog.DiscardHandler)})
		var mu sync.Mutex
		done, undone := map[string]string{}, map[string]string{}
		require.NoError(t, e.Func("s", "do", func(ctx context.Context, item string, round int) {
			mu.Lock()
			defer mu.Unlock()
			c, _ := saga.FromContext(ctx)
			done[c.Key] = fmt.Sprint(item, round)
		}))
		require.NoError(t, e.Func("s", "undo", func(ctx context.Context, item string) {
			mu.Lock()
			defer mu.Unlock()
			c, _ := saga.FromContext(ctx)
			undone[c.Compensates] = item
		}))
		require.NoError(t, e.Func("s", "next", func(round int) map[string]any {
			return map[string]any{"round": round + 1, "items": [][]string{{}, {"c", "d", "e"}, {}}[round]}
		}))
		_, err := e.Define(t.Context(), []byte(`{"Name": "circle", "StartState": "A", "States": {
		  "A": {"Type": "ServiceTask", "ServiceName": "s", "ServiceMethod": "do", "CompensateState": "U", "Next": "N",
		    "Loop": {"Collection": "$.[items]", "Parallel": 2, "ElementVariableName": "e"}, "Input": ["$.[e]", "$.[round]"]},
		  "U": {"Type": "ServiceTask", "ServiceName": "s", "ServiceMethod": "undo", "Input": ["$.[e]"]},
		  "N": {"Type": "ServiceTask", "ServiceName": "s", "ServiceMethod": "next", "Input": ["$.[round]"],
		    "Output": {"round": "$.[round]", "items": "$.[items]"}, "Next": "C"},
		  "C": {"Type": "Choice", "Choices": [{"Expression": "[round] < 3", "Next": "A"}], "Default": "T"},
		  "T": {"Type": "CompensationTrigger", "Next": "X"}, "X": {"Type": "Fail"}}}`))
		require.NoError(t, err)
		params := map[string]any{"items": []string{"a", "b"}, "round": 1}
		_, err = e.Start(t.Context(), "circle", params, saga.StartOptions{BusinessKey: "k"})
		if at > 1 {
			require.NoError(t, err)
		}
		var s *saga.Saga
		require.Eventually(t, func() bool {
			s, err = e.ByBusinessKey(t.Context(), "k")
			return err == nil && !s.Running
		}, 10*time.Second, time.Millisecond)
		assert.Equal(t, machine.Succeeded, s.Compensation, "write %d", at)
		mu.Lock()
		var called, takenBack []string
		for key, what := range done {
			called = append(called, what)
			takenBack = append(takenBack, undone[key]+what[1:])
		}
		slices.Sort(called)
		slices.Sort(takenBack)
		assert.Equal(t, []string{"a1", "b1", "c2", "d2", "e2"}, called, "write %d", at)
		assert.Equal(t, called, takenBack, "write %d", at)
		assert.Len(t, undone, len(done), "write %d", at)
		mu.Unlock()
		if store.writes < at {
			return
		}
	}
}
