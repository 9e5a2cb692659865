package tm_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/xid"
	"github.com/qiao-tx/qiao/tm"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// recorder is a Coordinator that answers as told and keeps what it was asked.
type recorder struct {
	mu       sync.Mutex
	calls    []string
	begun    int
	timeout  time.Duration
	commit   protocol.GlobalStatus
	rollback protocol.GlobalStatus
	beginErr error
	endErr   error
	// onEnd, when set, runs inside Commit and Rollback.
	onEnd func(ctx context.Context) error
}

func newRecorder() *recorder {
	return &recorder{commit: protocol.StatusCommitted, rollback: protocol.StatusRollbacked}
}

func (r *recorder) note(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls = append(r.calls, fmt.Sprintf(format, args...))
}

func (r *recorder) Begin(_ context.Context, name string, timeout time.Duration) (string, error) {
	r.mu.Lock()
	r.begun++
	n, err := r.begun, r.beginErr
	r.timeout = timeout
	r.mu.Unlock()
	r.note("begin %d %s", n, name)
	return xid.New("tc:8091", int64(n)), err
}

func (r *recorder) end(ctx context.Context, op, x string, status protocol.GlobalStatus) (protocol.GlobalStatus, error) {
	_, id, _ := xid.Parse(x)
	r.note("%s %d", op, id)
	if r.onEnd != nil {
		if err := r.onEnd(ctx); err != nil {
			return 0, err
		}
	}
	return status, r.endErr
}

func (r *recorder) Commit(ctx context.Context, x string) (protocol.GlobalStatus, error) {
	return r.end(ctx, "commit", x, r.commit)
}

func (r *recorder) Rollback(ctx context.Context, x string) (protocol.GlobalStatus, error) {
	return r.end(ctx, "rollback", x, r.rollback)
}

func (r *recorder) Status(context.Context, string) (protocol.GlobalStatus, error) {
	return protocol.StatusFinished, r.endErr
}

var errBusiness = errors.New("no stock")

func TestRunCommitsOnNilAndRollsBackOnError(t *testing.T) {
	r := newRecorder()
	m := tm.New(r)
	require.NoError(t, m.Run(t.Context(), tm.Options{Name: "a"}, func(ctx context.Context) error {
		assert.Equal(t, "tc:8091:1", xid.FromContext(ctx))
		return nil
	}))
	err := m.Run(t.Context(), tm.Options{Name: "b"}, func(context.Context) error { return errBusiness })
	assert.Equal(t, errBusiness, err, "a clean rollback returns the function's error as it is")
	assert.Equal(t, []string{"begin 1 a", "commit 1", "begin 2 b", "rollback 2"}, r.calls)
	assert.Equal(t, tm.DefaultTimeout, r.timeout)
}

func TestRunTellsBothErrorsWhenRollbackFails(t *testing.T) {
	r := newRecorder()
	r.endErr = &tm.Unavailable{Op: "rollback", Cause: errors.New("connection refused")}
	err := tm.New(r).Run(t.Context(), tm.Options{}, func(context.Context) error { return errBusiness })
	assert.ErrorIs(t, err, errBusiness)
	assert.ErrorIs(t, err, tm.ErrUnavailable)
	assert.ErrorContains(t, err, "tc:8091:1")
}

func TestRunDoesNotCallTheFunctionWhenBeginFails(t *testing.T) {
	r := newRecorder()
	r.beginErr = &tm.Unavailable{Op: "begin", SafeToRetry: true, Cause: errors.New("dial")}
	err := tm.New(r).Run(t.Context(), tm.Options{Name: "order"}, func(context.Context) error {
		t.Error("called outside of a transaction")
		return nil
	})
	var unavailable *tm.Unavailable
	require.ErrorAs(t, err, &unavailable)
	assert.True(t, unavailable.SafeToRetry)
	assert.ErrorContains(t, err, `"order"`)
}

func TestACommitWithoutAnAnswer(t *testing.T) {
	r := newRecorder()
	reset := errors.New("connection reset")
	for _, c := range []struct {
		err     error
		unknown bool
	}{
		{&tm.Unavailable{Op: "commit", SafeToRetry: true, Cause: reset}, false},
		{&tm.Unavailable{Op: "commit", Cause: reset}, true},
		{fmt.Errorf("%w: disk is full", tm.ErrRefused), true},
		{tm.ErrTimedOut, false},
	} {
		r.endErr, r.calls = c.err, nil
		err := tm.New(r).Run(t.Context(), tm.Options{}, func(context.Context) error { return nil })
		assert.ErrorIs(t, err, c.err)
		assert.Equal(t, c.unknown, errors.Is(err, tm.ErrOutcomeUnknown), "%v", err)
		assert.Len(t, r.calls, 2, "begin and commit: a rollback now might contradict the commit")
	}
}

