package sagalog

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	schema "github.com/qiao-tx/qiao/script/client/saga/db"
)

// DDL is the script that makes the tables of a database: "mysql" (MariaDB too),
// "postgresql" or "sqlite". It is that of script/client/saga/db, and changes
// nothing where the tables are.
func DDL(database string) (string, error) {
	script, err := schema.Scripts.ReadFile(database + ".sql")
	if err != nil {
		return "", fmt.Errorf("saga log: database %q: want mysql, postgresql or sqlite", database)
	}
	return string(script), nil
}

// CreateTables makes the tables where they are missing, with Seata's own names.
func CreateTables(ctx context.Context, db *sql.DB) error {
	d, err := dialectOf(ctx, db)
	if err != nil {
		return err
	}
	script, err := DDL([]string{mysql: "mysql", postgresql: "postgresql", sqlite: "sqlite"}[d])
	if err != nil {
		return err
	}
	for statement := range strings.SplitSeq(script, ";\n") {
		if strings.TrimSpace(statement) == "" {
			continue
		}
		if _, err := db.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("saga log: create the tables: %w", err)
		}
	}
	return nil
}

// dialectOf asks the database what it is.
func dialectOf(ctx context.Context, db *sql.DB) (dialect, error) {
	var version string
	if db.QueryRowContext(ctx, "SELECT sqlite_version()").Scan(&version) == nil {
		return sqlite, nil
	}
	if err := db.QueryRowContext(ctx, "SELECT version()").Scan(&version); err != nil {
		return 0, fmt.Errorf("saga log: the database does not tell its version: %w", err)
	}
	if strings.HasPrefix(version, "PostgreSQL") {
		return postgresql, nil
	}
	return mysql, nil
}
