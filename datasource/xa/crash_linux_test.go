package xa_test

import (
	"testing"

	"github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/datasource/schema"
	"github.com/qiao-tx/qiao/datasource/xa"
	"github.com/qiao-tx/qiao/internal/testenv"
)

// A phase two that was answered stays done when the server is killed right after
// it. InnoDB by itself would forget a rollback, and have the branch prepared
// again; not every user may make it write its log out.
func TestPhaseTwoSurvivesTheServersDeath(t *testing.T) {
	server, dsn := testenv.OwnMariaDB(t)
	root, err := mysql.ParseDSN(dsn)
	require.NoError(t, err)
	inner, err := mysql.NewConnector(root)
	require.NoError(t, err)
	e := open(t, inner, xa.Config{Dialect: schema.MySQL})
	for _, statement := range []string{"CREATE USER plain@'%' IDENTIFIED BY 'plain'", "GRANT ALL ON qiao_test.* TO plain@'%'"} {
		_, err := e.plain.Exec(statement)
		require.NoError(t, err)
	}
	plain := root.Clone()
	plain.User, plain.Passwd = "plain", "plain"
	unprivileged, err := mysql.NewConnector(plain)
	require.NoError(t, err)
	e.inner = unprivileged
	for _, service := range []*env{e, e.again(xa.Config{})} {
		ctx, rolledBack := service.global()
		service.change(ctx, 1, 50)
		ctx, committed := service.global()
		service.change(ctx, 2, 1)
		service.commit(committed)
		service.rollback(rolledBack)
		server.Kill()
		server.Restart()
		require.Empty(t, service.inDoubt(rolledBack))
		require.Empty(t, service.inDoubt(committed))
		service.rollback(rolledBack)
		service.commit(committed)
	}
	assert.Equal(t, "100 102 100", e.balances())
}
