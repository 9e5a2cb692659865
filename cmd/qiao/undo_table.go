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
)

// undoTableFlags say what undo-table is to do.
type undoTableFlags struct {
	driver, dsn   string
	print, asJSON bool
}

func newUndoTableCommand() *cobra.Command {
	var f undoTableFlags
	cmd := &cobra.Command{
		Use:   "undo-table",
		Short: "Create the undo table that AT needs in a service's database",
		Long: `undo-table creates the tables that AT mode needs in the database of a service,
where they are missing: undo_log, as Seata has it, and on SQLite the table that
holds the file's own id. What is there stays as it is.`,
		Example: `  qiao undo-table --driver mysql --dsn 'app:secret@tcp(127.0.0.1:3306)/orders'
  qiao undo-table --driver pgx --dsn 'postgres://app:secret@127.0.0.1:5432/orders'
  qiao undo-table --driver sqlite --dsn /var/lib/orders/orders.db
  qiao undo-table --driver mysql --print     # the statements, for a migration tool`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd.Context(), cmd.OutOrStdout()) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.driver, "driver", "mysql", "mysql (MariaDB too), pgx (PostgreSQL) or sqlite")
	flags.StringVar(&f.dsn, "dsn", "", "the `database`: user:password@tcp(host:port)/name, postgres://user:password@host:port/name, or a file")
	flags.BoolVar(&f.print, "print", false, "print the statements and change nothing")
	flags.BoolVar(&f.asJSON, "json", false, "print the result as one JSON object")
	return cmd
}

func (f *undoTableFlags) run(ctx context.Context, out io.Writer) error {
	if f.driver != "mysql" && f.driver != "sqlite" && f.driver != "pgx" {
		return usageError{fmt.Errorf("--driver %q: want mysql (MariaDB too), pgx (PostgreSQL) or sqlite", f.driver)}
	}
	dialect, err := datasource.DialectOf(f.driver)
	if err != nil {
		return err
	}
	if f.print {
		script, err := datasource.UndoTableDDL(dialect)
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
	if err := errors.Join(datasource.CreateUndoTable(ctx, db, dialect), db.Close()); err != nil {
		return fmt.Errorf("%w; does the database exist, and may this user create tables in it?", err)
	}
	if f.asJSON {
		return json.NewEncoder(out).Encode(map[string]any{"ready": true, "driver": f.driver})
	}
	_, err = fmt.Fprintln(out, "the database is ready for AT")
	return err
}

// checkDSN keeps a mistyped file name from becoming a new, empty database.
func (f *undoTableFlags) checkDSN() error {
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
