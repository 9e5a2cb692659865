package sqldb

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/xid"
	"github.com/qiao-tx/qiao/storage"
)

// querier is a *sql.DB or a *sql.Tx.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

// maxList bounds the lists of one statement.
const maxList = 1000

// each runs a statement for every part of values and hands out its rows.
func each[T any](ctx context.Context, q querier, values []T, build func(part []T) *statement, row func(*sql.Rows) error) error {
	for len(values) > 0 {
		n, size := 0, int64(0)
		for n < len(values) && n < maxList && size < maxScript {
			size += valueBytes(values[n])
			n++
		}
		if err := query(ctx, q, build(values[:n]), row); err != nil {
			return err
		}
		values = values[n:]
	}
	return nil
}

// valueBytes is about how long a value gets in a statement.
func valueBytes(value any) int64 {
	switch v := value.(type) {
	case string:
		return literalBytes(v)
	case storage.RowKey:
		return literalBytes(string(v))
	}
	return 20
}

// query runs a statement and hands out its rows.
func query(ctx context.Context, q querier, s *statement, row func(*sql.Rows) error) error {
	rows, err := q.QueryContext(ctx, s.text.String())
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := row(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// read fills in what the group is decided by. The rows of its transactions stay
// locked until tx ends.
func (g *group) read(ctx context.Context, tx querier, d *dialect) error {
	xids, forUpdate := g.xids(), " FOR UPDATE"
	if !d.lockingJoin {
		forUpdate = ""
		err := each(ctx, tx, xids, func(part []string) *statement {
			return in(d.statement("SELECT xid FROM global_table WHERE xid IN "), part).add(" ORDER BY xid FOR UPDATE")
		}, func(*sql.Rows) error { return nil })
		if err != nil {
			return fmt.Errorf("lock the transactions: %w", err)
		}
	}
	g.before = make(map[string]*record)
	err := each(ctx, tx, xids, func(part []string) *statement {
		return in(d.statement(d.selectRecords("WHERE g.xid IN ")), part).add(d.orderOfRecords() + forUpdate)
	}, into(g.before))
	if err != nil {
		return fmt.Errorf("read the transactions: %w", err)
	}
	if err := readBareLocks(ctx, tx, d, g.before); err != nil {
		return err
	}
	for _, r := range g.before {
		r.notice()
	}
	if g.graves, err = readGraves(ctx, tx, d, g.unknown(xids)); err != nil {
		return err
	}
	if g.holders, err = readHolders(ctx, tx, d, g.rows()); err != nil {
		return err
	}
	return nil
}

// unknown lists the ids of the transactions that the database does not have.
func (g *group) unknown(xids []string) []int64 {
	var ids []int64
	for _, x := range xids {
		if _, id, err := xid.Parse(x); g.before[x] == nil && err == nil {
			ids = append(ids, id)
		}
	}
	return ids
}

func readGraves(ctx context.Context, q querier, d *dialect, ids []int64) (map[int64]grave, error) {
	graves := make(map[int64]grave)
	err := each(ctx, q, ids, func(part []int64) *statement {
		s := in(d.statement("SELECT transaction_id, xid, outcome, expires_at FROM qiao_tombstone WHERE transaction_id IN "), part)
		// What another program has finished and removed, and nobody has buried yet.
		s.add(" UNION ALL SELECT transaction_id, xid, outcome, 0 FROM qiao_global WHERE outcome<>0 AND transaction_id IN ")
		return in(s, part)
	}, func(rows *sql.Rows) error {
		var id int64
		var g grave
		if err := rows.Scan(&id, &g.xid, &g.Outcome, &g.ExpiresAt); err != nil {
			return err
		}
		graves[id] = g
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the tombstones: %w", err)
	}
	return graves, nil
}

func readHolders(ctx context.Context, q querier, d *dialect, wanted []storage.RowKey) (map[storage.RowKey]holder, error) {
	holders := make(map[storage.RowKey]holder)
	err := each(ctx, q, wanted, func(part []storage.RowKey) *statement {
		return in(d.statement(selectLocks+" WHERE l.row_key IN "), part)
	}, func(rows *sql.Rows) error {
		row, h, err := scanLock(rows)
		holders[row] = h
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the row locks: %w", err)
	}
	return holders, nil
}

const selectLocks = `SELECT l.row_key, COALESCE(l.xid,''), l.branch_id, COALESCE(g.status,0)
	FROM lock_table l LEFT JOIN global_table g ON g.xid = l.xid`

func scanLock(rows *sql.Rows) (row storage.RowKey, h holder, err error) {
	var key string
	err = rows.Scan(&key, &h.xid, &h.branch, &h.status)
	return storage.RowKey(key), h, err
}

// selectRecords reads transactions with their branches in one statement, which
// sees one moment.
func (d *dialect) selectRecords(where string) string {
	return fmt.Sprintf(selectRecords, d.created, d.micros) + where
}

const selectRecords = `SELECT g.xid, COALESCE(g.transaction_id,0), g.status, COALESCE(g.application_id,''),
	COALESCE(g.transaction_service_group,''), COALESCE(g.transaction_name,''), COALESCE(g.timeout,0), COALESCE(g.begin_time,0),
	COALESCE(q.revision,0), COALESCE(q.due_at,0), COALESCE(q.attempts,0), COALESCE(q.evidence,''), COALESCE(q.seen,0),
	COALESCE(q.decided,0), COALESCE(q.outcome,0),
	b.branch_id, COALESCE(b.resource_id,''), COALESCE(b.branch_type,''), COALESCE(b.status,0), COALESCE(b.client_id,''),
	COALESCE(b.application_data,''), COALESCE(p.created,%s,0), COALESCE(p.registered_at,0), COALESCE(p.locked,FALSE),
	COALESCE(p.lock_key,''), COALESCE(p.request_key,''), p.branch_id IS NULL, %s
	FROM global_table g LEFT JOIN qiao_global q ON q.transaction_id = g.transaction_id
	LEFT JOIN branch_table b ON b.xid = g.xid LEFT JOIN qiao_branch p ON p.branch_id = b.branch_id `

// orderOfRecords is the order of branches: Java's, by gmt_create, which in the table
// that Seata's script makes in PostgreSQL knows seconds only.
func (d *dialect) orderOfRecords() string {
	return fmt.Sprintf(" ORDER BY g.transaction_id, g.xid, COALESCE(p.created,%s), b.branch_id", d.created)
}

// into adds rows of selectRecords to records.
func into(records map[string]*record) func(*sql.Rows) error {
	add := collect(records)
	return func(rows *sql.Rows) error {
		_, err := add(rows)
		return err
	}
}

// collect adds rows of selectRecords to records and tells whose each is.
func collect(records map[string]*record) func(*sql.Rows) (string, error) {
	return func(rows *sql.Rows) (string, error) {
		one, branch, err := scanRecord(rows)
		if err != nil {
			return "", err
		}
		r := records[one.XID]
		if r == nil {
			r = one
			records[one.XID] = r
		}
		if branch != nil {
			r.Branches = append(r.Branches, branch.Branch)
			r.created[branch.ID] = branch.created
			if branch.bare {
				r.bare = append(r.bare, branch.ID)
			}
		}
		return r.XID, nil
	}
}

// foundBranch is a branch as a row has it.
type foundBranch struct {
	storage.Branch
	created int64
	// bare: another program has registered it.
	bare bool
}

// scanRecord reads a row of selectRecords: a transaction and, if it has one, one
// of its branches.
func scanRecord(rows *sql.Rows) (*record, *foundBranch, error) {
	r := &record{created: make(map[int64]int64)}
	var b foundBranch
	var id sql.NullInt64
	var typ string
	g := &r.Global
	err := rows.Scan(&r.XID, &g.ID, &g.Status, &g.ApplicationID, &g.Group, &g.Name, &g.TimeoutMillis, &g.BeganAt,
		&r.Revision, &g.DueAt, &g.Attempts, &g.Evidence, &r.left, &r.decided, &r.outcome,
		&id, &b.ResourceID, &typ, &b.Status, &b.ClientID, &b.ApplicationData, &b.created, &b.RegisteredAt, &b.Locked,
		&b.LockKey, &b.RequestKey, &b.bare, &r.clock)
	if err != nil || !id.Valid {
		return r, nil, err
	}
	b.ID = id.Int64
	if b.bare {
		b.RegisteredAt = b.created / 1000
	}
	if b.Type, err = branchType(typ); err != nil {
		return r, nil, fmt.Errorf("branch %d of %s: %w", b.ID, r.XID, err)
	}
	return r, &b, nil
}

func branchType(name string) (protocol.BranchType, error) {
	for t := protocol.TypeAT; t <= protocol.TypeSagaAnnotation; t++ {
		if t.String() == name {
			return t, nil
		}
	}
	return 0, fmt.Errorf("branch_type %q in branch_table is none of Seata's", name)
}
