package sqldb

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/storage"
)

// What other programs, a Java coordinator above all, write into the stock tables.

// notice counts what another program wrote as a Batch.
func (r *record) notice() {
	if r.left == r.seen() {
		return
	}
	r.Revision++
	g := &r.Global
	switch {
	case g.Status == r.decided:
	case r.contradicted():
		// Java writes a status without a look at the one that is there. The first
		// decision may have been carried out in part, and was told to its caller.
		r.overwritten, g.Status = g.Status, r.decided
		g.DueAt = max(1, g.BeganAt)
	case g.Status == protocol.StatusBegin:
		if g.DueAt == 0 {
			g.DueAt = max(1, g.Deadline())
		}
	default: // Due knows from when this node may act on it
		g.DueAt = max(1, g.BeganAt)
	}
}

// contradicted tells whether another program turned this one's decision round. The
// client that drives a saga may do so.
func (r *record) contradicted() bool {
	return !isSaga(&r.State) && (commits(r.decided) && goesBack(r.Global.Status) || goesBack(r.decided) && commits(r.Global.Status))
}

func commits(s protocol.GlobalStatus) bool {
	switch s {
	case protocol.StatusCommitting, protocol.StatusCommitRetrying, protocol.StatusAsyncCommitting, protocol.StatusCommitted,
		protocol.StatusCommitFailed, protocol.StatusCommitRetryTimeout:
		return true
	}
	return false
}

func goesBack(s protocol.GlobalStatus) bool {
	switch s {
	case protocol.StatusRollbackFailed, protocol.StatusTimeoutRollbackFailed, protocol.StatusRollbackRetryTimeout,
		protocol.StatusRollbacked, protocol.StatusTimeoutRollbacked:
		return true
	}
	return rolls(s)
}

// isSaga tells whether a client drives phase two, as Java's GlobalSession.isSaga does.
func isSaga(s *storage.State) bool {
	if len(s.Branches) > 0 {
		return s.Branches[0].Type == protocol.TypeSaga
	}
	return strings.HasPrefix(s.Global.Name, "$Saga_")
}

// outcomeIfRemoved is how a transaction has ended when it is not there any more and
// no tombstone tells: Java removes only what it has finished.
func outcomeIfRemoved(s *storage.State) protocol.GlobalStatus {
	switch status := s.Global.Status; {
	case isSaga(s):
	case status == protocol.StatusTimeoutRollbacking, status == protocol.StatusTimeoutRollbackRetrying:
		return protocol.StatusTimeoutRollbacked
	case rolls(status):
		return protocol.StatusRollbacked
	case commits(status) && status != protocol.StatusCommitFailed:
		return protocol.StatusCommitted
	}
	return protocol.StatusUnKnown
}

// readBareLocks fills in which rows the branches of AT lock that another program has
// registered: it keeps no list of them but the locks themselves.
func readBareLocks(ctx context.Context, q querier, d *dialect, records map[string]*record) error {
	bare := make(map[int64]*storage.Branch)
	var ids []int64
	for _, r := range records {
		for _, id := range r.bare {
			if b := r.Branch(id); b.Type == protocol.TypeAT {
				bare[id] = b
				ids = append(ids, id)
			}
		}
	}
	if len(ids) == 0 {
		return nil
	}
	slices.Sort(ids)
	keys := make(map[int64]*lockKey)
	err := each(ctx, q, ids, func(part []int64) *statement {
		return in(d.statement("SELECT branch_id, row_key FROM lock_table WHERE branch_id IN "), part).add(" ORDER BY branch_id, row_key")
	}, func(rows *sql.Rows) error {
		var id int64
		var row string
		if err := rows.Scan(&id, &row); err != nil {
			return err
		}
		if keys[id] == nil {
			keys[id] = &lockKey{}
		}
		keys[id].add(storage.RowKey(row))
		return nil
	})
	if err != nil {
		return fmt.Errorf("read the row locks of branches: %w", err)
	}
	for id, key := range keys {
		bare[id].LockKey, bare[id].Locked = key.String(), true
	}
	return nil
}

// lockKey gathers rows in the form table:pk,pk;table2:pk.
type lockKey struct {
	strings.Builder
	table string
}

func (k *lockKey) add(row storage.RowKey) {
	_, table, pk := row.Split()
	switch {
	case k.Len() == 0:
		k.WriteString(table + ":")
	case table != k.table:
		k.WriteString(";" + table + ":")
	default:
		k.WriteString(",")
	}
	k.table = table
	k.WriteString(pk)
}
