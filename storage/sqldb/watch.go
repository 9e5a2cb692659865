package sqldb

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/qiao-tx/qiao/storage"
)

const (
	// javaPeriod is a little longer than Java's between two looks for work.
	javaPeriod = 1300 * time.Millisecond
	// With a Java coordinator what it leaves behind is looked for often.
	reapEvery, reapBesideJava = time.Minute, 3 * time.Second
)

// watch looks for Java coordinators and mends what they leave, until the store is
// closed.
func (n *node) watch(every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	var reaped time.Time
	failing := ""
	for {
		select {
		case <-tick.C:
		case <-n.s.ending:
			return
		}
		ctx, cancel := n.s.context(n.s.timeout)
		_, err := n.java.look(ctx, false)
		if err == nil {
			err = n.java.keep(ctx)
		}
		rest := reapEvery
		if n.java.present() {
			rest = reapBesideJava
		}
		if err == nil && time.Since(reaped) >= rest {
			if err = n.clear(ctx); err == nil {
				reaped = time.Now()
			}
		}
		cancel()
		switch {
		case err == nil:
			failing = ""
		case failing != err.Error():
			failing = err.Error() // told once
			n.s.logger.Warn("the work beside other coordinators goes on later", "error", err)
		}
	}
}

// clear looks for what no coordinator may leave: a worker id that two have, and rows
// that belong to nothing. One node does the latter for all.
func (n *node) clear(ctx context.Context) error {
	if err := n.avoidClash(ctx); err != nil {
		return err
	}
	n.mu.Lock()
	first := len(n.live) == 0 || n.live[0].Worker == n.workerID()
	n.mu.Unlock()
	if !first {
		return nil
	}
	return n.s.reap(ctx)
}

// avoidClash takes another worker id when a coordinator that does not ask, a Java
// one, makes ids with this node's.
func (n *node) avoidClash(ctx context.Context) error {
	if n.address == "" {
		return nil
	}
	old := n.worker.Load()
	from, to := old<<storage.SequenceBits, (old+1)<<storage.SequenceBits-1
	d := n.s.dialect
	st := d.statement("SELECT MAX(transaction_id) FROM global_table WHERE transaction_id BETWEEN ").param(from).add(" AND ").param(to)
	st.add(" AND xid NOT LIKE ").param(n.address + ":%")
	st.add(" UNION ALL SELECT MAX(b.branch_id) FROM branch_table b LEFT JOIN qiao_branch p ON p.branch_id=b.branch_id WHERE p.branch_id IS NULL AND b.branch_id BETWEEN ")
	st.param(from).add(" AND ").param(to)
	var clash sql.NullInt64
	err := query(ctx, n.s.db, st, func(rows *sql.Rows) error {
		var id sql.NullInt64
		err := rows.Scan(&id)
		if id.Valid {
			clash = id
		}
		return err
	})
	if err != nil || !clash.Valid {
		return err
	}
	worker, err := n.choose(ctx)
	if err != nil {
		return fmt.Errorf("another coordinator has worker id %d, as id %d tells, and there is no other: %w", old, clash.Int64, err)
	}
	n.renewing.Lock()
	n.worker.Store(worker)
	n.renewing.Unlock()
	n.s.logger.Error("another coordinator has this one's worker id; this one has taken another; give each Java coordinator one of its own (-n)",
		"worker", old, "id", clash.Int64, "new worker", worker)
	st = d.statement("DELETE FROM qiao_node WHERE worker=").param(old).add(" AND token=").param(n.token)
	_, err = n.s.exec(ctx, st)
	return err
}
