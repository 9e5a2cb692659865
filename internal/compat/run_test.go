//go:build linux

package compat

import (
	"context"
	"database/sql"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/internal/javapeer"
	"github.com/qiao-tx/qiao/internal/testenv"
	"github.com/qiao-tx/qiao/protocol"
)

// run is the scenario of one client version on one coordinator.
type run struct {
	t       *testing.T
	version string
	tc      coordinator
	db      *sql.DB
	// url is the database's in Java's form with credentials, resource without.
	url, resource string
	// app is the first application. Each version has its own: what the one before
	// left unfinished is for its own processes.
	app string
	// orders and stock are processes of two applications; second and distant
	// are of the first application too: on the same host, and on another.
	orders, second, distant, stock *client

	steps []observed
	ids   map[string]string // of the current step
}

// observed is what a client saw in one step.
type observed struct {
	step  string
	lines []string
}

// client is one process, with the tap it speaks through.
type client struct {
	*javapeer.Peer
	name string
	tap  *tap
}

type command = javapeer.Command

const (
	action = "debit" // a TCC resource of every client
	atDB   = "at"    // the data source for AT of every client
	xaDB   = "xa"
)

// merging are the settings that make a client merge everything, or nothing.
func merging(on bool) []string {
	var options []string
	for _, key := range []string{"enableClientBatchSendRequest", "enableTmClientBatchSendRequest", "enableRmClientBatchSendRequest"} {
		options = append(options, fmt.Sprintf("-Dtransport.%s=%v", key, on))
	}
	return options
}

func newRun(t *testing.T, version string, tc coordinator) *run {
	r := &run{t: t, version: version, tc: tc, app: "orders-" + version}
	cfg, err := mysql.ParseDSN(testenv.MariaDB(t))
	require.NoError(t, err)
	cfg.MultiStatements = true
	r.resource = fmt.Sprintf("jdbc:mysql://%s/%s", cfg.Addr, cfg.DBName)
	r.url = fmt.Sprintf("%s?user=%s&password=%s&useSSL=false&allowPublicKeyRetrieval=true", r.resource, cfg.User, cfg.Passwd)
	connector, err := mysql.NewConnector(cfg)
	require.NoError(t, err)
	r.db = sql.OpenDB(connector)
	t.Cleanup(func() { require.NoError(t, r.db.Close()) })
	r.exec(`
CREATE TABLE undo_log (
  branch_id BIGINT NOT NULL, xid VARCHAR(128) NOT NULL, context VARCHAR(128) NOT NULL,
  rollback_info LONGBLOB NOT NULL, log_status INT NOT NULL,
  log_created DATETIME(6) NOT NULL, log_modified DATETIME(6) NOT NULL,
  UNIQUE KEY ux_undo_log (xid, branch_id), KEY ix_log_created (log_created));
CREATE TABLE account (id BIGINT PRIMARY KEY, owner VARCHAR(20), money BIGINT NOT NULL);
INSERT INTO account (id, owner, money) VALUES (1, 'ann', 100), (2, 'bob', 100);`)
	return r
}

// launch starts a client of the run's version behind a tap that speaks from an address.
func (r *run) launch(name, app, from string, options ...string) *client {
	r.t.Helper()
	path, err := classpath(r.version)
	require.NoError(r.t, err)
	c := &client{name: name, tap: newTap(r.t, from)}
	c.tap.leadTo(r.tc.Address())
	// Old versions look into the JDK's classes.
	for _, opened := range []string{"java.lang", "java.util", "java.math", "java.sql/java.sql"} {
		module, name, found := strings.Cut(opened, "/")
		if !found {
			module, name = "java.base", opened
		}
		options = append(options, "--add-opens="+module+"/"+name+"=ALL-UNNAMED")
	}
	c.Peer = javapeer.Launch(r.t, javapeer.Program{
		Classpath: path, Main: "qiao.Client", Args: []string{app},
		Options: append(options, "-Dservice.default.grouplist="+c.tap.address()),
	})
	c.Must(command{"op": "action", "name": action})
	c.Must(command{"op": "at", "name": atDB, "url": r.url})
	return c
}

func wanted(step string) bool { return strings.Contains(step, *onlyFlag) }

// step carries out a step and keeps what was seen in it.
func (r *run) step(name string, do func()) {
	r.t.Helper()
	if !wanted(name) {
		return
	}
	began := time.Now()
	r.steps = append(r.steps, observed{step: name})
	r.ids = map[string]string{}
	do()
	r.t.Logf("%s: %s (%.1f s)\n\t%s", r.version, name, time.Since(began).Seconds(),
		strings.Join(r.steps[len(r.steps)-1].lines, "\n\t"))
}

var longNumber = regexp.MustCompile(`\b\d{10,}\b`)

