package sim

import (
	"fmt"
	"maps"
	"slices"

	"github.com/qiao-tx/qiao/protocol"
)

// tccAction is a resource manager in TCC mode with a fence: try reserves, confirm
// moves, cancel forgets.
type tccAction struct {
	process
	total int64
	fence map[int64]fenceState
	// reserved is what try set aside.
	reserved map[int64]int64
	requests int
}

type fenceState uint8

const (
	tried fenceState = iota + 1
	confirmed
	cancelled
	suspended
)

func newTCC(w *world, index int) *tccAction {
	return &tccAction{
		process: newProcess(w, fmt.Sprintf("transfer%d", index)), total: opening,
		fence: make(map[int64]fenceState), reserved: make(map[int64]int64),
	}
}

func (a *tccAction) work(t *transaction, _ int, delta int64, done func(bool)) {
	m := &protocol.BranchRegister{XID: t.xid, Type: protocol.TypeTCC, ResourceID: a.name, ApplicationData: "{}"}
	key := ""
	if t.qiao {
		a.requests++
		key = fmt.Sprintf("%s-%d", a.name, a.requests)
	}
	a.register(m, key, func(r *protocol.BranchRegisterResult) {
		if r == nil || r.Code != protocol.ResultSuccess {
			done(false)
			return
		}
		a.w.after(a.w.latency(), a.alive(func() { done(a.try(r.BranchID, delta)) }))
	})
}

func (a *tccAction) try(branchID, delta int64) bool {
	if a.fence[branchID] != 0 {
		return false
	}
	if a.w.chance(0.05) {
		return false
	}
	a.fence[branchID] = tried
	a.reserved[branchID] = delta
	return true
}

func (a *tccAction) obey(m protocol.Message) protocol.Message {
	o, decided := orderOf(m)
	if a.w.chance(a.w.plan.Nonsense) {
		return a.nonsense(o, decided)
	}
	state := a.fence[o.BranchID]
	switch {
	case decided == commit && state == tried:
		a.total += a.reserved[o.BranchID]
		delete(a.reserved, o.BranchID)
		a.fence[o.BranchID] = confirmed
	case decided == rollback && state == tried:
		delete(a.reserved, o.BranchID)
		a.fence[o.BranchID] = cancelled
	case decided == rollback && state == 0:
		a.fence[o.BranchID] = suspended
	case decided == commit && state != confirmed, decided == rollback && state == confirmed:
		return result(o, decided, again(decided), fmt.Sprintf("the fence is in state %d", state))
	}
	a.end(o, decided)
	return result(o, decided, done(decided), "")
}

func (a *tccAction) balance() int64 { return a.total }

func (a *tccAction) unfinished() []string {
	var left []string
	for _, id := range slices.Sorted(maps.Keys(a.reserved)) {
		if a.w.truth.waits(id) {
			continue
		}
		left = append(left, fmt.Sprintf("%s: reservation of branch %d", a.name, id))
	}
	return left
}
