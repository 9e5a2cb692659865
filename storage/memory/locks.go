package memory

import (
	"hash/maphash"

	"github.com/qiao-tx/qiao/storage"
)

// lockTable maps each locked row to its holder, in parts that are small enough
// to be listed within a batch's time.
type lockTable struct {
	seed  maphash.Seed
	rows  [lockParts]map[storage.RowKey]holder
	count int
}

const lockParts = 256

func newLockTable() *lockTable {
	l := &lockTable{seed: maphash.MakeSeed()}
	for i := range l.rows {
		l.rows[i] = make(map[storage.RowKey]holder)
	}
	return l
}

// part is the map that row is in, if anywhere.
func (l *lockTable) part(row storage.RowKey) map[storage.RowKey]holder {
	return l.rows[maphash.String(l.seed, string(row))%lockParts]
}

// holder returns the holder of the row that key spells, or none (no txn).
func (l *lockTable) holder(key []byte) holder {
	return l.rows[maphash.Bytes(l.seed, key)%lockParts][storage.RowKey(key)]
}

// holder is a transaction and the number of its branches that hold the row:
// the row is free when the last of them lets go.
type holder struct {
	txn      *txn
	branches int
}

// branchRows are the rows that one branch holds.
type branchRows struct {
	branch int64
	rows   []storage.RowKey
}

// conflict answers *storage.LockHeld when a row belongs to a transaction other
// than xid, or nil.
func (l *lockTable) conflict(xid string, rows []storage.RowKey) error {
	for _, row := range rows {
		if h := l.part(row)[row]; h.txn != nil && h.txn.state.XID != xid {
			return &storage.LockHeld{Key: row, Holder: h.lock(row)}
		}
	}
	return nil
}

func (l *lockTable) acquire(t *txn, b branchRows) {
	for _, row := range b.rows {
		part := l.part(row)
		h := part[row]
		if h.branches == 0 {
			l.count++
		}
		part[row] = holder{txn: t, branches: h.branches + 1}
	}
	t.held = append(t.held, b)
}

func (l *lockTable) release(b branchRows) {
	for _, row := range b.rows {
		part := l.part(row)
		if h := part[row]; h.branches > 1 {
			part[row] = holder{txn: h.txn, branches: h.branches - 1}
		} else {
			delete(part, row)
			l.count--
		}
	}
}

// lock describes the holder of row by the first of its branches that names it.
func (h holder) lock(row storage.RowKey) storage.Lock {
	lock := storage.Lock{XID: h.txn.state.XID, Status: h.txn.state.Global.Status}
	for _, b := range h.txn.held {
		for _, r := range b.rows {
			if r == row {
				lock.BranchID = b.branch
				return lock
			}
		}
	}
	return lock
}
