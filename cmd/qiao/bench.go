package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/qiao-tx/qiao/internal/load"
)

type benchFlags struct {
	options load.Options
	mode    string
	json    bool
	bare    bool
	dir     string
}

func newBenchCommand() *cobra.Command {
	f := new(benchFlags)
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure a coordinator under load",
		Long: `bench runs closed-loop callers against a coordinator. Each begins a global
transaction, registers branches that lock one row each, commits, and starts
again; bench answers the branches' phase-two orders itself, waits until none is
left, and asks the server's metrics what it cost.

--bare measures the ceiling of this machine instead: the same round trips
against a process that writes the same bytes with the same number of fsyncs
and does nothing else. Compare a server's rate with it, not with other
machines.

Progress goes to standard error. With --json the last line of standard output
is one JSON object; figures that the server does not publish are null.`,
		Example: `  qiao server --data /var/lib/qiao &
  qiao bench --concurrency 256 --duration 30s
  qiao bench --mode tcc --branches 3 --json
  qiao bench --conflict 0.1          # a tenth of the transactions meet on hot rows
  qiao bench --target 10.0.0.1:8091,10.0.0.2:8091,10.0.0.3:8091   # a cluster, all nodes alike
  qiao bench --bare --concurrency 256`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := positiveFlags(cmd, "branches", "concurrency", "connections", "duration"); err != nil {
				return err
			}
			return f.run(cmd)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.options.Target, "target", "127.0.0.1:8091", "the coordinator's `host:port`, or those of a cluster's nodes with commas between")
	flags.StringVar(&f.options.Metrics, "metrics", "", "`URL` of the server's metrics (default http://TARGET/metrics, of each target)")
	flags.StringVar(&f.mode, "mode", string(load.AT), "kind of branches: at, tcc, or empty for none")
	flags.IntVar(&f.options.Branches, "branches", 2, "branches of each transaction")
	flags.IntVar(&f.options.Concurrency, "concurrency", 64, "callers, each with one transaction at a time")
	flags.IntVar(&f.options.Connections, "connections", 0, "connections that the callers share (default 4, two for each of several targets, or fewer with fewer callers)")
	flags.DurationVar(&f.options.Duration, "duration", 10*time.Second, "how long the load lasts")
	flags.Float64Var(&f.options.Conflict, "conflict", 0, "share of transactions, 0 to 1, that lock one of a few hot rows")
	flags.BoolVar(&f.json, "json", false, "end with one line of JSON")
	flags.BoolVar(&f.bare, "bare", false, "measure the ceiling of this machine instead of a server")
	flags.StringVar(&f.dir, "dir", "", "with --bare: the `directory` to write and fsync in; put it on the server's disk (default: the temporary directory)")
	return cmd
}

func (f *benchFlags) run(cmd *cobra.Command) error {
	f.options.Mode = load.Mode(f.mode)
	progress := func(p load.Progress) { fmt.Fprintln(cmd.ErrOrStderr(), p) }
	measure := load.Run
	if f.bare {
		if f.options.Mode == load.TCC || f.options.Conflict > 0 || cmd.Flags().Changed("target") {
			return usageError{errors.New("--bare goes with --mode at or empty, and without --target and --conflict: there is nothing behind it to conflict")}
		}
		measure = f.runBare
	} else if f.dir != "" {
		return usageError{errors.New("--dir goes with --bare only")}
	}
	report, err := measure(cmd.Context(), f.options, progress)
	if errors.Is(err, load.ErrOptions) {
		return usageError{err}
	}
	if report == nil {
		return err
	}
	if missing := report.ServerFiguresMissing(); missing != nil {
		fmt.Fprintf(cmd.ErrOrStderr(), "no figures of the server: %v\n", missing)
	}
	if f.json {
		return errors.Join(json.NewEncoder(cmd.OutOrStdout()).Encode(report), err)
	}
	_, printErr := report.WriteTo(cmd.OutOrStdout())
	return errors.Join(printErr, err)
}
