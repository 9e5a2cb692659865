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
			storetest.Run(t, func(t *testing.T) storetest.Factory {
				dsn := db.dsn(t)
				return storetest.Factory{Durable: true, Open: func(t *testing.T) storage.Store {
					s, err := Open(t.Context(), Config{Type: db.kind, DSN: dsn, CreateTables: true})
					require.NoError(t, err)
					t.Cleanup(func() { _ = s.Close() })
					return s
				}}
			})
		})
	}
}
