package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/xid"
	"github.com/qiao-tx/qiao/storage"
)

// Load implements storage.Store.
func (s *Store) Load(ctx context.Context, x string) (storage.State, error) {
	if err := s.open(ctx); err != nil {
		return storage.State{}, err
	}
	records := make(map[string]*record)
	st := s.dialect.statement(s.dialect.selectRecords("WHERE g.xid=")).param(x).add(s.dialect.orderOfRecords())
	if err := query(ctx, s.db, st, into(records)); err != nil {
		return storage.State{}, s.failed("read transaction "+x, err)
	}
	if r := records[x]; r != nil {
		if err := readBareLocks(ctx, s.db, s.dialect, records); err != nil {
			return storage.State{}, s.failed("read transaction "+x, err)
		}
		return r.known(ctx, s)
	}
	_, id, err := xid.Parse(x)
	if err != nil {
		return storage.State{}, nil
	}
	graves, err := readGraves(ctx, s.db, s.dialect, []int64{id})
	if err != nil {
		return storage.State{}, s.failed("read transaction "+x, err)
	}
	if g, buried := graves[id]; buried {
		return storage.State{XID: x, Outcome: g.Outcome}, nil
	}
	return storage.State{}, nil
}

// known is the state of a transaction that was read.
func (r *record) known(ctx context.Context, s *Store) (storage.State, error) {
	if r.left == r.seen() {
		return r.State, nil
	}
	state, err := s.takeOver(ctx, r.XID)
	if err != nil {
		return storage.State{}, s.failed("take over transaction "+r.XID, err)
	}
	return state, nil
}

// takeOver writes down what another program has made of a transaction as a
// revision of its own, so that what it writes next is noticed as well.
func (s *Store) takeOver(ctx context.Context, x string) (storage.State, error) {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return storage.State{}, err
	}
	defer func() { _ = tx.Rollback() }() // after a commit it does nothing
	g := &group{batches: []*storage.Batch{{XID: x}}, results: make([]error, 1), wanted: make([][]storage.RowKey, 1)}
	if err := g.read(ctx, tx, s.dialect); err != nil {
		return storage.State{}, err
	}
	r := g.before[x]
	if r == nil {
		return storage.State{}, nil
	}
	w := newChangeWriter(ctx, tx, s.dialect)
	w.now = time.Now().UnixMicro()
	if r.overwritten != protocol.StatusUnKnown {
		s.logger.Error("another coordinator overwrote a decision; the decision stands, but what that one did meanwhile may contradict it",
			"xid", x, "decided", r.Global.Status.String(), "overwritten with", r.overwritten.String())
		w.globals(nil, []*record{r})
	} else {
		w.companions([]*record{r})
	}
	if w.flush(); w.err != nil {
		return storage.State{}, w.err
	}
	return r.State, tx.Commit()
}

// failed wraps an error of the database.
func (s *Store) failed(attempted string, err error) error {
	if s.closed.Load() {
		return storage.ErrClosed
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%s: %w", attempted, err)
	}
	return fmt.Errorf("%s: %w: %w", attempted, storage.ErrUnavailable, err)
}

// CheckLocks implements storage.Store.
func (s *Store) CheckLocks(ctx context.Context, x string, rows []storage.RowKey) error {
	if err := s.open(ctx); err != nil {
		return err
	}
	holders, err := readHolders(ctx, s.db, s.dialect, rows)
	if err != nil {
		return s.failed("check the row locks", err)
	}
	classes, err := s.rowKeys.classes(ctx, s.db, s.dialect, slices.AppendSeq(slices.Clone(rows), maps.Keys(holders)))
	if err != nil {
		return s.failed("check the row locks", err)
	}
	holders = classes.holders(holders)
	for _, row := range rows {
		if h, held := holders[classes.of(row)]; held && h.xid != x {
			return &storage.LockHeld{Key: row, Holder: storage.Lock{XID: h.xid, BranchID: h.branch, Status: h.status}}
		}
	}
	return nil
}

// scanPage is how many transactions Scan reads at once.
const scanPage = 500

