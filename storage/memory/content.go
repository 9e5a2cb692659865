package memory

import (
	"fmt"
	"slices"

	"github.com/qiao-tx/qiao/protocol/xid"
	"github.com/qiao-tx/qiao/storage"
)

// content is what a store holds, with its indexes. It has no lock of its own.
type content struct {
	// live holds the transactions by id, sharded by shardOf: a shard of a
	// million transactions is small enough to be listed within a batch's time.
	live       [shardCount]map[int64]*txn
	locks      *lockTable
	due        dueIndex
	tombstones tombstones
	notes      map[note]string // replaced, never changed
	lastID     int64
	clock      int64 // the highest Batch.At
	// snapshot, when not nil, is told of every change.
	snapshot *Snapshot

	globals, branches int64
}

const shardCount = 256

// txn is a live transaction with its places in the indexes.
type txn struct {
	state *storage.State // replaced, never changed
	held  []branchRows

	dueAt            int64
	dueNext, duePrev *txn
}

func newContent() *content {
	c := &content{locks: newLockTable(), due: newDueIndex(), tombstones: tombstones{cap: tombstoneCap}}
	for i := range c.live {
		c.live[i] = make(map[int64]*txn)
	}
	return c
}

// shardOf is the index of the shard for a transaction id.
func shardOf(id int64) int { return int(spread(id) >> 56) }

// find returns the live transaction, or nil, and the id in its XID, or 0 when
// the XID has none.
func (c *content) find(x string) (*txn, int64) {
	_, id, err := xid.Parse(x)
	if err != nil {
		return nil, 0
	}
	t := c.live[shardOf(id)][id]
	if t != nil && t.state.XID != x {
		return nil, id
	}
	return t, id
}

// check answers what apply would, as far as it depends on other batches.
func (c *content) check(b *storage.Batch) error {
	t, id := c.find(b.XID)
	if (t == nil && (b.Revision != 0 || c.buried(id))) || (t != nil && t.state.Revision != b.Revision) {
		return storage.ErrMoved
	}
	for i := range b.Add {
		if err := c.checkBranch(b.XID, &b.Add[i]); err != nil {
			return err
		}
	}
	return nil
}

// checkBranch looks for conflicts without building the row keys that only a
// branch without conflicts needs.
func (c *content) checkBranch(xid string, branch *storage.Branch) error {
	if !branch.Locked || branch.LockKey == "" {
		return nil
	}
	var scratch [128]byte
	return storage.EachRow(branch.LockKey, func(table, pk string) error {
		key := storage.AppendRowKey(scratch[:0], branch.ResourceID, table, pk)
		h := c.locks.holder(key)
		if h.txn == nil || h.txn.state.XID == xid {
			return nil
		}
		row := storage.RowKey(key)
		return &storage.LockHeld{Key: row, Holder: h.lock(row)}
	})
}

// buried tells whether id has a tombstone. An id later than all that were ever seen
// has none.
func (c *content) buried(id int64) bool {
	return storage.LaterID(c.lastID, id) == c.lastID && c.tombstones.find(id) != 0
}

// apply checks everything that can be refused before it changes anything.
func (c *content) apply(b *storage.Batch) error {
	if b.Note != nil {
		return c.keepNote(b)
	}
	t, id := c.find(b.XID)
	state := &storage.State{}
	if t != nil {
		state = t.state
	} else if err := c.checkBegin(b, id); err != nil {
		return err
	}
	next, err := state.After(b)
	if err != nil {
		return err
	}
	wanted, err := c.wanted(b)
	if err != nil {
		return err
	}

	if c.snapshot != nil {
		c.snapshot.keep(id, t)
	}
	c.lastID = storage.LaterID(c.lastID, next.Global.ID)
	for i := range b.Add {
		c.lastID = storage.LaterID(c.lastID, b.Add[i].ID)
	}
	if b.At > c.clock {
		c.clock = b.At
		c.tombstones.expire(c.clock)
	}
	if t == nil {
		t = &txn{}
		c.live[shardOf(id)][id] = t
		c.globals++
	}
	c.branches += int64(len(next.Branches) - len(state.Branches))
	t.state = next
	for _, w := range wanted {
		c.locks.acquire(t, w)
	}
	c.releaseFor(b, t)
	if b.Finish != nil {
		c.due.move(t, 0)
		delete(c.live[shardOf(id)], id)
		c.globals--
		c.tombstones.add(id, *b.Finish)
	} else {
		c.due.move(t, next.Global.DueAt)
	}
	return nil
}

// checkBegin refuses a batch for a transaction that does not live, unless it
// begins a new one under an id of its own.
func (c *content) checkBegin(b *storage.Batch, id int64) error {
	if b.Revision != 0 {
		return storage.ErrMoved
	}
	if b.Global == nil || id == 0 || id != b.Global.ID {
		return fmt.Errorf("%w: %q does not begin a transaction: want a global record with the id that ends the XID", storage.ErrInvalidBatch, b.XID)
	}
	if other := c.live[shardOf(id)][id]; other != nil {
		return fmt.Errorf("%w: the id of %s belongs to %s: two coordinators use one identity", storage.ErrInvalidBatch, b.XID, other.state.XID)
	}
	if c.buried(id) {
		return storage.ErrMoved
	}
	return nil
}

// wanted lists the rows that b's new branches lock, or the conflict.
func (c *content) wanted(b *storage.Batch) ([]branchRows, error) {
	var wanted []branchRows
	for i := range b.Add {
		branch := &b.Add[i]
		if !branch.Locked {
			continue
		}
		rows, err := storage.RowKeys(branch.ResourceID, branch.LockKey)
		if err != nil {
			return nil, fmt.Errorf("branch %d of %s: %w", branch.ID, b.XID, err)
		}
		if err := c.locks.conflict(b.XID, rows); err != nil {
			return nil, err
		}
		if len(rows) > 0 {
			wanted = append(wanted, branchRows{branch: branch.ID, rows: rows})
		}
	}
	return wanted, nil
}

// releaseFor releases the rows that b lets go.
func (c *content) releaseFor(b *storage.Batch, t *txn) {
	if len(t.held) == 0 {
		return
	}
	if b.UnlockAll || b.Finish != nil {
		for _, held := range t.held {
			c.locks.release(held)
		}
		t.held = nil
		return
	}
	for _, ids := range [2][]int64{b.Unlock, b.Remove} {
		for _, id := range ids {
			i := slices.IndexFunc(t.held, func(h branchRows) bool { return h.branch == id })
			if i >= 0 {
				c.locks.release(t.held[i])
				t.held = slices.Delete(t.held, i, i+1)
			}
		}
	}
}
