package play

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/qiao-tx/qiao/protocol"
)

// steps are the services whose part the states of the shop's state machine are.
type steps map[string]string

// readSteps reads them out of the state machine.
func readSteps(machine []byte) (steps, error) {
	var m struct {
		States map[string]struct{ ServiceName string }
	}
	s := steps{}
	if err := json.Unmarshal(machine, &m); err != nil {
		return s, fmt.Errorf("the state machine of the order service: %w", err)
	}
	for name, state := range m.States {
		if state.ServiceName != "" {
			s[name] = state.ServiceName
		}
	}
	return s, nil
}

// stepName is the state in a branch's resource, <machine>#<state>.
func stepName(resource string) string {
	_, name, _ := strings.Cut(resource, "#")
	return name
}

// doer is the service that does a branch's work: of a saga's step the one that the
// engine calls, of any other branch the one that registers it.
func (w *watch) doer(service string, r *protocol.BranchRegister) string {
	if doer := w.steps[stepName(r.ResourceID)]; r.Type == protocol.TypeSaga && doer != "" {
		return doer
	}
	return service
}

// reported hears how a saga stands.
func (w *watch) reported(xid string, status protocol.GlobalStatus) {
	p := w.path(xid)
	if p == nil {
		return
	}
	if n := len(p.Reported); n == 0 || p.Reported[n-1] != status.String() {
		p.Reported = append(p.Reported, status.String())
	}
}

// stepEnded hears of a saga's step: how it ended, or that it was undone.
func (w *watch) stepEnded(r *protocol.BranchReport, now time.Time) {
	b, p := w.branch(r.XID, r.BranchID)
	if b == nil || r.Type != protocol.TypeSaga {
		return
	}
	b.TwoMillis = now.Sub(p.began).Milliseconds()
	switch r.Status {
	case protocol.BranchPhaseTwoCommitted:
		b.PhaseTwo = "done"
	case protocol.BranchPhaseTwoRollbacked:
		b.PhaseTwo = "undone"
	case protocol.BranchPhaseOneFailed:
		b.PhaseTwo = "failed"
	default:
		b.PhaseTwo = r.Status.String()
	}
}
