package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func gen(args ...string) (string, error) {
	root := newRootCommand()
	var out bytes.Buffer
	root.SetOut(&out)
	root.SetErr(&out)
	root.SetArgs(append([]string{"gen", "tcc"}, args...))
	err := root.Execute()
	return out.String(), err
}

func TestGenTCC(t *testing.T) {
	source := filepath.Join(t.TempDir(), "stock.go")
	text, err := os.ReadFile("../../internal/actiongen/testdata/ok/stock/stock.go")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(source, text, 0o600))
	want, err := os.ReadFile("../../internal/actiongen/testdata/ok/stock/stock_tcc.go")
	require.NoError(t, err)

	_, err = gen("--check", source)
	require.ErrorContains(t, err, "stock_tcc.go is stale")
	t.Setenv("GOFILE", source) // as go generate does
	out, err := gen()
	require.NoError(t, err)
	target := filepath.Join(filepath.Dir(source), "stock_tcc.go")
	assert.Equal(t, target+": 2 actions\n", out)
	got, err := os.ReadFile(target)
	require.NoError(t, err)
	assert.Equal(t, string(want), string(got))
	_, err = gen("--check")
	require.NoError(t, err)

	out, err = gen("--json", source)
	require.NoError(t, err)
	var report genReport
	require.NoError(t, json.Unmarshal([]byte(out), &report))
	assert.Equal(t, target, report.File)
	assert.False(t, report.Changed, "it was there")
	require.Len(t, report.Actions, 2)
	assert.Equal(t, "stock-reserve", report.Actions[0].Name)
	out, err = gen("--out", "-", source)
	require.NoError(t, err)
	assert.Equal(t, string(want), out)
}

func TestGenTCCSaysWhatIsWrong(t *testing.T) {
	_, err := gen("../../internal/actiongen/testdata/bad/phases.go")
	require.ErrorContains(t, err, "phases.go:9:2: confirm=Gone: the interface has no such method")
	out, err := gen("--json", "../../internal/actiongen/testdata/bad/phases.go")
	require.ErrorContains(t, err, "12 problems")
	var report genReport
	require.NoError(t, json.Unmarshal([]byte(out), &report))
	require.Len(t, report.Errors, 12)
	assert.Equal(t, 9, report.Errors[0].Line)

	t.Setenv("GOFILE", "")
	source := "../../internal/actiongen/testdata/ok/stock/stock.go"
	for _, args := range [][]string{{}, {"--out", source, source}, {"a.go", "b.go"}, {"--type"}} {
		_, err := gen(args...)
		assert.True(t, errors.As(err, new(usageError)), "%v: %v", args, err)
	}
	_, err = gen("missing.go")
	assert.ErrorIs(t, err, os.ErrNotExist)
}
