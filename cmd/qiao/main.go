// Command qiao is the transaction coordinator and the tools around it.
//
// Job: turn a command line into calls of the rooms that do the work.
// Owner: the operator's shell; each subcommand has a file of its own here.
// It must not know: how transactions work; it only wires.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// Exit codes, as --help lists them.
const (
	exitFailed = 1
	exitUsage  = 2
)

// usageError is a mistake in the command line, as opposed to a failure of the
// work it asked for.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func main() { os.Exit(run(os.Args[1:])) }

// run carries the command line out and returns the exit code. An interrupt or
// a SIGTERM ends the command's context.
func run(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	root := newRootCommand()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		err = context.Cause(ctx) // names the signal
	}
	fmt.Fprintf(os.Stderr, "qiao: %v\n", err)
	if errors.As(err, new(usageError)) {
		return exitUsage
	}
	return exitFailed
}

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "qiao",
		Short: "One global transaction across Go, Java and any database",
		Long: `qiao runs and inspects a transaction coordinator that speaks Apache Seata's protocol.

Exit codes: 0 done, 1 failed, 2 the command line is wrong.`,
		Version:       buildVersion(),
		SilenceErrors: true,
		SilenceUsage:  true,
		// How far from a command a mistyped one may be.
		SuggestionsMinimumDistance: 2,
		Args:                       knownCommand,
		RunE:                       func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageError{fmt.Errorf("%w (see %q)", err, cmd.CommandPath()+" --help")}
	})
	root.AddCommand(
		newServerCommand(),
		newStoreCommand(),
		newDemoCommand(),
		newBenchCommand(),
		newUndoTableCommand(),
		newNewCommand(),
		newFenceTableCommand(),
		newGenCommand(),
		newFrameCommand(),
		newSagaCommand(),
		newBenchResponderCommand(),
		newChildCommand(),
		newShopCommand(),
	)
	root.SetHelpCommand(newHelpCommand())
	return root
}

// newHelpCommand is cobra's, except that it refuses what is no command.
func newHelpCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "help [command]",
		Short: "Show the help of a command",
		RunE: func(cmd *cobra.Command, args []string) error {
			about, rest, err := cmd.Root().Find(args)
			if err != nil {
				return err
			}
			if len(rest) > 0 {
				return knownCommand(about, rest)
			}
			return about.Help()
		},
	}
}

// knownCommand refuses what is no subcommand and names the nearest one.
func knownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	err := fmt.Errorf("there is no command %q", cmd.CommandPath()+" "+args[0])
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		return usageError{fmt.Errorf("%w; did you mean %q?", err, cmd.CommandPath()+" "+near[0])}
	}
	return usageError{fmt.Errorf("%w; see %q", err, cmd.CommandPath()+" --help")}
}

// noArguments refuses arguments that a command would ignore.
func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return usageError{fmt.Errorf("%s takes no arguments, got %q (see %q)", cmd.CommandPath(), args[0], cmd.CommandPath()+" --help")}
}

// positiveFlags refuses a zero that was given for one of the flags, where the
// work would take it for "the default".
func positiveFlags(cmd *cobra.Command, names ...string) error {
	for _, name := range names {
		flag := cmd.Flags().Lookup(name)
		if flag.Changed && (flag.Value.String() == "0" || flag.Value.String() == "0s") {
			return usageError{fmt.Errorf("--%s %s: want more than 0; leave the flag out for the default, %s", name, flag.Value, flag.DefValue)}
		}
	}
	return nil
}
