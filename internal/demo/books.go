package demo

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/go-sql-driver/mysql"
	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/qiao-tx/qiao/datasource"
	"github.com/qiao-tx/qiao/samples/shop/service"
)

// books are the four databases, opened beside the services and without the
// SDK: the auditor's view.
type books struct {
	dsns                          map[string]string
	order, stock, account, points *sql.DB
	drop                          func() error
}

// openBooks makes the databases: files in dir, or databases on a MySQL server
// when dsn names one, with their tables and what the world begins with.
func openBooks(ctx context.Context, dir, dsn string, w world) (b *books, err error) {
	b = &books{dsns: map[string]string{}, drop: func() error { return nil }}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.close(), b.drop())
		}
	}()
	driver, dialect := "sqlite", datasource.SQLite
	if dsn != "" {
		driver, dialect = "mysql", datasource.MySQL
		if err := b.createOnServer(ctx, dsn); err != nil {
			return b, err
		}
	} else {
		for name := range service.Tables() {
			b.dsns[name] = "file:" + filepath.Join(dir, name+".db") + "?_pragma=journal_mode(WAL)&_pragma=busy_timeout(5000)"
		}
	}
	for name, db := range map[string]**sql.DB{"order": &b.order, "stock": &b.stock, "account": &b.account, "points": &b.points} {
		if *db, err = sql.Open(driver, b.dsns[name]); err != nil {
			return b, err
		}
		if _, err := (*db).ExecContext(ctx, service.Tables()[name]); err != nil {
			return b, fmt.Errorf("create the table of the %s service: %w", name, err)
		}
		if err := datasource.CreateUndoTable(ctx, *db, dialect); err != nil {
			return b, fmt.Errorf("create the undo table of the %s service: %w", name, err)
		}
	}
	return b, errors.Join(
		seed(ctx, b.stock, "INSERT INTO stock (item, quantity) VALUES ", items, itemName, w.stock),
		seed(ctx, b.account, "INSERT INTO account (customer, balance) VALUES ", customerCount, customerName, w.balance),
		seed(ctx, b.points, "INSERT INTO points (customer, points) VALUES ", customerCount, customerName, noPoints),
	)
}

// createOnServer makes a database for each service, under names of their own.
func (b *books) createOnServer(ctx context.Context, dsn string) error {
	cfg, err := mysql.ParseDSN(dsn)
	if err != nil {
		return fmt.Errorf("--mysql: %w; want user:password@tcp(host:port)/", err)
	}
	cfg.DBName = ""
	server, err := sql.Open("mysql", cfg.FormatDSN())
	if err != nil {
		return err
	}
	run := strings.ToLower(rand.Text()[:6])
	var names []string
	b.drop = func() error {
		var errs []error
		for _, name := range names {
			_, err := server.ExecContext(context.WithoutCancel(ctx), "DROP DATABASE "+name)
			errs = append(errs, err)
		}
		return errors.Join(append(errs, server.Close())...)
	}
	for name := range service.Tables() {
		own := cfg.Clone()
		own.DBName = "qiao_demo_" + run + "_" + name
		if _, err := server.ExecContext(ctx, "CREATE DATABASE "+own.DBName); err != nil {
			return fmt.Errorf("--mysql: create database %s: %w", own.DBName, err)
		}
		names = append(names, own.DBName)
		b.dsns[name] = own.FormatDSN()
	}
	return nil
}

func seed(ctx context.Context, db *sql.DB, insert string, n int, name func(int) string, amount func(int) int64) error {
	var rows []string
	for i := range n {
		rows = append(rows, fmt.Sprintf("('%s', %d)", name(i), amount(i)))
	}
	_, err := db.ExecContext(ctx, insert+strings.Join(rows, ", "))
	return err
}

func (b *books) all() []*sql.DB { return []*sql.DB{b.order, b.stock, b.account, b.points} }

func (b *books) close() error {
	var errs []error
	for _, db := range b.all() {
		if db != nil {
			errs = append(errs, db.Close())
		}
	}
	return errors.Join(errs...)
}

// undoRows counts the undo records that wait for phase two. A rollback that
// found nothing to undo leaves a mark against a late first phase: those are of
// status 1, stay for days by design, and are not counted.
func (b *books) undoRows(ctx context.Context) (int64, error) {
	var sum int64
	for _, db := range b.all() {
		var n int64
		if err := db.QueryRowContext(ctx, "SELECT COUNT(*) FROM undo_log WHERE log_status = 0").Scan(&n); err != nil {
			return 0, fmt.Errorf("count undo rows: %w", err)
		}
		sum += n
	}
	return sum, nil
}

// amounts reads a table of names and numbers.
func amounts(ctx context.Context, db *sql.DB, query string) (map[string]int64, error) {
	rows, err := db.QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	found := map[string]int64{}
	for rows.Next() {
		var name string
		var n int64
		if err := rows.Scan(&name, &n); err != nil {
			return nil, err
		}
		found[name] = n
	}
	return found, rows.Err()
}

// orders reads what stands in the order service's database.
func (b *books) orders(ctx context.Context) (map[int64]service.Order, error) {
	rows, err := b.order.QueryContext(ctx, "SELECT number, customer, item, quantity, price FROM orders")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	found := map[int64]service.Order{}
	for rows.Next() {
		var o service.Order
		if err := rows.Scan(&o.Number, &o.Customer, &o.Item, &o.Quantity, &o.Price); err != nil {
			return nil, err
		}
		found[o.Number] = o
	}
	return found, rows.Err()
}
