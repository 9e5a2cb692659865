package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// write carries out the change in tx. The order of the tables is the same for
// every group.
func (c *change) write(ctx context.Context, tx querier, d *dialect, nowMicros int64) error {
	w := newChangeWriter(ctx, tx, d)
	w.now = nowMicros
	w.globals(c.begun, c.moved)
	w.branches(c.added, c.other, c.gone)
	w.locks(c)
	w.end(c.ended)
	w.ids(c.ids)
	w.flush()
	return w.err
}

// changeWriter runs statements until one fails.
type changeWriter struct {
	d   *dialect
	now int64 // microseconds since 1970
	err error

	run func(*statement) (sql.Result, error)
	// script is what has not been run yet.
	script *statement
}

func newChangeWriter(ctx context.Context, tx querier, d *dialect) *changeWriter {
	return &changeWriter{
		d:   d,
		run: func(s *statement) (sql.Result, error) { return tx.ExecContext(ctx, s.text.String(), s.args...) },
	}
}

// maxScript is about how long a script may get, in bytes; MySQL's max_allowed_packet
// is 16 MiB and more.
const maxScript = 1 << 20

// exec runs a statement, at the latest at the next flush.
func (w *changeWriter) exec(s *statement) {
	switch {
	case w.script == nil:
		w.script = s
	case w.d.scripts:
		w.script.add(";").add(s.text.String()).args = append(w.script.args, s.args...)
		w.script.size += s.size
	default:
		w.flush()
		w.script = s
	}
	if w.script.text.Len()+w.script.size > maxScript {
		w.flush()
	}
}

// flush runs what has not been run yet and returns how many rows the last
// statement changed.
func (w *changeWriter) flush() (changed int64) {
	s := w.script
	w.script = nil
	if w.err != nil || s == nil {
		return 0
	}
	result, err := w.run(s)
	if err == nil {
		changed, err = result.RowsAffected()
	}
	if err != nil {
		w.err = fmt.Errorf("write to the tables: %w", err)
	}
	return changed
}

// insert writes rows of values, maxList at a time; end is what follows.
func insert[T any](w *changeWriter, into string, rows []T, end string, values func(s *statement, row T)) {
	for part := range slices.Chunk(rows, maxList) {
		s := w.d.statement("INSERT INTO " + into + " VALUES ")
		for i, row := range part {
			if i > 0 {
				s.add(",")
			}
			values(s, row)
		}
		w.exec(s.add(end))
	}
}

// tuple adds the parameters of a row.
func (s *statement) tuple(args ...any) *statement { return in(s, args) }

const (
	globalColumns = "global_table (xid,transaction_id,status,application_id,transaction_service_group,transaction_name,timeout,begin_time,gmt_create,gmt_modified)"
	branchColumns = "branch_table (branch_id,xid,transaction_id,resource_id,branch_type,status,client_id,application_data,gmt_create,gmt_modified)"
	lockColumns   = "lock_table (row_key,xid,transaction_id,branch_id,resource_id,table_name,pk,status,gmt_create,gmt_modified)"
)

func (w *changeWriter) globals(begun, moved []*record) {
	global := func(s *statement, r *record) {
		g := &r.Global
		s.add("(").params(r.XID, g.ID, int(g.Status), g.ApplicationID, g.Group, g.Name, g.TimeoutMillis, g.BeganAt)
		s.add(",").moment(w.now).add(",").moment(w.now).add(")")
	}
	insert(w, globalColumns, begun, "", global)
	insert(w, globalColumns, moved, w.d.upsert("xid", []string{
		"status", "application_id", "transaction_service_group", "transaction_name", "timeout", "begin_time", "gmt_modified",
	}), global)
	w.companions(slices.Concat(begun, moved))
}

// companions writes what global_table has no place for.
func (w *changeWriter) companions(all []*record) {
	insert(w, "qiao_global (transaction_id,xid,revision,due_at,attempts,evidence,seen,decided,outcome)", all,
		w.d.upsert("transaction_id", []string{"revision", "due_at", "attempts", "evidence", "seen", "decided", "outcome"}),
		func(s *statement, r *record) {
			s.tuple(r.Global.ID, r.XID, int64(r.Revision), r.Global.DueAt, r.Global.Attempts, r.Global.Evidence, r.seen(),
				int(r.decided), int(r.outcome))
		})
}

