package txn

import "github.com/qiao-tx/qiao/protocol"

// Effect is something to let out after the Batch of its Step is durable.
type Effect interface{ effect() }

// Reply answers the sender of the event.
type Reply struct {
	// Status is the transaction's, as it is.
	Status protocol.GlobalStatus
	// BranchID is the registered branch's.
	BranchID int64
	// Refused, when not nil, says why the request was not carried out.
	Refused *Refusal
}

// Refusal says why a request was not carried out.
type Refusal struct {
	Code    protocol.ExceptionCode
	Message string
}

func (r *Refusal) Error() string { return r.Message }

// Wait keeps the sender of the event waiting for Settled.
type Wait struct{}

// Settled answers everybody who waits: the first round of phase two is over.
type Settled struct{ Status protocol.GlobalStatus }

// Send gives orders to resource managers, all at once, and gathers the answers
// in one Answers event.
type Send struct {
	Rollback bool
	Orders   []Order
}

// Order is one phase-two message.
type Order struct {
	protocol.BranchOrder
	// ClientID is the channel that registered the branch.
	ClientID string
	// AnyApplication: a channel of another application with the same resource
	// may carry the order out.
	AnyApplication bool
}

// Decided tells observers which way an undecided transaction went.
type Decided struct{ Status protocol.GlobalStatus }

// Ended tells observers that nothing is left to do: the transaction finished,
// or it waits for an operator with this evidence.
type Ended struct {
	Status   protocol.GlobalStatus
	Evidence string
}

func (Reply) effect()   {}
func (Wait) effect()    {}
func (Settled) effect() {}
func (Send) effect()    {}
func (Decided) effect() {}
func (Ended) effect()   {}
