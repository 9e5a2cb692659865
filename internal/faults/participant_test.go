//go:build linux

package faults

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"net/http"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5/stdlib"
	"modernc.org/sqlite"

	qiaohttp "github.com/qiao-tx/qiao/client/http"
	"github.com/qiao-tx/qiao/datasource"
	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/rm"
	"github.com/qiao-tx/qiao/rm/compensation"
	"github.com/qiao-tx/qiao/rm/tcc"
	"github.com/qiao-tx/qiao/rm/tcc/fence"
)

// Steps of a resource manager. The local commit of phase two, where it has one,
// is the second that the process reaches.
const (
	beforeRegister    = "before the branch is registered"
	afterRegister     = "after the branch is registered"
	beforeLocalCommit = "before the local commit"
	afterLocalCommit  = "after the local commit"
	orderReceived     = "before the order is carried out"
	orderDone         = "before the order is answered"
)

// Modes of a branch.
const (
	modeAT   = "AT"
	modeTCC  = "TCC"
	modeXA   = "XA"
	modeCall = "saga annotation" // a call with a compensation
	// modeMixed has another mode on each side.
	modeMixed = "mixed"
)

// move changes the balance of an account.
type move struct {
	Transfer int64
	Mode     string
	Account  int64
	Amount   int64
}

// participant is a resource manager's process: one database, reached through AT,
// through a TCC action and through a call with a compensation, both with the fence,
// and through XA where the database can.
type participant struct {
	at, xa *sql.DB
	tcc    *tcc.Handle[move]
	call   *compensation.Handle[move, struct{}]
}

func newParticipant(ctx context.Context, c rm.Coordinator, cfg roleConfig, steps *failpoints) (http.Handler, error) {
	var inner driver.Connector
	var err error
	switch cfg.Driver {
	case "mysql":
		inner, err = mysql.MySQLDriver{}.OpenConnector(cfg.DSN)
	case "pgx":
		inner, err = stdlib.GetDefaultDriver().(driver.DriverContext).OpenConnector(cfg.DSN)
	default:
		inner = sqliteConnector{cfg.DSN}
	}
	if err != nil {
		return nil, err
	}
	inner = steppingConnector{inner, steps}
	coordinator := steppingCoordinator{c, steps, cfg.Silent}
	protected, err := datasource.Wrap(ctx, coordinator, inner, datasource.Config{Driver: cfg.Driver, DSN: cfg.DSN})
	if err != nil {
		return nil, err
	}
	p := &participant{at: sql.OpenDB(protected)}
	p.at.SetMaxOpenConns(16)
	if cfg.Driver != "sqlite" {
		prepared, err := datasource.Wrap(ctx, coordinator, inner, datasource.Config{Driver: cfg.Driver, DSN: cfg.DSN, Mode: datasource.XA})
		if err != nil {
			return nil, err
		}
		p.xa = sql.OpenDB(prepared)
		p.xa.SetMaxOpenConns(16)
	}
	if cfg.Driver == "pgx" { // the statements of the other modes are MySQL's and SQLite's
		return qiaohttp.Middleware(answering(p.move), qiaohttp.Config{}), nil
	}
	plain := sql.OpenDB(inner)
	plain.SetMaxOpenConns(16)
	records, err := fence.New(plain, "")
	if err != nil {
		return nil, err
	}
	if p.tcc, err = tcc.Register(ctx, coordinator, reservation("move-"+cfg.Name, records)); err != nil {
		return nil, err
	}
	if p.call, err = compensation.Register(ctx, coordinator, booking(callPrefix+cfg.Name, records)); err != nil {
		return nil, err
	}
	return qiaohttp.Middleware(answering(p.move), qiaohttp.Config{}), nil
}

func (p *participant) move(ctx context.Context, m move) (struct{}, error) {
	switch m.Mode {
	case modeTCC:
		return struct{}{}, p.tcc.Try(ctx, m)
	case modeCall:
		return p.call.Call(ctx, m)
	}
	pool := p.at
	if m.Mode == modeXA {
		pool = p.xa
	}
	return struct{}{}, moveRows(ctx, pool, m)
}

// moveRows changes two tables in one local transaction, which AT takes back, and
// XA keeps prepared.
func moveRows(ctx context.Context, pool *sql.DB, m move) error {
	tx, err := pool.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // does nothing after Commit
	if _, err := tx.ExecContext(ctx, fmt.Sprintf("UPDATE account SET balance = balance + %d WHERE id = %d", m.Amount, m.Account)); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, fmt.Sprintf("INSERT INTO ledger (transfer, account, amount) VALUES (%d, %d, %d)", m.Transfer, m.Account, m.Amount)); err != nil {
		return err
	}
	return tx.Commit()
}

