package tcc_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/xid"
	"github.com/qiao-tx/qiao/rm"
	"github.com/qiao-tx/qiao/rm/tcc"
)

// registry is a Coordinator that keeps what it was told. The embedded
// interface is nil: TCC uses no other method.
type registry struct {
	rm.Coordinator
	resource rm.Resource
	branches []rm.Registration
	err      error
}

func (r *registry) RegisterResource(_ context.Context, res rm.Resource) error {
	r.resource = res
	return r.err
}

func (r *registry) RegisterBranch(_ context.Context, reg rm.Registration) (int64, error) {
	r.branches = append(r.branches, reg)
	return int64(len(r.branches)), r.err
}

// branch is the order that the coordinator gives for the i-th registration.
func (r *registry) branch(i int) rm.Branch {
	reg := r.branches[i]
	return rm.Branch{XID: reg.XID, ID: int64(i + 1), Type: reg.Type, ResourceID: reg.ResourceID, ApplicationData: reg.ApplicationData}
}

type reservation struct {
	Item  string `json:"item"`
	Count int64  `json:"count"`
}

const theXID = "tc:8091:42"

func TestTheArgumentReachesConfirmAndCancel(t *testing.T) {
	reg := &registry{}
	want := reservation{"umbrella", 1<<62 + 1}
	var called []string
	step := func(name string) func(context.Context, reservation) error {
		return func(ctx context.Context, arg reservation) error {
			called = append(called, name)
			assert.Equal(t, want, arg)
			if name == "try" { // what it writes and calls is undone by the cancel, not by AT
				assert.Equal(t, xid.TypeTCC, xid.BranchType(ctx))
			}
			b, ok := tcc.BranchFrom(ctx)
			assert.True(t, ok)
			assert.Equal(t, reg.branch(len(reg.branches)-1), b)
			return nil
		}
	}
	h, err := tcc.Register(t.Context(), reg, tcc.Action[reservation]{
		Name: "reserve", Try: step("try"), Confirm: step("confirm"), Cancel: step("cancel"),
	})
	require.NoError(t, err)
	assert.Equal(t, "reserve", reg.resource.ID())
	assert.Equal(t, protocol.TypeTCC, reg.resource.BranchType())

	ctx := xid.NewContext(t.Context(), theXID)
	require.NoError(t, h.Try(ctx, want))
	assert.Equal(t, theXID, reg.branches[0].XID)
	assert.Empty(t, reg.branches[0].LockKey)

	status, err := reg.resource.Commit(t.Context(), reg.branch(0))
	require.NoError(t, err)
	assert.Equal(t, protocol.BranchPhaseTwoCommitted, status)
	status, err = reg.resource.Rollback(t.Context(), reg.branch(0))
	require.NoError(t, err)
	assert.Equal(t, protocol.BranchPhaseTwoRollbacked, status)
	assert.Equal(t, []string{"try", "confirm", "cancel"}, called)

	require.NoError(t, h.Try(ctx, want))
	assert.NotEmpty(t, reg.branches[0].RequestKey)
	assert.NotEqual(t, reg.branches[0].RequestKey, reg.branches[1].RequestKey, "each try is a branch of its own")
}

func TestApplicationDataIsJavas(t *testing.T) {
	reg := &registry{}
	nop := func(context.Context, reservation) error { return nil }
	h, err := tcc.Register(t.Context(), reg, tcc.Action[reservation]{Name: "reserve", Try: nop, Confirm: nop, Cancel: nop, Fenced: true})
	require.NoError(t, err)
	require.NoError(t, h.Try(xid.NewContext(t.Context(), theXID), reservation{"hat", 2}))
	var data struct {
		ActionContext map[string]any `json:"actionContext"`
	}
	require.NoError(t, json.Unmarshal([]byte(reg.branches[0].ApplicationData), &data))
	ac := data.ActionContext
	assert.Greater(t, ac["action-start-time"], 1.7e12, "milliseconds")
	assert.NotEmpty(t, ac["host-name"])
	delete(ac, "action-start-time")
	delete(ac, "host-name")
	assert.Equal(t, map[string]any{
		"item": "hat", "count": 2.0, "actionName": "reserve", "useTCCFence": true,
		"sys::prepare": "try", "sys::commit": "confirm", "sys::rollback": "cancel",
	}, ac)
}

func TestDataOfAJavaParticipant(t *testing.T) {
	var got reservation
	reg := &registry{}
	take := func(_ context.Context, arg reservation) error { got = arg; return nil }
	_, err := tcc.Register(t.Context(), reg, tcc.Action[reservation]{Name: "reserve", Try: take, Confirm: take, Cancel: take})
	require.NoError(t, err)
	for data, want := range map[string]reservation{
		`{"actionContext":{"action-start-time":1732442284000,"useTCCFence":false,"item":"hat","count":3,"sys::prepare":"prepare","sys::rollback":"rollback","sys::commit":"commit","host-name":"10.0.0.7","actionName":"reserve"}}`: {"hat", 3},
		``:                       {},
		`{}`:                     {},
		`{"actionContext":null}`: {},
	} {
		got = reservation{}
		status, err := reg.resource.Commit(t.Context(), rm.Branch{ApplicationData: data})
		require.NoError(t, err, data)
		assert.Equal(t, protocol.BranchPhaseTwoCommitted, status)
		assert.Equal(t, want, got, data)
	}
	for _, data := range []string{`{`, `[]`, `{"actionContext":7}`, `{"actionContext":{"count":"many"}}`} {
		status, err := reg.resource.Commit(t.Context(), rm.Branch{ApplicationData: data})
		assert.Error(t, err, data)
		assert.Equal(t, protocol.BranchPhaseTwoCommitFailedRetryable, status, data)
	}
}

