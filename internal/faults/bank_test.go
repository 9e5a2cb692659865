//go:build linux

package faults

import (
	"context"
	"database/sql"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/datasource"
	"github.com/qiao-tx/qiao/internal/promtext"
	"github.com/qiao-tx/qiao/internal/relay"
	"github.com/qiao-tx/qiao/internal/testenv"
	"github.com/qiao-tx/qiao/protocol"
)

const (
	accounts     = 100 // on each side
	firstBalance = 1_000_000
)

// bank is two databases and the processes around them. Money moves from the
// side debit, on MariaDB, to the side credit, on SQLite, or for XA on PostgreSQL.
type bank struct {
	t           *testing.T
	dir         string
	relay       *relay.Relay
	coordinator *process
	tm          *process
	debit       *process
	credit      *process
	books       map[string]*sql.DB // by the names of the resource managers
	drivers     map[string]string
	reportsURL  string
	web         *http.Client
	numbers     atomic.Int64

	mu      sync.Mutex
	actions map[string]func()
	// expected are the transfers whose rows must be there (true) or must not;
	// absent ones may have ended either way.
	expected map[int64]bool
}

// newBank starts a bank whose debit side is on the MariaDB database of dsn.
func newBank(t *testing.T, dsn string) *bank {
	t.Helper()
	return openBank(t, dsn, "sqlite", "file:"+filepath.Join(t.TempDir(), "credit.db")+
		"?_pragma=journal_mode(WAL)&_pragma=busy_timeout(5000)&_pragma=synchronous(NORMAL)")
}

// newBankFor starts a bank whose sides can do the mode.
func newBankFor(t *testing.T, mode, dsn string) *bank {
	t.Helper()
	if mode == modeXA {
		return openBank(t, dsn, "pgx", testenv.PostgreSQL(t))
	}
	return newBank(t, dsn)
}

// openBank starts a bank on two databases.
func openBank(t *testing.T, dsn, creditDriver, creditDSN string) *bank {
	t.Helper()
	b := &bank{
		t: t, dir: t.TempDir(), relay: relay.New(t), books: map[string]*sql.DB{}, drivers: map[string]string{},
		web: &http.Client{Transport: oneShot()}, actions: map[string]func(){}, expected: map[int64]bool{},
	}
	reports := httptest.NewServer(http.HandlerFunc(b.reports))
	t.Cleanup(reports.Close)
	b.reportsURL = reports.URL
	b.coordinator = coordinator(t, b.dir, b.relay)
	b.debit = b.side("debit", "mysql", dsn)
	b.credit = b.side("credit", creditDriver, creditDSN)
	b.tm = child(t, b.dir, roleTM, roleConfig{Name: "tm", Coordinator: b.relay.Address(), Reports: b.reportsURL})
	b.coordinator.start()
	for _, p := range []*process{b.debit, b.credit, b.tm} {
		p.start()
	}
	return b
}

// side makes a database with its accounts and describes its resource manager.
func (b *bank) side(name, driver, dsn string) *process {
	b.t.Helper()
	db, err := sql.Open(driver, dsn)
	require.NoError(b.t, err)
	b.t.Cleanup(func() { _ = db.Close() })
	b.books[name], b.drivers[name] = db, driver
	script := driver
	if driver == "pgx" {
		script = "postgresql"
	}
	fenceTable, err := os.ReadFile("../../script/client/tcc/db/" + script + ".sql")
	require.NoError(b.t, err)
	var rows []string
	for id := range accounts {
		rows = append(rows, fmt.Sprintf("(%d, %d, 0)", id, firstBalance))
	}
	statements := append(strings.Split(withoutComments(string(fenceTable)), ";"),
		"CREATE TABLE account (id BIGINT NOT NULL PRIMARY KEY, balance BIGINT NOT NULL, pending BIGINT NOT NULL)",
		"CREATE TABLE ledger (transfer BIGINT NOT NULL PRIMARY KEY, account BIGINT NOT NULL, amount BIGINT NOT NULL)",
		"INSERT INTO account (id, balance, pending) VALUES "+strings.Join(rows, ", "))
	for _, statement := range statements {
		if strings.TrimSpace(statement) == "" {
			continue
		}
		_, err := db.ExecContext(b.t.Context(), statement)
		require.NoError(b.t, err, statement)
	}
	dialect, err := datasource.DialectOf(driver)
	require.NoError(b.t, err)
	require.NoError(b.t, datasource.CreateUndoTable(b.t.Context(), db, dialect))
	return child(b.t, b.dir, roleRM, roleConfig{
		Name: name, Coordinator: b.relay.Address(), Reports: b.reportsURL, Driver: driver, DSN: dsn,
	})
}

