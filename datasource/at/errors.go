package at

import (
	"errors"
	"fmt"

	"github.com/qiao-tx/qiao/datasource/image"
	"github.com/qiao-tx/qiao/datasource/wrap"
)

// Errors of statements and transactions. Match them with errors.Is. None is
// worth a retry by itself, unless it says so.
var (
	// ErrMismatch: the statement's context carries a global transaction, and
	// the local transaction it runs in was begun outside of it or in another.
	ErrMismatch = wrap.ErrMismatch
	// ErrMustRollBack: an earlier statement of the local transaction left
	// changes without an image, or the database gave the transaction up.
	ErrMustRollBack = wrap.ErrMustRollBack
	// ErrRowsMoved: the statement changed other rows than its image showed,
	// because another session changed them in between. The whole local
	// transaction may be tried again.
	ErrRowsMoved = errors.New("the statement changed other rows than were imaged")
	// ErrPrimaryKeyChanged: the statement assigns a primary key column.
	ErrPrimaryKeyChanged = errors.New("AT cannot follow a row whose primary key changes")
	// ErrKeyUnknown: the primary key of an inserted row cannot be told.
	ErrKeyUnknown = errors.New("the primary key of the inserted row cannot be told")
	// ErrOutcomeUnknown: the connection broke during COMMIT. If the global
	// transaction rolls back, the change is undone if there is one.
	ErrOutcomeUnknown = wrap.ErrOutcomeUnknown
	// ErrNoUndoTable: the database lacks the tables that AT needs.
	ErrNoUndoTable = errors.New("the undo table cannot be read")
	// ErrInMemory: an in-memory database dies with its connection, and its
	// undo records with it.
	ErrInMemory = errors.New("an in-memory SQLite database cannot take part in global transactions: use a file")
	// ErrDirty: rows were changed outside global transactions, so a rollback
	// must not overwrite them. The error is a *DirtyError.
	ErrDirty = errors.New("the rows were changed by others")
)

// DirtyError is the evidence of a rollback that would have overwritten
// somebody else's change.
type DirtyError struct {
	Difference image.Difference
}

func (e *DirtyError) Error() string {
	return fmt.Sprintf("%v since the global transaction changed them: %s; put the row right by hand, then delete the undo record", ErrDirty, &e.Difference)
}

// Is makes errors.Is(err, ErrDirty) true.
func (e *DirtyError) Is(target error) bool { return target == ErrDirty }
