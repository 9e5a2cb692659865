//go:build linux

package javapeer

import (
	"bytes"
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/client"
	qiaohttp "github.com/qiao-tx/qiao/client/http"
	"github.com/qiao-tx/qiao/datasource"
	"github.com/qiao-tx/qiao/datasource/at"
	"github.com/qiao-tx/qiao/internal/testenv"
	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/rpc"
	"github.com/qiao-tx/qiao/protocol/xid"
	"github.com/qiao-tx/qiao/rm"
	"github.com/qiao-tx/qiao/tm"
)

// mixed is a Go service and a Java service on one coordinator and one database.
type mixed struct {
	tc   *coordinator
	java *Peer
	// dsn and url name the database for Go and for Java.
	dsn, url string
	goApp    *client.Client
	// goDB takes part in global transactions, plain does not.
	goDB, plain *sql.DB
	// resource is goDB's.
	resource *at.Resource
}

const javaDB = "shared"

// javaZone is not the zone in which the servers and the tests run.
const javaZone = "Asia/Shanghai"

// startMixed starts both services on a database.
func startMixed(t *testing.T, dsn, url string, plain *sql.DB) *mixed {
	m := &mixed{tc: startCoordinator(t), dsn: dsn, url: url, plain: plain}
	m.java = Start(t, m.tc.address, "java-service", "user.timezone="+javaZone, "client.rm.lock.retryTimes=2")
	m.java.Must(Command{"op": "datasource", "name": javaDB, "url": m.url})
	m.startGo(t, datasource.Config{})
	t.Cleanup(func() { m.stopGo(t) })
	return m
}

// startGo starts the Go service; stopGo ends it.
func (m *mixed) startGo(t *testing.T, cfg datasource.Config) {
	t.Helper()
	var err error
	m.goApp, err = client.Open(t.Context(), client.Config{Addresses: []string{m.tc.address}, ApplicationID: "go-service"})
	require.NoError(t, err)
	m.open(t, cfg)
}

// reopen has the Go service open the database anew, with other settings.
func (m *mixed) reopen(t *testing.T, cfg datasource.Config) {
	t.Helper()
	require.NoError(t, m.goDB.Close())
	m.open(t, cfg)
}

// open opens the database for the Go service, as the same resource as Java's.
func (m *mixed) open(t *testing.T, cfg datasource.Config) {
	t.Helper()
	cfg.DSN, cfg.Dialect = m.dsn, datasource.MySQL
	var d driver.DriverContext = &mysql.MySQLDriver{}
	if strings.HasPrefix(m.dsn, "postgres:") {
		cfg.Dialect, d = datasource.PostgreSQL, stdlib.GetDefaultDriver().(driver.DriverContext)
	}
	inner, err := d.OpenConnector(m.dsn)
	require.NoError(t, err)
	cfg.JavaZone, err = time.LoadLocation(javaZone)
	require.NoError(t, err)
	connector, err := datasource.Wrap(t.Context(), m.goApp.RM(), inner, cfg)
	require.NoError(t, err)
	m.goDB, m.resource = sql.OpenDB(connector), connector.(*at.Connector).Resource()
}

func (m *mixed) stopGo(t *testing.T) {
	assert.NoError(t, m.goDB.Close())
	assert.NoError(t, m.goApp.Close(context.Background()))
}

func TestGoAndJavaTogether(t *testing.T) {
	for _, server := range testenv.MySQLServers() {
		t.Run(server.Name, func(t *testing.T) { testTogether(t, server) })
	}
}

func testTogether(t *testing.T, server testenv.MySQLServer) {
	dsn := server.Database(t)
	url, plain := database(t, dsn)
	m := startMixed(t, dsn, url, plain)
	t.Run("begun by Go", m.testBegunByGo)
	t.Run("begun by Java", m.testBegunByJava)
	t.Run("one row, two languages", m.testConflict)
	t.Run("rows of every type", func(t *testing.T) { m.testColumns(t, server.Name) })
	t.Run("keys of every type", func(t *testing.T) { m.testKeys(t, server.Name) })
	t.Run("long records", m.testLong)
	t.Run("a record that only Java reads", m.testForeignRecord)
	t.Run("Java rolls back what Go wrote", m.testJavaUndoesGo)
	// The last: it ends the Java client.
	t.Run("Go rolls back what Java wrote", m.testGoUndoesJava)
}

var errNoDeal = errors.New("no deal")

func (m *mixed) javaSQL(x, statement string) Answer {
	return m.java.Do(Command{"op": "sql", "xid": x, "datasource": javaDB, "statements": []string{statement}})
}

