package txn

import (
	"flag"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// rewriting: what the tests compare with is to be written, not compared. The
// flag is datadriven's.
func rewriting() bool { return flag.Lookup("rewrite").Value.String() == "true" }

// The document that people read must be the table that runs.
func TestDocumentIsPrintedFromTheTable(t *testing.T) {
	const path = "../../docs/states.md"
	if rewriting() {
		require.NoError(t, os.WriteFile(path, []byte(Document()), 0o644))
	}
	written, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, Document(), string(written), "docs/states.md is stale: run make docs")
}

// Every phase must say what it does on every event, and the last row for an
// event must have no condition: no event is left without a transition.
func TestTableIsComplete(t *testing.T) {
	for p := absent; p <= finished; p++ {
		for k := onBegin; k <= onTick; k++ {
			var last *transition
			for i := range table[p] {
				if table[p][i].on != k {
					continue
				}
				require.False(t, last != nil && last.when == nil, "%s in %s: a row after the unconditional one is never taken", k, p)
				last = &table[p][i]
			}
			require.NotNil(t, last, "%s in %s has no row", k, p)
			require.Nil(t, last.when, "%s in %s may match no row", k, p)
		}
	}
}
