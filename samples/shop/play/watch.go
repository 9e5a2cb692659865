package play

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/qiao-tx/qiao/internal/wiretap"
	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/rpc"
)

// watch follows all transactions by the messages between the services and the
// coordinator. It is what the proxies show their events to, each before it is
// forwarded: so all are seen in the order of cause and effect.
type watch struct {
	language func(service string) string
	steps    steps // of the saga

	mu      sync.Mutex
	paths   []*Path
	asked   map[question]protocol.Message // requests without an answer yet
	merged  map[question][]protocol.Message
	onAsk   func(service string, m protocol.Message) // see at
	errs    []error
	changed chan struct{} // closed and replaced at each change
}

// question names a request: ids count per connection.
type question struct {
	service    string
	connection int
	id         int64
}

func newWatch(language func(string) string, steps steps) *watch {
	return &watch{
		language: language, steps: steps, asked: map[question]protocol.Message{}, merged: map[question][]protocol.Message{},
		changed: make(chan struct{}),
	}
}

// at has do called, once, when a service's branch is about to be registered, before
// the coordinator reads of it.
func (w *watch) at(service string, do func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.onAsk = func(s string, m protocol.Message) {
		if r, ok := m.(*protocol.BranchRegister); ok && w.doer(s, r) == service {
			w.onAsk = nil
			do()
		}
	}
}

// waits tells whether what at asked for has not happened yet.
func (w *watch) waits() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.onAsk != nil
}

func (w *watch) failed(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil {
		w.errs = append(w.errs, err)
	}
}

// of returns what a service's proxy shows its events to.
func (w *watch) of(service string) func(wiretap.Event) {
	var inspector rpc.Inspector // a proxy shows one event at a time
	return func(e wiretap.Event) {
		if e.Note != "" || e.Piece.Err != nil {
			return // connections that break are part of the story
		}
		header, message, err := inspector.Decode(e.Piece.Frame)
		w.mu.Lock()
		defer w.mu.Unlock()
		if err != nil {
			w.errs = append(w.errs, fmt.Errorf("a message of the %s service: %w", service, err))
			return
		}
		q := question{service, e.Connection, header.ID}
		if e.Direction == wiretap.ToTarget {
			w.fromService(q, message, e.At)
		} else {
			w.fromCoordinator(q, message, e.At)
		}
		close(w.changed)
		w.changed = make(chan struct{})
	}
}

// fromService sees requests, and the answers to orders of phase two.
func (w *watch) fromService(q question, m protocol.Message, now time.Time) {
	switch m := m.(type) {
	case *protocol.Merged:
		w.merged[q] = m.Messages
		for i, inner := range m.Messages {
			if i < len(m.IDs) {
				w.fromService(question{q.service, q.connection, int64(m.IDs[i])}, inner, now)
			}
		}
	case *protocol.BatchResult:
		for i, inner := range m.Messages {
			w.fromService(question{q.service, q.connection, int64(m.IDs[i])}, inner, now)
		}
	case *protocol.BranchCommitResult:
		w.ended(m.BranchOutcome, now)
	case *protocol.BranchRollbackResult:
		w.ended(m.BranchOutcome, now)
	case *protocol.GlobalBegin, *protocol.GlobalCommit, *protocol.GlobalRollback, *protocol.GlobalReport, *protocol.BranchRegister, *protocol.BranchReport:
		w.asked[q] = m
		if w.onAsk != nil {
			w.onAsk(q.service, m)
		}
	}
}

// fromCoordinator sees answers, and orders of phase two.
func (w *watch) fromCoordinator(q question, m protocol.Message, now time.Time) {
	switch m := m.(type) {
	case *protocol.MergedResult:
		requests := w.merged[q]
		for i, inner := range m.Messages {
			if i < len(requests) {
				w.answered(q.service, requests[i], inner, now)
			}
		}
	case *protocol.BatchResult:
		for i, inner := range m.Messages {
			w.fromCoordinator(question{q.service, q.connection, int64(m.IDs[i])}, inner, now)
		}
	case *protocol.BranchCommit:
		w.ordered(m.BranchOrder)
	case *protocol.BranchRollback:
		w.ordered(m.BranchOrder)
	default:
		if request, ok := w.asked[q]; ok {
			delete(w.asked, q)
			w.answered(q.service, request, m, now)
		}
	}
}

