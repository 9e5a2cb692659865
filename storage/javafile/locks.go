package javafile

import (
	"fmt"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/storage"
)

// lock gives the branches their row locks, in the order in which Java gave them. A
// row that a later branch of another transaction was given had been let go by the
// earlier one, of which the record that says so was still to be written. It counts
// those earlier branches.
func (p *replay) lock() (passed int64, err error) {
	holders := make(map[storage.RowKey]holder)
	for _, l := range p.locking {
		s := p.live[l.xid]
		if s == nil || !keepsLocks(s.global.status) {
			continue
		}
		b := s.branch(l.id)
		if b == nil || b.Type != protocol.TypeAT || b.LockKey == "" {
			continue
		}
		rows, err := storage.RowKeys(b.ResourceID, b.LockKey)
		if err != nil {
			return passed, fmt.Errorf("%w: branch %d of %s: %w", ErrDamaged, b.ID, l.xid, err)
		}
		b.Locked = true
		for _, row := range rows {
			h := holders[row]
			if h.xid != l.xid {
				if n := h.letGo(); n > 0 {
					p.live[h.xid].decided = true
					passed += n
				}
				h = holder{xid: l.xid}
			}
			h.branches = append(h.branches, b)
			holders[row] = h
		}
	}
	return passed, nil
}

// holder is the transaction that has a row, and those of its branches that name it.
type holder struct {
	xid      string
	branches []*storage.Branch
}

// letGo takes all their rows from the branches and counts those that had some.
func (h holder) letGo() (n int64) {
	for _, b := range h.branches {
		if b.Locked {
			b.Locked = false
			n++
		}
	}
	return n
}

func (s *session) branch(id int64) *storage.Branch {
	for i := range s.branches {
		if s.branches[i].ID == id {
			return &s.branches[i]
		}
	}
	return nil
}
