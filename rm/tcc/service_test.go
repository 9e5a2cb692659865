package tcc_test

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/xid"
	"github.com/qiao-tx/qiao/rm/tcc"
)

// moved is a parameter as seata-go's users tag it.
type moved struct {
	Account int64  `tccParam:"account"`
	Note    string // stays in the try
	Skipped string `tccParam:"-"`
}

// debit is a participant as seata-go's users write it.
type debit struct {
	answer  bool
	err     error
	account int64
	saw     any
	bac     *tcc.BusinessActionContext
}

func (d *debit) Prepare(_ context.Context, params any) (bool, error) {
	d.saw = params
	return d.answer, d.err
}

func (d *debit) Commit(_ context.Context, bac *tcc.BusinessActionContext) (bool, error) {
	d.bac = bac
	return d.answer, errors.Join(d.err, bac.Get("account", &d.account))
}

func (d *debit) Rollback(ctx context.Context, bac *tcc.BusinessActionContext) (bool, error) {
	return d.Commit(ctx, bac)
}

func (d *debit) GetActionName() string { return "debit" }

func TestAServiceOfSeataGo(t *testing.T) {
	reg := &registry{}
	d := &debit{answer: true}
	h, err := tcc.RegisterService(t.Context(), reg, d)
	require.NoError(t, err)
	assert.Equal(t, "debit", reg.resource.ID())
	ctx := xid.NewContext(t.Context(), theXID)
	in := &moved{Account: 1<<62 + 1, Note: "private", Skipped: "x"}
	require.NoError(t, h.Prepare(ctx, in))
	assert.Same(t, in, d.saw)
	assert.NotContains(t, reg.branches[0].ApplicationData, "private")

	status, err := reg.resource.Commit(t.Context(), reg.branch(0))
	require.NoError(t, err)
	assert.Equal(t, protocol.BranchPhaseTwoCommitted, status)
	assert.EqualValues(t, 1<<62+1, d.account)
	assert.Equal(t, theXID, d.bac.XID)
	assert.EqualValues(t, 1, d.bac.BranchID)
	assert.Equal(t, "debit", d.bac.ActionName)
	assert.ErrorContains(t, d.bac.Get("note", nil), "tccParam")
	assert.ErrorContains(t, d.bac.Get("account", new(string)), "account")

	d.answer = false
	assert.ErrorContains(t, h.Prepare(ctx, *in), "returned false")
	status, err = reg.resource.Rollback(t.Context(), reg.branch(1))
	assert.Equal(t, protocol.BranchPhaseTwoRollbackFailedRetryable, status)
	assert.ErrorContains(t, err, "returned false")

	d.answer = true
	require.NoError(t, h.Prepare(ctx, map[string]int{"account": 3}))
	_, err = reg.resource.Rollback(t.Context(), reg.branch(2))
	require.NoError(t, err)
	assert.EqualValues(t, 3, d.account)
	require.NoError(t, h.Prepare(ctx, nil))
	assert.ErrorContains(t, h.Prepare(ctx, 7), "want a struct or a map")
	assert.ErrorContains(t, h.Prepare(ctx, struct{ C chan int }{}), "chan")
	assert.ErrorIs(t, h.Prepare(t.Context(), nil), tcc.ErrNoTransaction)
}

type phase2 = func(context.Context, *tcc.BusinessActionContext) (bool, error)

// tagged is a participant as a struct of functions.
type tagged struct {
	Reserve  func(context.Context, moved) (bool, error) `seataTwoPhaseAction:"prepare" seataTwoPhaseServiceName:"reserve"`
	Take     phase2                                     `seataTwoPhaseAction:"commit"`
	GiveBack phase2                                     `seataTwoPhaseAction:"rollback"`
	Other    int
}

func TestAServiceOfTags(t *testing.T) {
	reg := &registry{}
	var called []string
	end := func(name string) phase2 {
		return func(_ context.Context, bac *tcc.BusinessActionContext) (bool, error) {
			called = append(called, name+" "+string(bac.ActionContext["account"]))
			return true, nil
		}
	}
	h, err := tcc.RegisterService(t.Context(), reg, &tagged{
		Reserve: func(_ context.Context, m moved) (bool, error) {
			called = append(called, "reserve "+m.Note)
			return m.Note != "fail", nil
		},
		Take: end("take"), GiveBack: end("give back"),
	})
	require.NoError(t, err)
	assert.Equal(t, "reserve", reg.resource.ID())
	ctx := xid.NewContext(t.Context(), theXID)
	require.NoError(t, h.Prepare(ctx, moved{Account: 5, Note: "one"}))
	_, err = reg.resource.Commit(t.Context(), reg.branch(0))
	require.NoError(t, err)
	_, err = reg.resource.Rollback(t.Context(), reg.branch(0))
	require.NoError(t, err)
	assert.Equal(t, []string{"reserve one", "take 5", "give back 5"}, called)
	assert.Error(t, h.Prepare(ctx, moved{Note: "fail"}))
	assert.ErrorContains(t, h.Prepare(ctx, &moved{}), "it takes a tcc_test.moved, not a *tcc_test.moved")
	assert.ErrorContains(t, h.Prepare(ctx, nil), "not a <nil>")
}

func TestServicesThatAreRefused(t *testing.T) {
	good := func(context.Context, *tcc.BusinessActionContext) (bool, error) { return true, nil }
	reserve := func(context.Context, moved) (bool, error) { return true, nil }
	for want, service := range map[string]any{
		"pointer to a struct":       tagged{},
		"field Reserve: it is nil":  &tagged{},
		"field Take: it is nil":     &tagged{Reserve: reserve},
		"field GiveBack: it is nil": &tagged{Reserve: reserve, Take: good},
		`no field has the tag`:      &struct{}{},
		`is "try": want prepare`: &struct {
			A phase2 `seataTwoPhaseAction:"try"`
		}{},
		"there is another commit": &struct {
			A phase2 `seataTwoPhaseAction:"commit"`
			B phase2 `seataTwoPhaseAction:"commit"`
		}{good, good},
		"field A: it is a func(): want func(context.Context, any type) (bool, error)": &struct {
			A func() `seataTwoPhaseAction:"prepare"`
		}{},
		"field A: it is a func(context.Context, int) (bool, error): want func(context.Context, *tcc.Bus": &struct {
			A func(context.Context, int) (bool, error) `seataTwoPhaseAction:"commit"`
		}{},
		"names the action": &struct {
			A phase2 `seataTwoPhaseAction:"prepare"`
			B phase2 `seataTwoPhaseAction:"commit"`
			C phase2 `seataTwoPhaseAction:"rollback"`
		}{good, good, good},
	} {
		_, err := tcc.RegisterService(t.Context(), &registry{}, service)
		assert.ErrorContains(t, err, want)
	}
}
