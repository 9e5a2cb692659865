package xa

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/qiao-tx/qiao/datasource/schema"
)

// PreparedBranch is a branch that a database has prepared and that has not been
// finished.
type PreparedBranch struct {
	XID string
	ID  int64
	// Commit and Rollback are the statements that finish it by hand.
	Commit, Rollback string
}

// InDoubt lists the branches of Seata's form that are prepared on a database of
// a dialect, whoever prepared them.
func InDoubt(ctx context.Context, db *sql.DB, dialect schema.Dialect) ([]PreparedBranch, error) {
	if dialect != schema.MySQL && dialect != schema.PostgreSQL {
		return nil, fmt.Errorf("%w: only MySQL and PostgreSQL can", ErrNotSupported)
	}
	c, err := db.Conn(ctx)
	if err != nil {
		return nil, fmt.Errorf("connect to the database: %w", err)
	}
	defer c.Close()
	names, err := databaseOf(dialect).prepared(ctx, pooled{c})
	if err != nil {
		return nil, fmt.Errorf("list the prepared branches: %w", err)
	}
	branches := make([]PreparedBranch, len(names))
	for i, n := range names {
		commit, rollback := "XA COMMIT ", "XA ROLLBACK "
		if dialect == schema.PostgreSQL {
			commit, rollback = "COMMIT PREPARED ", "ROLLBACK PREPARED "
		}
		branches[i] = PreparedBranch{XID: n.xid, ID: n.id, Commit: commit + n.text(dialect), Rollback: rollback + n.text(dialect)}
	}
	return branches, nil
}
