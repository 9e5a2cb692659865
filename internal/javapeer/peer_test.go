//go:build linux

package javapeer

import (
	"database/sql"
	"fmt"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/internal/testenv"
)

// Every test of this package works on one coordinator and one Java client: a
// JVM takes seconds to start.
func TestUnmodifiedJavaClient(t *testing.T) {
	tc := startCoordinator(t)
	java := Start(t, tc.address, "java-peer")
	t.Run("begin and decide without branches", func(t *testing.T) { testNoBranches(t, java) })
	t.Run("TCC", func(t *testing.T) { testTCC(t, java) })
	for _, server := range testenv.MySQLServers() {
		t.Run("AT restores rows on "+server.Name, func(t *testing.T) { testAT(t, java, server) })
	}
	t.Run("TCC with the fence", func(t *testing.T) { testFence(t, java) })
	t.Run("a saga ends by its report", func(t *testing.T) { testSagaReport(t, java) })
	t.Run("the time-out rolls back", func(t *testing.T) { testTimeout(t, java) })
	t.Run("answers never say the opposite", func(t *testing.T) { testAnswers(t, java) })
	t.Run("a killed coordinator comes back", func(t *testing.T) { testRestart(t, tc, java) })
}

func begin(java *Peer) string {
	return java.Must(Command{"op": "begin", "name": "test", "timeout": 60_000}).XID
}

func testNoBranches(t *testing.T, java *Peer) {
	x := begin(java)
	assert.Equal(t, "Begin", java.Must(Command{"op": "status", "xid": x}).Status)
	assert.Equal(t, "Committed", java.Must(Command{"op": "commit", "xid": x}).Status)
	x = begin(java)
	assert.Equal(t, "Rollbacked", java.Must(Command{"op": "rollback", "xid": x}).Status)
}

func testTCC(t *testing.T, java *Peer) {
	java.Must(Command{"op": "resource", "name": "debit"})
	x := begin(java)
	first := java.Must(Command{"op": "try", "xid": x, "name": "debit"}).Branch
	second := java.Must(Command{"op": "try", "xid": x, "name": "debit"}).Branch
	assert.Equal(t, "Committed", java.Must(Command{"op": "commit", "xid": x}).Status)
	assert.Equal(t, []string{
		fmt.Sprint("try ", first), fmt.Sprint("try ", second),
		fmt.Sprint("confirm ", first), fmt.Sprint("confirm ", second),
	}, java.Must(Command{"op": "events"}).Events, "confirmed in the order of registration")

	x = begin(java)
	first = java.Must(Command{"op": "try", "xid": x, "name": "debit"}).Branch
	second = java.Must(Command{"op": "try", "xid": x, "name": "debit"}).Branch
	assert.Equal(t, "Rollbacked", java.Must(Command{"op": "rollback", "xid": x}).Status)
	assert.Equal(t, []string{
		fmt.Sprint("try ", first), fmt.Sprint("try ", second),
		fmt.Sprint("cancel ", second), fmt.Sprint("cancel ", first),
	}, java.Must(Command{"op": "events"}).Events, "cancelled in the reverse order")
}

// database makes the tables of AT and of the fence in a new database, and
// returns its JDBC URL with credentials and a handle without any transaction.
func database(t *testing.T, dsn string) (url string, db *sql.DB) {
	cfg, err := mysql.ParseDSN(dsn)
	require.NoError(t, err)
	cfg.MultiStatements = true
	connector, err := mysql.NewConnector(cfg)
	require.NoError(t, err)
	db = sql.OpenDB(connector)
	t.Cleanup(func() { assert.NoError(t, db.Close()) })
	_, err = db.Exec(`
CREATE TABLE undo_log (
  branch_id BIGINT NOT NULL, xid VARCHAR(128) NOT NULL, context VARCHAR(128) NOT NULL,
  rollback_info LONGBLOB NOT NULL, log_status INT NOT NULL,
  log_created DATETIME(6) NOT NULL, log_modified DATETIME(6) NOT NULL,
  UNIQUE KEY ux_undo_log (xid, branch_id), KEY ix_log_created (log_created));
CREATE TABLE tcc_fence_log (
  xid VARCHAR(128) NOT NULL, branch_id BIGINT NOT NULL, action_name VARCHAR(64) NOT NULL, status TINYINT NOT NULL,
  gmt_create DATETIME(3) NOT NULL, gmt_modified DATETIME(3) NOT NULL,
  PRIMARY KEY (xid, branch_id), KEY idx_gmt_modified (gmt_modified), KEY idx_status (status));
CREATE TABLE account (id BIGINT PRIMARY KEY AUTO_INCREMENT, owner VARCHAR(20), money BIGINT NOT NULL);
INSERT INTO account (owner, money) VALUES ('ann', 100), ('bob', 100);`)
	require.NoError(t, err)
	return fmt.Sprintf("jdbc:mysql://%s/%s?user=%s&password=%s&useSSL=false&allowPublicKeyRetrieval=true",
		cfg.Addr, cfg.DBName, cfg.User, cfg.Passwd), db
}

