package tm_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/xid"
	"github.com/qiao-tx/qiao/tm"
)

// recording is a hook that writes into a recorder, and where it is called: with
// the transaction or without.
func recording(r *recorder, prefix string) tm.Hook {
	note := func(step string) func(context.Context, tm.Info) {
		return func(ctx context.Context, t tm.Info) {
			inside := ""
			if x := xid.FromContext(ctx); x != "" && x == t.XID {
				inside = " inside"
			}
			r.note("%s%s%s", prefix, step, inside)
		}
	}
	return tm.Hook{
		BeforeBegin: note("before begin"), AfterBegin: note("after begin"),
		BeforeCommit: note("before commit"), AfterCommit: note("after commit"),
		BeforeRollback: note("before rollback"), AfterRollback: note("after rollback"),
		AfterCompletion: func(_ context.Context, _ tm.Info, err error) {
			r.note("%scompleted %t", prefix, err == nil)
		},
	}
}

func TestHooksRun(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(r *recorder)
		fn     func(ctx context.Context) error
		want   string
	}{
		{name: "commit", want: "before begin; begin 1 a; after begin; before commit inside; commit 1; after commit; completed true"},
		{name: "rollback", fn: func(context.Context) error { return errBusiness },
			want: "before begin; begin 1 a; after begin; before rollback inside; rollback 1; after rollback; completed false"},
		{name: "begin fails", change: func(r *recorder) { r.beginErr = tm.ErrRefused },
			want: "before begin; begin 1 a; BEGIN FAILED; completed false"},
		{name: "the coordinator had rolled back", change: func(r *recorder) { r.commit = protocol.StatusTimeoutRollbacked },
			want: "before begin; begin 1 a; after begin; before commit inside; commit 1; COMMIT FAILED; completed false"},
		{name: "commit ruled out", fn: func(ctx context.Context) error { tm.SetRollbackOnly(ctx, errBusiness); return nil },
			want: "before begin; begin 1 a; after begin; before commit inside; before rollback inside; rollback 1; after rollback; " +
				"COMMIT FAILED; completed false"},
		{name: "rollback goes on", change: func(r *recorder) { r.rollback = protocol.StatusRollbackRetrying },
			fn: func(context.Context) error { return errBusiness },
			want: "before begin; begin 1 a; after begin; before rollback inside; rollback 1; ROLLING BACK; after rollback; " +
				"completed false"},
		{name: "rollback fails", change: func(r *recorder) { r.rollback = protocol.StatusRollbackFailed },
			fn:   func(context.Context) error { return errBusiness },
			want: "before begin; begin 1 a; after begin; before rollback inside; rollback 1; ROLLBACK FAILED; completed false"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRecorder()
			if c.change != nil {
				c.change(r)
			}
			if c.fn == nil {
				c.fn = func(context.Context) error { return nil }
			}
			m := tm.NewManager(r, tm.Config{
				Hooks: []tm.Hook{recording(r, ""), {}},
				OnFailure: func(_ context.Context, f tm.Failure) {
					assert.Equal(t, "a", f.Name)
					assert.Equal(t, f.Kind == tm.RollingBack, f.Err == nil)
					r.note("%s", strings.ToUpper(f.Kind.String()))
				},
			})
			_ = m.Run(t.Context(), tm.Options{Name: "a"}, c.fn)
			assert.Equal(t, c.want, strings.Join(r.calls, "; "))
		})
	}
}

func TestHooksOfOneTransaction(t *testing.T) {
	r := newRecorder()
	m := tm.NewManager(r, tm.Config{Hooks: []tm.Hook{{AfterCommit: recording(r, "all: ").AfterCommit}}})
	own := tm.Options{Hooks: []tm.Hook{{AfterCommit: recording(r, "options: ").AfterCommit}}}
	require.NoError(t, m.Run(t.Context(), own, func(ctx context.Context) error {
		assert.True(t, tm.AddHook(ctx, tm.Hook{AfterCommit: recording(r, "added: ").AfterCommit}))
		assert.False(t, tm.AddHook(xid.NewContext(ctx, "tc:8091:9"), tm.Hook{}), "another transaction")
		return nil
	}))
	require.NoError(t, m.Run(t.Context(), tm.Options{}, func(context.Context) error { return nil }))
	assert.Equal(t, "begin 1 ; commit 1; all: after commit; options: after commit; added: after commit; "+
		"begin 2 ; commit 2; all: after commit", strings.Join(r.calls, "; "))
}