// Scan implements storage.Store.
func (s *Store) Scan(ctx context.Context, after int64, f func(storage.State) bool) error {
	for {
		if err := s.open(ctx); err != nil {
			return err
		}
		var ids []int64
		st := s.dialect.statement("SELECT transaction_id FROM global_table WHERE transaction_id>").param(after)
		st.add(" ORDER BY transaction_id LIMIT ").param(scanPage)
		err := query(ctx, s.db, st, func(rows *sql.Rows) error {
			var id int64
			err := rows.Scan(&id)
			ids = append(ids, id)
			return err
		})
		if err != nil {
			return s.failed("list the transactions", err)
		}
		if len(ids) == 0 {
			return nil
		}
		after = ids[len(ids)-1]
		if more, err := s.scan(ctx, ids, f); err != nil || !more {
			return err
		}
	}
}

// scan hands out the transactions with the ids, in their order.
func (s *Store) scan(ctx context.Context, ids []int64, f func(storage.State) bool) (more bool, err error) {
	records := make(map[string]*record)
	var order []string
	st := in(s.dialect.statement(s.dialect.selectRecords("WHERE g.transaction_id IN ")), ids).add(s.dialect.orderOfRecords())
	add := collect(records)
	err = query(ctx, s.db, st, func(rows *sql.Rows) error {
		n := len(records)
		x, err := add(rows)
		if len(records) > n {
			order = append(order, x)
		}
		return err
	})
	if err != nil {
		return false, s.failed("read transactions", err)
	}
	if err := readBareLocks(ctx, s.db, s.dialect, records); err != nil {
		return false, s.failed("read transactions", err)
	}
	for _, x := range order {
		state, err := records[x].known(ctx, s)
		if err != nil {
			return false, err
		}
		if !f(state) {
			return false, nil
		}
	}
	return true, nil
}

// ScanLocks implements storage.Store.
func (s *Store) ScanLocks(ctx context.Context, f func(storage.RowKey, storage.Lock) bool) error {
	last := ""
	for {
		if err := s.open(ctx); err != nil {
			return err
		}
		type held struct {
			row storage.RowKey
			holder
		}
		var page []held
		st := s.dialect.statement(selectLocks + " WHERE l.row_key>").param(last)
		st.add(" ORDER BY l.row_key LIMIT ").param(scanPage)
		err := query(ctx, s.db, st, func(rows *sql.Rows) error {
			row, h, err := scanLock(rows)
			page = append(page, held{row, h})
			return err
		})
		if err != nil {
			return s.failed("list the row locks", err)
		}
		if len(page) == 0 {
			return nil
		}
		for _, h := range page {
			if !f(h.row, storage.Lock{XID: h.xid, BranchID: h.branch, Status: h.status}) {
				return nil
			}
			last = string(h.row)
		}
	}
}

// LastID implements storage.Store. It counts what other programs stored as well.
func (s *Store) LastID(ctx context.Context) (int64, error) {
	if err := s.open(ctx); err != nil {
		return 0, err
	}
	last := int64(0)
	st := s.dialect.statement(`SELECT last_id FROM qiao_ids WHERE worker>=0 UNION ALL SELECT transaction_id FROM global_table
		UNION ALL SELECT branch_id FROM branch_table`)
	err := query(ctx, s.db, st, func(rows *sql.Rows) error {
		var id sql.NullInt64
		err := rows.Scan(&id)
		last = storage.LaterID(last, id.Int64)
		return err
	})
	if err != nil {
		return 0, s.failed("read the latest id", err)
	}
	return last, nil
}

// Stats implements storage.Store. What the database does not tell counts as none.
func (s *Store) Stats() storage.Stats {
	stats := storage.Stats{Batches: s.batches.Load(), Entries: s.entries.Load()}
	ctx, cancel := context.WithTimeout(context.Background(), s.timeout)
	defer cancel()
	st := s.dialect.statement(`SELECT (SELECT COUNT(*) FROM global_table), (SELECT COUNT(*) FROM branch_table),
		(SELECT COUNT(*) FROM lock_table), (SELECT COUNT(*) FROM qiao_tombstone)`)
	_ = query(ctx, s.db, st, func(rows *sql.Rows) error {
		return rows.Scan(&stats.Globals, &stats.Branches, &stats.Locks, &stats.Tombstones)
	})
	return stats
}
