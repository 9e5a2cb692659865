package main

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestMain lets the test binary be the child processes that commands start.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && !strings.HasPrefix(os.Args[1], "-") {
		os.Exit(run(os.Args[1:]))
	}
	os.Exit(m.Run())
}

func TestExitCodeTellsUsageFromFailure(t *testing.T) {
	for _, test := range []struct {
		name string
		args []string
		want int
	}{
		{"no arguments print help", nil, 0},
		{"help", []string{"--help"}, 0},
		{"version", []string{"--version"}, 0},
		{"help of a command", []string{"help", "bench"}, 0},
		{"help of an unknown command", []string{"help", "bnch"}, exitUsage},
		{"help of an unknown subcommand", []string{"help", "bench", "more"}, exitUsage},
		{"unknown command", []string{"sevrer"}, exitUsage},
		{"unknown flag", []string{"--lisen", "x"}, exitUsage},
		{"nothing to do for bench", []string{"bench", "--duration", "0s"}, exitUsage},
		{"nobody for demo", []string{"demo", "--concurrency", "0"}, exitUsage},
	} {
		t.Run(test.name, func(t *testing.T) {
			require.Equal(t, test.want, run(test.args))
		})
	}
}
