package sim

import (
	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/server/coordinator"
)

// participant is a resource manager with its one resource.
type participant interface {
	resource() string
	// running is false between a crash and the restart.
	running() bool
	// crash loses what is volatile, restart goes on from what is durable.
	crash()
	restart()
	// work does phase one of a change by delta in the global transaction, and
	// tells whether it was done; after a crash it never tells.
	work(t *transaction, row int, delta int64, done func(ok bool))
	// obey carries an order out and returns the answer.
	obey(order protocol.Message) protocol.Message
	// outcome is what became of a branch.
	outcome(branchID int64) decision
	// balance sums what the participant owns; unfinished names what is left
	// over of branches that have not ended.
	balance() int64
	unfinished() []string
}

// process is what participants have in common.
type process struct {
	w    *world
	name string
	life int
	up   bool
	// ended is what became of each branch.
	ended map[int64]decision
	// told is what each transaction was told, whichever branch.
	told map[string]decision
}

func newProcess(w *world, name string) process {
	return process{w: w, name: name, up: true, ended: make(map[int64]decision), told: make(map[string]decision)}
}

func (p *process) resource() string                { return p.name }
func (p *process) running() bool                   { return p.up }
func (p *process) outcome(branchID int64) decision { return p.ended[branchID] }

func (p *process) crash() {
	p.w.logf("%s crashes", p.name)
	p.life++
	p.up = false
}

// restart also registers the resource again with every node.
func (p *process) restart() {
	p.w.logf("%s starts", p.name)
	p.up = true
	for _, n := range p.w.nodes {
		if n.up {
			n.coordinator.ResourceUp(p.name)
		}
	}
}

// alive wraps a continuation so that a crash loses it.
func (p *process) alive(f func()) func() {
	life := p.life
	return func() {
		if p.up && p.life == life {
			f()
		}
	}
}

func (p *process) caller() coordinator.Caller {
	return coordinator.Caller{ClientID: "rm:10.0.1.1:50000", ApplicationID: "rm", Group: "default", Qiao: true}
}

// register registers a branch. answered gets nil when no answer came; it is not
// called after a crash of the participant.
func (p *process) register(m *protocol.BranchRegister, key string, answered func(*protocol.BranchRegisterResult)) {
	c := call{
		request: request{from: p.caller(), message: m},
		tries:   3,
	}
	switch {
	case key != "":
		c.request.head = map[string]string{coordinator.HeadRequest: key}
	case m.Type != protocol.TypeAT: // without a key a second copy would be a second branch
		c.tries, c.request.once = 1, true
	}
	life := p.life
	p.w.call(c, func(answer protocol.Message) {
		if p.life != life {
			return
		}
		result, _ := answer.(*protocol.BranchRegisterResult)
		answered(result)
	})
}

// reportFailed tells that phase one of a branch failed for sure.
func (p *process) reportFailed(m *protocol.BranchRegister, branchID int64) {
	p.w.call(call{tries: 2, request: request{from: p.caller(), message: &protocol.BranchReport{
		XID: m.XID, BranchID: branchID, ResourceID: p.name, Type: m.Type, Status: protocol.BranchPhaseOneFailed,
	}}}, func(protocol.Message) {})
}

// end records that a branch has ended, and that no transaction is told both.
func (p *process) end(o protocol.BranchOrder, d decision) {
	if before := p.told[o.XID]; before != undecided && before != d {
		p.w.violate("I1", "%s: %s was told to %s and to %s", o.XID, p.name, before, d)
	}
	p.told[o.XID] = d
	p.ended[o.BranchID] = d
}

// orderOf reads an order.
func orderOf(m protocol.Message) (protocol.BranchOrder, decision) {
	if c, ok := m.(*protocol.BranchCommit); ok {
		return c.BranchOrder, commit
	}
	return m.(*protocol.BranchRollback).BranchOrder, rollback
}

// result builds the answer to an order.
func result(o protocol.BranchOrder, d decision, s protocol.BranchStatus, why string) protocol.Message {
	head := protocol.OK()
	head.Message = why
	outcome := protocol.BranchOutcome{TxResult: head, XID: o.XID, BranchID: o.BranchID, Status: s}
	if d == commit {
		return &protocol.BranchCommitResult{BranchOutcome: outcome}
	}
	return &protocol.BranchRollbackResult{BranchOutcome: outcome}
}

// done and again are the statuses of an order that was carried out, and of one
// that has to be given again.
func done(d decision) protocol.BranchStatus {
	if d == commit {
		return protocol.BranchPhaseTwoCommitted
	}
	return protocol.BranchPhaseTwoRollbacked
}

func again(d decision) protocol.BranchStatus {
	if d == commit {
		return protocol.BranchPhaseTwoCommitFailedRetryable
	}
	return protocol.BranchPhaseTwoRollbackFailedRetryable
}

// nonsense is an answer of a confused resource manager that did nothing.
func (p *process) nonsense(o protocol.BranchOrder, d decision) protocol.Message {
	switch p.w.rng.IntN(5) {
	case 0:
		return &protocol.RegisterRMResult{}
	case 1:
		return result(o, opposite(d), done(opposite(d)), "")
	case 2:
		o.BranchID++
		return result(o, d, done(d), "")
	case 3:
		return result(o, d, protocol.BranchRegistered, "")
	default:
		return result(o, d, protocol.BranchStatus(99), "")
	}
}

func opposite(d decision) decision {
	if d == commit {
		return rollback
	}
	return commit
}
