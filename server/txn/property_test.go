package txn

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/storage"
)

// Whatever happens in whatever order: Step finds a transition, its Batch
// applies, a decision stands (I1), locks go only as I4 allows, and a
// transaction ends only when it is decided and nothing is left to do.
func TestEverySequenceOfEvents(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := Machine{Parallel: rapid.Bool().Draw(t, "parallel")}.WithDefaults()
		saga := rapid.IntRange(0, 5).Draw(t, "saga") == 0
		state := storage.State{XID: testXID}
		var stepper Stepper
		now, nextID := int64(0), int64(1)
		for range rapid.IntRange(1, 40).Draw(t, "events") {
			now += rapid.SampledFrom([]int64{0, 1, 500, 5_000, 70_000, -300}).Draw(t, "passes")
			e := anyEvent(t, saga, &nextID)
			made, err := stepper.Step(&m, &state, now, e)
			require.NoError(t, err)
			batch, effects := made.Batch, made.Effects
			next := state
			if batch != nil {
				next, err = state.Apply(batch)
				require.NoError(t, err)
			}
			require.Equal(t, next, *made.Next)
			if rapid.Bool().Draw(t, "reset") {
				effects = slices.Clone(effects)
				stepper.Reset()
			}
			checkStep(t, saga, &state, &next, batch, e)
			checkEffects(t, m.Parallel, &next, effects)
			state = next
		}
	})
}

func anyEvent(t *rapid.T, saga bool, nextID *int64) Event {
	branch := func() int64 { return rapid.Int64Range(1, *nextID+1).Draw(t, "branch") }
	switch rapid.SampledFrom([]kind{
		onBegin, onRegister, onRegister, onRegister, onReport, onCommit, onRollback, onSagaReport,
		onAnswers, onAnswers, onAnswers, onAnswers, onTick, onTick,
	}).Draw(t, "event") {
	case onBegin:
		name := "order"
		if saga {
			name = sagaNamePrefix + "order"
		}
		return Begin{XID: testXID, ID: 1, Name: name, TimeoutMillis: rapid.SampledFrom([]int32{0, 1_000, 60_000}).Draw(t, "timeout")}
	case onRegister:
		*nextID++
		types := []protocol.BranchType{protocol.TypeAT, protocol.TypeAT, protocol.TypeTCC, protocol.TypeXA, protocol.TypeSagaAnnotation, 99}
		if saga {
			types = []protocol.BranchType{protocol.TypeSaga}
		}
		return Register{
			ID: *nextID, Type: rapid.SampledFrom(types).Draw(t, "type"), ResourceID: rapid.SampledFrom([]string{"db", "db", "queue"}).Draw(t, "resource"),
			LockKey:    rapid.SampledFrom([]string{"", "a:1", "a:1,2", "nonsense"}).Draw(t, "locks"),
			RequestKey: rapid.SampledFrom([]string{"", "", "k1", "k2"}).Draw(t, "key"),
		}
	case onReport:
		return Report{BranchID: branch(), Status: anyBranchStatus(t), ApplicationData: rapid.SampledFrom([]string{"", "{}"}).Draw(t, "data")}
	case onCommit:
		return Commit{}
	case onRollback:
		return Rollback{}
	case onSagaReport:
		return SagaReport{Status: protocol.GlobalStatus(rapid.Int8Range(-1, 21).Draw(t, "reported"))}
	case onAnswers:
		e := Answers{Rollback: rapid.Bool().Draw(t, "rollback")}
		for range rapid.IntRange(1, 3).Draw(t, "answers") {
			id := branch()
			if saga {
				id = sagaBranchID
			}
			e.Answers = append(e.Answers, Answer{BranchID: id, Status: anyBranchStatus(t)})
		}
		return e
	}
	return Tick{Forced: rapid.Bool().Draw(t, "forced")}
}

func anyBranchStatus(t *rapid.T) protocol.BranchStatus {
	return protocol.BranchStatus(rapid.SampledFrom([]int8{0, 1, 2, 3, 5, 5, 5, 6, 7, 8, 8, 8, 9, 10, 11, 12, 13, 14, 99, -1}).Draw(t, "status"))
}

