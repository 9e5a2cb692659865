package play

import (
	"time"

	"github.com/qiao-tx/qiao/protocol"
)

// Path is what one global transaction did, as it was seen between the services
// and the coordinator.
type Path struct {
	XID string `json:"xid"`
	// Began is the service that began it.
	Began    string   `json:"began"`
	Branches []Branch `json:"branches"`
	// Asked is what that service asked for in the end, commit or rollback, and
	// Answer the status that the coordinator answered. Empty: the coordinator
	// decided by itself.
	Asked  string `json:"asked,omitempty"`
	Answer string `json:"answer,omitempty"`
	// Reported are the statuses that a saga's engine reported of it, each once in a
	// row. A saga asks for nothing: its steps have done their work when they end.
	Reported []string `json:"reported,omitempty"`

	began time.Time
}

// Branch is one service's part in it: in a saga a step, whose branch the order
// service registers.
type Branch struct {
	Service  string `json:"service"`
	Language string `json:"language"`
	ID       int64  `json:"branch"`
	// Mode is the branch's type: AT, TCC, ...
	Mode string `json:"mode"`
	// PhaseOne says what the branch registered or why it was refused; PhaseTwo how
	// it ended: empty until it has.
	PhaseOne string `json:"phase_one"`
	PhaseTwo string `json:"phase_two"`
	// Orders is how often the coordinator gave the order for phase two.
	Orders int `json:"orders"`
	// OneMillis and TwoMillis count from the begin of the transaction.
	OneMillis int64 `json:"phase_one_at_ms"`
	TwoMillis int64 `json:"phase_two_at_ms"`
}

// Outcomes of a transaction.
const (
	Committed  = "committed"
	RolledBack = "rolled back"
	Mixed      = "MIXED"
	Open       = "open"
)

// Outcome is what all branches came to.
func (p Path) Outcome() string {
	if len(p.Reported) > 0 {
		return p.reportedOutcome()
	}
	outcome := ""
	for _, b := range p.Branches {
		switch {
		case b.ID == 0: // was refused: there is no such branch
		case b.PhaseTwo != Committed && b.PhaseTwo != RolledBack:
			return Open
		case outcome == "":
			outcome = b.PhaseTwo
		case outcome != b.PhaseTwo:
			return Mixed
		}
	}
	if outcome == "" { // without branches only the question is left
		outcome = RolledBack
		if p.Asked == "commit" {
			outcome = Committed
		}
	}
	return outcome
}

// reportedOutcome is what a saga came to: it is over when its engine says so.
func (p Path) reportedOutcome() string {
	switch p.Reported[len(p.Reported)-1] {
	case protocol.StatusCommitted.String():
		return Committed
	case protocol.StatusRollbacked.String(), protocol.StatusFinished.String():
		return RolledBack
	}
	return Open
}

// Decided tells whether the service that began it has said what is to become of it.
func (p Path) Decided() bool { return p.Asked != "" || len(p.Reported) > 0 }
