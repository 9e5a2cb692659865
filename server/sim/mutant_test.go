package sim

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// A checker that lets a defect pass proves nothing: each mutant must be caught
// within so many seeds.
func TestMutantsAreCaught(t *testing.T) {
	for _, m := range []struct {
		name   string
		mutant Mutant
		within uint64
	}{
		{"the revision is not checked", NoRevision, 50},
		{"row locks are not checked", NoLockCheck, 50},
		{"effects leave before the batch is durable", EffectsBeforePersist, 50},
		{"ErrMoved is swallowed", MovedSwallowed, 50},
		{"ids are reused after a restart", IDsReused, 200},
		{"a commit keeps its locks", LocksKept, 50},
		{"a rollback releases its locks at once", LocksDropped, 50},
		{"a registered branch is not stored", BranchesDropped, 50},
		{"nothing is ever due", NeverDue, 50},
		{"request keys are ignored", RequestKeysIgnored, 50},
		{"an order is answered but not carried out", OrdersForged, 50},
		{"a rollback is ordered as a commit", OrdersSwapped, 50},
		{"a commit is answered with the true status", TrueStatusToJava, 200},
		{"outcomes are forgotten", OutcomesForgotten, 50},
		{"evidence is dropped", EvidenceDropped, 200},
		{"a dirty rollback is tried again", DirtyRetried, 200},
		{"a stale leader answers", StaleReads, 200},
	} {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			for s := uint64(1); s <= m.within; s++ {
				if r := Run(s, Options{Mutant: m.mutant}); len(r.Violations) > 0 {
					t.Logf("caught by seed %d: %s", s, r.Violations[0])
					return
				}
			}
			require.Fail(t, "not caught", "by %d seeds", m.within)
		})
	}
}
