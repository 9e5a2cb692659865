package testenv_test

import (
	"database/sql"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/internal/testenv"
)

func TestOwnServerKeepsWhatWasCommittedOverAKill(t *testing.T) {
	server, dsn := testenv.OwnMariaDB(t)
	db, err := sql.Open("mysql", dsn)
	require.NoError(t, err)
	defer db.Close()
	_, err = db.Exec("CREATE TABLE account (id BIGINT PRIMARY KEY)")
	require.NoError(t, err)
	_, err = db.Exec("INSERT INTO account (id) VALUES (1)")
	require.NoError(t, err)

	server.Kill()
	require.Error(t, db.Ping())
	server.Restart()
	var n int
	require.NoError(t, db.QueryRow("SELECT COUNT(*) FROM account").Scan(&n))
	require.Equal(t, 1, n)
}
