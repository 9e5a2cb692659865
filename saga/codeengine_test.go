package saga_test

import (
	"context"
	"errors"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/saga"
	"github.com/qiao-tx/qiao/saga/machine"
	"github.com/qiao-tx/qiao/saga/sagalog"
)

// TestSignalOfAnotherProcess: one that shares the log, and does not have the code.
func TestSignalOfAnotherProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "saga.db")
	e := openEngine(t, saga.Config{Store: openSQLite(t, path, "one")})
	flow := saga.Code("wait", "1", func(c *saga.Context, _ int) (int, error) { return saga.Await[int](c, "n", 0) })
	require.NoError(t, e.Register(t.Context(), flow))
	s, err := flow.Start(t.Context(), e, 0, saga.StartOptions{})
	require.NoError(t, err)
	other := openEngine(t, saga.Config{Store: openSQLite(t, path, "two")})
	const big = 1<<62 + 1 // more than a float64 holds
	require.NoError(t, other.Signal(t.Context(), s.ID, "n", big, saga.SignalOptions{}))
	got, err := s.Wait(t.Context())
	require.NoError(t, err)
	assert.Equal(t, big, got)
	_, err = flow.Result(t.Context(), other, s.ID)
	require.NoError(t, err)
	assert.ErrorIs(t, other.Signal(t.Context(), "nobody", "n", 1, saga.SignalOptions{}), sagalog.ErrNotFound)
}

// TestTimeoutUndoesCode: also while it waits.
func TestTimeoutUndoesCode(t *testing.T) {
	e := openEngine(t, saga.Config{Store: sagalog.NewMemory()})
	var undone atomic.Bool
	flow := saga.Code("late", "1", func(c *saga.Context, _ int) (int, error) {
		_, err := saga.Step(c, "a", func(context.Context) (int, error) { return 1, nil },
			func(_ context.Context, n int) error { undone.Store(n == 1); return nil })
		if err != nil {
			return 0, err
		}
		return saga.Await[int](c, "never", 0)
	})
	flow.Timeout = 50 * time.Millisecond
	require.NoError(t, e.Register(t.Context(), flow))
	_, err := flow.Run(t.Context(), e, 0, saga.StartOptions{})
	var failed *saga.FailedError
	require.ErrorAs(t, err, &failed)
	assert.Equal(t, machine.Succeeded, failed.Saga.Compensation)
	assert.ErrorContains(t, err, "longer than 50ms")
	assert.True(t, undone.Load())
}

// TestCloseParksWhatWaits: it is no error, and an engine on the same log goes on.
func TestCloseParksWhatWaits(t *testing.T) {
	store := sagalog.NewMemory()
	flow := saga.Code("wait", "1", func(c *saga.Context, in string) (string, error) {
		c.Sleep(time.Millisecond)
		v, err := saga.Await[string](c, "go", 0)
		return in + v, err
	})
	e, err := saga.Open(t.Context(), saga.Config{Store: store})
	require.NoError(t, err)
	require.NoError(t, e.Register(t.Context(), flow))
	s, err := flow.Start(t.Context(), e, "a", saga.StartOptions{BusinessKey: "k"})
	require.NoError(t, err)
	_, err = flow.Start(t.Context(), e, "a", saga.StartOptions{BusinessKey: "k"})
	require.ErrorIs(t, err, sagalog.ErrExists)
	require.NoError(t, e.Close(t.Context()))
	_, err = s.Wait(t.Context())
	require.ErrorIs(t, err, saga.ErrClosed)

	e = openEngine(t, saga.Config{Store: store})
	require.NoError(t, e.Register(t.Context(), flow))
	n, err := e.Recover(t.Context())
	require.NoError(t, err)
	assert.Equal(t, 1, n)
	require.NoError(t, e.Signal(t.Context(), s.ID, "go", "b", saga.SignalOptions{}))
	got, err := flow.Result(t.Context(), e, s.ID)
	require.NoError(t, err)
	assert.Equal(t, "ab", got)
}