func (w *changeWriter) branches(added, other []branchRow, gone []int64) {
	branch := func(s *statement, b branchRow) {
		s.add("(").params(b.ID, b.xid, b.id, b.ResourceID, b.Type.String(), int(b.Status), b.ClientID, b.ApplicationData)
		s.add(",").moment(b.created).add(",").moment(w.now).add(")")
	}
	companion := func(s *statement, b branchRow) {
		s.tuple(b.ID, b.xid, b.created, b.RegisteredAt, b.Locked, b.LockKey, b.RequestKey)
	}
	const companions = "qiao_branch (branch_id,xid,created,registered_at,locked,lock_key,request_key)"
	insert(w, branchColumns, added, "", branch)
	insert(w, companions, added, "", companion)
	insert(w, branchColumns, other,
		w.d.upsert("branch_id", []string{"status", "application_data", "gmt_modified"}), branch)
	insert(w, companions, other, w.d.upsert("branch_id", []string{"locked"}), companion)
	w.remove("branch_table", "branch_id", gone)
	w.remove("qiao_branch", "branch_id", gone)
}

// remove deletes the rows with the keys.
func (w *changeWriter) remove(table, column string, keys []int64) {
	for part := range slices.Chunk(keys, maxList) {
		w.exec(in(w.d.statement("DELETE FROM "+table+" WHERE "+column+" IN "), part))
	}
}

func (w *changeWriter) locks(c *change) {
	lock := func(s *statement, l lockRow) {
		resource, table, pk := l.row.Split()
		s.add("(").params(string(l.row), l.xid, l.id, l.branch, resource, table, pk, map[bool]int{true: 1}[l.rolls])
		s.add(",").moment(w.now).add(",").moment(w.now).add(")")
	}
	// By their owner: a Java coordinator may have let go of a row that this program
	// believes to be locked, and another transaction may have it now.
	removeLocks(w, "xid", c.unlocked)
	removeLocks(w, "branch_id", c.unlockedBranches)
	insert(w, lockColumns, c.taken, "", lock)
	for part := range slices.Chunk(c.turned, maxList) {
		w.exec(in(w.d.statement("UPDATE lock_table SET status=1 WHERE xid IN "), part))
	}
}

func removeLocks[T any](w *changeWriter, column string, owners []T) {
	for part := range slices.Chunk(owners, maxList) {
		w.exec(in(w.d.statement("DELETE FROM lock_table WHERE "+column+" IN "), part))
	}
}

// end removes transactions and leaves their tombstones. A transaction that another
// program has added a branch to stays: the group is decided again.
func (w *changeWriter) end(all []ended) {
	for part := range slices.Chunk(all, maxList) {
		var xids []string
		var ids []int64
		for _, e := range part {
			ids = append(ids, e.id)
			if e.lived {
				xids = append(xids, e.xid)
			}
		}
		w.exec(in(w.d.statement("DELETE FROM qiao_global WHERE transaction_id IN "), ids))
		if w.flush(); len(xids) == 0 {
			continue
		}
		w.exec(in(w.d.statement("DELETE FROM global_table WHERE xid IN "), xids).
			add(" AND NOT EXISTS (SELECT 1 FROM branch_table b WHERE b.xid=global_table.xid)"))
		if n := w.flush(); w.err == nil && n != int64(len(xids)) {
			w.err = fmt.Errorf("%w: one of %d transactions has a branch that was added a moment ago", errRaced, len(xids))
		}
	}
	w.bury(all)
}

func (w *changeWriter) bury(all []ended) {
	insert(w, "qiao_tombstone (transaction_id,xid,outcome,expires_at)", all, "",
		func(s *statement, e ended) { s.tuple(e.id, e.xid, int(e.Outcome), e.ExpiresAt) })
}

// errRaced: another program wrote what this SQL transaction reckoned with.
var errRaced = errors.New("another coordinator was faster")

// ids remembers the latest id of each worker.
func (w *changeWriter) ids(used map[int64]int64) {
	insert(w, "qiao_ids (worker,last_id)", slices.Sorted(maps.Keys(used)), w.d.keepGreatest,
		func(s *statement, worker int64) { s.tuple(worker, used[worker]) })
}
