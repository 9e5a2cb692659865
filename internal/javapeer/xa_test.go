//go:build linux

package javapeer

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/client"
	"github.com/qiao-tx/qiao/datasource"
	"github.com/qiao-tx/qiao/datasource/schema"
	"github.com/qiao-tx/qiao/datasource/xa"
	"github.com/qiao-tx/qiao/internal/testenv"
	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/xid"
	"github.com/qiao-tx/qiao/rm"
)

// prepared is a Go service and a Java service on one database under XA.
type prepared struct {
	t           *testing.T
	dialect     schema.Dialect
	tc          *coordinator
	java        *Peer
	goDB, plain *sql.DB
	resource    *xa.Resource
}

func startPrepared(t *testing.T, dialect schema.Dialect, dsn, jdbc string) *prepared {
	driverName := map[schema.Dialect]string{datasource.MySQL: "mysql", datasource.PostgreSQL: "pgx"}[dialect]
	plain, err := sql.Open(driverName, dsn)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, plain.Close()) })
	for _, statement := range []string{
		"CREATE TABLE account (id INT PRIMARY KEY, money INT NOT NULL)", "INSERT INTO account VALUES (1, 100), (2, 100)",
	} {
		_, err := plain.Exec(statement)
		require.NoError(t, err)
	}
	p := &prepared{t: t, dialect: dialect, tc: startCoordinator(t), plain: plain}
	p.java = Start(t, p.tc.address, "java-service")
	p.java.Must(Command{"op": "datasource", "name": javaDB, "url": jdbc, "xa": true})
	app, err := client.Open(t.Context(), client.Config{Addresses: []string{p.tc.address}, ApplicationID: "go-service"})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, app.Close(context.Background())) })
	inner, err := mysql.MySQLDriver{}.OpenConnector(dsn)
	if dialect == datasource.PostgreSQL {
		inner, err = stdlib.GetDefaultDriver().(*stdlib.Driver).OpenConnector(dsn)
	}
	require.NoError(t, err)
	connector, err := datasource.Wrap(t.Context(), app.RM(), inner, datasource.Config{
		Driver: driverName, DSN: dsn, Mode: datasource.XA, HoldPrepared: -1, // so that Java can finish what Go prepared
	})
	require.NoError(t, err)
	p.resource = connector.(*xa.Connector).Resource()
	p.goDB = sql.OpenDB(connector)
	t.Cleanup(func() { assert.NoError(t, p.goDB.Close()) })
	return p
}

func (p *prepared) begin() (context.Context, string) {
	x := p.java.Must(Command{"op": "begin", "name": "xa", "timeout": 60000}).XID
	return xid.NewContext(p.t.Context(), x), x
}

// goChanges and javaChanges each prepare a branch.
func (p *prepared) goChanges(ctx context.Context, id, delta int) {
	p.t.Helper()
	_, err := p.goDB.ExecContext(ctx, fmt.Sprintf("UPDATE account SET money = money + %d WHERE id = %d", delta, id))
	require.NoError(p.t, err)
}

func (p *prepared) javaChanges(x string, id, delta int) {
	p.t.Helper()
	p.java.Must(Command{"op": "sql", "datasource": javaDB, "xid": x, "statements": []string{
		fmt.Sprintf("UPDATE account SET money = money + %d WHERE id = %d", delta, id),
	}})
}

// inDoubt lists the transaction's prepared branches.
func (p *prepared) inDoubt(x string) []datasource.PreparedBranch {
	p.t.Helper()
	branches, err := datasource.InDoubt(p.t.Context(), p.plain, p.dialect)
	require.NoError(p.t, err)
	return slices.DeleteFunc(branches, func(b datasource.PreparedBranch) bool { return b.XID != x })
}

// detached waits until no session has a transaction any more: on MariaDB another
// must not touch a prepared branch before.
func (p *prepared) detached() {
	p.t.Helper()
	if p.dialect != datasource.MySQL {
		return
	}
	require.Eventually(p.t, func() bool {
		var n int
		err := p.plain.QueryRow("SELECT COUNT(*) FROM information_schema.innodb_trx WHERE trx_mysql_thread_id <> 0").Scan(&n)
		return err == nil && n == 0
	}, 20*time.Second, 150*time.Millisecond)
}

