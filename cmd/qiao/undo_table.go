package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	_ "github.com/go-sql-driver/mysql" // the driver "mysql"
	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
	"github.com/spf13/cobra"
	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/qiao-tx/qiao/datasource"
	"github.com/qiao-tx/qiao/rm/tcc/fence"
)

// tables makes what a service's database needs.
type tables struct {
	driver, dsn   string
	print, asJSON bool
	// script returns the statements for a driver, create runs them.
	script func(driver string) (string, error)
	create func(ctx context.Context, db *sql.DB, driver string) error
	// ready says what the database is good for then.
	ready string
}

func newUndoTableCommand() *cobra.Command {
	f := tables{
		script: func(driver string) (string, error) {
			dialect, err := datasource.DialectOf(driver)
			if err != nil {
				return "", err
			}
			return datasource.UndoTableDDL(dialect)
		},
		create: func(ctx context.Context, db *sql.DB, driver string) error {
			dialect, err := datasource.DialectOf(driver)
			if err != nil {
				return err
			}
			return datasource.CreateUndoTable(ctx, db, dialect)
		},
		ready: "AT",
	}
	return f.command(&cobra.Command{
		Use:   "undo-table",
		Short: "Create the undo table that AT needs in a service's database",
		Long: `undo-table creates the tables that AT mode needs in the database of a service,
where they are missing: undo_log, as Seata has it, and on SQLite the table that
holds the file's own id. What is there stays as it is.`,
		Example: `  qiao undo-table --driver mysql --dsn 'app:secret@tcp(127.0.0.1:3306)/orders'
  qiao undo-table --driver pgx --dsn 'postgres://app:secret@127.0.0.1:5432/orders'
  qiao undo-table --driver sqlite --dsn /var/lib/orders/orders.db
  qiao undo-table --driver mysql --print     # the statements, for a migration tool`,
	})
}

func newFenceTableCommand() *cobra.Command {
	f := tables{script: fence.DDL, create: fence.CreateTable, ready: "fenced actions"}
	return f.command(&cobra.Command{
		Use:   "fence-table",
		Short: "Create the table that fenced TCC actions need in a service's database",
		Long: `fence-table creates the table tcc_fence_log, as Seata has it, in the database of a
service whose TCC actions or calls with a compensation are fenced. What is there
stays as it is.`,
		Example: `  qiao fence-table --driver mysql --dsn 'app:secret@tcp(127.0.0.1:3306)/accounts'
  qiao fence-table --driver pgx --print      # the statements, for a migration tool`,
	})
}

// command completes a command whose help is written.
func (f *tables) command(cmd *cobra.Command) *cobra.Command {
	cmd.Args = noArguments
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return f.run(cmd.Context(), cmd.OutOrStdout()) }
	flags := cmd.Flags()
	flags.StringVar(&f.driver, "driver", "mysql", "mysql (MariaDB too), pgx (PostgreSQL) or sqlite")
	flags.StringVar(&f.dsn, "dsn", "", "the `database`: user:password@tcp(host:port)/name, postgres://user:password@host:port/name, or a file")
	flags.BoolVar(&f.print, "print", false, "print the statements and change nothing")
	flags.BoolVar(&f.asJSON, "json", false, "print the result as one JSON object")
	return cmd
}

func (f *tables) run(ctx context.Context, out io.Writer) error {
	if f.driver != "mysql" && f.driver != "sqlite" && f.driver != "pgx" {
		return usageError{fmt.Errorf("--driver %q: want mysql (MariaDB too), pgx (PostgreSQL) or sqlite", f.driver)}
	}
	if f.print {
		script, err := f.script(f.driver)
		if err == nil {
			_, err = io.WriteString(out, script)
		}
		return err
	}
	if err := f.checkDSN(); err != nil {
		return err
	}
	db, err := sql.Open(f.driver, f.dsn)
	if err != nil {
		return fmt.Errorf("--dsn: %w", err)
	}
	if err := errors.Join(f.create(ctx, db, f.driver), db.Close()); err != nil {
		return fmt.Errorf("%w; does the database exist, and may this user create tables in it?", err)
	}
	if f.asJSON {
		return json.NewEncoder(out).Encode(map[string]any{"ready": true, "driver": f.driver})
	}
	_, err = fmt.Fprintln(out, "the database is ready for "+f.ready)
	return err
}

// checkDSN keeps a mistyped file name from becoming a new, empty database.
func (f *tables) checkDSN() error {
	if f.dsn == "" {
		return usageError{errors.New("--dsn is missing: say which database, or use --print")}
	}
	if f.driver != "sqlite" {
		return nil
	}
	file, _, _ := strings.Cut(strings.TrimPrefix(f.dsn, "file:"), "?")
	if _, err := os.Stat(file); err != nil {
		return fmt.Errorf("--dsn: %w; the tables go into a database that exists", err)
	}
	return nil
}
