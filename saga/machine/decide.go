package machine

import (
	"fmt"

	"github.com/qiao-tx/qiao/saga/statelang"
)

// decideTask gives a run its status: by the state's rules, else by its error. It
// returns what is wrong with the machine. The run of a script has a status for
// the sake of its Catch only.
func (x *Execution) decideTask(t *task) *Failure {
	r, s := t.row, t.state
	if s.Type != statelang.ScriptTask && !s.Async {
		for _, rule := range s.status {
			holds, err := rule.holds(r)
			if err != nil {
				r.Status = doubtful(s)
				return fault(fmt.Sprintf("state %s: Status: %v", s.Name, err))
			}
			if holds {
				r.Status = rule.status
				break
			}
		}
		if len(s.status) > 0 && r.Failure == nil && r.Status == Running {
			r.Status = doubtful(s)
			return fault(fmt.Sprintf("state %s: no rule of Status holds for its result", s.Name))
		}
	}
	if r.Status != Running && r.Status != "" {
		return nil
	}
	switch {
	case r.Failure == nil:
		r.Status = Succeeded
	case (s.ForUpdate || s.ForCompensation) && (r.Failure.Network != NotSent || t.doubt):
		r.Status = Unknown
	default:
		r.Status = Failed
	}
	return nil
}

// doubtful is the status of a run whose result means nothing.
func doubtful(s *state) Status {
	if s.ForUpdate {
		return Unknown
	}
	return Failed
}

// decideEnd gives the instance its statuses where a run comes to an end
// (DefaultStatusDecisionStrategy.decideOnEndState).
func (x *Execution) decideEnd() {
	i := x.Instance
	if i.Compensation == Running {
		x.decideCompensation()
	} else {
		x.decideForward(x.failure, x.cameFromFail)
	}
	if i.Compensation != "" && x.mode == Forwarding && i.Status == Succeeded {
		i.Compensation = Failed
	}
}

// decideFailure does so where a task's error ends the run.
func (x *Execution) decideFailure(f *Failure) {
	if !x.decideForward(f, true) {
		x.Instance.Compensation = Unknown
	}
}

func (x *Execution) decideCompensation() {
	i := x.Instance
	if i.Status == "" || i.Status == Running {
		i.Status = Unknown
	}
	open := x.undo != nil && len(x.undo.stack) > 0
	touched, failed := false, false
	for _, r := range x.Rows {
		if !r.IsCompensation() || x.superseded(r) {
			continue
		}
		touched = touched || r.Status == Unknown || r.Status == Succeeded
		failed = failed || r.Status != Succeeded
	}
	switch {
	case open && touched, !open && failed:
		i.Compensation = Unknown
	case open:
		i.Compensation = Failed
	default:
		i.Compensation = Succeeded
	}
}

// superseded tells whether a later row compensates the same run.
func (x *Execution) superseded(r *Row) bool {
	for i := len(x.Rows) - 1; i >= 0; i-- {
		if x.Rows[i].CompensatedFor == r.CompensatedFor {
			return x.Rows[i] != r
		}
	}
	return false
}

// decideForward gives a running instance its status and tells whether it did.
// A run that failed, or came to a Fail state, cannot be SU.
func (x *Execution) decideForward(f *Failure, failed bool) bool {
	i := x.Instance
	if i.Status != "" && i.Status != Running {
		return false
	}
	i.Status = x.fromRows(f)
	if !failed || i.Status != Succeeded {
		return true
	}
	i.Status = Failed
	for _, r := range x.Rows {
		if !r.Superseded && (r.ForUpdate || r.IsCompensation()) {
			i.Status = Unknown
		}
	}
	return true
}

func (x *Execution) fromRows(f *Failure) Status {
	changed, failed := false, false
	for _, r := range x.Rows {
		if r.Superseded || r.IsCompensation() {
			continue
		}
		switch r.Status {
		case Unknown:
			return Unknown
		case Succeeded:
			changed = changed || r.Type == statelang.ServiceTask && r.ForUpdate
		case Skipped:
		default:
			failed = true
		}
	}
	switch {
	case failed && changed:
		return Unknown
	case failed:
		return Failed
	case f == nil:
		return Succeeded
	case f.Expired, changed, f.Network == NoAnswer:
		return Unknown
	}
	return Failed
}
