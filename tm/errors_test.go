package tm_test

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/tm"
)

// TestOutcomes lists what Run makes of every status, asked for commit and for
// rollback. nil is success.
func TestOutcomes(t *testing.T) {
	type kinds []error
	unknown := kinds{tm.ErrOutcomeUnknown}
	heuristic := kinds{tm.ErrHeuristic}
	timedOut := kinds{tm.ErrTimedOut, tm.ErrRolledBack}
	rolledBack := kinds{tm.ErrRolledBack}
	cases := []struct {
		status           protocol.GlobalStatus
		commit, rollback kinds
	}{
		{protocol.StatusUnKnown, unknown, unknown},
		{protocol.StatusBegin, unknown, unknown},
		{protocol.StatusCommitting, nil, heuristic},
		{protocol.StatusCommitRetrying, nil, heuristic},
		{protocol.StatusRollbacking, rolledBack, nil},
		{protocol.StatusRollbackRetrying, rolledBack, nil},
		{protocol.StatusTimeoutRollbacking, timedOut, nil},
		{protocol.StatusTimeoutRollbackRetrying, timedOut, nil},
		{protocol.StatusAsyncCommitting, nil, heuristic},
		{protocol.StatusCommitted, nil, heuristic},
		{protocol.StatusCommitFailed, heuristic, heuristic},
		{protocol.StatusRollbacked, rolledBack, nil},
		{protocol.StatusRollbackFailed, heuristic, heuristic},
		{protocol.StatusTimeoutRollbacked, timedOut, nil},
		{protocol.StatusTimeoutRollbackFailed, kinds{tm.ErrTimedOut, tm.ErrHeuristic}, heuristic},
		{protocol.StatusFinished, kinds{tm.ErrNotFound, tm.ErrOutcomeUnknown}, nil},
		{protocol.StatusCommitRetryTimeout, heuristic, heuristic},
		{protocol.StatusRollbackRetryTimeout, heuristic, heuristic},
		{protocol.StatusDeleting, unknown, unknown},
		{protocol.StatusStopCommitOrCommitRetry, heuristic, heuristic},
		{protocol.StatusStopRollbackOrRollbackRetry, heuristic, heuristic},
		{protocol.GlobalStatus(99), unknown, unknown},
	}
	all := kinds{tm.ErrTimedOut, tm.ErrRolledBack, tm.ErrRollbackOnly, tm.ErrHeuristic,
		tm.ErrNotFound, tm.ErrOutcomeUnknown, tm.ErrUnavailable, tm.ErrRefused}
	check := func(t *testing.T, err error, want kinds, status protocol.GlobalStatus) {
		t.Helper()
		for _, kind := range all {
			wanted := false
			for _, w := range want {
				wanted = wanted || w == kind
			}
			assert.Equal(t, wanted, errors.Is(err, kind), "%v is %v", err, kind)
		}
		var outcome *tm.Outcome
		if errors.As(err, &outcome) {
			assert.Equal(t, status, outcome.Status)
			assert.Contains(t, err.Error(), status.String())
		}
	}
	for _, c := range cases {
		t.Run(c.status.String(), func(t *testing.T) {
			r := newRecorder()
			r.commit, r.rollback = c.status, c.status
			m := tm.New(r)
			err := m.Run(t.Context(), tm.Options{}, func(context.Context) error { return nil })
			check(t, err, c.commit, c.status)
			err = m.Run(t.Context(), tm.Options{}, func(context.Context) error { return errBusiness })
			assert.ErrorIs(t, err, errBusiness)
			check(t, err, c.rollback, c.status)
		})
	}
}