// testBegunByGo: Go begins, changes a row, and calls the Java service over HTTP.
func (m *mixed) testBegunByGo(t *testing.T) {
	url := fmt.Sprintf("http://127.0.0.1:%d/sql?datasource=%s", m.java.Must(Command{"op": "serve"}).Port, javaDB)
	caller := &http.Client{Transport: &qiaohttp.Transport{}}
	before := accounts(t, m.plain)
	transfer := func(end error) error {
		return m.goApp.TM().Run(t.Context(), tm.Options{Name: "go-and-java"}, func(ctx context.Context) error {
			if _, err := m.goDB.ExecContext(ctx, "UPDATE account SET money = money - 10 WHERE owner = 'ann'"); err != nil {
				return err
			}
			request, err := http.NewRequestWithContext(ctx, http.MethodPost, url,
				bytes.NewReader([]byte("UPDATE account SET money = money + 10 WHERE owner = 'bob'")))
			if err != nil {
				return err
			}
			response, err := caller.Do(request)
			if err != nil {
				return err
			}
			body, err := io.ReadAll(response.Body)
			if err = errors.Join(err, response.Body.Close()); err != nil {
				return err
			}
			if response.StatusCode != http.StatusOK {
				return fmt.Errorf("the Java service: %s", body)
			}
			return end
		})
	}
	require.ErrorIs(t, transfer(errNoDeal), errNoDeal)
	assert.Equal(t, before, accounts(t, m.plain), "both sides are rolled back")
	require.NoError(t, transfer(nil))
	assert.Equal(t, before["ann"]-10, accounts(t, m.plain)["ann"])
	assert.Equal(t, before["bob"]+10, accounts(t, m.plain)["bob"])
	m.noUndoLeft(t)
}

// testBegunByJava: Java's template begins, changes a row, and calls the Go
// service over HTTP.
func (m *mixed) testBegunByJava(t *testing.T) {
	service := httptest.NewServer(qiaohttp.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, err := m.goDB.ExecContext(r.Context(), "UPDATE account SET money = money + 7 WHERE owner = 'ann'")
		if err != nil || xid.FromContext(r.Context()) == "" {
			http.Error(w, fmt.Sprint(err), http.StatusInternalServerError)
		}
	}), qiaohttp.Config{}))
	defer service.Close()
	before := accounts(t, m.plain)
	run := func(end string) Answer {
		m.java.Write(Command{"op": "template", "name": "java-and-go", "timeout": 60_000})
		x := m.java.Read().XID
		assert.Empty(t, m.javaSQL(x, "UPDATE account SET money = money - 7 WHERE owner = 'bob'").Error)
		m.java.Write(Command{"op": "call", "url": service.URL})
		m.java.Read()
		m.java.Write(Command{"op": end})
		return m.java.Read()
	}
	failed := run("fail")
	assert.Equal(t, "RollbackDone", failed.Outcome, failed.Error)
	assert.Equal(t, before, accounts(t, m.plain), "both sides are rolled back")
	committed := run("end")
	assert.Equal(t, "committed", committed.Outcome, committed.Error)
	assert.Equal(t, before["ann"]+7, accounts(t, m.plain)["ann"])
	assert.Equal(t, before["bob"]-7, accounts(t, m.plain)["bob"])
	m.noUndoLeft(t)
}

// testConflict: equal resource ids and lock keys make a Java branch and a Go
// branch see each other's row locks.
func (m *mixed) testConflict(t *testing.T) {
	mine := begin(m.java)
	require.Empty(t, m.javaSQL(mine, "UPDATE account SET money = money + 1 WHERE owner = 'ann'").Error)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	err := m.goApp.TM().Run(ctx, tm.Options{Name: "conflict"}, func(ctx context.Context) error {
		_, err := m.goDB.ExecContext(ctx, "UPDATE account SET money = money + 1 WHERE owner = 'ann'")
		return err
	})
	require.ErrorIs(t, err, rm.ErrLockConflict)
	var conflict *rm.LockConflict
	require.ErrorAs(t, err, &conflict)
	assert.Equal(t, mine, conflict.Holder)
	require.Equal(t, "Rollbacked", m.java.Must(Command{"op": "rollback", "xid": mine}).Status)

	held := make(chan struct{})
	done := make(chan error, 1)
	proceed := make(chan struct{})
	go func() {
		done <- m.goApp.TM().Run(t.Context(), tm.Options{Name: "holder"}, func(ctx context.Context) error {
			_, err := m.goDB.ExecContext(ctx, "UPDATE account SET money = money + 1 WHERE owner = 'ann'")
			close(held)
			<-proceed
			return errors.Join(err, errNoDeal)
		})
	}()
	<-held
	theirs := begin(m.java)
	assert.Contains(t, m.javaSQL(theirs, "UPDATE account SET money = money + 1 WHERE owner = 'ann'").Error, "LockConflict")
	close(proceed)
	require.ErrorIs(t, <-done, errNoDeal)
	m.java.Must(Command{"op": "rollback", "xid": theirs})
}

