package sim

import (
	"fmt"
	"maps"
	"slices"

	"github.com/qiao-tx/qiao/protocol"
)

// compensable is a resource manager in Seata's saga annotation mode with a fence:
// the call itself moves the money, a rollback moves it back, and a commit asks
// nothing of it.
type compensable struct {
	process
	total int64
	fence map[int64]fenceState
	// moved is what calls that stand have moved.
	moved    map[int64]int64
	requests int
}

func newCompensable(w *world, index int) *compensable {
	return &compensable{
		process: newProcess(w, fmt.Sprintf("booking%d", index)), total: opening,
		fence: make(map[int64]fenceState), moved: make(map[int64]int64),
	}
}

func (c *compensable) work(t *transaction, _ int, delta int64, done func(bool)) {
	m := &protocol.BranchRegister{XID: t.xid, Type: protocol.TypeSagaAnnotation, ResourceID: c.name, ApplicationData: "{}"}
	key := ""
	if t.qiao {
		c.requests++
		key = fmt.Sprintf("%s-%d", c.name, c.requests)
	}
	c.register(m, key, func(r *protocol.BranchRegisterResult) {
		if r == nil || r.Code != protocol.ResultSuccess {
			done(false)
			return
		}
		c.w.after(c.w.latency(), c.alive(func() { done(c.call(r.BranchID, delta)) }))
	})
}

func (c *compensable) call(branchID, delta int64) bool {
	if c.fence[branchID] != 0 || c.w.chance(0.05) {
		return false
	}
	c.fence[branchID] = tried
	c.moved[branchID] = delta
	c.total += delta
	return true
}

func (c *compensable) obey(m protocol.Message) protocol.Message {
	o, decided := orderOf(m)
	if decided == commit {
		c.w.violate("orders", "%s: branch %d of %s is ordered to commit, which nothing is left to do for", o.XID, o.BranchID, c.name)
	}
	if c.w.chance(c.w.plan.Nonsense) {
		return c.nonsense(o, decided)
	}
	switch c.fence[o.BranchID] {
	case 0:
		c.fence[o.BranchID] = suspended
	case tried:
		c.total -= c.moved[o.BranchID]
		delete(c.moved, o.BranchID)
		c.fence[o.BranchID] = cancelled
	}
	c.end(o, decided)
	return result(o, decided, done(decided), "")
}

// balance leaves out the calls that wait for an operator.
func (c *compensable) balance() int64 {
	sum := c.total
	for id, delta := range c.moved {
		if c.w.truth.waits(id) {
			sum -= delta
		}
	}
	return sum
}

// stands tells whether the branch's call was carried out and not taken back.
func (c *compensable) stands(branchID int64) bool { return c.fence[branchID] == tried }

func (c *compensable) unfinished() []string {
	var left []string
	for _, id := range slices.Sorted(maps.Keys(c.moved)) {
		r := c.w.truth.records[c.w.truth.ids[id]]
		if r != nil && r.decision == rollback && !c.w.truth.waits(id) {
			left = append(left, fmt.Sprintf("%s: the call of branch %d", c.name, id))
		}
	}
	return left
}