// see notes a line; branch ids become B1, B2, … in the order in which they appear.
func (r *run) see(format string, args ...any) {
	line := longNumber.ReplaceAllStringFunc(fmt.Sprintf(format, args...), func(id string) string {
		if r.ids[id] == "" {
			r.ids[id] = fmt.Sprint("B", len(r.ids)+1)
		}
		return r.ids[id]
	})
	last := &r.steps[len(r.steps)-1]
	last.lines = append(last.lines, line)
}

// tell gives a client a command and notes what it is told.
func (r *run) tell(label string, c *client, cmd command) javapeer.Answer {
	a := c.Do(cmd)
	r.see("%s: %s", label, told(a))
	return a
}

func told(a javapeer.Answer) string {
	switch {
	case a.Error != "":
		return "throws " + a.Error
	case a.Outcome != "":
		return a.Outcome
	default:
		return "done"
	}
}

func (r *run) begin(c *client) string { return r.beginNamed(c, "compat", 60_000) }

func (r *run) beginNamed(c *client, name string, timeoutMillis int) string {
	return c.Must(command{"op": "begin", "name": name, "timeout": timeoutMillis}).XID
}

// transient are the statuses that a transaction leaves by itself.
var transient = map[string]bool{
	"Begin": true, "Committing": true, "CommitRetrying": true, "AsyncCommitting": true, "Rollbacking": true,
	"RollbackRetrying": true, "TimeoutRollbacking": true, "TimeoutRollbackRetrying": true,
}

const settling = 30 * time.Second

// ends notes the status in which a transaction stays.
func (r *run) ends(c *client, x string) { r.endsWithin(settling, c, x) }

func (r *run) endsWithin(patience time.Duration, c *client, x string) {
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		a := c.Do(command{"op": "status", "xid": x})
		if !transient[a.Status] || time.Now().After(deadline) {
			r.see("status in the end: %s", told(a))
			return
		}
	}
}

// await returns whether a condition came true.
func await(patience time.Duration, holds func() bool) bool {
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			return false
		}
	}
	return true
}

func (r *run) events(label string, c *client) {
	r.see("%s: %s", label, strings.Join(c.Must(command{"op": "events"}).Events, ", "))
}

func (r *run) exec(statement string, args ...any) {
	r.t.Helper()
	_, err := r.db.ExecContext(r.t.Context(), statement, args...)
	require.NoError(r.t, err)
}

// money is what the accounts hold.
func (r *run) money() string {
	rows, err := r.db.QueryContext(r.t.Context(), "SELECT owner, money FROM account ORDER BY id")
	require.NoError(r.t, err)
	defer func() { require.NoError(r.t, rows.Close()) }()
	var all []string
	for rows.Next() {
		var owner string
		var money int
		require.NoError(r.t, rows.Scan(&owner, &money))
		all = append(all, fmt.Sprint(owner, " ", money))
	}
	require.NoError(r.t, rows.Err())
	return strings.Join(all, ", ")
}

// refill gives the accounts what they had.
func (r *run) refill() {
	r.exec("UPDATE account SET money = 100")
	r.exec("DELETE FROM account WHERE id > 2")
}

// undoRows counts the undo records, without the marks of rollbacks that found none.
func (r *run) undoRows() (n int) {
	require.NoError(r.t, r.db.QueryRowContext(r.t.Context(), "SELECT COUNT(*) FROM undo_log WHERE log_status = 0").Scan(&n))
	return n
}

// holdUndo locks the undo record of a transaction, so that nobody can roll it
// back before release.
func (r *run) holdUndo(x string) (release func()) {
	tx, err := r.db.BeginTx(context.Background(), nil)
	require.NoError(r.t, err)
	var branch int64
	err = tx.QueryRowContext(r.t.Context(), "SELECT branch_id FROM undo_log WHERE xid = ? FOR UPDATE", x).Scan(&branch)
	require.NoError(r.t, err)
	return func() { require.NoError(r.t, tx.Rollback()) }
}

func sqlOn(source, x string, statements ...string) command {
	return command{"op": "sql", "source": source, "xid": x, "statements": statements}
}

// register is a registration as it goes over the wire.
func (r *run) register(x, data string) command {
	return command{"op": "register", "xid": x, "type": "AT", "resource": r.resource, "lock": "account:1", "data": data}
}

func (r *run) lockQuery(x string) command {
	return command{"op": "lock", "xid": x, "type": "AT", "resource": r.resource, "lock": "account:1"}
}

// orderedTo is the first of the clients that got an order of phase two of a
// transaction, within a while.
func orderedTo(x string, patience time.Duration, clients ...*client) string {
	name := "nobody"
	await(patience, func() bool {
		for _, c := range clients {
			for _, s := range c.tap.since(0) {
				if orderOf(s.message) == x {
					name = c.name
					return true
				}
			}
		}
		return false
	})
	return name
}

// orderOf is the XID of an order of phase two.
func orderOf(m protocol.Message) string {
	switch order := m.(type) {
	case *protocol.BranchCommit:
		return order.XID
	case *protocol.BranchRollback:
		return order.XID
	}
	return ""
}
