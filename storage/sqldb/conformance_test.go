package sqldb

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/internal/testenv"
	"github.com/qiao-tx/qiao/storage"
	"github.com/qiao-tx/qiao/storage/storetest"
)

// databases are those that the suites run on. dsn returns an empty database.
var databases = map[string]struct {
	kind string
	dsn  func(t testing.TB) string
}{
	"MariaDB":    {"mariadb", testenv.MariaDB},
	"MySQL":      {"mysql", testenv.MySQL},
	"PostgreSQL": {"postgresql", testenv.PostgreSQL},
}

func TestConformance(t *testing.T) {
	for name, db := range databases {
		t.Run(name, func(t *testing.T) {
			cfg := Config{Type: db.kind, DSN: db.dsn(t), CreateTables: true}
			storetest.Run(t, func(t *testing.T) storetest.Factory {
				empty(t, cfg)
				return storetest.Factory{Durable: true, Open: func(t *testing.T) storage.Store { return open(t, cfg) }}
			})
		})
	}
}

// empty leaves the tables without rows.
func empty(t *testing.T, cfg Config) {
	t.Helper()
	s := open(t, cfg)
	for _, table := range []string{"vgroup_table", "qiao_note", "global_table", "branch_table", "lock_table", "qiao_global", "qiao_branch", "qiao_tombstone", "qiao_ids"} {
		_, err := s.db.ExecContext(t.Context(), "DELETE FROM "+table)
		require.NoError(t, err)
	}
	require.NoError(t, s.Close())
}
