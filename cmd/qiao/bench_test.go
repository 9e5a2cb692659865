package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The names are a contract with whoever reads the last line.
func TestBareBenchEndsWithOneLineOfFigures(t *testing.T) {
	root := newRootCommand()
	var out bytes.Buffer
	root.SetOut(&out)
	root.SetErr(new(bytes.Buffer))
	root.SetArgs([]string{"bench", "--bare", "--json", "--duration", "300ms", "--concurrency", "4", "--dir", t.TempDir()})
	require.NoError(t, root.ExecuteContext(t.Context()))
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	var figures map[string]any
	require.NoError(t, json.Unmarshal([]byte(lines[len(lines)-1]), &figures))
	for _, name := range []string{
		"tx_per_s", "p50_ms", "p99_ms", "errors", "registered_total", "callbacks_total", "drain_s",
		"batches_per_tx", "server_cpu_s_per_1000tx", "server_rss_mb",
	} {
		require.IsType(t, 0.0, figures[name], name)
	}
	require.Positive(t, figures["tx_per_s"])
	require.Equal(t, figures["registered_total"], figures["callbacks_total"])
}

func TestBenchNamesWhatIsWrong(t *testing.T) {
	for _, test := range []struct {
		args string
		want string
		code int
	}{
		{"bench --mode xa", "at, tcc or empty", exitUsage},
		{"bench --bare --target 127.0.0.1:1", "without --target", exitUsage},
		{"bench --dir x", "--bare only", exitUsage},
		{"bench --target 127.0.0.1:1", "is a server running there?", exitFailed},
		{"bench now", "takes no arguments", exitUsage},
		{"bench --callers 3", "unknown flag: --callers", exitUsage},
		{"bnch", `did you mean "qiao bench"?`, exitUsage},
	} {
		t.Run(test.args, func(t *testing.T) {
			args := strings.Fields(test.args)
			require.Equal(t, test.code, run(args))
			root := newRootCommand()
			root.SetArgs(args)
			require.ErrorContains(t, root.ExecuteContext(t.Context()), test.want)
		})
	}
}
