package xa_test

import (
	"database/sql"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/datasource/schema"
	"github.com/qiao-tx/qiao/datasource/xa"
	"github.com/qiao-tx/qiao/internal/testenv"
	"github.com/qiao-tx/qiao/protocol/xid"
)

// BenchmarkBranch is one branch with one UPDATE, through both phases, of
// concurrent callers on rows of their own. Where the prepared branch belongs to
// its session it compares holding the session with closing it.
func BenchmarkBranch(b *testing.B) {
	for _, server := range testenv.MySQLServers() {
		for name, hold := range map[string]time.Duration{"held": 0, "closed": -1} {
			b.Run(server.Name+"/"+name, func(b *testing.B) {
				cfg, err := mysql.ParseDSN(server.Database(b))
				require.NoError(b, err)
				inner, err := mysql.NewConnector(cfg)
				require.NoError(b, err)
				c := &coordinator{}
				connector, err := xa.Open(b.Context(), inner, xa.Config{Dialect: schema.MySQL, Coordinator: c, ResourceID: "x", Hold: hold})
				require.NoError(b, err)
				benchmark(b, connector, c)
			})
		}
	}
	b.Run("PostgreSQL", func(b *testing.B) {
		cfg, err := pgx.ParseConfig(testenv.PostgreSQL(b))
		require.NoError(b, err)
		c := &coordinator{}
		connector, err := xa.Open(b.Context(), stdlib.GetConnector(*cfg), xa.Config{Dialect: schema.PostgreSQL, Coordinator: c, ResourceID: "x"})
		require.NoError(b, err)
		benchmark(b, connector, c)
	})
}

func benchmark(b *testing.B, connector *xa.Connector, c *coordinator) {
	db := sql.OpenDB(connector)
	defer db.Close()
	db.SetMaxIdleConns(16)
	_, err := db.Exec("CREATE TABLE account (id INT PRIMARY KEY, balance INT NOT NULL)")
	require.NoError(b, err)
	for id := range 100 {
		_, err := db.Exec(fmt.Sprintf("INSERT INTO account VALUES (%d, 0)", id))
		require.NoError(b, err)
	}
	var callers, transactions atomic.Int64
	b.SetParallelism(4)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		row := callers.Add(1)
		for pb.Next() {
			x := fmt.Sprintf("127.0.0.1:8091:%d", transactions.Add(1))
			ctx := xid.NewContext(b.Context(), x)
			if _, err := db.ExecContext(ctx, fmt.Sprintf("UPDATE account SET balance = balance + 1 WHERE id = %d", row)); err != nil {
				b.Error(err)
				return
			}
			for _, branch := range c.take(x) {
				if _, err := connector.Resource().Commit(ctx, branch); err != nil {
					b.Error(err)
					return
				}
			}
		}
	})
}
