//go:build linux

package sidebyside

import (
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/internal/javapeer"
	"github.com/qiao-tx/qiao/internal/testenv"
)

// world is a Java coordinator and one of this project on the same tables, and a
// database whose rows take part in transactions.
type world struct {
	t    *testing.T
	java *testenv.JavaCoordinator
	ours *testenv.Coordinator
	// store has the tables of the coordinators, books the rows.
	store, books       *sql.DB
	booksDSN, booksURL string
	// loads is how many loads there were: each has numbers of its own.
	loads int64
}

// javaHost is a loopback address that a Java coordinator does not refuse for itself.
const javaHost = "127.0.0.2"

// newWorld starts both coordinators on a server of MySQL's kind.
func newWorld(t *testing.T, server testenv.MySQLServer) *world {
	w := &world{t: t}
	storeDSN := server.Database(t)
	w.store = openDB(t, storeDSN)
	cfg, err := mysql.ParseDSN(storeDSN)
	require.NoError(t, err)
	password := filepath.Join(t.TempDir(), "password")
	require.NoError(t, os.WriteFile(password, []byte(cfg.Passwd), 0o600))
	w.ours = testenv.Qiao(t, "--store-mode", "db", "--store-db-type", "mysql",
		"--store-db-url", "jdbc:mysql://"+cfg.Addr+"/"+cfg.DBName, "--store-db-user", cfg.User, "--store-db-password-file", password,
		"--store-db-node-lease", "3s")
	w.java = testenv.JavaTC(t, testenv.JavaTCOptions{Host: javaHost, Database: storeDSN})
	w.makeBooks(server.Database(t))
	return w
}

// run runs a part of the test; without it the others make no sense.
func (w *world) run(name string, part func()) {
	outer := w.t
	defer func() { w.t = outer }()
	if !outer.Run(name, func(t *testing.T) {
		w.t = t
		part()
	}) {
		outer.FailNow()
	}
}

func openDB(t *testing.T, dsn string) *sql.DB {
	cfg, err := mysql.ParseDSN(dsn)
	require.NoError(t, err)
	cfg.MultiStatements = true
	connector, err := mysql.NewConnector(cfg)
	require.NoError(t, err)
	db := sql.OpenDB(connector)
	t.Cleanup(func() { assert.NoError(t, db.Close()) })
	return db
}

// accounts is how many accounts there are, each with firstBalance at the beginning.
const accounts, firstBalance = 200, 1000

func (w *world) makeBooks(dsn string) {
	w.booksDSN, w.books = dsn, openDB(w.t, dsn)
	cfg, err := mysql.ParseDSN(dsn)
	require.NoError(w.t, err)
	w.booksURL = fmt.Sprintf("jdbc:mysql://%s/%s?user=%s&password=%s&useSSL=false&allowPublicKeyRetrieval=true", cfg.Addr, cfg.DBName, cfg.User, cfg.Passwd)
	var rows []string
	for id := range accounts {
		rows = append(rows, fmt.Sprintf("(%d, %d)", id, firstBalance))
	}
	w.exec(w.books, `
CREATE TABLE undo_log (
  branch_id BIGINT NOT NULL, xid VARCHAR(128) NOT NULL, context VARCHAR(128) NOT NULL,
  rollback_info LONGBLOB NOT NULL, log_status INT NOT NULL,
  log_created DATETIME(6) NOT NULL, log_modified DATETIME(6) NOT NULL,
  UNIQUE KEY ux_undo_log (xid, branch_id), KEY ix_log_created (log_created));
CREATE TABLE account (id BIGINT PRIMARY KEY, money BIGINT NOT NULL);
CREATE TABLE ledger (id BIGINT PRIMARY KEY, payer BIGINT NOT NULL, payee BIGINT NOT NULL);
INSERT INTO account VALUES `+strings.Join(rows, ", "))
}

func (w *world) exec(db *sql.DB, statement string, args ...any) {
	w.t.Helper()
	_, err := db.ExecContext(w.t.Context(), statement, args...)
	require.NoError(w.t, err, statement)
}

// number is the result of a query for one.
func (w *world) number(db *sql.DB, query string, args ...any) (n int64) {
	w.t.Helper()
	require.NoError(w.t, db.QueryRowContext(w.t.Context(), query, args...).Scan(&n), query)
	return n
}

// javaClient is the class path of the Java client, compiled once per process.
var javaClient = sync.OnceValues(func() (string, error) {
	return javapeer.Compile("../javapeer/peer", "../javapeer/peer/src/main/java/qiao/Peer.java")
})

// side is one coordinator as its clients see it.
type side struct {
	name string
	// peer is a Java client that knows only this coordinator.
	peer *javapeer.Peer
}

const (
	source = "books"
	action = "hold"
)

// clients starts a Java client on each coordinator. Both are processes of one
// application with the same resources: either coordinator can give its orders to
// its own one.
func (w *world) clients() (java, ours *side) {
	classpath, err := javaClient()
	require.NoError(w.t, err, "build the Java client")
	start := func(name, address string) *side {
		s := &side{name, javapeer.Launch(w.t, javapeer.Program{
			Classpath: classpath, Main: "qiao.Peer", Args: []string{"shop"},
			Options: []string{"-Dclient.rm.lock.retryTimes=2", "-Dservice.default.grouplist=" + address},
		})}
		s.peer.Must(javapeer.Command{"op": "datasource", "name": source, "url": w.booksURL})
		s.peer.Must(javapeer.Command{"op": "resource", "name": action})
		return s
	}
	return start("Java", w.java.Advertised()), start("ours", w.ours.Address())
}

func (s *side) begin(timeout time.Duration) string {
	return s.peer.Must(javapeer.Command{"op": "begin", "name": "side by side", "timeout": timeout.Milliseconds()}).XID
}

// add changes a row in a branch that it registers with its coordinator.
func (s *side) add(x string, account, amount int) javapeer.Answer {
	return s.peer.Do(javapeer.Command{"op": "sql", "xid": x, "datasource": source, "statements": []string{
		fmt.Sprintf("UPDATE account SET money = money + %d WHERE id = %d", amount, account),
	}})
}

// try registers a branch of the TCC action with its coordinator.
func (s *side) try(x string) int64 {
	return s.peer.Must(javapeer.Command{"op": "try", "xid": x, "name": action}).Branch
}

// decide asks its coordinator for commit or rollback.
func (s *side) decide(x, decision string) string {
	return s.peer.Must(javapeer.Command{"op": decision, "xid": x}).Status
}

func (s *side) events() []string {
	return s.peer.Must(javapeer.Command{"op": "events"}).Events
}

// settled waits until nothing is left of the transaction but, with a Java
// coordinator, its own row, which that keeps for two minutes.
func (w *world) settled(x string) {
	w.t.Helper()
	require.Eventually(w.t, func() bool {
		return w.number(w.books, "SELECT COUNT(*) FROM undo_log WHERE log_status=0 AND xid=?", x) == 0 &&
			w.number(w.store, "SELECT COUNT(*) FROM branch_table WHERE xid=?", x) == 0 &&
			w.number(w.store, "SELECT COUNT(*) FROM lock_table WHERE xid=?", x) == 0
	}, patience, 20*time.Millisecond, "%s does not settle", x)
}

func (w *world) money(account int) int64 {
	w.t.Helper()
	return w.number(w.books, "SELECT money FROM account WHERE id=?", account)
}
