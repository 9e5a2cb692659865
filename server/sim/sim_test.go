package sim

import (
	"flag"
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

var (
	seeds = flag.Uint64("seeds", 400, "how many seeds TestSeeds runs")
	first = flag.Uint64("first", 1, "the first seed that TestSeeds runs")
	seed  = flag.Uint64("seed", 0, "run only this seed; with -v print all that happens")
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Whatever a world does to the coordinators, the invariants hold.
func TestSeeds(t *testing.T) {
	if *seed != 0 {
		replay(t, *seed)
		return
	}
	var total Report
	for s := *first; s < *first+*seeds; s++ {
		r := Run(s, Options{})
		if len(r.Violations) > 0 {
			t.Errorf("seed %d: %s\n%s\nreplay: go test ./server/sim -run TestSeeds -seed %d -v", s, r, list(r.Violations), s)
			return
		}
		total.Committed += r.Committed
		total.RolledBack += r.RolledBack
		total.Undecided += r.Undecided
		total.Parked += r.Parked
		total.Batches += r.Batches
		total.Simulated += r.Simulated
	}
	t.Logf("%d seeds: %s", *seeds, total)
	require.NotZero(t, total.Committed)
	require.NotZero(t, total.RolledBack)
	require.NotZero(t, total.Parked)
}

func replay(t *testing.T, s uint64) {
	o := Options{}
	if testing.Verbose() {
		o.Trace = os.Stdout
	}
	r := Run(s, o)
	t.Log(r)
	require.Empty(t, r.Violations, list(r.Violations))
}

func list(violations []string) string {
	text := ""
	for _, v := range violations {
		text += fmt.Sprintf("  %s\n", v)
	}
	return text
}

// A seed is worth something only if it brings the same run back.
func TestOneSeedOneRun(t *testing.T) {
	for s := uint64(1); s <= 20; s++ {
		require.Equal(t, Run(s, Options{}), Run(s, Options{}), "seed %d", s)
	}
}
