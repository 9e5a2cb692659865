package txn

import "github.com/qiao-tx/qiao/protocol"

// Event is something that happened to one global transaction.
type Event interface{ kind() kind }

// Begin opens a transaction that does not exist yet.
type Begin struct {
	XID           string
	ID            int64
	ApplicationID string
	Group         string
	Name          string
	// TimeoutMillis below 1 means the default, one minute.
	TimeoutMillis int32
}

// Register adds a branch with a new id.
type Register struct {
	ID              int64
	Type            protocol.BranchType
	ResourceID      string
	ClientID        string
	LockKey         string
	ApplicationData string
	// RequestKey, when not empty, marks a registration that may be repeated.
	RequestKey string
}

// Report tells how phase one of a branch ended.
type Report struct {
	BranchID        int64
	Status          protocol.BranchStatus
	ApplicationData string
}

// Commit asks for the decision to commit.
type Commit struct{}

// Rollback asks for the decision to roll back.
type Rollback struct{}

// SagaReport tells how a saga, which its client drives, stands.
type SagaReport struct{ Status protocol.GlobalStatus }

// Answers carries what resource managers said to the orders of one round.
type Answers struct {
	// Rollback tells which order they answer.
	Rollback bool
	Answers  []Answer
}

// Answer is the end of one order. Status is BranchUnknown when no answer came,
// or none that makes sense; Reason then says why.
type Answer struct {
	BranchID int64
	Status   protocol.BranchStatus
	Reason   string
}

// Tick says that time has passed. Forced asks for phase two to be tried again
// although its time has not come: after a restart, or when a resource came back.
type Tick struct{ Forced bool }

type kind uint8

const (
	onBegin kind = iota + 1
	onRegister
	onReport
	onCommit
	onRollback
	onSagaReport
	onAnswers
	onTick
)

func (Begin) kind() kind      { return onBegin }
func (Register) kind() kind   { return onRegister }
func (Report) kind() kind     { return onReport }
func (Commit) kind() kind     { return onCommit }
func (Rollback) kind() kind   { return onRollback }
func (SagaReport) kind() kind { return onSagaReport }
func (Answers) kind() kind    { return onAnswers }
func (Tick) kind() kind       { return onTick }

var kindNames = [...]string{"", "begin", "register", "report", "commit", "rollback", "saga report", "answers", "tick"}

func (k kind) String() string { return kindNames[k] }