func (p *prepared) money() string {
	p.t.Helper()
	var a, b int
	require.NoError(p.t, p.plain.QueryRow("SELECT SUM(CASE id WHEN 1 THEN money ELSE 0 END), SUM(CASE id WHEN 2 THEN money ELSE 0 END) FROM account").Scan(&a, &b))
	return fmt.Sprint(a, " ", b)
}

// Go and Java branches of one transaction on one database end alike, and each
// side's resource manager finishes what the other prepared.
func TestXAOfGoAndJava(t *testing.T) {
	test := func(t *testing.T, dialect schema.Dialect, dsn, jdbc string) {
		p := startPrepared(t, dialect, dsn, jdbc)
		for _, op := range []string{"rollback", "commit"} {
			ctx, x := p.begin()
			p.goChanges(ctx, 1, -10)
			p.javaChanges(x, 2, 10)
			require.Len(t, p.inDoubt(x), 2)
			p.java.Must(Command{"op": op, "xid": x})
			require.Eventually(t, func() bool { return len(p.inDoubt(x)) == 0 }, 60*time.Second, 50*time.Millisecond, op)
		}
		assert.Equal(t, "90 110", p.money())

		for _, commit := range []bool{false, true} {
			ctx, x := p.begin()
			p.goChanges(ctx, 1, -10)
			b := p.inDoubt(x)[0]
			p.detached()
			want := map[bool]string{true: "PhaseTwo_Committed", false: "PhaseTwo_Rollbacked"}[commit]
			got := p.java.Must(Command{"op": "finish", "datasource": javaDB, "xid": x, "branch": b.ID, "commit": commit})
			require.Equal(t, want, got.Status, "Java finishes Go's branch")
			require.Empty(t, p.inDoubt(x))
		}
		assert.Equal(t, "80 110", p.money())

		_, committed := p.begin()
		p.javaChanges(committed, 1, 10)
		rolledBack := ""
		if dialect == datasource.PostgreSQL { // on MariaDB the pool gives Java the prepared session again
			_, rolledBack = p.begin()
			p.javaChanges(rolledBack, 2, 10)
		}
		p.java.Kill()
		p.detached()
		finish := func(x string, end func(context.Context, rm.Branch) (protocol.BranchStatus, error), want protocol.BranchStatus) {
			require.Len(t, p.inDoubt(x), 1)
			status, err := end(t.Context(), rm.Branch{XID: x, ID: p.inDoubt(x)[0].ID, Type: protocol.TypeXA, ResourceID: p.resource.ID()})
			require.NoError(t, err)
			require.Equal(t, want, status, "Go finishes Java's branch")
			require.Empty(t, p.inDoubt(x))
		}
		if rolledBack != "" {
			finish(rolledBack, p.resource.Rollback, protocol.BranchPhaseTwoRollbacked)
		}
		finish(committed, p.resource.Commit, protocol.BranchPhaseTwoCommitted)
		assert.Equal(t, "90 110", p.money())
	}
	t.Run("MariaDB", func(t *testing.T) {
		dsn := testenv.MariaDB(t)
		cfg, err := mysql.ParseDSN(dsn)
		require.NoError(t, err)
		test(t, datasource.MySQL, dsn, fmt.Sprintf("jdbc:mysql://%s/%s?user=%s&password=%s&useSSL=false&allowPublicKeyRetrieval=true", cfg.Addr, cfg.DBName, cfg.User, cfg.Passwd))
	})
	t.Run("PostgreSQL", func(t *testing.T) {
		dsn := testenv.PostgreSQL(t)
		u, err := url.Parse(dsn)
		require.NoError(t, err)
		password, _ := u.User.Password()
		test(t, datasource.PostgreSQL, dsn, fmt.Sprintf("jdbc:postgresql://%s%s?user=%s&password=%s", u.Host, u.Path, u.User.Username(), password))
	})
}
