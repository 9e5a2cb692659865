package sqldb

import (
	"cmp"
	"hash/fnv"
	"maps"
	"slices"
	"strconv"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/storage"
)

// change is what a group writes, each list in the order of its keys, so that
// several nodes take the database's locks in one order.
type change struct {
	// globals are new or different records of transactions.
	begun, moved []*record
	// ended are the transactions that finish.
	ended []ended
	added []branchRow
	other []branchRow // changed
	gone  []int64     // ids of branches
	taken []lockRow
	// unlocked are the transactions that hold no lock any more, unlockedBranches the
	// branches of others that do not.
	unlocked         []string
	unlockedBranches []int64
	// turned are the transactions that begin to roll back: Java marks their locks.
	turned []string
	ids    map[int64]int64 // by worker
}

type ended struct {
	xid string
	id  int64
	storage.Tombstone
	// lived: it is in global_table.
	lived bool
}

// branchRow is a branch with what its rows say of its transaction.
type branchRow struct {
	*storage.Branch
	xid     string
	id      int64
	created int64
}

// lockRow is a row lock.
type lockRow struct {
	row    storage.RowKey
	xid    string
	id     int64
	branch int64
	rolls  bool
}

// change compares what was with what is.
func (g *group) change() *change {
	c := &change{ids: make(map[int64]int64)}
	was, is := make(map[storage.RowKey]lockRow), make(map[storage.RowKey]lockRow)
	for _, x := range slices.Sorted(maps.Keys(g.after)) {
		before, after := g.before[x], g.after[x]
		if before == nil {
			before = &record{}
		}
		c.transaction(g, x, before, after)
		c.branches(x, before, after)
		locksOf(was, x, before, g.classes)
		if !after.Finished() {
			locksOf(is, x, after, g.classes)
		}
	}
	g.correct(was, is)
	c.locks(was, is)
	for i, b := range g.batches {
		if g.results[i] == nil {
			c.usedIDs(b)
		}
	}
	slices.SortFunc(c.added, branchOrder)
	slices.SortFunc(c.other, branchOrder)
	slices.Sort(c.gone)
	return c
}

func branchOrder(a, b branchRow) int { return cmp.Compare(a.ID, b.ID) }

func (c *change) transaction(g *group, x string, before, after *record) {
	switch {
	case after.Finished():
		c.ended = append(c.ended, ended{
			xid: x, id: after.Global.ID, Tombstone: g.tombstone(x), lived: before.Exists(),
		})
	case !before.Exists():
		c.begun = append(c.begun, after)
	default:
		c.moved = append(c.moved, after)
	}
	if rolls(after.Global.Status) && !rolls(before.Global.Status) {
		c.turned = append(c.turned, x)
	}
}

// tombstone is what the last Batch of a finished transaction leaves.
func (g *group) tombstone(x string) storage.Tombstone {
	for i := len(g.batches) - 1; ; i-- {
		if b := g.batches[i]; b.XID == x && g.results[i] == nil && b.Finish != nil {
			return *b.Finish
		}
	}
}

func (c *change) branches(x string, before, after *record) {
	old := make(map[int64]*storage.Branch, len(before.Branches))
	for i := range before.Branches {
		old[before.Branches[i].ID] = &before.Branches[i]
	}
	for i := range after.Branches {
		b := &after.Branches[i]
		row := branchRow{b, x, after.Global.ID, after.created[b.ID]}
		was, known := old[b.ID]
		switch {
		case !known:
			c.added = append(c.added, row)
		case *was != *b:
			c.other = append(c.other, row)
		}
		delete(old, b.ID)
	}
	for id := range old {
		c.gone = append(c.gone, id)
	}
}

func locksOf(rows map[storage.RowKey]lockRow, x string, r *record, c classes) {
	for row, branch := range lockedRows(&r.State, c) {
		rows[row] = lockRow{row: row, xid: x, id: r.Global.ID, branch: branch, rolls: rolls(r.Global.Status)}
	}
}

// correct takes out what a transaction believes to have locked and has not: a Java
// coordinator has released it, and perhaps locked it for another one.
func (g *group) correct(was, is map[storage.RowKey]lockRow) {
	for row := range g.wantedRows {
		old, believed := was[row]
		h, found := g.found[row]
		if !believed || found && h.xid == old.xid {
			continue
		}
		delete(was, row)
		if found && is[row].xid == old.xid {
			delete(is, row)
		}
	}
}

// locks finds out who lets go of rows, and which rows are locked anew. A row that
// passes to another branch is both.
func (c *change) locks(was, is map[storage.RowKey]lockRow) {
	keeps := make(map[string]bool)
	for _, row := range is {
		keeps[row.xid] = true
	}
	ends, branches := make(map[string]struct{}), make(map[int64]struct{})
	for _, e := range c.ended {
		ends[e.xid] = struct{}{} // with what Java may have locked for it meanwhile
	}
	for key, row := range was {
		now, held := is[key]
		switch {
		case held && now.xid == row.xid && now.branch == row.branch:
		case keeps[row.xid]:
			branches[row.branch] = struct{}{}
		default:
			ends[row.xid] = struct{}{}
		}
	}
	for _, key := range slices.Sorted(maps.Keys(is)) {
		now := is[key]
		old, held := was[key]
		_, released := branches[old.branch]
		if !held || released || old.xid != now.xid || old.branch != now.branch {
			c.taken = append(c.taken, now)
		}
	}
	c.unlocked, c.unlockedBranches = slices.Sorted(maps.Keys(ends)), slices.Sorted(maps.Keys(branches))
}

// usedIDs notes the ids that b uses for the first time.
func (c *change) usedIDs(b *storage.Batch) {
	use := func(id int64) {
		worker := id >> storage.SequenceBits
		if last, known := c.ids[worker]; !known || storage.LaterID(last, id) == id {
			c.ids[worker] = id
		}
	}
	if b.Revision == 0 && b.Global != nil {
		use(b.Global.ID)
	}
	for i := range b.Add {
		use(b.Add[i].ID)
	}
}

// rolls tells whether Java marks the locks of a transaction with that status
// (org.apache.seata.server.session.GlobalSession.changeGlobalStatus).
func rolls(s protocol.GlobalStatus) bool {
	return s == protocol.StatusRollbacking || s == protocol.StatusTimeoutRollbacking ||
		s == protocol.StatusRollbackRetrying || s == protocol.StatusTimeoutRollbackRetrying
}

// seen is the fingerprint of what stands in the stock tables. When it is another
// one than this program left, another program has written.
func (r *record) seen() int64 {
	h := fnv.New64a()
	text := strconv.AppendInt(nil, int64(r.Global.Status), 10)
	for i := range r.Branches {
		b := &r.Branches[i]
		text = strconv.AppendInt(append(text, ' '), b.ID, 10)
		text = strconv.AppendInt(append(text, ':'), int64(b.Status), 10)
		text = append(append(text, ':'), b.ApplicationData...)
	}
	h.Write(text)
	return int64(h.Sum64())
}