func accounts(t *testing.T, db *sql.DB) map[string]int {
	rows, err := db.Query("SELECT owner, money FROM account")
	require.NoError(t, err)
	defer func() { assert.NoError(t, rows.Close()) }()
	all := make(map[string]int)
	for rows.Next() {
		var owner string
		var money int
		require.NoError(t, rows.Scan(&owner, &money))
		all[owner] = money
	}
	require.NoError(t, rows.Err())
	return all
}

func undoRows(t *testing.T, db *sql.DB) (n int) {
	require.NoError(t, db.QueryRow("SELECT COUNT(*) FROM undo_log").Scan(&n))
	return n
}

var transfer = []string{
	"UPDATE account SET money = money - 30 WHERE owner = 'ann'",
	"UPDATE account SET money = money + 30 WHERE owner = 'bob'",
	"INSERT INTO account (owner, money) VALUES ('cid', 1)",
}

func testAT(t *testing.T, java *Peer, server testenv.MySQLServer) {
	url, db := database(t, server.Database(t))
	source := "at-" + server.Name
	java.Must(Command{"op": "datasource", "name": source, "url": url})

	x := begin(java)
	java.Must(Command{"op": "sql", "xid": x, "datasource": source, "statements": transfer})
	assert.Equal(t, "Rollbacked", java.Must(Command{"op": "rollback", "xid": x}).Status)
	assert.Equal(t, map[string]int{"ann": 100, "bob": 100}, accounts(t, db))
	assert.Zero(t, undoRows(t, db))

	x = begin(java)
	java.Must(Command{"op": "sql", "xid": x, "datasource": source, "statements": transfer})
	other := begin(java)
	conflict := java.Do(Command{"op": "sql", "xid": other, "datasource": source, "statements": transfer[:1]})
	assert.Contains(t, conflict.Error, "LockConflict", "the rows belong to %s", x)
	assert.Equal(t, "Rollbacked", java.Must(Command{"op": "rollback", "xid": other}).Status)
	assert.Equal(t, "Committed", java.Must(Command{"op": "commit", "xid": x}).Status)
	assert.Equal(t, map[string]int{"ann": 70, "bob": 130, "cid": 1}, accounts(t, db))
	assert.Eventually(t, func() bool { return undoRows(t, db) == 0 }, 10*time.Second, 50*time.Millisecond,
		"Java deletes its undo rows after the commit")
}

func testFence(t *testing.T, java *Peer) {
	url, db := database(t, testenv.MariaDB(t))
	java.Must(Command{"op": "resource", "name": "fenced", "fence": url})
	java.Must(Command{"op": "events"})
	x := begin(java)
	branch := java.Must(Command{"op": "try", "xid": x, "name": "fenced", "fenced": true}).Branch
	assert.Equal(t, "Committed", java.Must(Command{"op": "commit", "xid": x}).Status)
	assert.Equal(t, []string{fmt.Sprint("try ", branch), fmt.Sprint("confirm ", branch)}, java.Must(Command{"op": "events"}).Events)

	x = begin(java)
	branch = java.Must(Command{"op": "try", "xid": x, "name": "fenced", "fenced": true, "skip": true}).Branch
	assert.Equal(t, "Rollbacked", java.Must(Command{"op": "rollback", "xid": x}).Status)
	assert.Empty(t, java.Must(Command{"op": "events"}).Events, "a cancel without a try reaches no business code")
	var status int
	require.NoError(t, db.QueryRow("SELECT status FROM tcc_fence_log WHERE branch_id = ?", branch).Scan(&status))
	assert.Equal(t, 4, status, "suspended")
}

