package main

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestExitCodeTellsUsageFromFailure(t *testing.T) {
	for _, test := range []struct {
		name string
		args []string
		want int
	}{
		{"no arguments print help", nil, 0},
		{"help", []string{"--help"}, 0},
		{"unknown command", []string{"sevrer"}, exitUsage},
		{"unknown flag", []string{"--lisen", "x"}, exitUsage},
	} {
		t.Run(test.name, func(t *testing.T) {
			require.Equal(t, test.want, run(test.args))
		})
	}
}
