package at_test

import (
	"context"
	"database/sql/driver"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/protocol/xid"
)

// preparing is a connector whose connections execute through prepared
// statements only, and which counts these.
type preparing struct {
	driver.Connector
	prepared, open atomic.Int64
}

func (p *preparing) Connect(ctx context.Context) (driver.Conn, error) {
	c, err := p.Connector.Connect(ctx)
	return preparingConn{c, p}, err
}

type preparingConn struct {
	driver.Conn
	p *preparing
}

func (c preparingConn) Prepare(query string) (driver.Stmt, error) {
	s, err := c.Conn.Prepare(query)
	if err != nil {
		return nil, err
	}
	c.p.prepared.Add(1)
	c.p.open.Add(1)
	return countedStmt{s, c.p}, nil
}

type countedStmt struct {
	driver.Stmt
	p *preparing
}

func (s countedStmt) Close() error {
	s.p.open.Add(-1)
	return s.Stmt.Close()
}

// A connection prepares a statement once, keeps a bounded number of them, gives
// up one that failed, and leaves none behind.
func TestStatementsAreKept(t *testing.T) {
	var p *preparing
	s := settings{wrap: func(c driver.Connector) driver.Connector { p = &preparing{Connector: c}; return p }}
	test := func(t *testing.T, e *env) {
		e.db.SetMaxOpenConns(1)
		change := func(comment string) error {
			ctx, x := e.global()
			defer e.tc.release(x)
			_, err := e.db.ExecContext(ctx, "UPDATE stock SET n = n + ? /* "+comment+" */ WHERE id = ?", 1, 1)
			return err
		}
		require.NoError(t, change(""))
		idle, known := p.open.Load(), p.prepared.Load()
		require.NoError(t, change(""))
		require.Equal(t, known, p.prepared.Load(), "nothing was prepared again")
		require.Equal(t, idle, p.open.Load())

		for i := range 100 {
			require.NoError(t, change(fmt.Sprint(i)))
			require.LessOrEqual(t, p.open.Load(), int64(32))
		}

		ctx, _ := e.global()
		insert := "INSERT INTO stock (id, n) VALUES (?, ?)"
		e.exec(ctx, insert, 50, 1)
		_, err := e.db.ExecContext(ctx, insert, 50, 1)
		require.Error(t, err, "the key is there already")
		e.exec(ctx, insert, 51, 1)

		require.NoError(t, e.db.Close())
		assert.Zero(t, p.open.Load())
	}
	// PostgreSQL's driver executes every text itself, and keeps statements itself.
	onMySQL(t, s, stock, test)
	t.Run("SQLite", func(t *testing.T) { test(t, onSQLite(t, s, stock...)) })
}

// A text means what it would mean if it were prepared anew, whatever the
// application did to its session.
func TestKeptStatementsFollowTheSession(t *testing.T) {
	for name, change := range map[string]string{
		"SET":           "SET SESSION sql_mode = 'PIPES_AS_CONCAT'",
		"after a blank": "\n set session sql_mode = 'PIPES_AS_CONCAT'",
		"in a comment":  "/*!50000 SET sql_mode = 'PIPES_AS_CONCAT' */",
		"with others":   "SELECT 1; SET sql_mode = 'PIPES_AS_CONCAT'",
		"USE":           "USE information_schema",
	} {
		t.Run(name, func(t *testing.T) {
			onMySQL(t, settings{dsn: func(c *mysql.Config) { c.MultiStatements = true }}, nil, func(t *testing.T, e *env) {
				conn, err := e.db.Conn(t.Context())
				require.NoError(t, err)
				defer conn.Close()
				ask := func() (answer string) {
					ctx := xid.NewContext(t.Context(), e.tc.begin())
					require.NoError(t, conn.QueryRowContext(ctx, "SELECT CONCAT('a' || 'b', DATABASE()) FROM DUAL WHERE ? = 1", 1).Scan(&answer))
					return answer
				}
				before := ask()
				_, err = conn.ExecContext(t.Context(), change)
				require.NoError(t, err)
				require.NotEqual(t, before, ask())
			})
		})
	}
}
