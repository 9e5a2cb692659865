package sqldb

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/xid"
	"github.com/qiao-tx/qiao/storage"
)

// group is several Batches that share one SQL transaction. It is decided without
// I/O: from what the database says, read under the locks of the transactions'
// rows, to what has to be written. A Batch that is refused changes nothing.
type group struct {
	batches []*storage.Batch
	results []error
	// wanted are the rows that the Batch's new branches lock.
	wanted [][]storage.RowKey

	before map[string]*record
	after  map[string]*record
	graves map[int64]grave
	// holders are those of the wanted rows; a transaction that lets go of one
	// leaves no holder.
	holders map[storage.RowKey]holder
	// found are the holders as they were read; wantedRows all rows that the group
	// wants.
	found      map[storage.RowKey]holder
	wantedRows map[storage.RowKey]struct{}
	// classes: the rows in holders, found and wantedRows stand for their classes.
	classes classes
	clock   int64
}

// record is a transaction as the database has it.
type record struct {
	storage.State
	// created tells when each branch was created, in microseconds since 1970,
	// ascending in the order of the branches.
	created map[int64]int64
	// left is what seen was when this program last wrote the transaction.
	left int64
	// decided is the status that this program gave it, 0 when none; outcome how it
	// has ended should another program remove it, 0 when that cannot be told.
	decided, outcome protocol.GlobalStatus
	// overwritten is the status with which another program contradicted decided.
	overwritten protocol.GlobalStatus
	// bare are the branches that another program has registered.
	bare []int64
	// clock is the database's, in microseconds since 1970, when it was read.
	clock int64
}

// grave is the tombstone of a transaction.
type grave struct {
	xid string
	storage.Tombstone
}

// holder is the holder of a row.
type holder struct {
	xid    string
	branch int64
	status protocol.GlobalStatus
}

// newGroup takes the Batches in, and refuses those that name no rows.
func newGroup(batches []*storage.Batch) *group {
	g := &group{batches: batches, results: make([]error, len(batches)), wanted: make([][]storage.RowKey, len(batches))}
	for i, b := range batches {
		g.clock = max(g.clock, b.At)
		g.wanted[i], g.results[i] = wantedRows(b)
	}
	return g
}

func wantedRows(b *storage.Batch) ([]storage.RowKey, error) {
	var wanted []storage.RowKey
	for i := range b.Add {
		branch := &b.Add[i]
		if !branch.Locked {
			continue
		}
		rows, err := storage.RowKeys(branch.ResourceID, branch.LockKey)
		if err != nil {
			return nil, fmt.Errorf("branch %d of %s: %w", branch.ID, b.XID, err)
		}
		wanted = append(wanted, rows...)
	}
	return wanted, nil
}

// xids lists the transactions of the group.
func (g *group) xids() []string {
	set := make(map[string]struct{}, len(g.batches))
	for i, b := range g.batches {
		if g.results[i] == nil {
			set[b.XID] = struct{}{}
		}
	}
	return slices.Sorted(maps.Keys(set))
}

// rows lists the rows that the group wants.
func (g *group) rows() []storage.RowKey {
	set := make(map[storage.RowKey]struct{})
	for i, rows := range g.wanted {
		if g.results[i] == nil {
			for _, row := range rows {
				set[row] = struct{}{}
			}
		}
	}
	g.wantedRows = set
	return slices.Sorted(maps.Keys(set))
}

// decide decides every Batch, in order, and says whether anything is to be
// written. before, graves and holders are set.
func (g *group) decide() bool {
	g.after = make(map[string]*record)
	for i, b := range g.batches {
		if g.results[i] == nil {
			g.results[i] = g.one(b, g.wanted[i])
		}
	}
	return len(g.after) > 0
}

// now is how the transaction stands after the Batches decided so far.
func (g *group) now(x string) *record {
	if r := g.after[x]; r != nil {
		return r
	}
	return g.before[x]
}

// one decides b.
func (g *group) one(b *storage.Batch, wanted []storage.RowKey) error {
	r := g.now(b.XID)
	if r == nil || r.Finished() {
		if r != nil {
			return storage.ErrMoved
		}
		if err := g.checkBegin(b); err != nil {
			return err
		}
		r = &record{}
	}
	next, err := r.Apply(b)
	if err != nil {
		return err
	}
	for _, row := range wanted {
		if h, held := g.holders[g.classes.of(row)]; held && h.xid != b.XID {
			return &storage.LockHeld{Key: row, Holder: g.lock(h)}
		}
	}
	was, is := lockedRows(&r.State, g.classes), lockedRows(&next, g.classes)
	for row := range was {
		if _, keeps := is[row]; !keeps && g.holders[row].xid == b.XID {
			delete(g.holders, row)
		}
	}
	for row, branch := range is {
		g.holders[row] = holder{xid: b.XID, branch: branch}
	}
	g.after[b.XID] = r.then(next, b.Global != nil)
	return nil
}

// checkBegin refuses a Batch for a transaction that does not live, unless it
// begins one under an id of its own.
func (g *group) checkBegin(b *storage.Batch) error {
	_, id, err := xid.Parse(b.XID)
	switch {
	case b.Revision != 0:
		return storage.ErrMoved
	case err != nil || b.Global == nil || id != b.Global.ID:
		return fmt.Errorf("%w: %q does not begin a transaction: want a global record with the id that ends the XID", storage.ErrInvalidBatch, b.XID)
	}
	if _, buried := g.graves[id]; buried {
		return storage.ErrMoved
	}
	return nil
}

// lock describes a holder as it is now.
func (g *group) lock(h holder) storage.Lock {
	lock := storage.Lock{XID: h.xid, BranchID: h.branch, Status: h.status}
	if r := g.now(h.xid); r != nil {
		lock.Status = r.Global.Status
	}
	return lock
}

// then is the record with the next state; decides tells whether that gives the
// transaction a status.
func (r *record) then(next storage.State, decides bool) *record {
	n := &record{State: next, created: make(map[int64]int64, len(next.Branches)), decided: r.decided, outcome: r.outcome, clock: r.clock}
	if decides {
		n.decided, n.outcome = next.Global.Status, outcomeIfRemoved(&next)
	}
	last := int64(0)
	for i := range next.Branches {
		b := &next.Branches[i]
		created, known := r.created[b.ID]
		if !known {
			// By the database's clock, as Java's: the nodes' may differ.
			created = max(cmp.Or(r.clock, b.RegisteredAt*1000), last+1)
		}
		n.created[b.ID] = created
		last = max(last, created)
	}
	return n
}

// lockedRows maps the rows that a transaction holds to the first of its branches
// that names each, or one of its class.
func lockedRows(s *storage.State, c classes) map[storage.RowKey]int64 {
	rows := make(map[storage.RowKey]int64)
	for i := range s.Branches {
		b := &s.Branches[i]
		if !b.Locked {
			continue
		}
		// The lock key was checked when the branch was added.
		_ = storage.EachRow(b.LockKey, func(table, pk string) error {
			row := c.of(storage.NewRowKey(b.ResourceID, table, pk))
			if _, first := rows[row]; !first {
				rows[row] = b.ID
			}
			return nil
		})
	}
	return rows
}