// testGoUndoesJava: the Java service dies with an open branch, and the Go
// service on the same database carries the rollback out from Java's undo log.
func (m *mixed) testGoUndoesJava(t *testing.T) {
	before := accounts(t, m.plain)
	x := begin(m.java)
	for _, statement := range []string{
		"UPDATE account SET money = 0",
		"INSERT INTO account (id, owner, money) VALUES (77, 'dora', 5)",
		"DELETE FROM account WHERE owner = 'bob'",
	} {
		require.Empty(t, m.javaSQL(x, statement).Error)
	}
	require.NoError(t, m.java.cmd.Process.Kill())
	status, err := m.goApp.TM().Status(t.Context(), x)
	require.NoError(t, err)
	require.Equal(t, "Begin", status.String(), "a client's death decides nothing")
	rollBack(t, m.tc.address, x)
	require.Eventually(t, func() bool {
		status, err := m.goApp.TM().Status(t.Context(), x)
		return err == nil && status == protocol.StatusRollbacked
	}, 20*time.Second, 20*time.Millisecond, "another application on the resource carries it out")
	assert.Equal(t, before, accounts(t, m.plain))
	m.noUndoLeft(t)
}

// testJavaUndoesGo: the Go service goes with an open branch, and the Java
// service on the same database carries the rollback out from Go's undo log.
func (m *mixed) testJavaUndoesGo(t *testing.T) {
	before := accounts(t, m.plain)
	x := begin(m.java)
	ctx := xid.NewContext(t.Context(), x)
	for _, statement := range []string{
		"UPDATE account SET money = 0",
		"INSERT INTO account (owner, money) VALUES ('dora', 5)",
		"DELETE FROM account WHERE owner = 'bob'",
	} {
		_, err := m.goDB.ExecContext(ctx, statement)
		require.NoError(t, err)
	}
	m.stopGo(t)
	defer m.startGo(t, datasource.Config{})
	require.Equal(t, "Rollbacked", m.java.Must(Command{"op": "rollback", "xid": x}).Status)
	assert.Equal(t, before, accounts(t, m.plain))
	m.noUndoLeft(t)
}

// noUndoLeft sees that no record is left; a rollback that found none leaves a row
// that says so.
func (m *mixed) noUndoLeft(t *testing.T) {
	assert.Eventually(t, func() bool {
		var n int
		err := m.plain.QueryRow("SELECT COUNT(*) FROM undo_log WHERE log_status = 0").Scan(&n)
		return err == nil && n == 0
	}, 15*time.Second, 50*time.Millisecond, "undo rows are deleted")
}

// rollBack decides a transaction that another process began.
func rollBack(t *testing.T, address, x string) {
	t.Helper()
	answer := operate(t, address, &protocol.GlobalRollback{Global: protocol.Global{XID: x}})
	require.Contains(t, []protocol.GlobalStatus{protocol.StatusRollbacked, protocol.StatusRollbackRetrying},
		answer.(*protocol.GlobalRollbackResult).Status)
}

// commit does so, too.
func commit(t *testing.T, address, x string) {
	t.Helper()
	answer := operate(t, address, &protocol.GlobalCommit{Global: protocol.Global{XID: x}})
	require.Contains(t, []protocol.GlobalStatus{protocol.StatusCommitted, protocol.StatusCommitRetrying},
		answer.(*protocol.GlobalCommitResult).Status)
}

// operate sends a request as nobody's client.
func operate(t *testing.T, address string, request protocol.Message) protocol.Message {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	require.NoError(t, err)
	c := rpc.New(conn, rpc.Options{})
	defer func() { c.Close(nil); c.Wait() }()
	_, err = c.Call(t.Context(), &protocol.RegisterTM{Identity: protocol.Identity{
		Version: protocol.SeataVersion, ApplicationID: "operator", Group: "default_tx_group",
	}}, nil)
	require.NoError(t, err)
	r, err := c.Call(t.Context(), request, nil)
	require.NoError(t, err)
	return r.Message
}
