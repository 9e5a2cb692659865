// Package undo writes images down so that a rollback can undo a branch, in the
// form that Java Seata's Jackson parser writes and reads.
//
// Job: undo records to and from JSON, and what undo_log says beside them; the
// statements that put rows back.
// Owner: datasource/at packs and stores the JSON and runs the statements.
// It must not know: connections, compression, the coordinator, when an undo is
// allowed.
package undo

import (
	"errors"
	"fmt"

	"github.com/qiao-tx/qiao/datasource/image"
	"github.com/qiao-tx/qiao/datasource/sqlparse"
)

// EmptyContent is the content of a defence row, which has nothing to undo.
const EmptyContent = "{}"

// MaxSize bounds a record, stored or decompressed, in bytes.
const MaxSize = 256 << 20

var (
	// ErrUndecodable: the record's bytes are damaged or say something that is
	// no undo record. Retrying cannot help.
	ErrUndecodable = errors.New("the undo record cannot be decoded")
	// ErrForeign: the record is in a form of Java Seata that is not read here
	// (another serializer or compressor, a class of value that MySQL's driver
	// does not give). The Java resource manager that wrote it can undo it.
	ErrForeign = errors.New("the undo record is in a form that only Java reads")
	// ErrUnwritable: an image holds a value that the record cannot express.
	ErrUnwritable = errors.New("the image cannot be written into an undo record")
)

// Record is all that one branch changed, in the order in which it did.
type Record struct {
	XID      string
	BranchID int64
	Entries  []Entry
}

// Entry is what one statement changed.
type Entry struct {
	// Kind is Insert, Update or Delete.
	Kind sqlparse.Kind
	// Table is the table's name as the statement wrote it.
	Table string
	// Before has no rows for an insert, After none for a delete.
	Before, After image.Image
}

func undecodable(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrUndecodable, fmt.Sprintf(format, args...))
}
