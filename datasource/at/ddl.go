package at

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"strings"

	"github.com/qiao-tx/qiao/datasource/schema"
)

//go:embed ddl/*.sql
var ddl embed.FS

// UndoTableDDL is the script that makes the tables AT needs. It is the same as
// script/client/at/db, and changes nothing where the tables are.
func UndoTableDDL(d schema.Dialect) (string, error) {
	name := map[schema.Dialect]string{schema.MySQL: "ddl/mysql.sql", schema.SQLite: "ddl/sqlite.sql", schema.PostgreSQL: "ddl/postgresql.sql"}[d]
	if name == "" {
		return "", fmt.Errorf("no undo table is known for %v", d)
	}
	script, err := ddl.ReadFile(name)
	return string(script), err
}

// CreateUndoTable makes the tables where they are missing.
func CreateUndoTable(ctx context.Context, db *sql.DB, d schema.Dialect) error {
	script, err := UndoTableDDL(d)
	if err != nil {
		return err
	}
	for statement := range strings.SplitSeq(script, ";\n") {
		if strings.TrimSpace(statement) == "" {
			continue
		}
		if _, err := db.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("create the undo table: %w", err)
		}
	}
	return nil
}