// TestOnceAskedOnlyTheCoordinatorKnows: after a commit request that may have been
// carried out, nothing that this process sees for itself says how the
// transaction ends: not its time-out, a mark or its context.
func TestOnceAskedOnlyTheCoordinatorKnows(t *testing.T) {
	lost := &tm.Unavailable{Op: "commit", Cause: errors.New("connection reset")}
	for name, firstErr := range map[string]error{"lost": lost, "answered": nil} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRecorder()
				tx, err := tm.New(r).Begin(t.Context(), tm.Options{Timeout: time.Second})
				require.NoError(t, err)
				r.endErr = firstErr
				require.ErrorIs(t, tx.Commit(t.Context()), firstErr)
				time.Sleep(time.Minute)
				bound, cancel := tx.Bind(t.Context())
				defer cancel()
				require.True(t, tm.SetRollbackOnly(bound, errBusiness))

				r.endErr, r.calls = nil, nil
				assert.NoError(t, tx.Commit(t.Context()), "the coordinator says that it is committed")
				assert.Equal(t, []string{"commit 1"}, r.calls)

				r.endErr = &tm.Unavailable{Op: "commit", SafeToRetry: true, Cause: errors.New("no connection")}
				err = tx.Commit(t.Context())
				assert.ErrorIs(t, err, tm.ErrOutcomeUnknown, "this request was not carried out, the first may have been")

				r.endErr, r.rollback = nil, protocol.StatusFinished
				err = tx.Rollback(t.Context())
				assert.ErrorIs(t, err, tm.ErrOutcomeUnknown, "what is forgotten may have been committed")
				assert.ErrorIs(t, err, tm.ErrNotFound)
				r.rollback = protocol.StatusCommitted
				assert.ErrorIs(t, tx.Rollback(t.Context()), tm.ErrHeuristic)
			})
		})
	}
}

// TestACommitThatWasNotCarriedOut leaves the decision here.
func TestACommitThatWasNotCarriedOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecorder()
		tx, err := tm.New(r).Begin(t.Context(), tm.Options{Timeout: time.Second})
		require.NoError(t, err)
		r.endErr = &tm.Unavailable{Op: "commit", SafeToRetry: true, Cause: errors.New("no connection")}
		require.ErrorIs(t, tx.Commit(t.Context()), tm.ErrUnavailable)
		time.Sleep(time.Minute)
		r.endErr, r.calls, r.rollback = nil, nil, protocol.StatusFinished
		assert.ErrorIs(t, tx.Commit(t.Context()), tm.ErrTimedOut)
		assert.Equal(t, []string{"rollback 1"}, r.calls)
		assert.NoError(t, tx.Rollback(t.Context()))
	})
}

func explode() { panic("boom") }

func TestRunRollsBackOnPanicWhichContinuesWithItsStack(t *testing.T) {
	r := newRecorder()
	defer func() {
		require.Equal(t, "boom", recover())
		assert.Equal(t, []string{"begin 1 ", "rollback 1"}, r.calls)
		stack := make([]byte, 1<<16)
		stack = stack[:runtime.Stack(stack, false)]
		assert.Contains(t, string(stack), "tm_test.explode", "the panic's own stack is still there")
	}()
	_ = tm.New(r).Run(t.Context(), tm.Options{}, func(context.Context) error {
		explode()
		return nil
	})
}

func TestRunRollsBackOnGoexit(t *testing.T) {
	r := newRecorder()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = tm.New(r).Run(t.Context(), tm.Options{}, func(context.Context) error {
			runtime.Goexit()
			return nil
		})
	}()
	<-done
	assert.Equal(t, []string{"begin 1 ", "rollback 1"}, r.calls)
}

func TestPropagation(t *testing.T) {
	cases := []struct {
		name    string
		inner   tm.Propagation
		fail    bool // the inner function fails
		swallow bool // the outer function drops that error
		want    string
		is      error
	}{
		{"required joins", tm.Required, false, false, "begin 1 outer; commit 1", nil},
		{"required: the outer function decides", tm.Required, true, true, "begin 1 outer; commit 1", nil},
		{"required: an error passed on", tm.Required, true, false, "begin 1 outer; rollback 1", errBusiness},
		{"requires new", tm.RequiresNew, false, false, "begin 1 outer; begin 2 inner; commit 2; commit 1", nil},
		{"requires new fails alone", tm.RequiresNew, true, true, "begin 1 outer; begin 2 inner; rollback 2; commit 1", nil},
		{"nested joins", tm.Nested, false, false, "begin 1 outer; commit 1", nil},
		{"nested must succeed", tm.Nested, true, true, "begin 1 outer; rollback 1", tm.ErrRollbackOnly},
		{"nested: an error passed on", tm.Nested, true, false, "begin 1 outer; rollback 1", errBusiness},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := newRecorder()
			m := tm.New(r)
			err := m.Run(t.Context(), tm.Options{Name: "outer"}, func(ctx context.Context) error {
				err := m.Run(ctx, tm.Options{Name: "inner", Propagation: c.inner}, func(inner context.Context) error {
					same := xid.FromContext(inner) == xid.FromContext(ctx)
					assert.Equal(t, c.inner != tm.RequiresNew, same)
					if c.fail {
						return errBusiness
					}
					return nil
				})
				if c.swallow {
					return nil
				}
				return err
			})
			assert.Equal(t, c.want, strings.Join(r.calls, "; "))
			if c.is == nil {
				assert.NoError(t, err)
				return
			}
			assert.ErrorIs(t, err, c.is)
			assert.ErrorIs(t, err, errBusiness, "the reason is kept")
		})
	}
}

