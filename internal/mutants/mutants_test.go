package main

import (
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const root = "../.."

// A mutant that does not fit its file any more is no mutant.
func TestTheListFitsTheSource(t *testing.T) {
	all, err := load()
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(all), 25)
	names := make(map[string]bool)
	for _, m := range all {
		require.False(t, names[m.name], "two mutants are called %q", m.name)
		names[m.name] = true
		_, err := m.source(root)
		require.NoError(t, err)
	}
}

// One mutant of each room, and one more; make mutants tries all.
func TestMutantsAreCaught(t *testing.T) {
	require.NoError(t, run(t.Context(), []string{
		"effects leave before the Batch is durable",
		"a fold drops all Batches but the first",
		"the decision to commit keeps the locks",
		"a second lock of a row by its own transaction is not counted",
		"a finished transaction takes another Batch",
	}, t.Output()))
}

// A change that no suite sees is reported.
func TestSurvivorsAreReported(t *testing.T) {
	m := changeOf("mode.go", "// nothingToDo tells whether a branch needs no order: its local part failed, or\n", "// nothingToDo:\n")
	v, err := newBench(t).try(t.Context(), 0, &m)
	require.NoError(t, err)
	require.False(t, v.caught)
	require.ErrorContains(t, report(io.Discard, []mutant{m}, []verdict{v}, 0), m.name)
}

// A change that does not compile, or fits nowhere, shows nothing.
func TestNoVerdict(t *testing.T) {
	b := newBench(t)
	m := changeOf("phase.go", "\tfinished\n", "")
	_, err := b.try(t.Context(), 0, &m)
	require.ErrorContains(t, err, "undefined: finished")
	m = changeOf("phase.go", "no such line\n", "")
	_, err = b.try(t.Context(), 0, &m)
	require.ErrorContains(t, err, "at 0 places")
	require.ErrorContains(t, b.sound(t.Context(), []string{"./server/txn", "-run", "TestNoSuch"}), "runs no test")
}

func changeOf(file, old, changed string) mutant {
	return mutant{
		name: "a change of " + file, file: "server/txn/" + file, old: old, new: changed,
		suite: []string{"./server/txn", "-run", "TestTableIsComplete"},
	}
}

func newBench(t *testing.T) *bench {
	root, err := moduleRoot(t.Context())
	require.NoError(t, err)
	return &bench{root: root, dir: t.TempDir()}
}

// What is no list, or says too little, is refused with its place.
func TestParse(t *testing.T) {
	const whole = "# remark\n= m\nfile f.go\nsuite ./p -run T\n a\n-b\n+c\n"
	all, err := parse("x", whole)
	require.NoError(t, err)
	require.Equal(t, []mutant{{name: "m", file: "f.go", suite: []string{"./p", "-run", "T"}, old: "a\nb\n", new: "a\nc\n"}}, all)
	for name, text := range map[string]string{
		"no title":       "file f.go\n",
		"no file":        strings.Replace(whole, "file f.go\n", "", 1),
		"no suite":       strings.Replace(whole, "suite ./p -run T\n", "", 1),
		"no change":      strings.Replace(whole, "-b\n+c\n", "", 1),
		"something else": whole + "*\n",
	} {
		_, err := parse("x", text)
		require.ErrorContains(t, err, "x:", name)
	}
}
