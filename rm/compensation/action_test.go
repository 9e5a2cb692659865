package compensation_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/xid"
	"github.com/qiao-tx/qiao/rm"
	"github.com/qiao-tx/qiao/rm/compensation"
)

// registry is a Coordinator that keeps what it was told.
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

type flight struct {
	Number string `json:"number"`
	Seats  int    `json:"seats"`
}

const theXID = "tc:8091:42"

func TestACallAndItsCompensation(t *testing.T) {
	reg := &registry{}
	var compensated []flight
	book, err := compensation.Register(t.Context(), reg, compensation.Action[flight, string]{
		Name: "book",
		Call: func(_ context.Context, f flight) (string, error) { return "ticket for " + f.Number, nil },
		Compensate: func(_ context.Context, f flight) error {
			compensated = append(compensated, f)
			return nil
		},
	})
	require.NoError(t, err)
	assert.Equal(t, protocol.TypeSagaAnnotation, reg.resource.BranchType())
	assert.Equal(t, "book", reg.resource.ID())

	ticket, err := book.Call(xid.NewContext(t.Context(), theXID), flight{"CA123", 2})
	require.NoError(t, err)
	assert.Equal(t, "ticket for CA123", ticket)
	require.Len(t, reg.branches, 1)
	assert.Equal(t, protocol.TypeSagaAnnotation, reg.branches[0].Type)
	var data struct {
		ActionContext map[string]any `json:"actionContext"`
	}
	require.NoError(t, json.Unmarshal([]byte(reg.branches[0].ApplicationData), &data))
	delete(data.ActionContext, "action-start-time")
	delete(data.ActionContext, "host-name")
	assert.Equal(t, map[string]any{"number": "CA123", "seats": 2.0, "actionName": "book", "useTCCFence": false,
		"sys::prepare": "call", "sys::rollback": "compensate"}, data.ActionContext)

	order := rm.Branch{XID: theXID, ID: 1, ResourceID: "book", ApplicationData: reg.branches[0].ApplicationData}
	status, err := reg.resource.Commit(t.Context(), order)
	require.NoError(t, err)
	assert.Equal(t, protocol.BranchPhaseTwoCommitted, status)
	assert.Empty(t, compensated, "the call was final")
	status, err = reg.resource.Rollback(t.Context(), order)
	require.NoError(t, err)
	assert.Equal(t, protocol.BranchPhaseTwoRollbacked, status)
	assert.Equal(t, []flight{{"CA123", 2}}, compensated)
}

func TestCallFails(t *testing.T) {
	reg := &registry{}
	errFull := errors.New("no seats")
	answer := error(nil)
	a := compensation.Action[flight, int]{
		Name: "book", CallTimeout: time.Minute,
		Call: func(ctx context.Context, _ flight) (int, error) {
			_, bounded := ctx.Deadline()
			assert.True(t, bounded)
			return 3, errFull
		},
		Compensate: func(context.Context, flight) error { return answer },
	}
	book, err := compensation.Register(t.Context(), reg, a)
	require.NoError(t, err)
	_, err = book.Call(t.Context(), flight{})
	assert.ErrorIs(t, err, compensation.ErrNoTransaction)
	n, err := book.Call(xid.NewContext(t.Context(), theXID), flight{})
	assert.ErrorIs(t, err, errFull)
	assert.ErrorContains(t, err, `"book"`)
	assert.Equal(t, 3, n, "what a call says beside its error is kept")

	answer = errFull
	status, err := reg.resource.Rollback(t.Context(), rm.Branch{})
	assert.ErrorIs(t, err, errFull)
	assert.Equal(t, protocol.BranchPhaseTwoRollbackFailedRetryable, status)
	answer = compensation.Unretryable(errFull)
	status, _ = reg.resource.Rollback(t.Context(), rm.Branch{})
	assert.Equal(t, protocol.BranchPhaseTwoRollbackFailedUnretryable, status)

	reg.err = rm.ErrNotActive
	_, err = book.Call(xid.NewContext(t.Context(), theXID), flight{})
	assert.ErrorIs(t, err, rm.ErrNotActive)
}

func TestRegisterRefuses(t *testing.T) {
	whole := compensation.Action[flight, int]{
		Name: "book", Call: func(context.Context, flight) (int, error) { return 0, nil },
		Compensate: func(context.Context, flight) error { return nil },
	}
	for want, breakIt := range map[string]func(*compensation.Action[flight, int]){
		"Name":     func(a *compensation.Action[flight, int]) { a.Name = "" },
		"required": func(a *compensation.Action[flight, int]) { a.Compensate = nil },
		"-1s":      func(a *compensation.Action[flight, int]) { a.CallTimeout = -time.Second },
		"-1":       func(a *compensation.Action[flight, int]) { a.Retry.Attempts = -1 },
	} {
		a := whole
		breakIt(&a)
		_, err := compensation.Register(t.Context(), &registry{}, a)
		assert.ErrorContains(t, err, want)
	}
	_, err := compensation.Register(t.Context(), &registry{err: rm.ErrUnavailable}, whole)
	assert.ErrorIs(t, err, rm.ErrUnavailable)
}

// A flight is booked at once, and the booking taken back should the transaction
// roll back.
func ExampleRegister() {
	type trip struct {
		Flight string `json:"flight"`
	}
	coordinator := &registry{} // in an application: client.Client's RM()
	book, err := compensation.Register(context.Background(), coordinator, compensation.Action[trip, string]{
		Name:       "book-flight",
		Call:       func(_ context.Context, t trip) (string, error) { return "booked " + t.Flight, nil },
		Compensate: func(_ context.Context, t trip) error { return nil }, // cancel the booking
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	inside := xid.NewContext(context.Background(), theXID) // in an application: what tm.Run gives
	fmt.Println(book.Call(inside, trip{"CA123"}))
	// Output: booked CA123 <nil>
}
