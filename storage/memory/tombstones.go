package memory

import (
	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/storage"
)

const (
	// graveWidthMillis is the time whose tombstones expire together.
	graveWidthMillis = 5_000
	// graveCap caps the tombstones of one grave, so that neither growing it nor
	// copying it for a snapshot delays a batch by more than a few milliseconds.
	graveCap = 3 << 16
	// tombstoneCap caps all tombstones; beyond it the grave that expires first
	// goes early.
	tombstoneCap = 4 << 20
)

// tombstones remembers how finished transactions ended, by transaction id, in
// graves by the time they expire. A tombstone stays until its ExpiresAt and up
// to graveWidthMillis longer.
type tombstones struct {
	graves []*grave // by expiresAt; full ones before the open one of the same time
	count  int
	cap    int
}

func (t *tombstones) add(id int64, stone storage.Tombstone) {
	expiresAt := (stone.ExpiresAt + graveWidthMillis - 1) / graveWidthMillis * graveWidthMillis
	i := len(t.graves)
	for i > 0 && t.graves[i-1].expiresAt > expiresAt {
		i--
	}
	if i == 0 || t.graves[i-1].expiresAt != expiresAt || t.graves[i-1].count == graveCap {
		t.graves = append(t.graves, nil)
		copy(t.graves[i+1:], t.graves[i:])
		t.graves[i] = newGrave(expiresAt)
		i++
	}
	if t.graves[i-1].shared {
		t.graves[i-1] = t.graves[i-1].clone()
	}
	t.graves[i-1].add(id, stone.Outcome)
	t.count++
	if t.count > t.cap {
		t.dropFirst()
	}
}

// find returns the outcome of transaction id, or StatusUnKnown.
func (t *tombstones) find(id int64) protocol.GlobalStatus {
	for i := len(t.graves) - 1; i >= 0; i-- {
		if outcome := t.graves[i].find(id); outcome != protocol.StatusUnKnown {
			return outcome
		}
	}
	return protocol.StatusUnKnown
}

func (t *tombstones) expire(now int64) {
	for len(t.graves) > 0 && t.graves[0].expiresAt <= now {
		t.dropFirst()
	}
}

func (t *tombstones) dropFirst() {
	t.count -= t.graves[0].count
	copy(t.graves, t.graves[1:])
	t.graves[len(t.graves)-1] = nil
	t.graves = t.graves[:len(t.graves)-1]
}

// share returns the graves as they are; later changes are made to copies.
func (t *tombstones) share() []*grave {
	graves := make([]*grave, len(t.graves))
	copy(graves, t.graves)
	for _, g := range graves {
		g.shared = true
	}
	return graves
}

// grave is a hash table from transaction id to outcome: open addressing with
// linear probing, between 3/8 and 3/4 full, so 12 to 24 bytes an entry. (A Go
// map pads the outcome to eight bytes.)
type grave struct {
	expiresAt int64
	shared    bool // a snapshot reads it: copy before the next change
	count     int
	// minID and maxID spare nearly every search: ids grow with time, so a new
	// one is in none of the older graves.
	minID, maxID int64
	ids          []int64 // 0 is a free slot; a power of two of them
	outcomes     []protocol.GlobalStatus
}

const graveMinSlots = 64

func newGrave(expiresAt int64) *grave {
	g := &grave{expiresAt: expiresAt}
	g.alloc(graveMinSlots)
	return g
}

func (g *grave) alloc(slots int) {
	g.ids = make([]int64, slots)
	g.outcomes = make([]protocol.GlobalStatus, slots)
}

// slot is where id is, or the free slot where it belongs.
func (g *grave) slot(id int64) int {
	mask := len(g.ids) - 1
	i := int(spread(id)>>32) & mask
	for g.ids[i] != 0 && g.ids[i] != id {
		i = (i + 1) & mask
	}
	return i
}

func (g *grave) find(id int64) protocol.GlobalStatus {
	if g.count == 0 || id < g.minID || id > g.maxID {
		return protocol.StatusUnKnown
	}
	return g.outcomes[g.slot(id)]
}

func (g *grave) add(id int64, outcome protocol.GlobalStatus) {
	if (g.count+1)*4 > len(g.ids)*3 {
		old := *g
		g.alloc(2 * len(old.ids))
		for i, id := range old.ids {
			if id != 0 {
				g.set(id, old.outcomes[i])
			}
		}
	}
	if g.count == 0 || id < g.minID {
		g.minID = id
	}
	g.maxID = max(g.maxID, id)
	g.count++
	g.set(id, outcome)
}

func (g *grave) set(id int64, outcome protocol.GlobalStatus) {
	i := g.slot(id)
	g.ids[i], g.outcomes[i] = id, outcome
}

func (g *grave) clone() *grave {
	c := *g
	c.shared = false
	c.ids = append([]int64(nil), g.ids...)
	c.outcomes = append([]protocol.GlobalStatus(nil), g.outcomes...)
	return &c
}

// spread makes all bits of a transaction id count: their low bits alone are
// often equal.
func spread(id int64) uint64 {
	x := uint64(id)
	x ^= x >> 32
	return x * 0x9E3779B97F4A7C15
}
