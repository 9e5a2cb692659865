package rm_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/rm"
)

// resource answers phase two as told.
type resource struct {
	id     string
	kind   protocol.BranchType
	answer func(b rm.Branch) (protocol.BranchStatus, error)
	undo   func(age time.Duration) error
}

func (r *resource) ID() string                      { return r.id }
func (r *resource) BranchType() protocol.BranchType { return r.kind }
func (r *resource) Commit(_ context.Context, b rm.Branch) (protocol.BranchStatus, error) {
	return r.answer(b)
}
func (r *resource) Rollback(_ context.Context, b rm.Branch) (protocol.BranchStatus, error) {
	return r.answer(b)
}
func (r *resource) DeleteUndo(_ context.Context, age time.Duration) error { return r.undo(age) }

func TestHandleAnswersEveryOrder(t *testing.T) {
	evidence := errors.New("row 7 was changed by somebody else")
	cases := []struct {
		name     string
		rollback bool
		answer   func(rm.Branch) (protocol.BranchStatus, error)
		status   protocol.BranchStatus
		code     protocol.ExceptionCode
		message  string
	}{
		{"committed", false, func(rm.Branch) (protocol.BranchStatus, error) { return protocol.BranchPhaseTwoCommitted, nil },
			protocol.BranchPhaseTwoCommitted, 0, ""},
		{"rolled back", true, func(rm.Branch) (protocol.BranchStatus, error) { return protocol.BranchPhaseTwoRollbacked, nil },
			protocol.BranchPhaseTwoRollbacked, 0, ""},
		{"error without status", false, func(rm.Branch) (protocol.BranchStatus, error) { return 0, evidence },
			protocol.BranchPhaseTwoCommitFailedRetryable, 0, evidence.Error()},
		{"error beside success", true, func(rm.Branch) (protocol.BranchStatus, error) { return protocol.BranchPhaseTwoRollbacked, evidence },
			protocol.BranchPhaseTwoRollbackFailedRetryable, protocol.ExceptionBranchRollbackFailedRetriable, evidence.Error()},
		{"unretryable", true, func(rm.Branch) (protocol.BranchStatus, error) {
			return protocol.BranchPhaseTwoRollbackFailedUnretryable, evidence
		}, protocol.BranchPhaseTwoRollbackFailedUnretryable, protocol.ExceptionBranchRollbackFailedUnretriable, evidence.Error()},
		{"unretryable commit", false, func(rm.Branch) (protocol.BranchStatus, error) {
			return protocol.BranchPhaseTwoCommitFailedUnretryable, evidence
		}, protocol.BranchPhaseTwoCommitFailedUnretryable, 0, evidence.Error()},
		{"status of the other phase", false, func(rm.Branch) (protocol.BranchStatus, error) { return protocol.BranchPhaseTwoRollbacked, nil },
			protocol.BranchPhaseTwoCommitFailedRetryable, 0, "Rollbacked"},
		{"panic", true, func(rm.Branch) (protocol.BranchStatus, error) { panic("index out of range") },
			protocol.BranchPhaseTwoRollbackFailedRetryable, protocol.ExceptionBranchRollbackFailedRetriable, "index out of range"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			m := rm.NewManager(slog.New(slog.DiscardHandler))
			var got rm.Branch
			require.NoError(t, m.Add(&resource{id: "db", kind: protocol.TypeAT, answer: func(b rm.Branch) (protocol.BranchStatus, error) {
				got = b
				return c.answer(b)
			}}))
			order := protocol.BranchOrder{XID: "tc:8091:5", BranchID: 6, Type: protocol.TypeAT, ResourceID: "db", ApplicationData: "{}"}
			outcome := handle(t, m, c.rollback, order)
			assert.Equal(t, rm.Branch{XID: "tc:8091:5", ID: 6, Type: protocol.TypeAT, ResourceID: "db", ApplicationData: "{}"}, got)
			assert.Equal(t, "tc:8091:5", outcome.XID)
			assert.EqualValues(t, 6, outcome.BranchID)
			assert.Equal(t, c.status, outcome.Status)
			assert.Equal(t, c.code, outcome.Exception)
			assert.Contains(t, outcome.Message, c.message)
			assert.Equal(t, c.message == "", outcome.Code == protocol.ResultSuccess,
				"the codec carries the message of a failure only")
		})
	}
}

func handle(t *testing.T, m *rm.Manager, rollback bool, order protocol.BranchOrder) protocol.BranchOutcome {
	t.Helper()
	if rollback {
		answer, ok := m.Handle(t.Context(), &protocol.BranchRollback{BranchOrder: order}).(*protocol.BranchRollbackResult)
		require.True(t, ok)
		return answer.BranchOutcome
	}
	answer, ok := m.Handle(t.Context(), &protocol.BranchCommit{BranchOrder: order}).(*protocol.BranchCommitResult)
	require.True(t, ok)
	return answer.BranchOutcome
}