func TestABeforeCommitHookRulesOutTheCommit(t *testing.T) {
	r := newRecorder()
	m := tm.NewManager(r, tm.Config{Hooks: []tm.Hook{{BeforeCommit: func(ctx context.Context, _ tm.Info) {
		tm.SetRollbackOnly(ctx, errBusiness)
	}}}})
	assert.ErrorIs(t, m.Run(t.Context(), tm.Options{}, func(context.Context) error { return nil }), errBusiness)
	assert.Equal(t, []string{"begin 1 ", "rollback 1"}, r.calls)
}

func TestAHookThatPanicsIsPassedOver(t *testing.T) {
	r := newRecorder()
	var log bytes.Buffer
	bad := func(context.Context, tm.Info) { panic("ouch") }
	m := tm.NewManager(r, tm.Config{
		Hooks: []tm.Hook{
			{BeforeBegin: bad, BeforeCommit: bad, AfterCommit: bad, AfterCompletion: func(context.Context, tm.Info, error) { panic("ouch") }},
			{AfterCommit: recording(r, "").AfterCommit},
		},
		Logger: slog.New(slog.NewTextHandler(&log, nil)),
	})
	require.NoError(t, m.Run(t.Context(), tm.Options{}, func(context.Context) error { return nil }))
	assert.Equal(t, []string{"begin 1 ", "commit 1", "after commit"}, r.calls)
	assert.Equal(t, 4, strings.Count(log.String(), "panic=ouch"))
}

func TestHooksOfATxThatNeedsNoRun(t *testing.T) {
	r := newRecorder()
	m := tm.NewManager(r, tm.Config{Hooks: []tm.Hook{recording(r, "")}})
	tx, err := m.Begin(t.Context(), tm.Options{})
	require.NoError(t, err)
	r.calls = nil
	r.endErr = &tm.Unavailable{Op: "commit", Cause: errors.New("reset")}
	require.ErrorIs(t, tx.Commit(t.Context()), tm.ErrOutcomeUnknown)
	r.endErr = nil
	require.NoError(t, tx.Commit(t.Context()), "repeated")
	require.NoError(t, tx.Commit(t.Context()), "and again")
	assert.Equal(t, "before commit inside; commit 1; completed false; commit 1; after commit; commit 1", strings.Join(r.calls, "; "))
}

// guard lets transactions in while it has places.
type guard struct {
	places int
	errs   []error
}

var errBusy = errors.New("too many orders")

func (g *guard) Enter(_ context.Context, name string) (func(error), error) {
	if g.places == 0 {
		return nil, fmt.Errorf("%s: %w", name, errBusy)
	}
	g.places--
	return func(err error) { g.places++; g.errs = append(g.errs, err) }, nil
}

func TestTheGuardRefuses(t *testing.T) {
	r := newRecorder()
	g := &guard{places: 1}
	m := tm.NewManager(r, tm.Config{Guard: g})
	require.NoError(t, m.Run(t.Context(), tm.Options{Name: "order"}, func(ctx context.Context) error {
		err := m.Run(ctx, tm.Options{Name: "second", Propagation: tm.RequiresNew}, func(context.Context) error {
			t.Error("ran although refused")
			return nil
		})
		assert.ErrorIs(t, err, tm.ErrProtected)
		assert.ErrorIs(t, err, errBusy)
		assert.ErrorContains(t, err, "second")
		return m.Run(ctx, tm.Options{}, func(context.Context) error { return nil }) // joins: not asked
	}))
	assert.ErrorIs(t, m.Run(t.Context(), tm.Options{}, func(context.Context) error { return errBusiness }), errBusiness)
	assert.Panics(t, func() { _ = m.Run(t.Context(), tm.Options{}, func(context.Context) error { panic("boom") }) })
	r.beginErr = tm.ErrRefused
	assert.ErrorIs(t, m.Run(t.Context(), tm.Options{}, nil), tm.ErrRefused)
	assert.Equal(t, 1, g.places, "every place is given back")
	require.Len(t, g.errs, 4)
	assert.NoError(t, g.errs[0])
	assert.ErrorIs(t, g.errs[1], errBusiness)
	assert.ErrorContains(t, g.errs[2], "panicked")
	assert.ErrorIs(t, g.errs[3], tm.ErrRefused)
}

func TestDegradesAndReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecorder()
		m := tm.NewManager(r, tm.Config{
			DegradeCheck: &tm.DegradeCheck{AllowTimes: 3, Period: time.Second}, Logger: slog.New(slog.DiscardHandler),
		})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		inside := func() (bool, error) {
			joined := false
			err := m.Run(t.Context(), tm.Options{Name: "x"}, func(ctx context.Context) error {
				joined = xid.FromContext(ctx) != ""
				return nil
			})
			return joined, err
		}
		r.beginErr = &tm.Unavailable{Op: "begin", SafeToRetry: true, Cause: errors.New("refused")}
		for range 2 {
			_, err := inside()
			require.ErrorIs(t, err, tm.ErrUnavailable)
		}
		r.beginErr = nil
		joined, err := inside()
		require.NoError(t, err)
		require.True(t, joined, "two failures are too few")

		gone, stop := context.WithCancel(t.Context())
		stop()
		r.beginErr = &tm.Unavailable{Op: "begin", SafeToRetry: true, Cause: errors.New("refused")}
		for range 5 {
			require.Error(t, m.Run(gone, tm.Options{}, nil))
		}
		require.False(t, m.Degraded(), "callers that give up say nothing of the coordinator")

		for range 3 {
			_, err := inside()
			require.ErrorIs(t, err, tm.ErrUnavailable)
		}
		require.True(t, m.Degraded())
		joined, err = inside()
		require.NoError(t, err)
		require.False(t, joined, "the function runs, without a transaction")
		enclosing := xid.NewContext(t.Context(), "tc:8091:7")
		require.NoError(t, m.Run(enclosing, tm.Options{}, func(ctx context.Context) error {
			assert.Equal(t, "tc:8091:7", xid.FromContext(ctx), "a transaction from before the degrading goes on")
			return nil
		}))

		go m.Probe(ctx)
		time.Sleep(10*time.Second + time.Millisecond)
		require.True(t, m.Degraded(), "no probe was answered")
		r.mu.Lock()
		r.beginErr = nil
		r.mu.Unlock()
		time.Sleep(2 * time.Second)
		require.True(t, m.Degraded(), "two answers are too few")
		time.Sleep(time.Second)
		require.False(t, m.Degraded())
		joined, err = inside()
		require.NoError(t, err)
		require.True(t, joined)
		cancel()
		synctest.Wait()
	})
}

func TestProbeWithoutADegradeCheckEndsAtOnce(t *testing.T) {
	m := tm.New(newRecorder())
	m.Probe(t.Context())
	assert.False(t, m.Degraded())
}

// statuses answers one status after the other.
type statuses struct {
	*recorder
	left []protocol.GlobalStatus
}

func (s *statuses) Status(context.Context, string) (protocol.GlobalStatus, error) {
	if len(s.left) == 0 {
		return 0, &tm.Unavailable{Op: "status", SafeToRetry: true, Cause: errors.New("reset")}
	}
	next := s.left[0]
	s.left = s.left[1:]
	return next, nil
}

func TestEnded(t *testing.T) {
	for status, want := range map[protocol.GlobalStatus]bool{
		protocol.StatusCommitted: true, protocol.StatusRollbacked: true, protocol.StatusTimeoutRollbacked: true,
		protocol.StatusFinished: true, protocol.StatusBegin: false, protocol.StatusAsyncCommitting: false,
		protocol.StatusRollbackRetrying: false, protocol.StatusRollbackFailed: false, protocol.StatusUnKnown: false,
	} {
		ended, err := tm.New(&statuses{newRecorder(), []protocol.GlobalStatus{status}}).Ended(t.Context(), "tc:8091:1")
		require.NoError(t, err)
		assert.Equal(t, want, ended, "%s", status)
	}
	ended, err := tm.New(&statuses{newRecorder(), nil}).Ended(t.Context(), "tc:8091:1")
	assert.ErrorIs(t, err, tm.ErrUnavailable)
	assert.False(t, ended)
}

func TestWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &statuses{newRecorder(), []protocol.GlobalStatus{
			protocol.StatusAsyncCommitting, protocol.StatusCommitRetrying, protocol.StatusCommitted}}
		status, err := tm.New(s).Wait(t.Context(), "tc:8091:1")
		require.NoError(t, err)
		assert.Equal(t, protocol.StatusCommitted, status)

		_, err = tm.New(s).Wait(t.Context(), "tc:8091:1")
		assert.ErrorIs(t, err, tm.ErrUnavailable)

		s.left = make([]protocol.GlobalStatus, 1000)
		for i := range s.left {
			s.left[i] = protocol.StatusRollbacking
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		status, err = tm.New(s).Wait(ctx, "tc:8091:1")
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Equal(t, protocol.StatusRollbacking, status)
		assert.Greater(t, len(s.left), 900, "it asks ever less often")
	})
}
