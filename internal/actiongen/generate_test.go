package actiongen_test

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/internal/actiongen"
)

var rewrite = flag.Bool("rewrite", false, "write what is generated into testdata")

// golden compares text with a file, or writes it there.
func golden(t *testing.T, file string, text []byte) {
	t.Helper()
	if *rewrite {
		require.NoError(t, os.WriteFile(file, text, 0o644))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.Equal(t, string(want), string(text))
}

// What is generated is what testdata shows, and go vet compiles it.
func TestGeneratedCode(t *testing.T) {
	sources, err := filepath.Glob("testdata/ok/*/*.go")
	require.NoError(t, err)
	packages := make(map[string]bool)
	for _, source := range sources {
		if strings.HasSuffix(source, "_tcc.go") {
			continue
		}
		t.Run(filepath.Base(source), func(t *testing.T) {
			text, err := os.ReadFile(source)
			require.NoError(t, err)
			made, err := actiongen.Generate(source, text, "")
			require.NoError(t, err)
			golden(t, strings.TrimSuffix(source, ".go")+"_tcc.go", made.Code)
		})
		packages["./"+filepath.ToSlash(filepath.Dir(source))] = true
	}
	args := []string{"vet"}
	for p := range packages {
		args = append(args, p)
	}
	out, err := exec.Command("go", args...).CombinedOutput()
	require.NoError(t, err, "%s", out)
}

func TestActionsAreReported(t *testing.T) {
	text, err := os.ReadFile("testdata/ok/fenced/fenced.go")
	require.NoError(t, err)
	made, err := actiongen.Generate("fenced.go", text, "Account")
	require.NoError(t, err)
	assert.Equal(t, []actiongen.Action{
		{Kind: "tcc", Name: "debit", Interface: "Account", Method: "Freeze", Fenced: true},
		{Kind: "compensation", Name: "bonus", Interface: "Account", Method: "Bonus", Fenced: true},
	}, made.Actions)
	_, err = actiongen.Generate("fenced.go", text, "Other")
	assert.ErrorContains(t, err, "there is no interface Other")
}

// Every mistake is told with its line, all of a file at once.
func TestProblems(t *testing.T) {
	sources, err := filepath.Glob("testdata/bad/*.go")
	require.NoError(t, err)
	for _, source := range sources {
		t.Run(filepath.Base(source), func(t *testing.T) {
			text, err := os.ReadFile(source)
			require.NoError(t, err)
			_, err = actiongen.Generate(filepath.Base(source), text, "")
			var problems actiongen.Problems
			require.ErrorAs(t, err, &problems)
			golden(t, strings.TrimSuffix(source, ".go")+".txt", []byte(problems.Error()+"\n"))
		})
	}
}

// Whatever the source is, the generator answers with code that parses or with
// problems.
func FuzzGenerate(f *testing.F) {
	for _, pattern := range []string{"testdata/ok/*/*.go", "testdata/bad/*.go"} {
		files, err := filepath.Glob(pattern)
		require.NoError(f, err)
		for _, file := range files {
			text, err := os.ReadFile(file)
			require.NoError(f, err)
			f.Add(string(text))
		}
	}
	f.Fuzz(func(t *testing.T, text string) {
		_, err := actiongen.Generate("f.go", []byte(text), "")
		if err != nil {
			require.ErrorAs(t, err, new(actiongen.Problems))
		}
	})
}