func roundTrip[T any](t *testing.T, arg T) {
	t.Helper()
	reg := &registry{}
	var got T
	take := func(_ context.Context, arg T) error { got = arg; return nil }
	h, err := tcc.Register(t.Context(), reg, tcc.Action[T]{Name: "a", Try: take, Confirm: take, Cancel: take})
	require.NoError(t, err)
	require.NoError(t, h.Try(xid.NewContext(t.Context(), theXID), arg))
	var zero T
	got = zero
	_, err = reg.resource.Rollback(t.Context(), reg.branch(0))
	require.NoError(t, err)
	assert.Equal(t, arg, got)
}

func TestArgumentsOfEveryShape(t *testing.T) {
	roundTrip(t, "text")
	roundTrip(t, int64(1<<62+1))
	roundTrip(t, []int{1, 2})
	roundTrip(t, map[string]string{"a": "b"})
	roundTrip(t, &reservation{"hat", 1})
	roundTrip[*reservation](t, nil)
	roundTrip(t, struct{}{})
}

func TestPhaseTwoErrors(t *testing.T) {
	reg := &registry{}
	errBroken := errors.New("database is gone")
	var answer error
	fail := func(context.Context, int) error { return answer }
	_, err := tcc.Register(t.Context(), reg, tcc.Action[int]{Name: "a", Try: fail, Confirm: fail, Cancel: fail})
	require.NoError(t, err)

	answer = errBroken
	status, err := reg.resource.Commit(t.Context(), rm.Branch{})
	assert.Equal(t, protocol.BranchPhaseTwoCommitFailedRetryable, status)
	assert.ErrorIs(t, err, errBroken)
	status, _ = reg.resource.Rollback(t.Context(), rm.Branch{})
	assert.Equal(t, protocol.BranchPhaseTwoRollbackFailedRetryable, status)

	answer = tcc.Unretryable(errBroken)
	status, err = reg.resource.Commit(t.Context(), rm.Branch{})
	assert.Equal(t, protocol.BranchPhaseTwoCommitFailedUnretryable, status)
	assert.ErrorIs(t, err, errBroken)
	status, _ = reg.resource.Rollback(t.Context(), rm.Branch{})
	assert.Equal(t, protocol.BranchPhaseTwoRollbackFailedUnretryable, status)

	assert.NoError(t, tcc.Unretryable(nil))
}

func TestTryFails(t *testing.T) {
	reg := &registry{}
	errNoStock := errors.New("no stock")
	tried := 0
	fail := func(context.Context, reservation) error { tried++; return errNoStock }
	h, err := tcc.Register(t.Context(), reg, tcc.Action[reservation]{Name: "reserve", Try: fail, Confirm: fail, Cancel: fail})
	require.NoError(t, err)

	assert.ErrorIs(t, h.Try(t.Context(), reservation{}), tcc.ErrNoTransaction)
	ctx := xid.NewContext(t.Context(), theXID)
	assert.ErrorIs(t, h.Try(ctx, reservation{}), errNoStock)
	assert.Len(t, reg.branches, 1)
	assert.Equal(t, 1, tried)

	reg.err = rm.ErrNotActive
	err = h.Try(ctx, reservation{})
	assert.ErrorIs(t, err, rm.ErrNotActive)
	assert.ErrorContains(t, err, "reserve")
	assert.Equal(t, 1, tried, "no try without a branch")
}

func TestRegisterRefuses(t *testing.T) {
	nop := func(context.Context, map[string]int) error { return nil }
	whole := tcc.Action[map[string]int]{Name: "a", Try: nop, Confirm: nop, Cancel: nop}
	cases := map[string]func(a *tcc.Action[map[string]int]){
		"Name":     func(a *tcc.Action[map[string]int]) { a.Name = "" },
		"required": func(a *tcc.Action[map[string]int]) { a.Cancel = nil },
	}
	for want, breakIt := range cases {
		a := whole
		breakIt(&a)
		_, err := tcc.Register(t.Context(), &registry{}, a)
		assert.ErrorContains(t, err, want)
	}
	_, err := tcc.Register(t.Context(), &registry{err: rm.ErrUnavailable}, whole)
	assert.ErrorIs(t, err, rm.ErrUnavailable)

	h, err := tcc.Register(t.Context(), &registry{}, whole)
	require.NoError(t, err)
	ctx := xid.NewContext(t.Context(), theXID)
	for _, name := range []string{"actionName", "qiao::argument"} {
		assert.ErrorContains(t, h.Try(ctx, map[string]int{name: 1}), name)
	}
}

func TestATryInABranchOfTheCallers(t *testing.T) {
	reg := &registry{}
	errNoStock := errors.New("no stock")
	var in rm.Branch
	h, err := tcc.Register(t.Context(), reg, tcc.Action[reservation]{
		Name: "reserve",
		Try: func(ctx context.Context, arg reservation) error {
			in, _ = tcc.BranchFrom(ctx)
			assert.Equal(t, reservation{"hat", 2}, arg)
			assert.Equal(t, xid.TypeTCC, xid.BranchType(ctx))
			return errNoStock
		},
		Confirm: func(context.Context, reservation) error { return nil },
		Cancel:  func(context.Context, reservation) error { return nil },
	})
	require.NoError(t, err)
	assert.Equal(t, "reserve", h.Name())
	require.ErrorIs(t, h.TryIn(t.Context(), 7, reservation{}), tcc.ErrNoTransaction)
	require.ErrorIs(t, h.TryIn(xid.NewContext(t.Context(), theXID), 7, reservation{"hat", 2}), errNoStock)
	assert.Equal(t, rm.Branch{XID: theXID, ID: 7, Type: protocol.TypeTCC, ResourceID: "reserve"}, in)
	assert.Empty(t, reg.branches, "the caller has registered it")
}