// way is the decision that a state stands for.
func way(s *storage.State) string {
	status := Status(s)
	switch {
	case !s.Exists() || status == protocol.StatusBegin:
		return "undecided"
	case phaseOfStatus(status) == committing, status == protocol.StatusCommitted, status == protocol.StatusCommitFailed:
		return "commit"
	default:
		return "rollback"
	}
}

func checkStep(t *rapid.T, saga bool, before, after *storage.State, b *storage.Batch, e Event) {
	story := fmt.Sprintf("%T in %s", e, Status(before))
	if before.Finished() || phaseOf(before) == absent && e.kind() != onBegin {
		require.Nil(t, b, story)
		return
	}
	was, is := way(before), way(after)
	if was != "undecided" && !saga {
		require.Equal(t, was, is, story)
	}
	if phaseOf(before) == parked && !saga && e.kind() != onReport {
		require.Nil(t, b, story)
	}
	for i := range before.Branches {
		checkBranch(t, before, after, &before.Branches[i], e, saga, story)
	}
	if len(after.Branches) > len(before.Branches) {
		require.Equal(t, "undecided", is, story)
	}
	if after.Finished() {
		require.NotEqual(t, "undecided", is, story)
	}
}

// checkBranch checks what may become of one branch, and of its locks, in a step.
func checkBranch(t *rapid.T, before, after *storage.State, old *storage.Branch, e Event, saga bool, story string) {
	is, now := way(after), after.Branch(old.ID)
	if now != nil && is == "commit" && !saga {
		require.False(t, now.Locked, "%s: commit is decided, branch %d keeps its locks", story, old.ID)
	}
	if now != nil && is != "commit" {
		require.Equal(t, old.Locked, now.Locked, "%s: branch %d lost its locks", story, old.ID)
	}
	if now == nil && !saga {
		final := old.Type == protocol.TypeSagaAnnotation && way(before) == "undecided" && is == "commit"
		require.True(t, final || nothingToDo(old) || obeyed(e, old.ID, is == "rollback", before), "%s: branch %d is forgotten", story, old.ID)
	}
}

// obeyed tells whether the event says that the branch did as it was ordered.
func obeyed(e Event, id int64, rollback bool, s *storage.State) bool {
	answers, ok := e.(Answers)
	if !ok || answers.Rollback != rollback {
		return false
	}
	for _, a := range answers.Answers {
		switch a.Status {
		case protocol.BranchPhaseTwoCommitted, protocol.BranchPhaseTwoRollbacked:
			if a.BranchID == id {
				return true
			}
		case protocol.BranchPhaseTwoCommitFailedXAERNOTARetryable, protocol.BranchPhaseTwoRollbackFailedXAERNOTARetryable:
			if a.BranchID == id && s.Branch(id) != nil {
				return true // xaer_nota.txt shows when
			}
		}
	}
	return false
}

// checkEffects checks that orders go to branches that are there, in the
// direction decided, and that a rollback takes the last branch only, or the last
// of each resource.
func checkEffects(t *rapid.T, parallel bool, after *storage.State, effects []Effect) {
	for _, e := range effects {
		s, ok := e.(Send)
		if !ok {
			continue
		}
		require.NotEmpty(t, s.Orders)
		require.Equal(t, s.Rollback, way(after) == "rollback")
		require.NotZero(t, after.Global.DueAt, "nobody would look again")
		for _, o := range s.Orders {
			require.True(t, o.BranchID == sagaBranchID || after.Branch(o.BranchID) != nil)
		}
		if n := len(after.Branches); s.Rollback && n > 0 && s.Orders[0].BranchID != sagaBranchID {
			require.Equal(t, after.Branches[n-1].ID, s.Orders[0].BranchID)
			resources := make(map[string]bool)
			for _, o := range s.Orders {
				require.False(t, resources[o.ResourceID], "two branches of a resource at once")
				resources[o.ResourceID] = true
			}
			require.True(t, parallel || len(s.Orders) == 1)
		}
	}
}
