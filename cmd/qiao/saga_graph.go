package main

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/qiao-tx/qiao/saga/graph"
	"github.com/qiao-tx/qiao/saga/machine"
	"github.com/qiao-tx/qiao/saga/sagalog"
	"github.com/qiao-tx/qiao/saga/statelang"
)

// sagaDatabase are the flags that name a database with the log of sagas.
type sagaDatabase struct{ driver, dsn, prefix string }

func (d *sagaDatabase) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&d.driver, "driver", "mysql", "mysql (MariaDB too), pgx (PostgreSQL) or sqlite")
	cmd.Flags().StringVar(&d.dsn, "dsn", "", "the `database` with the log: user:password@tcp(host:port)/name, postgres://…, or a file")
	cmd.Flags().StringVar(&d.prefix, "table-prefix", "seata_", "what the names of the tables begin with")
}

func (d *sagaDatabase) open() (*sql.DB, error) {
	if d.driver != "mysql" && d.driver != "pgx" && d.driver != "sqlite" {
		return nil, usageError{fmt.Errorf("--driver %q: want mysql (MariaDB too), pgx (PostgreSQL) or sqlite", d.driver)}
	}
	dsn := d.dsn
	if d.driver == "sqlite" {
		dsn = "file:" + dsn + "?_pragma=journal_mode(WAL)&_pragma=busy_timeout(10000)&_pragma=synchronous(FULL)"
	}
	db, err := sql.Open(d.driver, dsn)
	if err != nil {
		return nil, usageError{fmt.Errorf("--dsn: %w", err)}
	}
	return db, nil
}

func newSagaGraphCommand() *cobra.Command {
	var out, instance string
	var db sagaDatabase
	cmd := &cobra.Command{
		Use:   "graph [FILE]",
		Short: "Draw a state machine as SVG, and how far an instance came",
		Long: `graph writes a picture of a state machine. With --instance and a database it draws
the machine of that instance as the log has it, each state in the colour of its
status: green SU, red FA, orange UN, blue RU, grey SK.`,
		Example: `  qiao saga graph order.json -o order.svg
  qiao saga graph --instance 127.0.0.1:8091:42 --driver sqlite --dsn saga.db -o 42.svg`,
		RunE: func(cmd *cobra.Command, args []string) error {
			var picture []byte
			switch {
			case instance != "" && len(args) == 0:
				if db.dsn == "" {
					return usageError{errors.New("--instance needs the database with the log: give --driver and --dsn")}
				}
				var err error
				if picture, err = drawInstance(cmd.Context(), &db, instance); err != nil {
					return err
				}
			case instance == "" && len(args) == 1:
				m, err := readMachine(args[0], cmd.InOrStdin())
				if err != nil {
					return fmt.Errorf("%s: %w", args[0], err)
				}
				picture = graph.SVG(m, graph.Progress{})
			default:
				return usageError{errors.New("want one FILE, or --instance with a database")}
			}
			if out == "" || out == "-" {
				_, err := bytes.NewReader(picture).WriteTo(cmd.OutOrStdout())
				return err
			}
			return os.WriteFile(out, picture, 0o644)
		},
	}
	cmd.Flags().StringVarP(&out, "output", "o", "", "the `file` to write; default is standard output")
	cmd.Flags().StringVar(&instance, "instance", "", "the `id` of an instance")
	db.flags(cmd)
	return cmd
}

func drawInstance(ctx context.Context, d *sagaDatabase, id string) (picture []byte, err error) {
	db, err := d.open()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	log, definition, err := sagalog.Read(ctx, sagalog.Config{DB: db, TablePrefix: d.prefix}, id)
	if err != nil {
		return nil, err
	}
	if definition.Type == sagalog.Code {
		return nil, fmt.Errorf("saga %s of %s is one in code: only state machines have a picture", id, definition.Name)
	}
	m, err := statelang.Parse([]byte(definition.Content))
	if err != nil {
		return nil, err
	}
	p, err := machine.Compile(m)
	if err != nil {
		return nil, err
	}
	x, err := machine.Reload(p, machine.Settings{NewID: func(string) string { return sagalog.NewID(time.Now()) }}, log)
	if err != nil {
		return nil, err
	}
	return graph.SVG(m, progressOf(x.Instance, x.Rows)), nil
}

func progressOf(i *machine.Instance, rows []*machine.Row) graph.Progress {
	return graph.Progress{ID: i.ID, Status: i.Status, Compensation: i.Compensation, Rows: rows}
}

func newSagaTablesCommand() *cobra.Command {
	var db sagaDatabase
	var print, asJSON bool
	cmd := &cobra.Command{
		Use:   "tables",
		Short: "Create the tables that the log of sagas needs",
		Long: `tables creates the tables of the log where they are missing: Seata's three, and two
of our own. What is there stays as it is.`,
		Example: `  qiao saga tables --driver mysql --dsn 'app:secret@tcp(127.0.0.1:3306)/orders'
  qiao saga tables --driver pgx --print     # the statements, for a migration tool`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if print {
				script, err := sagalog.DDL(map[string]string{"mysql": "mysql", "pgx": "postgresql", "sqlite": "sqlite"}[db.driver])
				if err != nil {
					return usageError{fmt.Errorf("--driver %q: want mysql (MariaDB too), pgx (PostgreSQL) or sqlite", db.driver)}
				}
				_, err = fmt.Fprint(cmd.OutOrStdout(), script)
				return err
			}
			if db.dsn == "" {
				return usageError{errors.New("--dsn is missing: it names the database")}
			}
			conn, err := db.open()
			if err != nil {
				return err
			}
			if err := errors.Join(sagalog.CreateTables(cmd.Context(), conn), conn.Close()); err != nil {
				return err
			}
			if asJSON {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(map[string]any{"ready": true, "driver": db.driver})
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), "the database is ready for sagas")
			return err
		},
	}
	db.flags(cmd)
	cmd.Flags().BoolVar(&print, "print", false, "print the statements and change nothing")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the result as one JSON object")
	return cmd
}
