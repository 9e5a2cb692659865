package memory

import (
	"cmp"
	"slices"
)

// dueWidthMillis is the width of a due bucket. Narrower ones cost more keys to
// keep in order, wider ones more transactions to sort when they come due.
const dueWidthMillis = 256

// dueIndex finds transactions by DueAt. Nearly all of them finish long before,
// so adding and removing touch a linked list and nothing else; order inside a
// bucket is made when it is asked for.
type dueIndex struct {
	buckets map[int64]*txn // by DueAt / dueWidthMillis; the first of each list
	keys    []int64        // of buckets, ascending
}

func newDueIndex() dueIndex { return dueIndex{buckets: make(map[int64]*txn)} }

// move puts t, which may be in the index, where its due time is dueAt; 0 takes
// it out.
func (d *dueIndex) move(t *txn, dueAt int64) {
	if t.dueAt == dueAt {
		return
	}
	if t.dueAt != 0 {
		d.remove(t)
	}
	t.dueAt = dueAt
	if dueAt != 0 {
		d.insert(t)
	}
}

func (d *dueIndex) insert(t *txn) {
	key := t.dueAt / dueWidthMillis
	first := d.buckets[key]
	if first == nil {
		i, _ := slices.BinarySearch(d.keys, key)
		d.keys = slices.Insert(d.keys, i, key)
	} else {
		first.duePrev = t
	}
	t.dueNext = first
	d.buckets[key] = t
}

func (d *dueIndex) remove(t *txn) {
	key := t.dueAt / dueWidthMillis
	if t.dueNext != nil {
		t.dueNext.duePrev = t.duePrev
	}
	switch {
	case t.duePrev != nil:
		t.duePrev.dueNext = t.dueNext
	case t.dueNext != nil:
		d.buckets[key] = t.dueNext
	default:
		delete(d.buckets, key)
		i, _ := slices.BinarySearch(d.keys, key)
		d.keys = slices.Delete(d.keys, i, i+1)
	}
	t.dueNext, t.duePrev = nil, nil
}

// due lists at most limit transactions due by now, earliest first.
func (d *dueIndex) due(now int64, limit int) []string {
	var xids []string
	var ready []*txn
	for _, key := range d.keys {
		if len(xids) >= limit || key > now/dueWidthMillis {
			break
		}
		ready = ready[:0]
		for t := d.buckets[key]; t != nil; t = t.dueNext {
			if t.dueAt <= now {
				ready = append(ready, t)
			}
		}
		slices.SortFunc(ready, func(a, b *txn) int {
			return cmp.Or(cmp.Compare(a.dueAt, b.dueAt), cmp.Compare(a.state.Global.ID, b.state.Global.ID))
		})
		for _, t := range ready[:min(len(ready), limit-len(xids))] {
			xids = append(xids, t.state.XID)
		}
	}
	return xids
}
