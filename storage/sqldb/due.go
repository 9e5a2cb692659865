package sqldb

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/xid"
)

const (
	// grace is how much later than its deadline a transaction is timed out while a
	// Java coordinator is there: it commits in two steps, and writes the second
	// without a look at what happened since the first.
	grace = 5 * time.Second
	// javaDead is how long after its begin a transaction that Java is committing or
	// rolling back is left to it (server.retryDeadThreshold).
	javaDead = 130 * time.Second
	// javaQuiet is how long a row that Java wrote last has not changed when it is
	// taken for left behind.
	javaQuiet = 15 // seconds
)

// dueOne is a transaction that is due.
type dueOne struct {
	xid    string
	status protocol.GlobalStatus
}

// Due implements storage.Store. With several nodes on the database each lists its
// share. While a Java coordinator is there it lists only work that is not Java's now.
func (s *Store) Due(ctx context.Context, now int64, limit int) ([]string, error) {
	if err := s.open(ctx); err != nil || limit <= 0 {
		return nil, err
	}
	java := s.node.java.present()
	some := limit * (1 + s.node.others())
	due, err := s.listDue(ctx, now, some, java)
	if err == nil && s.node.java.timeForStrays(java) {
		var strays []dueOne
		strays, err = s.listStrays(ctx, now, some, java)
		due = append(due, strays...)
	}
	if err == nil && java {
		due, err = s.node.java.mayDo(ctx, due)
	}
	if err != nil {
		return nil, s.failed("find what is due", err)
	}
	listed := make(map[string]struct{}, len(due))
	xids := make([]string, 0, min(limit, len(due)))
	for _, d := range due {
		_, again := listed[d.xid]
		listed[d.xid] = struct{}{}
		if _, id, bad := xid.Parse(d.xid); bad == nil && s.node.mine(id) && !again && len(xids) < limit {
			xids = append(xids, d.xid)
		}
	}
	return xids, nil
}

// listDue lists transactions whose due time this program has written.
func (s *Store) listDue(ctx context.Context, now int64, limit int, java bool) ([]dueOne, error) {
	if !java {
		st := s.dialect.statement("SELECT xid, 0 FROM qiao_global WHERE due_at>0 AND due_at<=").param(now)
		return s.collectDue(ctx, st.add(" ORDER BY due_at, xid LIMIT ").param(limit))
	}
	st := s.dialect.statement(`SELECT q.xid, g.status FROM qiao_global q JOIN global_table g ON g.xid=q.xid
		WHERE q.due_at>0 AND q.due_at<=`).param(now)
	st.add(" AND (g.status NOT IN (1,2,4) OR g.status=1 AND q.due_at<=").param(now - grace.Milliseconds())
	st.add(" OR g.status IN (2,4) AND (q.decided=g.status OR g.begin_time<=").param(now - javaDead.Milliseconds())
	return s.collectDue(ctx, st.add(")) ORDER BY q.due_at, q.xid LIMIT ").param(limit))
}

// listStrays lists transactions that are due and of which this program has not
// written so: another one began or decided them.
func (s *Store) listStrays(ctx context.Context, now int64, limit int, java bool) ([]dueOne, error) {
	quiet := "g.gmt_modified<" + fmt.Sprintf(s.dialect.ago, javaQuiet)
	deadline := now
	if java {
		deadline -= grace.Milliseconds()
	}
	st := s.dialect.statement(`SELECT g.xid, g.status FROM global_table g
		LEFT JOIN qiao_global q ON q.transaction_id=g.transaction_id AND q.xid=g.xid
		WHERE (q.transaction_id IS NULL OR q.decided<>g.status) AND (g.status IN (3,5,6,7,8)
		OR g.status=1 AND q.transaction_id IS NULL AND g.begin_time+g.timeout<=`).param(deadline)
	st.add(" OR g.status NOT IN (1,2,3,4,5,6,7,8) AND " + quiet + " OR g.status IN (2,4) AND ")
	if java {
		st.add("g.begin_time<=").param(now - javaDead.Milliseconds())
	} else {
		st.add(quiet)
	}
	return s.collectDue(ctx, st.add(") ORDER BY g.gmt_modified, g.xid LIMIT ").param(limit))
}

func (s *Store) collectDue(ctx context.Context, st *statement) ([]dueOne, error) {
	var due []dueOne
	err := query(ctx, s.db, st, func(rows *sql.Rows) error {
		var d dueOne
		err := rows.Scan(&d.xid, &d.status)
		due = append(due, d)
		return err
	})
	return due, err
}
