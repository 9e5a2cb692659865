package fence

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"strings"
)

//go:embed ddl/*.sql
var ddl embed.FS

// DDL is the script that makes the table, named DefaultTable, for a database/sql
// driver: "mysql" (MariaDB too), "pgx" or "sqlite". It is the same as in
// script/client/tcc/db, and changes nothing where the table is.
func DDL(driver string) (string, error) {
	name := map[string]string{"mysql": "mysql", "pgx": "postgresql", "sqlite": "sqlite"}[driver]
	if name == "" {
		return "", fmt.Errorf("no fence table is known for the driver %q: want mysql, pgx or sqlite", driver)
	}
	script, err := ddl.ReadFile("ddl/" + name + ".sql")
	return string(script), err
}

// CreateTable makes the table, named DefaultTable, where it is missing.
func CreateTable(ctx context.Context, db *sql.DB, driver string) error {
	script, err := DDL(driver)
	if err != nil {
		return err
	}
	for statement := range strings.SplitSeq(script, ";\n") {
		if strings.TrimSpace(statement) == "" {
			continue
		}
		if _, err := db.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("create the fence table: %w", err)
		}
	}
	return nil
}