func TestHandleAnswersForUnknownResources(t *testing.T) {
	m := rm.NewManager(slog.New(slog.DiscardHandler))
	xa := &resource{id: "db", kind: protocol.TypeXA}
	require.NoError(t, m.Add(xa))
	outcome := handle(t, m, true, protocol.BranchOrder{XID: "tc:8091:5", Type: protocol.TypeAT, ResourceID: "db"})
	assert.Equal(t, protocol.BranchPhaseTwoRollbackFailedRetryable, outcome.Status)
	assert.Contains(t, outcome.Message, `no AT resource "db"`)

	m.Remove(xa)
	outcome = handle(t, m, false, protocol.BranchOrder{XID: "tc:8091:5", Type: protocol.TypeXA, ResourceID: "db"})
	assert.Equal(t, protocol.BranchPhaseTwoCommitFailedRetryable, outcome.Status)
}

func TestAddTellsResourcesApart(t *testing.T) {
	m := rm.NewManager(slog.New(slog.DiscardHandler))
	require.NoError(t, m.Add(&resource{id: "b", kind: protocol.TypeAT}))
	require.NoError(t, m.Add(&resource{id: "b", kind: protocol.TypeXA}))
	require.NoError(t, m.Add(&resource{id: "a", kind: protocol.TypeTCC}))
	assert.ErrorContains(t, m.Add(&resource{id: "a", kind: protocol.TypeTCC}), "already added")
	assert.ErrorContains(t, m.Add(&resource{kind: protocol.TypeTCC}), "no id")
	assert.Equal(t, []string{"a", "b"}, m.IDs())
}

func TestUndoLogDelete(t *testing.T) {
	var log bytes.Buffer
	m := rm.NewManager(slog.New(slog.NewTextHandler(&log, nil)))
	var age time.Duration
	require.NoError(t, m.Add(&resource{id: "db", kind: protocol.TypeAT, undo: func(d time.Duration) error {
		age = d
		return errors.New("table is gone")
	}}))
	require.NoError(t, m.Add(&resource{id: "bad", kind: protocol.TypeAT, undo: func(time.Duration) error { panic("ouch") }}))
	assert.Nil(t, m.Handle(t.Context(), &protocol.UndoLogDelete{Type: protocol.TypeAT, ResourceID: "db", SaveDays: 7}))
	assert.Equal(t, 7*24*time.Hour, age)
	assert.Contains(t, log.String(), "table is gone")
	assert.Nil(t, m.Handle(t.Context(), &protocol.UndoLogDelete{Type: protocol.TypeAT, ResourceID: "bad", SaveDays: 7}))
	assert.Contains(t, log.String(), "ouch")
	log.Reset()
	require.NoError(t, m.Add(&resource{id: "action", kind: protocol.TypeTCC}))
	for _, id := range []string{"action", "of-another-process"} { // a Java coordinator does not mind
		assert.Nil(t, m.Handle(t.Context(), &protocol.UndoLogDelete{Type: protocol.TypeAT, ResourceID: id, SaveDays: 7}))
	}
	assert.Empty(t, log.String())
	assert.Nil(t, m.Handle(t.Context(), &protocol.Heartbeat{}))
}

// TestASagaMayComeBack: an order to go forward may end in compensation, and the
// reverse; the coordinator is told so.
func TestASagaMayComeBack(t *testing.T) {
	for _, c := range []struct {
		rollback bool
		status   protocol.BranchStatus
		err      error
		want     protocol.BranchStatus
		code     protocol.ResultCode
	}{
		{false, protocol.BranchPhaseTwoRollbacked, nil, protocol.BranchPhaseTwoRollbacked, protocol.ResultSuccess},
		{false, protocol.BranchPhaseOneFailed, nil, protocol.BranchPhaseOneFailed, protocol.ResultSuccess},
		{false, protocol.BranchPhaseTwoRollbackFailedRetryable, nil, protocol.BranchPhaseTwoRollbackFailedRetryable, protocol.ResultSuccess},
		{true, protocol.BranchPhaseTwoCommitFailedRetryable, nil, protocol.BranchPhaseTwoCommitFailedRetryable, protocol.ResultSuccess},
		{true, protocol.BranchPhaseTwoRollbackFailedRetryable, errors.New("no"), protocol.BranchPhaseTwoRollbackFailedRetryable, protocol.ResultFailed},
		{false, protocol.BranchUnknown, nil, protocol.BranchPhaseTwoCommitFailedRetryable, protocol.ResultFailed},
		{true, protocol.BranchPhaseTwoRollbacked, errors.New("no"), protocol.BranchPhaseTwoRollbackFailedRetryable, protocol.ResultFailed},
	} {
		m := rm.NewManager(slog.New(slog.DiscardHandler))
		require.NoError(t, m.Add(&resource{id: "app#group", kind: protocol.TypeSaga,
			answer: func(rm.Branch) (protocol.BranchStatus, error) { return c.status, c.err }}))
		outcome := handle(t, m, c.rollback, protocol.BranchOrder{XID: "tc:8091:5", BranchID: -1, Type: protocol.TypeSaga, ResourceID: "app#group"})
		assert.Equal(t, c.want, outcome.Status)
		assert.Equal(t, c.code, outcome.Code)
	}
}