func TestNestedPanicRulesOutCommit(t *testing.T) {
	r := newRecorder()
	m := tm.New(r)
	err := m.Run(t.Context(), tm.Options{}, func(ctx context.Context) error {
		defer func() { _ = recover() }()
		return m.Run(ctx, tm.Options{Propagation: tm.Nested}, func(context.Context) error { panic("boom") })
	})
	assert.ErrorIs(t, err, tm.ErrRollbackOnly)
	assert.Equal(t, []string{"begin 1 ", "rollback 1"}, r.calls)
}

func TestJoiningATransactionOfAnotherProcess(t *testing.T) {
	r := newRecorder()
	m := tm.New(r)
	ctx := xid.NewContext(t.Context(), "tc:8091:77")
	fail := func(context.Context) error { return errBusiness }

	assert.ErrorIs(t, m.Run(ctx, tm.Options{}, fail), errBusiness)
	assert.Empty(t, r.calls, "a participant does not decide")

	assert.ErrorIs(t, m.Run(ctx, tm.Options{Propagation: tm.Nested}, fail), errBusiness)
	assert.Equal(t, []string{"rollback 77"}, r.calls, "the mark cannot travel, so it rolls back")

	assert.False(t, tm.SetRollbackOnly(ctx, errBusiness))
}

func TestNestedWithoutATransactionBeginsOne(t *testing.T) {
	r := newRecorder()
	require.NoError(t, tm.New(r).Run(t.Context(), tm.Options{Propagation: tm.Nested},
		func(context.Context) error { return nil }))
	assert.Equal(t, []string{"begin 1 ", "commit 1"}, r.calls)
}

func TestRollbackOnlyReachesOnlyTheBoundTransaction(t *testing.T) {
	r := newRecorder()
	m := tm.New(r)
	err := m.Run(t.Context(), tm.Options{}, func(ctx context.Context) error {
		assert.False(t, tm.SetRollbackOnly(xid.NewContext(ctx, ""), errBusiness), "hidden transaction")
		assert.False(t, tm.SetRollbackOnly(xid.NewContext(ctx, "tc:8091:9"), errBusiness), "another transaction")
		return nil
	})
	require.NoError(t, err)
	err = m.Run(t.Context(), tm.Options{}, func(ctx context.Context) error {
		assert.True(t, tm.SetRollbackOnly(ctx, errBusiness))
		return nil
	})
	assert.ErrorIs(t, err, tm.ErrRollbackOnly)
	assert.ErrorIs(t, err, errBusiness)
}

func TestTimeOutEndsTheContextAndTurnsCommitIntoRollback(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecorder()
		m := tm.New(r)
		err := m.Run(t.Context(), tm.Options{Timeout: time.Second}, func(ctx context.Context) error {
			<-ctx.Done()
			assert.ErrorIs(t, context.Cause(ctx), tm.ErrTimedOut)
			return nil // does not notice
		})
		assert.ErrorIs(t, err, tm.ErrTimedOut)
		err = m.Run(t.Context(), tm.Options{Timeout: time.Second}, func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		})
		assert.ErrorIs(t, err, tm.ErrTimedOut)
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Equal(t, []string{"begin 1 ", "rollback 1", "begin 2 ", "rollback 2"}, r.calls)
	})
}

func TestCancellationRollsBackWithinABound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecorder()
		r.onEnd = func(ctx context.Context) error {
			require.NoError(t, ctx.Err(), "the rollback outlives the cancellation")
			<-ctx.Done() // a coordinator that is away
			return &tm.Unavailable{Op: "rollback", Cause: ctx.Err()}
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		errUser := errors.New("the user went away")
		start := time.Now()
		err := tm.New(r).Run(ctx, tm.Options{}, func(context.Context) error {
			cancel(errUser)
			return nil
		})
		assert.ErrorIs(t, err, context.Canceled)
		assert.ErrorIs(t, err, errUser)
		assert.ErrorIs(t, err, tm.ErrUnavailable)
		assert.Equal(t, []string{"begin 1 ", "rollback 1"}, r.calls)
		assert.Equal(t, 10*time.Second, time.Since(start))
	})
}

func TestOptionsAreChecked(t *testing.T) {
	r := newRecorder()
	m := tm.New(r)
	nop := func(context.Context) error { return nil }
	assert.ErrorContains(t, m.Run(t.Context(), tm.Options{Timeout: -1}, nop), "time-out")
	assert.ErrorContains(t, m.Run(t.Context(), tm.Options{Timeout: 1000 * time.Hour}, nop), "time-out")
	assert.ErrorContains(t, m.Run(t.Context(), tm.Options{Propagation: 9}, nop), "propagation 9")
	assert.Empty(t, r.calls)
	_, err := m.Begin(t.Context(), tm.Options{Timeout: 1500 * time.Microsecond})
	require.NoError(t, err)
	assert.Equal(t, 2*time.Millisecond, r.timeout, "rounded up: the wire has milliseconds")
}
