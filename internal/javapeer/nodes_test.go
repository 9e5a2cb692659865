//go:build linux

package javapeer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/client"
	"github.com/qiao-tx/qiao/internal/promtext"
	"github.com/qiao-tx/qiao/internal/testenv"
	"github.com/qiao-tx/qiao/protocol/xid"
	"github.com/qiao-tx/qiao/tm"
)

// A Java service that knows one coordinator alone takes part in transactions that
// another one decides: its branches, TCC and AT, get the orders of that one at once.
func TestJavaBranchesOfAnotherNode(t *testing.T) {
	testenv.NeedJava(t)
	dsn, err := mysql.ParseDSN(testenv.MariaDB(t))
	require.NoError(t, err)
	password := filepath.Join(t.TempDir(), "password")
	require.NoError(t, os.WriteFile(password, []byte(dsn.Passwd), 0o600))
	flags := []string{
		"--store-mode", "db", "--store-db-type", "mariadb", "--store-db-url", "jdbc:mariadb://" + dsn.Addr + "/" + dsn.DBName,
		"--store-db-user", dsn.User, "--store-db-password-file", password, "--retry-after", "1h", "--retry-max", "1h",
	}
	a, b := startCoordinator(t, flags...), startCoordinator(t, flags...)
	java := Start(t, a.address, "java-service")
	java.Must(Command{"op": "resource", "name": "debit"})
	url, db := database(t, testenv.MariaDB(t))
	java.Must(Command{"op": "datasource", "name": "db", "url": url})
	shop, err := client.Open(t.Context(), client.Config{Addresses: []string{b.address}, ApplicationID: "shop"})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, shop.Close(context.Background())) })
	metric := func(name string) float64 {
		values, err := promtext.Fetch(t.Context(), "http://"+b.address+"/metrics")
		require.NoError(t, err)
		return values[name]
	}
	require.Eventually(t, func() bool { return metric("qiao_resource_managers_remote") > 0 }, 30*time.Second, 20*time.Millisecond)

	buy := func(end error) (branch int64, err error) {
		java.Must(Command{"op": "events"})
		return branch, shop.TM().Run(t.Context(), tm.Options{Name: "buy"}, func(ctx context.Context) error {
			x := xid.FromContext(ctx)
			branch = java.Must(Command{"op": "try", "xid": x, "name": "debit"}).Branch
			java.Must(Command{"op": "sql", "xid": x, "datasource": "db", "statements": transfer})
			return end
		})
	}
	failed := errors.New("no stock")
	branch, err := buy(failed)
	require.ErrorIs(t, err, failed)
	assert.Equal(t, []string{fmt.Sprint("try ", branch), fmt.Sprint("cancel ", branch)}, java.Must(Command{"op": "events"}).Events)
	assert.Equal(t, map[string]int{"ann": 100, "bob": 100}, accounts(t, db))
	assert.Zero(t, undoRows(t, db))
	branch, err = buy(nil)
	require.NoError(t, err)
	assert.Equal(t, []string{fmt.Sprint("try ", branch), fmt.Sprint("confirm ", branch)}, java.Must(Command{"op": "events"}).Events)
	assert.Equal(t, map[string]int{"ann": 70, "bob": 130, "cid": 1}, accounts(t, db))
	assert.Eventually(t, func() bool { return undoRows(t, db) == 0 }, 10*time.Second, 50*time.Millisecond)
	assert.EqualValues(t, 4, metric("qiao_orders_relayed_total"))
}
