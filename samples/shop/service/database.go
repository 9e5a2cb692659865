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
// take part in global transactions by themselves, under TCC it is a plain one.
func openDatabase(ctx context.Context, c *client.Client, mode Mode, dsn string) (database, error) {
	driver := "mysql"
	if strings.HasPrefix(dsn, "file:") {
		driver = "sqlite"
	}
	var db *sql.DB
	var err error
	switch mode {
	case TCC:
		db, err = sql.Open(driver, dsn)
	case XA:
		db, err = datasource.Open(ctx, c.RM(), datasource.Config{Driver: driver, DSN: dsn, Mode: datasource.XA})
	default:
		db, err = datasource.Open(ctx, c.RM(), datasource.Config{Driver: driver, DSN: dsn})
	}
	return database{db, mode, c.RM()}, err
}

// change returns a change of the database as part of its caller's global
// transaction: the plain one under AT and XA, the action's first phase under TCC.
func change[T any](ctx context.Context, own database, plain func(context.Context, *sql.DB, T) error, action fence.Action[T]) (func(context.Context, T) error, error) {
	if own.mode != TCC {
		return func(ctx context.Context, arg T) error { return plain(ctx, own.db, arg) }, nil
	}
	f, err := fence.New(own.db, "")
	if err != nil {
		return nil, err
	}
	handle, err := tcc.Register(ctx, own.rm, fence.Guard(f, action))
	if err != nil {
		return nil, err
	}
	return handle.Try, nil
}
