package main

import (
	"context"
	"io"

	"github.com/spf13/cobra"
)

// childCommand stands before a command that this program starts as a process
// of its own.
const childCommand = "child"

// newChildCommand makes the command that runs another one until standard input
// ends. The parent holds the other end and never writes: when it closes it, or
// dies however suddenly, the child stops as on SIGTERM.
func newChildCommand() *cobra.Command {
	return &cobra.Command{
		Use:                childCommand + " COMMAND [FLAGS]",
		Short:              "Run a command until standard input ends",
		Hidden:             true,
		DisableFlagParsing: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := context.WithCancel(cmd.Context())
			defer cancel()
			go func() { // ends with the process
				_, _ = io.Copy(io.Discard, cmd.InOrStdin())
				cancel()
			}()
			root := newRootCommand()
			root.SetArgs(args)
			return root.ExecuteContext(ctx)
		},
	}
}
