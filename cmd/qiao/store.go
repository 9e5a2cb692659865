package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/qiao-tx/qiao/storage"
	"github.com/qiao-tx/qiao/storage/move"
)

func newStoreCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "store",
		Short: "Move what a coordinator keeps to another store",
		Long: `store works with the stores of coordinators that do not run. See "Moving what is
live" in docs/stores.md.`,
		Example: `  qiao store copy --from old.yaml --to new.yaml
  qiao store copy --from dir:/var/lib/qiao --to jdbc:mysql://db:3306/seata --to-user seata --to-password-file /etc/qiao/db
  qiao store import --from-java-file sessionStore/ --to dir:/var/lib/qiao`,
		SuggestionsMinimumDistance: 2,
		Args:                       knownCommand,
		RunE:                       func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newStoreCopyCommand(), newStoreImportCommand())
	return cmd
}

func newStoreCopyCommand() *cobra.Command {
	var from, to storePlace
	var dryRun, asJSON bool
	cmd := &cobra.Command{
		Use:   "copy",
		Short: "Copy all live transactions from one store to another",
		Long: `copy writes what one store holds into another, of whatever kind: the transactions
as they are, with their branches, row locks, due times and attempts; how finished
ones ended, for as long as they answer with that; the clusters of transaction
groups; the latest id. Then it compares both. Only after that is the destination
fit for a server: until then one refuses to start on it.

Stop all servers of both stores first. The destination must have no transactions.
A copy that was interrupted goes on when the same command is run again. The source
is not changed; do not start a server on it once one has run on the destination.

Name a store by the configuration file of its server, or
` + storeFormsHelp(),
		Example: `  # what would be copied
  qiao store copy --from dir:/var/lib/qiao --dry-run

  # from the embedded log into a database, with the configuration of the new server
  qiao store copy --from dir:/var/lib/qiao --to /etc/qiao/new.yaml

  # from a database into another, without configuration files
  qiao store copy --from jdbc:mysql://old:3306/seata --from-user seata --from-password-file old.txt \
    --to jdbc:postgresql://new:5432/seata --to-user seata --to-password-file new.txt

  # into a Redis; one behind sentinels, or a cluster, is named by a configuration file
  qiao store copy --from dir:/var/lib/qiao --to redis://redis:6379/0`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			err := from.parse("--from")
			if to.text != "" || !dryRun {
				err = errors.Join(err, to.parse("--to"))
			}
			if err != nil {
				return usageError{err}
			}
			m := moving{source: from.name(), to: &to, dryRun: dryRun, asJSON: asJSON, log: cmd.ErrOrStderr(), out: cmd.OutOrStdout()}
			return m.copyFrom(cmd.Context(), &from)
		},
	}
	from.flags(cmd.Flags(), "from", "the store to read")
	to.flags(cmd.Flags(), "to", "the store to fill")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "only tell what would be copied; the destination is not opened")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the result as one JSON object")
	return cmd
}

// closeStore adds the error of closing to err, if there is no other.
func closeStore(store io.Closer, err *error) {
	if e := store.Close(); *err == nil && e != nil {
		*err = e
	}
}

// moving fills one store from another.
type moving struct {
	from           storage.Movable
	source         string
	to             *storePlace
	dryRun, asJSON bool
	log, out       io.Writer
	// extra is what else the result tells; nil is nothing.
	extra any
}

// movedReport is the result of a copy.
type movedReport struct {
	From string `json:"from"`
	To   string `json:"to,omitempty"`
	// Copied is false for a dry run.
	Copied bool `json:"copied"`
	move.Content
	Seconds float64 `json:"seconds"`
	Import  any     `json:"import,omitempty"`
}

// copyFrom opens the source and moves what is in it.
func (m *moving) copyFrom(ctx context.Context, from *storePlace) (err error) {
	store, err := from.openSource(ctx)
	if err != nil {
		return fmt.Errorf("--from: %w", err)
	}
	defer closeStore(store, &err)
	m.from = store
	return m.run(ctx)
}

func (m *moving) run(ctx context.Context) error {
	began := time.Now()
	report := movedReport{From: m.source, Import: m.extra}
	var err error
	if m.dryRun {
		report.Content, err = move.Look(ctx, m.from, began.UnixMilli())
	} else {
		report.To, report.Copied = m.to.name(), true
		report.Content, err = m.copy(ctx, began)
	}
	if err != nil {
		return err
	}
	report.Seconds = time.Since(began).Seconds()
	return report.write(m.out, m.asJSON)
}

func (m *moving) copy(ctx context.Context, began time.Time) (content move.Content, err error) {
	to, err := m.to.open(ctx)
	if err != nil {
		return content, fmt.Errorf("--to: %w", err)
	}
	defer closeStore(to, &err)
	progress := new(move.Progress)
	stop := reportProgress(m.log, progress)
	defer stop()
	content, err = move.Copy(ctx, m.from, to, move.Options{Source: m.source, Now: began.UnixMilli(), Progress: progress})
	if err != nil {
		return content, fmt.Errorf("copy %s to %s: %w", m.source, m.to.name(), err)
	}
	return content, nil
}

// progressPeriod is how often a copy tells how far it is.
const progressPeriod = time.Second

// reportProgress writes how far a copy is, until stop is called.
func reportProgress(log io.Writer, p *move.Progress) (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(progressPeriod)
		defer tick.Stop()
		var stage string
		var began time.Time
		for {
			select {
			case <-done:
				return
			case now := <-tick.C:
				s := p.Step()
				if s.Stage != stage {
					stage, began = s.Stage, now.Add(-progressPeriod)
				}
				fmt.Fprintln(log, progressLine(s, now.Sub(began)))
			}
		}
	}()
	return func() { close(done); <-ended }
}

// progressLine says how far a stage is that has taken so long.
func progressLine(s move.Step, took time.Duration) string {
	line := s.Stage
	if s.Total == 0 {
		return line
	}
	rate := float64(s.Done) / took.Seconds()
	line += fmt.Sprintf(": %d of %d, %.0f/s", s.Done, s.Total, rate)
	if rate > 0 && s.Done < s.Total {
		line += fmt.Sprintf(", about %v left", time.Duration(float64(s.Total-s.Done)/rate*float64(time.Second)).Round(time.Second))
	}
	return line
}

func (r *movedReport) write(out io.Writer, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(out).Encode(r)
	}
	var b strings.Builder
	if r.Copied {
		fmt.Fprintf(&b, "copied %s to %s and compared both, in %.1f s\n", r.From, r.To, r.Seconds)
	} else {
		fmt.Fprintf(&b, "%s holds:\n", r.From)
	}
	fmt.Fprintf(&b, "  transactions  %d\n", r.Transactions)
	for _, status := range sortedStatuses(r.Statuses) {
		fmt.Fprintf(&b, "    %-22s %d\n", status, r.Statuses[status])
	}
	fmt.Fprintf(&b, "  branches      %d\n  locked rows   %d\n  outcomes      %d\n  groups        %d\n  latest id     %d\n",
		r.Branches, r.Locks, r.Outcomes, r.Groups, r.LastID)
	_, err := io.WriteString(out, b.String())
	return err
}

func sortedStatuses(statuses map[string]int64) []string {
	names := make([]string, 0, len(statuses))
	for name := range statuses {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// quietLogger passes on what a store warns of.
func quietLogger() *slog.Logger {
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
}
