package play

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/go-sql-driver/mysql"
	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/qiao-tx/qiao/datasource"
	"github.com/qiao-tx/qiao/datasource/schema"
	"github.com/qiao-tx/qiao/saga/sagalog"
	"github.com/qiao-tx/qiao/samples/shop/service"
)

// databases are the services' databases, opened beside the services and without
// the SDK.
type databases struct {
	of map[string]*sql.DB // by service
	// forGo and forJava are the names that a service opens its own by.
	forGo, forJava map[string]string
	server         *sql.DB  // nil for files
	made           []string // on the server
}

// openDatabases makes them, as files in dir or on the server of a DSN, with all
// tables that a service may want.
func openDatabases(ctx context.Context, dir, dsn, root string) (d *databases, err error) {
	d = &databases{of: map[string]*sql.DB{}, forGo: map[string]string{}, forJava: map[string]string{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.drop())
		}
	}()
	driver, dialect, script := "sqlite", datasource.SQLite, "sqlite.sql"
	if dsn == "" {
		for name := range service.Tables() {
			d.forGo[name] = "file:" + filepath.Join(dir, name+".db") + "?_pragma=journal_mode(WAL)&_pragma=busy_timeout(5000)"
		}
	} else {
		driver, dialect, script = "mysql", datasource.MySQL, "mysql.sql"
		if err := d.createOnServer(ctx, dsn); err != nil {
			return d, err
		}
	}
	fence, err := os.ReadFile(filepath.Join(root, "script", "client", "tcc", "db", script))
	if err != nil {
		return d, err
	}
	for name, table := range service.Tables() {
		own := append(statements(string(fence)), table, service.StepTable)
		db, err := sql.Open(driver, d.forGo[name])
		if err != nil {
			return d, err
		}
		d.of[name] = db
		if err := d.createTables(ctx, db, dialect, own); err != nil {
			return d, fmt.Errorf("the database of the %s service: %w", name, err)
		}
	}
	if err := sagalog.CreateTables(ctx, d.of["order"]); err != nil {
		return d, fmt.Errorf("the saga log of the order service: %w", err)
	}
	return d, nil
}

// createOnServer makes a database for each service, under names of their own.
func (d *databases) createOnServer(ctx context.Context, dsn string) error {
	cfg, err := mysql.ParseDSN(dsn)
	if err != nil {
		return fmt.Errorf("--mysql: %w; want user:password@tcp(host:port)/", err)
	}
	cfg.DBName = ""
	if d.server, err = sql.Open("mysql", cfg.FormatDSN()); err != nil {
		return fmt.Errorf("--mysql: %w", err)
	}
	run := strings.ToLower(rand.Text()[:6])
	for name := range service.Tables() {
		own := cfg.Clone()
		own.DBName = "qiao_shop_" + run + "_" + name
		if _, err := d.server.ExecContext(ctx, "CREATE DATABASE "+own.DBName); err != nil {
			return fmt.Errorf("--mysql: create database %s: %w", own.DBName, err)
		}
		d.made = append(d.made, own.DBName)
		d.forGo[name] = own.FormatDSN()
		login := url.Values{"user": {own.User}, "password": {own.Passwd}}
		d.forJava[name] = "jdbc:mysql://" + own.Addr + "/" + own.DBName + "?" + login.Encode()
	}
	return nil
}

func (d *databases) createTables(ctx context.Context, db *sql.DB, dialect schema.Dialect, own []string) error {
	if err := datasource.CreateUndoTable(ctx, db, dialect); err != nil {
		return err
	}
	for _, statement := range own {
		if _, err := db.ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}

// statements takes a script apart, without its comments.
func statements(script string) []string {
	var kept strings.Builder
	for line := range strings.Lines(script) {
		if !strings.HasPrefix(line, "--") {
			kept.WriteString(line)
		}
	}
	var found []string
	for statement := range strings.SplitSeq(kept.String(), ";") {
		if statement = strings.TrimSpace(statement); statement != "" {
			found = append(found, statement)
		}
	}
	return found
}

// drop closes the databases and removes those on a server.
func (d *databases) drop() error {
	var errs []error
	for _, db := range d.of {
		errs = append(errs, db.Close())
	}
	if d.server == nil {
		return errors.Join(errs...)
	}
	for _, name := range d.made {
		_, err := d.server.Exec("DROP DATABASE " + name)
		errs = append(errs, err)
	}
	return errors.Join(append(errs, d.server.Close())...)
}