// TestMisuseOfCode is told, not guessed at.
func TestMisuseOfCode(t *testing.T) {
	e := openEngine(t, saga.Config{Store: sagalog.NewMemory(), Logger: quiet()})
	nothing := func(context.Context) (int, error) { return 0, nil }
	run := func(name string, f func(c *saga.Context) error) error {
		flow := saga.Code(name, "1", func(c *saga.Context, _ int) (int, error) { return 0, f(c) })
		require.NoError(t, e.Register(t.Context(), flow))
		_, err := flow.Run(t.Context(), e, 0, saga.StartOptions{})
		return err
	}
	assert.ErrorContains(t, run("step in a step", func(c *saga.Context) error {
		_, err := saga.Step(c, "outer", func(context.Context) (int, error) { return saga.Step(c, "inner", nothing, nil) }, nil)
		return err
	}), "used outside its function")
	assert.ErrorContains(t, run("other branch", func(c *saga.Context) error {
		g := c.Group()
		g.Go(func(*saga.Context) error { _, err := saga.Step(c, "a", nothing, nil); return err })
		return g.Wait()
	}), "a branch has a Context of its own")
	assert.ErrorContains(t, run("no name", func(c *saga.Context) error { _, err := saga.Step(c, "", nothing, nil); return err }), "want 1 to 100 bytes")
	assert.ErrorContains(t, run("version", func(c *saga.Context) error { c.Version("x", 2, 1); return nil }), "oldest ≤ newest")
	assert.ErrorContains(t, run("no JSON", func(c *saga.Context) error {
		_, err := saga.Step(c, "a", func(context.Context) (func(), error) { return nil, nil }, nil)
		return err
	}), "cannot be logged")

	f := func(*saga.Context, int) (int, error) { return 0, nil }
	for want, flow := range map[string]saga.Registrable{
		"want a name and a version": saga.Code("", "1", f),
		"without the characters":    saga.Code("a#b", "1", f),
		"16 bytes at most":          saga.Code("a", "12345678901234567", f),
		"it is registered already":  saga.Code("version", "1", f),
	} {
		assert.ErrorContains(t, e.Register(t.Context(), flow), want)
	}
	_, err := saga.Code("unknown", "1", f).Start(t.Context(), e, 0, saga.StartOptions{})
	assert.ErrorIs(t, err, saga.ErrNotRegistered)
	_, err = e.Start(t.Context(), "version@1", nil, saga.StartOptions{})
	assert.ErrorContains(t, err, "Flow.Start")
}

// TestAnUnwaitedGroup is waited for when the function returns.
func TestAnUnwaitedGroup(t *testing.T) {
	e := openEngine(t, saga.Config{Store: sagalog.NewMemory()})
	errLate := errors.New("late")
	flow := saga.Code("group", "1", func(c *saga.Context, _ int) (int, error) {
		g := c.Group()
		g.Go(func(c *saga.Context) error { c.Sleep(time.Millisecond); return errLate })
		return 1, nil
	})
	require.NoError(t, e.Register(t.Context(), flow))
	_, err := flow.Run(t.Context(), e, 0, saga.StartOptions{})
	assert.ErrorContains(t, err, "late")
}

// TestUndoReachesASagaInASaga that waits: it is undone first, then the outer one.
func TestUndoReachesASagaInASaga(t *testing.T) {
	store := sagalog.NewMemory()
	e := openEngine(t, saga.Config{Store: store})
	w := newWorld()
	require.NoError(t, e.Register(t.Context(), w.flow("inner", "1", parseScript("step x\nawait never")),
		w.flow("outer", "1", parseScript("step a\ncall inner@1"))))
	s, err := w.flows["outer@1"].Start(t.Context(), e, "", saga.StartOptions{})
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		got, err := e.Get(t.Context(), s.ID)
		require.NoError(t, err)
		if len(got.States) < 2 {
			return false
		}
		ids, err := store.Children(t.Context(), s.ID+":"+got.States[1].ID)
		require.NoError(t, err)
		if len(ids) == 0 {
			return false
		}
		inner, err := e.Get(t.Context(), ids[0])
		require.NoError(t, err)
		return len(inner.States) == 2
	}, 10*time.Second, time.Millisecond)
	got, err := e.Compensate(t.Context(), s.ID, nil)
	require.NoError(t, err)
	assert.Equal(t, "FA/SU", string(got.Status)+"/"+string(got.Compensation))
	assert.Equal(t, []string{"a", "x", "undo x(X)", "undo a(A)"}, w.take())
}
