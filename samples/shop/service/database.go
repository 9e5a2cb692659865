package service

import (
	"context"
	"database/sql"
	"strings"

	_ "github.com/go-sql-driver/mysql" // the driver "mysql"
	_ "modernc.org/sqlite"             // the driver "sqlite"

	"github.com/qiao-tx/qiao/client"
	"github.com/qiao-tx/qiao/datasource"
	"github.com/qiao-tx/qiao/rm"
	"github.com/qiao-tx/qiao/rm/tcc"
	"github.com/qiao-tx/qiao/rm/tcc/fence"
)

// database is a service's own.
type database struct {
	db   *sql.DB
	mode Mode
	rm   rm.Coordinator
}

// openDatabase opens a database as the mode wants it: under AT and XA its statements
// take part in global transactions by themselves, under TCC and in a saga it is a
// plain one.
func openDatabase(ctx context.Context, c *client.Client, mode Mode, dsn string) (database, error) {
	driver := "mysql"
	if strings.HasPrefix(dsn, "file:") {
		driver = "sqlite"
	}
	var db *sql.DB
	var err error
	switch mode {
	case TCC, Saga:
		db, err = sql.Open(driver, dsn)
	case XA:
		db, err = datasource.Open(ctx, c.RM(), datasource.Config{Driver: driver, DSN: dsn, Mode: datasource.XA})
	default:
		db, err = datasource.Open(ctx, c.RM(), datasource.Config{Driver: driver, DSN: dsn})
	}
	return database{db, mode, c.RM()}, err
}

// statements is what *sql.DB and *sql.Tx have in common here.
type statements interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

// change returns a change of the database as part of its caller's global
// transaction: the plain one under AT and XA, the action's first phase under TCC,
// the step in a saga. Only a step has an undo that others call.
func change[T any](ctx context.Context, own database, s step[T], action fence.Action[T]) (do, undo func(context.Context, T) error, err error) {
	switch own.mode {
	case TCC:
		f, err := fence.New(own.db, "")
		if err != nil {
			return nil, nil, err
		}
		handle, err := tcc.Register(ctx, own.rm, fence.Guard(f, action))
		if err != nil {
			return nil, nil, err
		}
		return handle.Try, nil, nil
	case Saga:
		do, undo = s.in(own.db)
		return do, undo, nil
	default:
		return func(ctx context.Context, arg T) error { return s.do(ctx, own.db, arg) }, nil, nil
	}
}
