package xa

import (
	"errors"

	"github.com/qiao-tx/qiao/datasource/sqlparse"
	"github.com/qiao-tx/qiao/datasource/wrap"
)

// leaving refuses what may leave a transaction that only reads: what comes after it
// would be written outside of the global transaction.
func leaving(verb string) error {
	return &sqlparse.Unsupported{Reason: verb + " in a read-only transaction inside a global one",
		Remedy: "begin the local transaction without ReadOnly, or run it outside of the global transaction"}
}

// Errors of branches and of Open. Match them with errors.Is.
var (
	// ErrMismatch, ErrMustRollBack and ErrOutcomeUnknown are those of every mode.
	ErrMismatch       = wrap.ErrMismatch
	ErrMustRollBack   = wrap.ErrMustRollBack
	ErrOutcomeUnknown = wrap.ErrOutcomeUnknown

	// ErrBranchTimeout: the local transaction took longer than
	// Config.BranchTimeout and was rolled back. Do not retry it within this
	// global transaction.
	ErrBranchTimeout = errors.New("the XA branch took too long and was rolled back")
	// ErrNotSupported: the database cannot prepare transactions; the error says
	// what to change.
	ErrNotSupported = errors.New("the database cannot take part by XA")
)
