//go:build linux

package compat

import (
	"flag"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/qiao-tx/qiao/internal/testenv"
)

// The defaults are the short form: the oldest client and the newest, whose
// transactions differ most, on our coordinator.
var (
	clientsFlag      = flag.String("clients", "1.4.2,2.6.0", "the versions of clients to run, separated by commas, or all")
	coordinatorsFlag = flag.String("coordinators", kindQiao, "the coordinators to run them on: qiao, java, or qiao,java")
	onlyFlag         = flag.String("only", "", "carry out, and compare or keep, only the steps whose name contains this")
	rewrite          = flag.Bool("rewrite", false, "keep what is seen, and print docs/compatibility.md anew")
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestClients runs the scenario. What the clients see must be what was kept,
// from which docs/compatibility.md is printed. Any change of an answer, a code,
// a status, the order of calls or the choice of a process turns it red.
func TestClients(t *testing.T) {
	testenv.NeedJava(t)
	chosen := strings.Split(*clientsFlag, ",")
	if *clientsFlag == "all" {
		chosen = versions
	}
	for _, kind := range strings.Split(*coordinatorsFlag, ",") {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			tc, batching := start(t, kind, false), start(t, kind, true)
			for _, version := range chosen {
				t.Run(version, func(t *testing.T) {
					r := newRun(t, version, tc)
					r.scenario(batching)
					r.compare(kind)
				})
			}
		})
	}
}

func (r *run) compare(kind string) {
	var kept []observed
	if !*rewrite || *onlyFlag != "" {
		var err error
		kept, err = readObserved(r.version, kind)
		require.NoError(r.t, err)
	}
	whole := r.steps
	if *onlyFlag != "" { // the others are as they were
		whole = slices.Clone(kept)
		for _, s := range r.steps {
			i := slices.IndexFunc(kept, func(k observed) bool { return k.step == s.step })
			require.GreaterOrEqual(r.t, i, 0, "step %q is new: run make compat", s.step)
			whole[i] = s
		}
	}
	if *rewrite {
		require.NoError(r.t, os.MkdirAll("testdata/observed", 0o755))
		require.NoError(r.t, os.WriteFile(observedFile(r.version, kind), format(whole), 0o644))
		return
	}
	assert.Equal(r.t, string(format(kept)), string(format(whole)),
		"client %s does not see what docs/compatibility.md says; if that is right, run make compat", r.version)
}
