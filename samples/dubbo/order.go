package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"

	dubboclient "dubbo.apache.org/dubbo-go/v3/client"
	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/qiao-tx/qiao/client"
	qiaodubbo "github.com/qiao-tx/qiao/client/dubbo"
	"github.com/qiao-tx/qiao/datasource"
	"github.com/qiao-tx/qiao/datasource/schema"
	"github.com/qiao-tx/qiao/protocol/xid"
	"github.com/qiao-tx/qiao/rm"
	"github.com/qiao-tx/qiao/tm"
)

const callTimeout = 5 * time.Second

// orders begins the transactions.
type orders struct {
	tm            *tm.Manager
	db            *sql.DB
	stock, points *dubboclient.Connection
	out           io.Writer
}

// place writes an order, takes its pieces and reserves its points. An error at any
// step undoes those before it.
func (o *orders) place(ctx context.Context, id, n int32) error {
	return o.tm.Run(ctx, tm.Options{Name: "place-order"}, func(ctx context.Context) error {
		fmt.Fprintf(o.out, "order %d of %d pieces: transaction %s\n", id, n, xid.FromContext(ctx))
		if _, err := o.db.ExecContext(ctx, "INSERT INTO orders (id, item, n) VALUES (?, 'hat', ?)", id, n); err != nil {
			return err
		}
		var granted bool
		// Java's consumers pass the action's context; the provider fills it in.
		if err := o.call(ctx, o.points, &granted, "Prepare", &qiaodubbo.BusinessActionContext{}, "ann", n); err != nil {
			return err
		}
		var left int32
		if err := o.call(ctx, o.stock, &left, "Take", "hat", n); err != nil {
			return err
		}
		fmt.Fprintf(o.out, "  written; points reserved; %d left in stock\n", left)
		return nil
	})
}

// call says the time-out with each call: over dubbo, dubbo-go reads no other one here.
func (o *orders) call(ctx context.Context, c *dubboclient.Connection, reply any, method string, args ...any) error {
	return c.CallUnary(ctx, args, reply, method, dubboclient.WithCallRequestTimeout(callTimeout))
}

// databases holds each service's tables.
var databases = map[string][]string{
	"orders": {"CREATE TABLE orders (id INTEGER PRIMARY KEY, item TEXT NOT NULL, n INTEGER NOT NULL)"},
	"stock":  {"CREATE TABLE stock (item TEXT PRIMARY KEY, n INTEGER NOT NULL)", "INSERT INTO stock VALUES ('hat', 10)"},
	"points": {"CREATE TABLE points (customer TEXT PRIMARY KEY, pending INTEGER NOT NULL, total INTEGER NOT NULL)",
		"INSERT INTO points VALUES ('ann', 0, 0)",
		`CREATE TABLE tcc_fence_log (xid VARCHAR(128) NOT NULL, branch_id INTEGER NOT NULL, action_name VARCHAR(64) NOT NULL,
			status INTEGER NOT NULL, gmt_create TIMESTAMP NOT NULL, gmt_modified TIMESTAMP NOT NULL, PRIMARY KEY (xid, branch_id))`},
}

// run is the whole example: two orders, of which the second finds too little in stock.
func run(ctx context.Context, out io.Writer, rpc, coordinator, dir string) (err error) {
	if rpc != "dubbo" && rpc != "triple" {
		return fmt.Errorf("--rpc %q: want dubbo or triple", rpc)
	}
	qiaodubbo.Register(qiaodubbo.Config{})
	c, err := client.Open(ctx, client.Config{Addresses: []string{coordinator}, ApplicationID: "dubbo-sample"})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close(context.WithoutCancel(ctx))) }()
	plain := make(map[string]*sql.DB)
	for name, ddl := range databases {
		db, err := create(ctx, filepath.Join(dir, name+".db"), ddl)
		if err != nil {
			return fmt.Errorf("create database %s: %w", name, err)
		}
		defer db.Close()
		plain[name] = db
	}
	o, err := wire(ctx, out, rpc, c, dir, plain["points"])
	if err != nil {
		return err
	}
	if err := o.place(ctx, 1, 7); err != nil {
		return fmt.Errorf("order 1: %w", err)
	}
	err = o.place(ctx, 2, 7)
	if err == nil {
		return errors.New("order 2 was placed, though the stock had only 3 pieces left")
	}
	fmt.Fprintf(out, "  rolled back: %v\n", err)
	return audit(ctx, out, plain)
}

// wire starts the two services and connects the third with them.
func wire(ctx context.Context, out io.Writer, rpc string, c *client.Client, dir string, pointsDB *sql.DB) (*orders, error) {
	o := &orders{tm: c.TM(), out: out}
	var stockDB *sql.DB
	var err error
	if o.db, err = open(ctx, c.RM(), dir, "orders"); err != nil {
		return nil, err
	}
	if stockDB, err = open(ctx, c.RM(), dir, "stock"); err != nil {
		return nil, err
	}
	points, err := newPoints(ctx, c.RM(), pointsDB)
	if err != nil {
		return nil, err
	}
	at, err := serve(rpc, map[string]any{stockInterface: &Stock{stockDB}, pointsInterface: points})
	if err != nil {
		return nil, err
	}
	if o.stock, err = at.dial(stockInterface); err != nil {
		return nil, err
	}
	o.points, err = at.dial(pointsInterface)
	return o, err
}

func dsn(path string) string {
	return "file:" + path + "?_pragma=journal_mode(wal)&_pragma=busy_timeout(10000)"
}

// create makes a service's database, and the undo table that AT needs.
func create(ctx context.Context, path string, ddl []string) (*sql.DB, error) {
	db, err := sql.Open("sqlite", dsn(path))
	if err != nil {
		return nil, err
	}
	for _, statement := range ddl {
		if _, err := db.ExecContext(ctx, statement); err != nil {
			return nil, errors.Join(err, db.Close())
		}
	}
	return db, datasource.CreateUndoTable(ctx, db, schema.SQLite)
}

// open returns a database whose statements take part in global transactions.
func open(ctx context.Context, c rm.Coordinator, dir, name string) (*sql.DB, error) {
	return datasource.Open(ctx, c, datasource.Config{Driver: "sqlite", DSN: dsn(filepath.Join(dir, name+".db"))})
}

// audit compares the three books: what was ordered has left the stock and brought points.
func audit(ctx context.Context, out io.Writer, plain map[string]*sql.DB) error {
	var ordered, left, pending, total int
	err := errors.Join(
		plain["orders"].QueryRowContext(ctx, "SELECT SUM(n) FROM orders").Scan(&ordered),
		plain["stock"].QueryRowContext(ctx, "SELECT n FROM stock").Scan(&left),
		plain["points"].QueryRowContext(ctx, "SELECT pending, total FROM points").Scan(&pending, &total))
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "books: ordered %d, left in stock %d of 10, points %d, reserved %d\n", ordered, left, total, pending)
	if ordered != 7 || left != 3 || total != 7 || pending != 0 {
		return errors.New("consistent: no")
	}
	fmt.Fprintln(out, "consistent: yes")
	return nil
}
