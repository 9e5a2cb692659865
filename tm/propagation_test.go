package tm_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/protocol/xid"
	"github.com/qiao-tx/qiao/tm"
)

// Every kind of propagation, outside of a transaction and inside of one.
func TestEveryPropagation(t *testing.T) {
	const enclosing = "tc:8091:77"
	for _, c := range []struct {
		kind            tm.Propagation
		outside, inside string // the XID that the function sees, or "refused"
	}{
		{tm.Required, "tc:8091:1", enclosing},
		{tm.RequiresNew, "tc:8091:1", "tc:8091:1"},
		{tm.NotSupported, "", ""},
		{tm.Supports, "", enclosing},
		{tm.Never, "", "refused"},
		{tm.Mandatory, "refused", enclosing},
		{tm.Nested, "tc:8091:1", enclosing},
	} {
		for around, want := range map[string]string{"": c.outside, enclosing: c.inside} {
			t.Run(c.kind.String()+" in "+around, func(t *testing.T) {
				r := newRecorder()
				saw := "refused"
				ctx := xid.NewContext(t.Context(), around)
				err := tm.New(r).Run(ctx, tm.Options{Propagation: c.kind}, func(ctx context.Context) error {
					saw = xid.FromContext(ctx)
					return nil
				})
				assert.Equal(t, want, saw)
				assert.Equal(t, want == "refused", err != nil, "%v", err)
				if err != nil {
					assert.ErrorIs(t, err, tm.ErrPropagation)
					assert.ErrorContains(t, err, c.kind.String())
				}
				began := want == "tc:8091:1"
				assert.Equal(t, began, len(r.calls) > 0, "%v", r.calls)
				assert.Equal(t, around, xid.FromContext(ctx), "the caller's context is as it was")
			})
		}
	}
	assert.Equal(t, "Propagation(9)", tm.Propagation(9).String())
}

func TestSuspendAndResume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecorder()
		m := tm.New(r)
		later := t.Context() // a context that knows of nothing
		tx, err := m.Begin(t.Context(), tm.Options{Timeout: time.Second})
		require.NoError(t, err)
		bound, cancel := tx.Bind(t.Context())
		defer cancel()

		outside, s := tm.Suspend(bound)
		assert.Empty(t, xid.FromContext(outside))
		assert.Equal(t, tx.XID(), s.XID())
		assert.False(t, tm.SetRollbackOnly(outside, errBusiness), "suspended")

		inside, release := s.Resume(later)
		defer release()
		assert.Equal(t, tx.XID(), xid.FromContext(inside))
		<-inside.Done()
		assert.ErrorIs(t, context.Cause(inside), tm.ErrTimedOut, "the time-out holds where it is resumed, too")
		assert.True(t, tm.SetRollbackOnly(inside, errBusiness))
		require.ErrorIs(t, tx.Commit(t.Context()), tm.ErrRollbackOnly)

		_, s = tm.Suspend(xid.NewContext(t.Context(), "tc:8091:9"))
		inside, release = s.Resume(later)
		release()
		assert.Equal(t, "tc:8091:9", xid.FromContext(inside), "a transaction of another process")
		require.NoError(t, inside.Err())

		_, s = tm.Suspend(t.Context())
		inside, release = s.Resume(bound)
		release()
		assert.Empty(t, xid.FromContext(inside), "nothing was suspended, so nothing is inside")
	})
}

type stockError struct{ item string }

func (e *stockError) Error() string { return "no " + e.item }

func TestRollbackRules(t *testing.T) {
	noHats := &stockError{"hat"}
	type rules = []tm.ErrorRule
	stock, business := tm.As[*stockError](), tm.Is(errBusiness)
	for _, c := range []struct {
		name      string
		yes, no   rules
		err       error
		rolledOut bool
	}{
		{"without rules every error rolls back", nil, nil, noHats, true},
		{"named", rules{stock}, nil, noHats, true},
		{"another than those named", rules{stock}, nil, errBusiness, false},
		{"spared", nil, rules{business}, errBusiness, false},
		{"another than those spared", nil, rules{business}, noHats, true},
		{"named and spared", rules{business}, rules{business}, errBusiness, true},
		{"named among others", rules{stock, business}, rules{tm.Is(context.Canceled)}, errBusiness, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRecorder()
			err := tm.New(r).Run(t.Context(), tm.Options{RollbackFor: c.yes, NoRollbackFor: c.no},
				func(context.Context) error { return c.err })
			assert.Equal(t, c.err, err, "the caller always gets it")
			assert.Equal(t, c.rolledOut, strings.Contains(strings.Join(r.calls, ";"), "rollback"), "%v", r.calls)
			assert.Equal(t, !c.rolledOut, strings.Contains(strings.Join(r.calls, ";"), "commit"), "%v", r.calls)
		})
	}
}

func TestWhatRulesCannotSpare(t *testing.T) {
	everything := []tm.ErrorRule{func(error) bool { return true }}
	r := newRecorder()
	assert.Panics(t, func() {
		_ = tm.New(r).Run(t.Context(), tm.Options{NoRollbackFor: everything}, func(context.Context) error { panic("boom") })
	})
	assert.Equal(t, []string{"begin 1 ", "rollback 1"}, r.calls)

	synctest.Test(t, func(t *testing.T) {
		r := newRecorder()
		err := tm.New(r).Run(t.Context(), tm.Options{Timeout: time.Second, NoRollbackFor: everything}, func(ctx context.Context) error {
			<-ctx.Done()
			return errBusiness
		})
		assert.ErrorIs(t, err, tm.ErrTimedOut)
		assert.Equal(t, []string{"begin 1 ", "rollback 1"}, r.calls)
	})

	r = newRecorder()
	r.commit = 11 // Rollbacked: the coordinator decided otherwise
	err := tm.New(r).Run(t.Context(), tm.Options{NoRollbackFor: everything}, func(context.Context) error { return errBusiness })
	assert.ErrorIs(t, err, errBusiness)
	assert.ErrorIs(t, err, tm.ErrRolledBack)
}