func testSagaReport(t *testing.T, java *Peer) {
	for report, ended := range map[string]string{"Committed": "Committed", "Rollbacked": "Rollbacked", "Finished": "Rollbacked"} {
		x := java.Must(Command{"op": "begin", "name": "$Saga_test", "timeout": 60_000}).XID
		assert.Equal(t, ended, java.Must(Command{"op": "report", "xid": x, "status": report}).Status)
		assert.Equal(t, ended, java.Must(Command{"op": "status", "xid": x}).Status)
	}
}

func testTimeout(t *testing.T, java *Peer) {
	x := java.Must(Command{"op": "begin", "name": "slow", "timeout": 300}).XID
	branch := java.Must(Command{"op": "try", "xid": x, "name": "debit"}).Branch
	assert.Eventually(t, func() bool {
		return java.Must(Command{"op": "status", "xid": x}).Status == "TimeoutRollbacked"
	}, 10*time.Second, 50*time.Millisecond)
	assert.Equal(t, []string{fmt.Sprint("try ", branch), fmt.Sprint("cancel ", branch)}, java.Must(Command{"op": "events"}).Events)
}

// testAnswers has Seata's own template read what a coordinator answers: it
// reports success only for a commit (invariant I10).
func testAnswers(t *testing.T, java *Peer) {
	// within runs a transaction of Java's template whose fate changes inside.
	within := func(end string, timeout int, meanwhile func(x string)) Answer {
		java.Write(Command{"op": "template", "name": "answers", "timeout": timeout})
		x := java.Read().XID
		require.NotEmpty(t, x)
		meanwhile(x)
		java.Write(Command{"op": end})
		return java.Read()
	}
	decide := func(op string) func(string) {
		return func(x string) { java.Must(Command{"op": op, "xid": x}) }
	}
	nothing := func(string) {}

	assert.Equal(t, "committed", within("end", 60_000, nothing).Outcome)
	assert.Equal(t, "RollbackDone", within("fail", 60_000, nothing).Outcome)
	assert.Equal(t, "committed", within("end", 60_000, decide("commit")).Outcome, "committed before")
	assert.Equal(t, "RollbackDone", within("fail", 60_000, decide("rollback")).Outcome, "rolled back before")
	late := within("end", 60_000, decide("rollback"))
	assert.Equal(t, "RollbackDone", late.Outcome, "a commit after a rollback: %s", late.Error)
	assert.Equal(t, "Unknown", within("fail", 60_000, decide("commit")).Outcome, "a rollback after a commit is reported as neither")
	// The template itself notices a time-out that has passed; here the coordinator has to.
	slow := within("end", 1_500, func(x string) {
		assert.Eventually(t, func() bool {
			return java.Must(Command{"op": "status", "xid": x}).Status == "TimeoutRollbacked"
		}, 10*time.Second, 50*time.Millisecond)
	})
	assert.Equal(t, "RollbackDone", slow.Outcome, slow.Error)

	const nobody = "127.0.0.1:1:42"
	assert.Equal(t, "Finished", java.Must(Command{"op": "commit", "xid": nobody}).Status)
	assert.Equal(t, "Finished", java.Must(Command{"op": "rollback", "xid": nobody}).Status)
	assert.Equal(t, "Finished", java.Must(Command{"op": "status", "xid": nobody}).Status)
	assert.NotEmpty(t, java.Do(Command{"op": "try", "xid": nobody, "name": "debit"}).Error)
}

func testRestart(t *testing.T, tc *coordinator, java *Peer) {
	java.Must(Command{"op": "events"})
	decided := begin(java)
	undecided := begin(java)
	branch := java.Must(Command{"op": "try", "xid": undecided, "name": "debit"}).Branch
	java.Must(Command{"op": "rollback", "xid": decided})
	tc.kill()
	tc.start()
	assert.Eventually(t, func() bool {
		return java.Do(Command{"op": "status", "xid": decided}).Status == "Rollbacked"
	}, 60*time.Second, 100*time.Millisecond, "Java connects again and finds the outcome")
	require.Eventually(t, func() bool {
		return java.Do(Command{"op": "commit", "xid": undecided}).Status == "Committed"
	}, 60*time.Second, 100*time.Millisecond)
	assert.Equal(t, []string{fmt.Sprint("try ", branch), fmt.Sprint("confirm ", branch)}, java.Must(Command{"op": "events"}).Events)
}