// callPrefix begins the names of calls with a compensation, whose records in the
// fence table stay while the call stands.
const callPrefix = "book-"

// booking is the same change at once, with what takes it back.
func booking(name string, records *fence.Fence) compensation.Action[move, struct{}] {
	return fence.GuardCall(records, fence.Call[move, struct{}]{
		Name: name,
		Call: func(ctx context.Context, tx *sql.Tx, m move) (struct{}, error) {
			if err := execute(ctx, tx, "UPDATE account SET balance = balance + ? WHERE id = ?", m.Amount, m.Account); err != nil {
				return struct{}{}, err
			}
			return struct{}{}, execute(ctx, tx, "INSERT INTO ledger (transfer, account, amount) VALUES (?, ?, ?)", m.Transfer, m.Account, m.Amount)
		},
		Compensate: func(ctx context.Context, tx *sql.Tx, m move) error {
			if err := execute(ctx, tx, "UPDATE account SET balance = balance - ? WHERE id = ?", m.Amount, m.Account); err != nil {
				return err
			}
			return execute(ctx, tx, "DELETE FROM ledger WHERE transfer = ?", m.Transfer)
		},
	})
}

// reservation is the same change in two steps: pending, then final.
func reservation(name string, records *fence.Fence) tcc.Action[move] {
	return fence.Guard(records, fence.Action[move]{
		Name: name,
		Try: func(ctx context.Context, tx *sql.Tx, m move) error {
			return execute(ctx, tx, "UPDATE account SET pending = pending + ? WHERE id = ?", m.Amount, m.Account)
		},
		Confirm: func(ctx context.Context, tx *sql.Tx, m move) error {
			if err := execute(ctx, tx, "UPDATE account SET balance = balance + ?, pending = pending - ? WHERE id = ?", m.Amount, m.Amount, m.Account); err != nil {
				return err
			}
			return execute(ctx, tx, "INSERT INTO ledger (transfer, account, amount) VALUES (?, ?, ?)", m.Transfer, m.Account, m.Amount)
		},
		Cancel: func(ctx context.Context, tx *sql.Tx, m move) error {
			return execute(ctx, tx, "UPDATE account SET pending = pending - ? WHERE id = ?", m.Amount, m.Account)
		},
	})
}

func execute(ctx context.Context, tx *sql.Tx, query string, args ...any) error {
	_, err := tx.ExecContext(ctx, query, args...)
	return err
}

// steppingCoordinator reports the steps around a registration, and those around
// the orders of the resources that are registered through it.
type steppingCoordinator struct {
	rm.Coordinator
	steps  *failpoints
	silent bool
}

func (c steppingCoordinator) RegisterBranch(ctx context.Context, r rm.Registration) (int64, error) {
	c.steps.reach(beforeRegister)
	id, err := c.Coordinator.RegisterBranch(ctx, r)
	if err == nil {
		c.steps.reach(afterRegister)
	}
	return id, err
}

func (c steppingCoordinator) RegisterResource(ctx context.Context, r rm.Resource) error {
	return c.Coordinator.RegisterResource(ctx, steppingResource{r, c.steps, c.silent && r.BranchType() == protocol.TypeTCC})
}

type steppingResource struct {
	rm.Resource
	steps  *failpoints
	silent bool
}

func (r steppingResource) Commit(ctx context.Context, b rm.Branch) (protocol.BranchStatus, error) {
	return r.step(ctx, b, r.Resource.Commit)
}

func (r steppingResource) Rollback(ctx context.Context, b rm.Branch) (protocol.BranchStatus, error) {
	return r.step(ctx, b, r.Resource.Rollback)
}

func (r steppingResource) step(ctx context.Context, b rm.Branch, obey func(context.Context, rm.Branch) (protocol.BranchStatus, error)) (protocol.BranchStatus, error) {
	if r.silent {
		select {} // until the process is killed
	}
	r.steps.reach(orderReceived)
	status, err := obey(ctx, b)
	if err != nil {
		return status, fmt.Errorf("as the process under test sees it: %w", err)
	}
	r.steps.reach(orderDone)
	return status, nil
}

// sqliteConnector is the connector that the driver lacks.
type sqliteConnector struct{ dsn string }

func (c sqliteConnector) Connect(context.Context) (driver.Conn, error) { return c.Driver().Open(c.dsn) }
func (c sqliteConnector) Driver() driver.Driver                        { return &sqlite.Driver{} }
