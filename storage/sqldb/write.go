package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// write carries out the change. The order of the tables is the same for
// every group.
func (c *change) write(w *changeWriter) error {
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
	return &changeWriter{d: d, run: func(s *statement) (sql.Result, error) { return s.exec(ctx, tx) }}
}

// maxScript is how long a script gets, in bytes, when its last row is a small one.
const maxScript = 256 << 10

// begin starts a statement.
func (w *changeWriter) begin(text string) *statement {
	switch {
	case w.script == nil:
		w.script = w.d.statement("")
		w.script.text.Grow(4096)
	case w.script.text.Len() > maxScript:
		w.flush()
		return w.begin(text)
	default:
		w.script.add(";")
	}
	return w.script.add(text)
}

// long tells that the statement should end with this row.
func (w *changeWriter) long() bool { return w.script.text.Len() > 2*maxScript }

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

// insert writes rows of values; end is what follows.
func insert[T any](w *changeWriter, into string, rows []T, end string, values func(s *statement, row T)) {
	for len(rows) > 0 {
		s := w.begin("INSERT INTO ").add(into).add(" VALUES ")
		for n := 0; len(rows) > 0 && n < maxList && !w.long(); n++ {
			if n > 0 {
				s.add(",")
			}
			values(s, rows[0])
			rows = rows[1:]
		}
		s.add(end)
	}
}

// where writes a statement for the rows whose keys are in the list.
func where[T any](w *changeWriter, text string, keys []T) {
	for len(keys) > 0 {
		s := w.begin(text).add("(")
		for n := 0; len(keys) > 0 && n < maxList && !w.long(); n++ {
			if n > 0 {
				s.add(",")
			}
			s.param(keys[0])
			keys = keys[1:]
		}
		s.add(")")
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
		s.add("(").string(r.XID).add(",").number(g.ID).add(",").number(int64(g.Status)).
			add(",").string(g.ApplicationID).add(",").string(g.Group).add(",").string(g.Name).
			add(",").number(int64(g.TimeoutMillis)).add(",").number(g.BeganAt).
			add(",").moment(w.now).add(",").moment(w.now).add(")")
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
			s.add("(").number(r.Global.ID).add(",").string(r.XID).add(",").number(int64(r.Revision)).
				add(",").number(r.Global.DueAt).add(",").number(int64(r.Global.Attempts)).
				add(",").string(evidence(r.Global.Evidence)).add(",").number(r.seen()).
				add(",").number(int64(r.decided)).add(",").number(int64(r.outcome)).add(")")
		})
}

// evidence is for people: a character that the database does not take must not keep
// a transaction from its end.
func evidence(text string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(text, "\uFFFD"), "\x00", "\uFFFD")
}

func (w *changeWriter) branches(added, other []branchRow, gone []int64) {
	branch := func(s *statement, b branchRow) {
		s.add("(").number(b.ID).add(",").string(b.xid).add(",").number(b.id).add(",").string(b.ResourceID).
			add(",").string(b.Type.String()).add(",").number(int64(b.Status)).
			add(",").string(b.ClientID).add(",").string(b.ApplicationData).
			add(",").moment(b.created).add(",").moment(w.now).add(")")
	}
	companion := func(s *statement, b branchRow) {
		s.add("(").number(b.ID).add(",").string(b.xid).add(",").number(b.created).add(",").number(b.RegisteredAt).
			add(",").param(b.Locked).add(",").string(b.LockKey).add(",").string(b.RequestKey).add(")")
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
	where(w, "DELETE FROM "+table+" WHERE "+column+" IN ", keys)
}

func (w *changeWriter) locks(c *change) {
	lock := func(s *statement, l lockRow) {
		resource, table, pk := l.row.Split()
		rolls := int64(0)
		if l.rolls {
			rolls = 1
		}
		s.add("(").string(string(l.row)).add(",").string(l.xid).add(",").number(l.id).add(",").number(l.branch).
			add(",").string(resource).add(",").string(table).add(",").string(pk).add(",").number(rolls).
			add(",").moment(w.now).add(",").moment(w.now).add(")")
	}
	// By their owner: a Java coordinator may have let go of a row that this program
	// believes to be locked, and another transaction may have it now.
	where(w, "DELETE FROM lock_table WHERE xid IN ", c.unlocked)
	where(w, "DELETE FROM lock_table WHERE branch_id IN ", c.unlockedBranches)
	insert(w, lockColumns, c.taken, "", lock)
	where(w, "UPDATE lock_table SET status=1 WHERE xid IN ", c.turned)
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
		in(w.begin("DELETE FROM qiao_global WHERE transaction_id IN "), ids)
		if len(xids) == 0 {
			continue
		}
		in(w.begin("DELETE FROM global_table WHERE xid IN "), xids).
			add(" AND NOT EXISTS (SELECT 1 FROM branch_table b WHERE b.xid=global_table.xid)")
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
