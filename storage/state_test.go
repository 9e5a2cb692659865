package storage

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/qiao-tx/qiao/protocol"
)

// drawStep draws a batch for s whose parts name branches 1 to 4. Most parts
// name branches that exist, as most batches must apply for a test to get far.
func drawStep(t *rapid.T, s State) *Batch {
	anyID := rapid.SliceOfN(rapid.Int64Range(1, 4), 0, 2)
	b := &Batch{XID: "a:1:9", Revision: s.Revision}
	for _, add := range anyID.Draw(t, "add") {
		b.Add = append(b.Add, Branch{ID: add, Locked: rapid.Bool().Draw(t, "locked")})
	}
	known := anyID
	if branches := slices.Concat(s.Branches, b.Add); len(branches) > 0 && rapid.IntRange(0, 9).Draw(t, "wrong") > 0 {
		var ids []int64
		for i := range branches {
			ids = append(ids, branches[i].ID)
		}
		known = rapid.SliceOfNDistinct(rapid.SampledFrom(ids), 0, 1, rapid.ID[int64])
	}
	for _, change := range known.Draw(t, "change") {
		data := rapid.SampledFrom([]string{"", "x"}).Draw(t, "data")
		b.Change = append(b.Change, BranchChange{ID: change, Status: protocol.BranchPhaseOneDone, ApplicationData: &data})
	}
	b.Unlock = known.Draw(t, "unlock")
	b.UnlockAll = rapid.IntRange(0, 4).Draw(t, "unlock all") == 0
	b.Remove = known.Draw(t, "remove")
	if s.Revision == 0 || rapid.Bool().Draw(t, "has global") {
		b.Global = &Global{ID: 9, Status: protocol.StatusBegin, DueAt: rapid.Int64Range(0, 9).Draw(t, "due")}
	}
	if rapid.IntRange(0, 9).Draw(t, "finish") == 0 {
		b.Finish = &Tombstone{Outcome: protocol.StatusCommitted}
	}
	return b
}

// A State is shared by readers while batches go on: nothing that Apply was
// called on may change, its arrays included.
func TestApplyLeavesItsReceiverAlone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var history, copies []State
		var s State
		for range rapid.IntRange(1, 8).Draw(t, "steps") {
			// Room behind the branches tempts append to write there.
			s.Branches = slices.Grow(s.Branches, 4)
			history = append(history, s)
			copied := s
			copied.Branches = slices.Clone(s.Branches[:cap(s.Branches)])
			copies = append(copies, copied)
			next, err := s.Apply(drawStep(t, s))
			if err != nil {
				require.ErrorIs(t, err, ErrInvalidBatch)
				continue
			}
			require.Equal(t, s.Revision+1, next.Revision)
			s = next
			if s.Finished() {
				break
			}
		}
		for i := range history {
			history[i].Branches = history[i].Branches[:cap(history[i].Branches)]
			require.Equal(t, copies[i], history[i])
		}
	})
}

// Then is what the coordinator folds waiting events with.
func TestThenIsBothBatchesInTurn(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s State
		for range rapid.IntRange(0, 3).Draw(t, "before") {
			if next, err := s.Apply(drawStep(t, s)); err == nil && !next.Finished() {
				s = next
			}
		}
		b := drawStep(t, s)
		middle, err := s.Apply(b)
		if err != nil || middle.Finished() {
			return
		}
		next := drawStep(t, middle)
		want, err := middle.Apply(next)
		if err != nil || reorders(b, next) {
			return
		}
		got, err := s.Apply(b.Then(next))
		require.NoError(t, err)
		got.Revision = want.Revision
		require.Equal(t, want, got)
	})
}

// reorders tells whether the parts of b and next, put together, would take
// effect in another order: what b releases or removes must not concern what
// next adds.
func reorders(b, next *Batch) bool {
	return len(next.Add) > 0 && (b.UnlockAll || len(b.Unlock)+len(b.Remove) > 0)
}

func TestApplyRefuses(t *testing.T) {
	begun, err := State{}.Apply(&Batch{XID: "a:1:9", Global: &Global{ID: 9}, Add: []Branch{{ID: 1}}})
	require.NoError(t, err)
	finished, err := begun.Apply(&Batch{XID: "a:1:9", Revision: 1, Finish: &Tombstone{Outcome: protocol.StatusCommitted}})
	require.NoError(t, err)
	for name, c := range map[string]struct {
		state State
		batch Batch
		want  error
	}{
		"an old revision":         {begun, Batch{XID: "a:1:9"}, ErrMoved},
		"a future revision":       {begun, Batch{XID: "a:1:9", Revision: 2}, ErrMoved},
		"a finished transaction":  {finished, Batch{XID: "a:1:9", Revision: 2}, ErrMoved},
		"another transaction":     {begun, Batch{XID: "a:1:8", Revision: 1}, ErrInvalidBatch},
		"no global record":        {State{}, Batch{XID: "a:1:9"}, ErrInvalidBatch},
		"a branch twice":          {begun, Batch{XID: "a:1:9", Revision: 1, Add: []Branch{{ID: 1}}}, ErrInvalidBatch},
		"two new equal branches":  {begun, Batch{XID: "a:1:9", Revision: 1, Add: []Branch{{ID: 2}, {ID: 2}}}, ErrInvalidBatch},
		"changing what is not":    {begun, Batch{XID: "a:1:9", Revision: 1, Change: []BranchChange{{ID: 3}}}, ErrInvalidBatch},
		"unlocking what is not":   {begun, Batch{XID: "a:1:9", Revision: 1, Unlock: []int64{3}}, ErrInvalidBatch},
		"removing what is not":    {begun, Batch{XID: "a:1:9", Revision: 1, Remove: []int64{3}}, ErrInvalidBatch},
		"finishing as UnKnown":    {begun, Batch{XID: "a:1:9", Revision: 1, Finish: &Tombstone{}}, ErrInvalidBatch},
		"a change after a remove": {begun, Batch{XID: "a:1:9", Revision: 1, Remove: []int64{1, 1}}, ErrInvalidBatch},
	} {
		t.Run(name, func(t *testing.T) {
			after, err := c.state.Apply(&c.batch)
			require.ErrorIs(t, err, c.want)
			assert.Equal(t, c.state, after)
		})
	}
}