func (w *watch) answered(service string, request, answer protocol.Message, now time.Time) {
	switch answer := answer.(type) {
	case *protocol.GlobalBeginResult:
		if answer.Code == protocol.ResultSuccess {
			w.paths = append(w.paths, &Path{XID: answer.XID, Began: service, began: now})
		}
	case *protocol.BranchRegisterResult:
		if request, ok := request.(*protocol.BranchRegister); ok {
			w.registered(service, request, answer, now)
		}
	case *protocol.GlobalCommitResult:
		if request, ok := request.(*protocol.GlobalCommit); ok {
			w.decided(request.XID, "commit", answer.Status)
		}
	case *protocol.GlobalRollbackResult:
		if request, ok := request.(*protocol.GlobalRollback); ok {
			w.decided(request.XID, "rollback", answer.Status)
		}
	case *protocol.GlobalReportResult:
		if request, ok := request.(*protocol.GlobalReport); ok {
			w.reported(request.XID, request.Status)
		}
	case *protocol.BranchReportResult:
		if request, ok := request.(*protocol.BranchReport); ok {
			w.stepEnded(request, now)
		}
	}
}

func (w *watch) registered(service string, r *protocol.BranchRegister, answer *protocol.BranchRegisterResult, now time.Time) {
	p := w.path(r.XID)
	if p == nil {
		return // not of this shop
	}
	service = w.doer(service, r)
	b := Branch{Service: service, Language: w.language(service), Mode: r.Type.String(), ID: answer.BranchID, OneMillis: now.Sub(p.began).Milliseconds()}
	switch {
	case answer.Code != protocol.ResultSuccess:
		b.PhaseOne = "refused: " + answer.Message
		b.ID = 0
	case r.LockKey != "":
		b.PhaseOne = "locks " + r.LockKey
	case r.Type == protocol.TypeSaga:
		b.PhaseOne = "runs " + stepName(r.ResourceID)
	case r.Type == protocol.TypeXA:
		b.PhaseOne = "prepares"
	default:
		b.PhaseOne = "tries " + r.ResourceID
	}
	p.Branches = append(p.Branches, b)
}

func (w *watch) decided(xid, asked string, status protocol.GlobalStatus) {
	if p := w.path(xid); p != nil {
		p.Asked, p.Answer = asked, status.String()
	}
}

func (w *watch) ordered(o protocol.BranchOrder) {
	if b, _ := w.branch(o.XID, o.BranchID); b != nil {
		b.Orders++
	}
}

func (w *watch) ended(o protocol.BranchOutcome, now time.Time) {
	b, p := w.branch(o.XID, o.BranchID)
	if b == nil {
		return
	}
	switch o.Status {
	case protocol.BranchPhaseTwoCommitted:
		b.PhaseTwo = Committed
	case protocol.BranchPhaseTwoRollbacked:
		b.PhaseTwo = RolledBack
	default:
		b.PhaseTwo = o.Status.String()
	}
	b.TwoMillis = now.Sub(p.began).Milliseconds()
}

// path finds a transaction, or nil.
func (w *watch) path(xid string) *Path {
	for _, p := range slices.Backward(w.paths) {
		if p.XID == xid {
			return p
		}
	}
	return nil
}

// branch finds a branch, or nil.
func (w *watch) branch(xid string, id int64) (*Branch, *Path) {
	p := w.path(xid)
	if p == nil {
		return nil, nil
	}
	for i := range p.Branches {
		if p.Branches[i].ID == id {
			return &p.Branches[i], p
		}
	}
	return nil, p
}

// since returns copies of the paths from the n-th on, and what is closed when
// they change.
func (w *watch) since(n int) ([]Path, <-chan struct{}, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var copies []Path
	for _, p := range w.paths[n:] {
		c := *p
		c.Branches, c.Reported = slices.Clone(p.Branches), slices.Clone(p.Reported)
		copies = append(copies, c)
	}
	return copies, w.changed, errors.Join(w.errs...)
}
