package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/qiao-tx/qiao/storage/javafile"
)

func newStoreImportCommand() *cobra.Command {
	var dir string
	var to storePlace
	var dryRun, asJSON bool
	var o javafile.Options
	cmd := &cobra.Command{
		Use:   "import",
		Short: "Take over the live transactions of a Java coordinator's file store",
		Long: `import reads the file store of a Java coordinator (store.mode=file, Seata 1.5 to 2.x)
and writes what is live in it into a store of ours, as copy does. A server that is
started on that store goes on with the transactions: what is decided is due at once,
what is open keeps its row locks and its time-out. Start it under the address of the
Java coordinator, which is in the XIDs and which the clients know.

Stop the Java coordinator first: what it does after its files have been read is not
in the copy, and two coordinators would finish the same transactions. Its files are
only read.

An end of a file that is no whole record is what a killed coordinator leaves; it is
told with its offset, and left out. A damaged record elsewhere is refused; with
--skip-damaged it is left out too, if its end can be told.

Before 2.0, Java does not write down that a transaction of AT was committed until its
branches are done, and would itself roll such a one back after a restart. Let an old
coordinator rest for some seconds before you stop it: then what is open is open. If it
was killed, --park-doubtful leaves open transactions of AT to you.`,
		Example: `  # what is live
  qiao store import --from-java-file sessionStore/ --dry-run

  qiao store import --from-java-file sessionStore/ --to dir:/var/lib/qiao
  qiao server --data /var/lib/qiao --listen 10.0.0.5:8091 --insecure-listen`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if dir == "" {
				err = errors.New("--from-java-file is missing: name the directory of store.file.dir")
			}
			if to.text != "" || !dryRun {
				err = errors.Join(err, to.parse("--to"))
			}
			if err != nil {
				return usageError{err}
			}
			path, err := filepath.Abs(dir)
			if err != nil {
				return err
			}
			m := moving{source: "java:" + path, to: &to, dryRun: dryRun, asJSON: asJSON, log: cmd.ErrOrStderr(), out: cmd.OutOrStdout()}
			return m.importFrom(cmd.Context(), dir, o)
		},
	}
	cmd.Flags().StringVar(&dir, "from-java-file", "", "directory of the Java coordinator's file store")
	to.flags(cmd.Flags(), "to", "the store to fill")
	cmd.Flags().BoolVar(&o.ParkDoubtful, "park-doubtful", false, "leave to an operator what is open and might be committed, in a store of Seata before 2.0")
	cmd.Flags().BoolVar(&o.SkipDamaged, "skip-damaged", false, "leave damaged records out, and tell each")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "only tell what would be imported; the destination is not opened")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the result as one JSON object")
	return cmd
}

// importFrom reads the file store and moves what is live in it.
func (m *moving) importFrom(ctx context.Context, dir string, o javafile.Options) (err error) {
	o.Now = time.Now().UnixMilli()
	store, report, err := javafile.Read(ctx, dir, o)
	if err != nil {
		return fmt.Errorf("--from-java-file: %w", err)
	}
	defer closeStore(store, &err)
	tellImport(m.log, &report)
	m.from, m.extra = store, &report
	return m.run(ctx)
}

// tellImport says what people have to know of the files.
func tellImport(log io.Writer, r *javafile.Report) {
	for _, f := range r.Files {
		fmt.Fprintf(log, "%s: %d records in %d bytes\n", f.Name, f.Records, f.Bytes)
		if f.TornBytes > 0 {
			fmt.Fprintf(log, "%s: the last %d bytes, from offset %d, are no whole record: they are left out\n", f.Name, f.TornBytes, f.TornAt)
		}
		for _, d := range f.Damaged {
			fmt.Fprintf(log, "left out: %s\n", d)
		}
	}
	for _, n := range []struct {
		count int64
		text  string
	}{
		{r.PassedLocks, "branches had let go of rows that others were given, which Java had not written down"},
		{r.InferredCommits, "transactions without a record of it were committed, as others show: they are taken for that"},
		{r.Parked, "transactions were decided, and the store does not say how: they are parked for you, as RollbackFailed, with the reason"},
		{r.Doubtful, "open transactions of AT might be committed: Seata before 2.0 writes that down only when it is done. " +
			"Had the coordinator rested for some seconds before it was stopped, they are open; if not, see --park-doubtful"},
	} {
		if n.count > 0 {
			fmt.Fprintf(log, "%d %s\n", n.count, n.text)
		}
	}
	if r.Growing {
		fmt.Fprintln(log, "warning: the files changed while they were read: the Java coordinator runs; "+
			"what it does from now on is not in the copy: stop it, empty the destination, and import again")
	} else {
		fmt.Fprintln(log, "make sure that the Java coordinator has stopped: what it did after this moment is not in the copy")
	}
}
