package xa

import (
	"errors"

	"github.com/qiao-tx/qiao/datasource/wrap"
)

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
