package txn

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/storage"
)

// inStatus is a transaction that has the status, live or finished.
func inStatus(s protocol.GlobalStatus) storage.State {
	state := storage.State{XID: testXID, Revision: 3, Global: storage.Global{ID: 1, Status: s, TimeoutMillis: 60_000}}
	switch s {
	case protocol.StatusCommitted, protocol.StatusRollbacked, protocol.StatusTimeoutRollbacked, protocol.StatusFinished:
		state.Outcome = s
	case protocol.StatusUnKnown: // nobody knows it
		return storage.State{XID: testXID}
	default:
		state.Branches = []storage.Branch{{ID: 2, Type: protocol.TypeTCC, Status: protocol.BranchRegistered}}
	}
	return state
}

// javaTookCommit is how Java's TransactionalTemplate reads the answer to a
// GlobalCommit: these five statuses make it throw, every other is a success.
func javaTookCommit(s protocol.GlobalStatus) bool {
	switch s {
	case protocol.StatusTimeoutRollbacking, protocol.StatusTimeoutRollbackRetrying,
		protocol.StatusTimeoutRollbacked, protocol.StatusTimeoutRollbackFailed, protocol.StatusFinished:
		return false
	}
	return true
}

// javaTookRollback is how it reads the answer to a GlobalRollback.
func javaTookRollback(s protocol.GlobalStatus) string {
	switch s {
	case protocol.StatusRollbacked, protocol.StatusTimeoutRollbacked, protocol.StatusFinished:
		return "done"
	case protocol.StatusRollbacking, protocol.StatusRollbackRetrying,
		protocol.StatusTimeoutRollbacking, protocol.StatusTimeoutRollbackRetrying:
		return "going on"
	case protocol.StatusRollbackFailed, protocol.StatusTimeoutRollbackFailed, protocol.StatusRollbackRetryTimeout:
		return "failed"
	}
	return "warning"
}

// I10, over every request and every status that a transaction can have: what
// Java's client concludes is the truth or an error, never the opposite.
func TestAnswersTellJavaTheTruth(t *testing.T) {
	for _, c := range []struct {
		is             protocol.GlobalStatus
		toCommit       protocol.GlobalStatus
		toRollback     protocol.GlobalStatus
		readAsRollback string
	}{
		{protocol.StatusUnKnown, protocol.StatusFinished, protocol.StatusFinished, "done"},
		{protocol.StatusCommitting, protocol.StatusCommitting, protocol.StatusCommitting, "warning"},
		{protocol.StatusCommitRetrying, protocol.StatusCommitRetrying, protocol.StatusCommitRetrying, "warning"},
		{protocol.StatusAsyncCommitting, protocol.StatusCommitted, protocol.StatusAsyncCommitting, "warning"},
		{protocol.StatusCommitted, protocol.StatusCommitted, protocol.StatusCommitted, "warning"},
		{protocol.StatusCommitFailed, protocol.StatusFinished, protocol.StatusCommitFailed, "warning"},
		{protocol.StatusRollbacking, protocol.StatusTimeoutRollbacking, protocol.StatusRollbacking, "going on"},
		{protocol.StatusRollbackRetrying, protocol.StatusTimeoutRollbacking, protocol.StatusRollbackRetrying, "going on"},
		{protocol.StatusTimeoutRollbacking, protocol.StatusTimeoutRollbacking, protocol.StatusTimeoutRollbacking, "going on"},
		{protocol.StatusTimeoutRollbackRetrying, protocol.StatusTimeoutRollbacking, protocol.StatusTimeoutRollbackRetrying, "going on"},
		{protocol.StatusRollbacked, protocol.StatusTimeoutRollbacked, protocol.StatusRollbacked, "done"},
		{protocol.StatusTimeoutRollbacked, protocol.StatusTimeoutRollbacked, protocol.StatusTimeoutRollbacked, "done"},
		{protocol.StatusRollbackFailed, protocol.StatusTimeoutRollbackFailed, protocol.StatusRollbackFailed, "failed"},
		{protocol.StatusTimeoutRollbackFailed, protocol.StatusTimeoutRollbackFailed, protocol.StatusTimeoutRollbackFailed, "failed"},
		{protocol.StatusFinished, protocol.StatusFinished, protocol.StatusFinished, "done"},
	} {
		s := inStatus(c.is)
		answer := CommitAnswer(replyTo(t, s, Commit{}).Status)
		assert.Equal(t, c.toCommit, answer, "commit of %s", c.is)
		committed := phaseOfStatus(c.is) == committing || c.is == protocol.StatusCommitted
		assert.Equal(t, committed, javaTookCommit(answer), "what Java makes of a commit of %s", c.is)

		answer = replyTo(t, s, Rollback{}).Status
		assert.Equal(t, c.toRollback, answer, "rollback of %s", c.is)
		assert.Equal(t, c.readAsRollback, javaTookRollback(answer), "what Java makes of a rollback of %s", c.is)

		reported := protocol.StatusCommitted
		answer = replyTo(t, s, SagaReport{Status: reported}).Status
		if c.is == protocol.StatusUnKnown { // Java's own server echoes it
			assert.Equal(t, reported, answer)
			continue
		}
		assert.Equal(t, c.is, answer, "report to %s, which is no saga", c.is)
	}
}

// No status, known or not, is answered to a commit with a success it is not.
func TestOnlyCommitsAreAnsweredAsCommits(t *testing.T) {
	for n := -128; n < 128; n++ {
		s := protocol.GlobalStatus(n)
		committed := phaseOfStatus(s) == committing || s == protocol.StatusCommitted
		require.Equal(t, committed, javaTookCommit(CommitAnswer(s)), "%s", s)
	}
}

// replyTo is the answer to a request that must not change anything.
func replyTo(t *testing.T, s storage.State, e Event) Reply {
	t.Helper()
	batch, effects, err := Machine{}.WithDefaults().Step(s, 1000, e)
	require.NoError(t, err)
	require.Nil(t, batch, "%s of %s", e.kind(), Status(&s))
	require.Len(t, effects, 1)
	r, ok := effects[0].(Reply)
	require.True(t, ok)
	require.Nil(t, r.Refused)
	return r
}
