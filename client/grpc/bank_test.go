package grpc_test

import (
	"context"
	"database/sql"
	"errors"
	"io"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/qiao-tx/qiao/client"
	"github.com/qiao-tx/qiao/client/carry"
	"github.com/qiao-tx/qiao/datasource"
)

// goService executes each word as a statement in its database, under AT.
type goService struct {
	app    *client.Client
	db     *sql.DB
	target string
}

const (
	add     = "UPDATE account SET n = n + 1 WHERE id = 1"
	ruin    = "UPDATE nothing SET n = 0"
	balance = "SELECT n FROM account WHERE id = 1"
)

func startGo(t *testing.T, coordinator string) *goService {
	t.Helper()
	var err error
	s := &goService{}
	s.app, err = client.Open(t.Context(), client.Config{Addresses: []string{coordinator}, ApplicationID: "go-service"})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, s.app.Close(context.Background())) })
	dsn := "file:" + filepath.Join(t.TempDir(), "go.db") + "?_pragma=journal_mode(wal)&_pragma=busy_timeout(20000)"
	plain, err := sql.Open("sqlite", dsn)
	require.NoError(t, err)
	require.NoError(t, datasource.CreateUndoTable(t.Context(), plain, datasource.SQLite))
	fill(t, plain)
	require.NoError(t, plain.Close())
	s.db, err = datasource.Open(t.Context(), s.app.RM(), datasource.Config{Driver: "sqlite", DSN: dsn})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, s.db.Close()) })
	s.target = serve(t, &handlers{ask: s.execute, talk: s.executeAll}, carry.Policy{})
	return s
}

func fill(t *testing.T, db *sql.DB) {
	t.Helper()
	for _, ddl := range []string{"CREATE TABLE account (id BIGINT NOT NULL PRIMARY KEY, n BIGINT NOT NULL)", "INSERT INTO account VALUES (1, 0)"} {
		_, err := db.Exec(ddl)
		require.NoError(t, err)
	}
}

func (s *goService) execute(ctx context.Context, statement string) (string, error) {
	_, err := s.db.ExecContext(ctx, statement)
	return seen(ctx), err
}

// executeAll answers each statement of a stream.
func (s *goService) executeAll(ctx context.Context, recv func() (string, error), send func(string) error) error {
	for {
		statement, err := recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		said, err := s.execute(ctx, statement)
		if err != nil {
			return err
		}
		if err := send(said); err != nil {
			return err
		}
	}
}

func (s *goService) balance(t *testing.T) int { return read(t, s.db) }

func read(t *testing.T, db *sql.DB) (n int) {
	t.Helper()
	require.NoError(t, db.QueryRow(balance).Scan(&n))
	return n
}
