package sqldb

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"time"

	"github.com/qiao-tx/qiao/protocol"
)

const (
	// buriedFor is how long a transaction that another program has removed answers
	// with its outcome.
	buriedFor = 3 * time.Minute
	// A late branch is younger than its transaction's end; one this old, in seconds,
	// has been answered for.
	lateBranch = 1
	// A row lock whose branch does not come within so many seconds belongs to nothing.
	lostLock = 60
	// maxReaped bounds what is mended at once.
	maxReaped = 500
)

// reap mends what other programs leave behind.
func (s *Store) reap(ctx context.Context) error {
	for _, mend := range []func(context.Context) error{s.buryRemoved, s.dropCompanions, s.reviveLate, s.dropLocks} {
		if err := mend(ctx); err != nil {
			return err
		}
	}
	return nil
}

// buryRemoved leaves tombstones of transactions that another program has removed.
func (s *Store) buryRemoved(ctx context.Context) error {
	var gone []ended
	st := s.dialect.statement(`SELECT q.transaction_id, q.xid, q.outcome FROM qiao_global q
		LEFT JOIN global_table g ON g.xid=q.xid WHERE g.xid IS NULL LIMIT `).param(maxReaped)
	err := query(ctx, s.db, st, func(rows *sql.Rows) error {
		var e ended
		err := rows.Scan(&e.id, &e.xid, &e.Outcome)
		e.ExpiresAt = time.Now().Add(buriedFor).UnixMilli()
		gone = append(gone, e)
		return err
	})
	if err != nil || len(gone) == 0 {
		return wrap("find transactions that are removed", err)
	}
	return wrap("bury transactions that are removed", s.inTransaction(ctx, func(tx *sql.Tx) error {
		w := newChangeWriter(ctx, tx, s.dialect)
		ids := make([]int64, len(gone))
		for i, e := range gone {
			ids[i] = e.id
		}
		w.remove("qiao_global", "transaction_id", ids)
		gone = slices.DeleteFunc(gone, func(e ended) bool { return e.Outcome == protocol.StatusUnKnown })
		w.bury(gone)
		w.flush()
		return w.err
	}))
}

// dropCompanions deletes what this program kept of branches that another one removed.
func (s *Store) dropCompanions(ctx context.Context) error {
	var gone []int64
	st := s.dialect.statement(`SELECT p.branch_id FROM qiao_branch p
		LEFT JOIN branch_table b ON b.branch_id=p.branch_id WHERE b.branch_id IS NULL LIMIT `).param(maxReaped)
	err := query(ctx, s.db, st, func(rows *sql.Rows) error {
		var id int64
		err := rows.Scan(&id)
		gone = append(gone, id)
		return err
	})
	if err != nil || len(gone) == 0 {
		return wrap("find branches that are removed", err)
	}
	w := newChangeWriter(ctx, s.db, s.dialect)
	w.remove("qiao_branch", "branch_id", gone)
	w.flush()
	return wrap("forget branches that are removed", w.err)
}

// late is a branch whose transaction is not there any more: Java looked at the
// transaction, found it open, and registered the branch after its end.
type late struct {
	xid    string
	id     int64
	branch int64
	typ    string
	// outcome is that of the transaction, 0 when nobody knows.
	outcome protocol.GlobalStatus
}

// reviveLate brings a transaction with a late branch back as it was decided, so that
// the branch is told to do likewise.
func (s *Store) reviveLate(ctx context.Context) error {
	var all []late
	st := s.dialect.statement(`SELECT b.xid, COALESCE(b.transaction_id,0), b.branch_id, COALESCE(b.branch_type,''), COALESCE(t.outcome,0)
		FROM branch_table b LEFT JOIN global_table g ON g.xid=b.xid
		LEFT JOIN qiao_tombstone t ON t.transaction_id=b.transaction_id AND t.xid=b.xid
		WHERE g.xid IS NULL AND b.gmt_create<` + fmt.Sprintf(s.dialect.ago, lateBranch) + ` ORDER BY b.xid, b.branch_id LIMIT `).param(maxReaped)
	err := query(ctx, s.db, st, func(rows *sql.Rows) error {
		var l late
		err := rows.Scan(&l.xid, &l.id, &l.branch, &l.typ, &l.outcome)
		all = append(all, l)
		return err
	})
	if err != nil {
		return wrap("find late branches", err)
	}
	for len(all) > 0 {
		n := 1
		for n < len(all) && all[n].xid == all[0].xid {
			n++
		}
		if err := s.revive(ctx, all[:n]); err != nil {
			return wrap("bring back "+all[0].xid, err)
		}
		all = all[n:]
	}
	return nil
}

