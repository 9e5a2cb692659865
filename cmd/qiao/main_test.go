package main

import (
	"bytes"
	"net"
	"os"
	"os/exec"
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

// Who interrupts a command reads so, not of a context.
func TestAnInterruptIsNamed(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer silent.Close()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "bench", "--target", silent.Addr().String())
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	require.NoError(t, cmd.Start())
	conn, err := silent.Accept()
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, cmd.Process.Signal(os.Interrupt))
	require.Error(t, cmd.Wait())
	require.Equal(t, exitFailed, cmd.ProcessState.ExitCode())
	require.Equal(t, "qiao: interrupt signal received\n", stderr.String())
}
