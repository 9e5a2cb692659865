package javafile

import (
	"fmt"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/xid"
	"github.com/qiao-tx/qiao/storage"
)

// replay is what the records so far amount to.
type replay struct {
	live map[string]*session
	// ended are the transactions whose later records mean nothing.
	ended map[string]struct{}
	// early are branches of transactions that have not begun: threads write in no
	// order.
	early  map[string][]*record
	lastID int64
	// tellsAll: a record has a status of which only versions from 2.0 on write down
	// that it was reached.
	tellsAll bool
	// ignored counts records of transactions and branches that nobody knows.
	ignored int64
	// locking are the branches that may hold row locks, in the order of their
	// registration.
	locking []lockingBranch
}

// session is a transaction that lives.
type session struct {
	id       int64
	xid      string
	global   globalRecord
	branches []storage.Branch
	records  uint64
	// decided: a decision was carried out of which there is no record (doubt.go).
	decided bool
	// evidence says why the transaction is parked, if its status does not.
	evidence string
}

type lockingBranch struct {
	xid string
	id  int64
}

func newReplay() *replay {
	return &replay{live: make(map[string]*session), ended: make(map[string]struct{}), early: make(map[string][]*record)}
}

func (p *replay) record(r *record) {
	p.use(r.id)
	if r.operation >= addBranch {
		p.use(r.branch.id)
	}
	if _, ended := p.ended[r.xid]; ended {
		return
	}
	s := p.live[r.xid]
	if s != nil {
		s.records++
	}
	switch r.operation {
	case addGlobal, updateGlobal:
		p.begin(s, r)
	case removeGlobal:
		p.end(r.xid)
	case addBranch, updateBranch:
		p.putBranch(s, r)
	case removeBranch:
		p.dropBranch(s, r)
	}
}

func (p *replay) use(id int64) { p.lastID = storage.LaterID(p.lastID, id) }

// over are the statuses of transactions that are done with, with their end already
// on the way (FileSessionManager.checkSessionStatus). The failed ones are not among
// them, which only a restart makes Java forget.
func over(s protocol.GlobalStatus) bool {
	switch s {
	case protocol.StatusUnKnown, protocol.StatusCommitted, protocol.StatusRollbacked, protocol.StatusTimeoutRollbacked, protocol.StatusFinished:
		return true
	}
	return false
}

func (p *replay) begin(s *session, r *record) {
	p.tellsAll = p.tellsAll || onlyFromTwo(r.global.status)
	switch {
	case over(r.global.status):
		p.end(r.xid)
	case s != nil:
		s.global.status = r.global.status
	default:
		p.live[r.xid] = &session{id: r.id, xid: r.xid, global: r.global, records: 1}
	}
}

func (p *replay) end(x string) {
	delete(p.live, x)
	delete(p.early, x)
	p.ended[x] = struct{}{}
}

func (p *replay) putBranch(s *session, r *record) {
	if s == nil {
		p.early[r.xid] = append(p.early[r.xid], r)
		return
	}
	for i := range s.branches {
		if b := &s.branches[i]; b.ID == r.branch.id {
			b.Status, b.ApplicationData = r.branch.status, r.branch.application
			return
		}
	}
	b := r.branch
	if b.status == protocol.BranchUnknown {
		b.status = protocol.BranchRegistered // which it becomes after the record is written
	}
	s.branches = append(s.branches, storage.Branch{
		ID: b.id, Type: b.kind, Status: b.status, ResourceID: b.resource, ClientID: b.client, LockKey: b.lockKey,
		ApplicationData: b.application, RegisteredAt: s.global.beganAt,
	})
	p.locking = append(p.locking, lockingBranch{s.xid, b.id})
}

func (p *replay) dropBranch(s *session, r *record) {
	if s != nil {
		for i := range s.branches {
			if s.branches[i].ID == r.branch.id {
				s.branches = append(s.branches[:i], s.branches[i+1:]...)
				s.decided = s.decided || s.global.status == protocol.StatusBegin
				return
			}
		}
	}
	p.ignored++
}

// finish puts what came early in its place.
func (p *replay) finish() {
	for x, records := range p.early {
		for _, r := range records {
			if s := p.live[x]; s != nil {
				p.putBranch(s, r)
			} else {
				p.ignored++
			}
		}
	}
	p.early = nil
}

// state is the transaction as our machine goes on with it, due now if it is decided.
func (s *session) state(now int64) (*storage.State, error) {
	_, id, err := xid.Parse(s.xid)
	if err != nil || id != s.id {
		return nil, fmt.Errorf("%w: transaction %d has the XID %q", ErrDamaged, s.id, s.xid)
	}
	g := s.global
	state := &storage.State{XID: s.xid, Revision: s.records, Branches: s.branches, Global: storage.Global{
		ID: s.id, Status: g.status, ApplicationID: g.application, Group: g.group, Name: g.name, BeganAt: g.beganAt, TimeoutMillis: g.timeoutMillis,
	}}
	switch g.status {
	case protocol.StatusBegin:
		state.Global.DueAt = state.Global.Deadline()
	case protocol.StatusCommitting, protocol.StatusCommitRetrying, protocol.StatusAsyncCommitting,
		protocol.StatusRollbacking, protocol.StatusRollbackRetrying, protocol.StatusTimeoutRollbacking, protocol.StatusTimeoutRollbackRetrying:
		state.Global.DueAt = now
	case protocol.StatusCommitRetryTimeout:
		state.Global.Status = protocol.StatusCommitFailed
		state.Global.Evidence = gaveUp(g.status)
	case protocol.StatusRollbackRetryTimeout:
		state.Global.Status = protocol.StatusRollbackFailed
		state.Global.Evidence = gaveUp(g.status)
	default:
		state.Global.Evidence = gaveUp(g.status)
	}
	if s.evidence != "" {
		state.Global.Evidence = s.evidence
	}
	return state, nil
}

func gaveUp(s protocol.GlobalStatus) string {
	return "a Java coordinator left it as " + s.String() + ", from whose file store it was imported"
}

// keepsLocks tells whether a transaction with the status holds its row locks: until
// the commit is decided, and else until the rollback is done (SessionHolder.reload,
// GlobalSession.clean).
func keepsLocks(s protocol.GlobalStatus) bool {
	switch s {
	case protocol.StatusBegin, protocol.StatusRollbacking, protocol.StatusRollbackRetrying,
		protocol.StatusTimeoutRollbacking, protocol.StatusTimeoutRollbackRetrying,
		protocol.StatusRollbackFailed, protocol.StatusTimeoutRollbackFailed, protocol.StatusRollbackRetryTimeout,
		protocol.StatusStopRollbackOrRollbackRetry:
		return true
	}
	return false
}