// revive brings the transaction of some late branches back.
func (s *Store) revive(ctx context.Context, branches []late) error {
	l := &branches[0]
	status := revivedAs(l.outcome, branches)
	if status == protocol.StatusUnKnown {
		if s.node.java.reported(l.branch) {
			s.logger.Error("a branch belongs to no transaction, and how that ended is not known here: "+
				"a Java coordinator registered it after the end; see to its data, and delete it from branch_table and lock_table",
				"xid", l.xid, "branch", l.branch, "type", l.typ)
		}
		return nil
	}
	err := s.inTransaction(ctx, func(tx *sql.Tx) error {
		w := newChangeWriter(ctx, tx, s.dialect)
		w.remove("qiao_tombstone", "transaction_id", []int64{l.id})
		if w.flush() != 1 {
			return w.err // another node was faster
		}
		now := time.Now()
		w.now = now.UnixMicro()
		r := &record{decided: status}
		r.XID, r.Revision = l.xid, 1
		r.Global.ID, r.Global.Status, r.Global.Name = l.id, status, "late branch"
		r.Global.BeganAt, r.Global.TimeoutMillis, r.Global.DueAt = now.UnixMilli(), 60_000, now.UnixMilli()
		r.outcome = outcomeIfRemoved(&r.State)
		w.globals([]*record{r}, nil)
		w.flush()
		return w.err
	})
	if err == nil {
		s.logger.Warn("a Java coordinator registered a branch after its transaction's end; the branch is told to do as the others did",
			"xid", l.xid, "branch", l.branch, "outcome", l.outcome.String())
	}
	return err
}

// revivedAs is the status of a transaction that comes back; 0: it does not.
func revivedAs(outcome protocol.GlobalStatus, branches []late) protocol.GlobalStatus {
	switch outcome {
	case protocol.StatusRollbacked:
		return protocol.StatusRollbackRetrying
	case protocol.StatusTimeoutRollbacked:
		return protocol.StatusTimeoutRollbackRetrying
	case protocol.StatusCommitted:
		for i := range branches {
			if branches[i].typ != protocol.TypeAT.String() {
				return protocol.StatusCommitRetrying
			}
		}
		return protocol.StatusAsyncCommitting
	}
	return protocol.StatusUnKnown
}

// dropLocks deletes row locks that belong to no branch and no transaction: Java locks
// rows before it writes the branch.
func (s *Store) dropLocks(ctx context.Context) error {
	var rows []string
	st := s.dialect.statement(`SELECT l.row_key FROM lock_table l LEFT JOIN global_table g ON g.xid=l.xid
		LEFT JOIN branch_table b ON b.branch_id=l.branch_id
		WHERE g.xid IS NULL AND b.branch_id IS NULL AND l.gmt_create<` + fmt.Sprintf(s.dialect.ago, lostLock) + ` LIMIT `).param(maxReaped)
	err := query(ctx, s.db, st, func(r *sql.Rows) error {
		var row string
		err := r.Scan(&row)
		rows = append(rows, row)
		return err
	})
	if err != nil || len(rows) == 0 {
		return wrap("find row locks of nobody", err)
	}
	st = in(s.dialect.statement("DELETE FROM lock_table WHERE row_key IN "), rows)
	_, err = s.exec(ctx, st.add(` AND NOT EXISTS (SELECT 1 FROM global_table g WHERE g.xid=lock_table.xid)
		AND NOT EXISTS (SELECT 1 FROM branch_table b WHERE b.branch_id=lock_table.branch_id)`))
	return wrap("delete row locks of nobody", err)
}

func (s *Store) inTransaction(ctx context.Context, f func(*sql.Tx) error) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // after a commit it does nothing
	if err := f(tx); err != nil {
		return err
	}
	return tx.Commit()
}

func wrap(attempted string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", attempted, err)
}