func withoutComments(ddl string) string {
	var lines []string
	for line := range strings.Lines(ddl) {
		if !strings.HasPrefix(line, "--") {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "")
}

// newOrder is a transfer of some money between accounts that its number selects.
func (b *bank) newOrder(mode string, commit bool, timeout time.Duration) order {
	n := b.numbers.Add(1)
	amount := n%7 + 1
	modes := [2]string{mode, mode}
	if mode == modeMixed {
		all := []string{modeAT, modeTCC, modeCall}
		modes = [2]string{all[n%3], all[(n+1)%3]}
	}
	at := func(p *process, mode string, amount int64) leg {
		account := n % (accounts / 2)
		if mode != modeAT { // which must not see the rows change that a reservation changes
			account += accounts / 2
		}
		return leg{"http://" + p.address, move{n, mode, account, amount}}
	}
	return order{
		Number: n, Mode: mode, Commit: commit, Timeout: timeout,
		Legs: []leg{at(b.debit, modes[0], -amount), at(b.credit, modes[1], amount)},
	}
}

// place gives the order to the transaction manager. When that dies over it, it
// has told nothing.
func (b *bank) place(o order) told {
	ctx, cancel := context.WithTimeout(b.t.Context(), patience)
	defer cancel()
	answer, err := ask[told](ctx, b.web, "http://"+b.tm.address+"/transfer", o)
	if err != nil {
		return told{Outcome: unknown, Error: "the transaction manager: " + err.Error()}
	}
	switch answer.Outcome {
	case committed, rolledBack:
		b.expect(o, answer.Outcome)
	case unknown:
	default:
		b.t.Errorf("transfer %d: the transaction manager was told %q: %s", o.Number, answer.Outcome, answer.Error)
	}
	return answer
}

// expect notes how a transfer must have ended.
func (b *bank) expect(o order, outcome string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.expected[o.Number] = outcome == committed
}

// status asks the coordinator, through the transaction manager.
func (b *bank) status(x string) string {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), patience)
	defer cancel()
	status, err := ask[string](ctx, b.web, "http://"+b.tm.address+"/status", x)
	require.NoError(b.t, err)
	return status
}

// statuses are the last ones that an outcome may have.
var statuses = map[string][]string{
	committed:  {protocol.StatusCommitted.String()},
	rolledBack: {protocol.StatusRollbacked.String(), protocol.StatusTimeoutRollbacked.String()},
}

// settle waits until nothing is left of any transaction, and then audits.
func (b *bank) settle(t *testing.T) {
	t.Helper()
	deadline := time.Now().Add(patience)
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for left := b.leftovers(); left != ""; left = b.leftovers() {
		if time.Now().After(deadline) {
			t.Fatalf("not every transaction ends: %s", left)
		}
		<-ticker.C
	}
	b.audit(t)
}

// leftovers says what finished transactions would not have left.
func (b *bank) leftovers() string {
	ctx, cancel := context.WithTimeout(b.t.Context(), 10*time.Second)
	defer cancel()
	values, err := promtext.Fetch(ctx, "http://"+b.coordinator.address+"/metrics")
	if err != nil {
		return err.Error()
	}
	left := ""
	for _, name := range []string{"qiao_store_transactions", "qiao_store_branches", "qiao_store_locks"} {
		if n, ok := values[name]; !ok || n != 0 {
			left += fmt.Sprintf("%s %v; ", name, n)
		}
	}
	for name, db := range b.books {
		inDoubt, err := b.inDoubt(ctx, name)
		if err != nil {
			return err.Error()
		}
		if inDoubt > 0 {
			left += fmt.Sprintf("%s: %d branches in doubt; ", name, inDoubt)
		}
		for what, query := range map[string]string{
			"undo records":     "SELECT COUNT(*) FROM undo_log WHERE log_status = 0",
			"undecided tries":  "SELECT COUNT(*) FROM tcc_fence_log WHERE status = 1 AND action_name NOT LIKE '" + callPrefix + "%'",
			"pending accounts": "SELECT COUNT(*) FROM account WHERE pending <> 0",
		} {
			var n int
			if err := db.QueryRowContext(ctx, query).Scan(&n); err != nil {
				return err.Error()
			}
			if n != 0 {
				left += fmt.Sprintf("%s: %d %s; ", name, n, what)
			}
		}
	}
	return left
}

// inDoubt counts the branches of this bank's transactions that are prepared on
// the server of one side.
func (b *bank) inDoubt(ctx context.Context, side string) (n int, err error) {
	dialect, err := datasource.DialectOf(b.drivers[side])
	if err != nil || dialect == datasource.SQLite {
		return 0, err
	}
	branches, err := datasource.InDoubt(ctx, b.books[side], dialect)
	for _, branch := range branches {
		if strings.HasPrefix(branch.XID, b.relay.Address()+":") {
			n++
		}
	}
	return n, err
}

// audit compares both databases with each other and with what was told.
func (b *bank) audit(t *testing.T) {
	t.Helper()
	debits, credits := b.ledger(t, "debit"), b.ledger(t, "credit")
	require.Len(t, credits, len(debits), "some transfer stands on one side only")
	for n, amount := range debits {
		require.Equal(t, -amount, credits[n], "transfer %d", n)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for n, stands := range b.expected {
		_, found := debits[n]
		require.Equal(t, stands, found, "transfer %d stands against what was told", n)
	}
}

// ledger reads the transfers of one side, and wants its accounts to agree.
func (b *bank) ledger(t *testing.T, side string) map[int64]int64 {
	t.Helper()
	db := b.books[side]
	var wrong int
	require.NoError(t, db.QueryRowContext(t.Context(), fmt.Sprintf(`SELECT COUNT(*) FROM account a WHERE balance <> %d +
		COALESCE((SELECT SUM(amount) FROM ledger l WHERE l.account = a.id), 0)`, firstBalance)).Scan(&wrong))
	require.Zero(t, wrong, "accounts of the %s side differ from their ledger", side)
	rows, err := db.QueryContext(t.Context(), "SELECT transfer, amount FROM ledger")
	require.NoError(t, err)
	defer rows.Close()
	found := map[int64]int64{}
	for rows.Next() {
		var n, amount int64
		require.NoError(t, rows.Scan(&n, &amount))
		found[n] = amount
	}
	require.NoError(t, rows.Err())
	return found
}
