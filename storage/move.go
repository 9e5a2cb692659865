package storage

import (
	"context"
	"errors"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/xid"
)

// Note is a small durable record beside the transactions. An empty Value is none.
type Note struct {
	// Kind says what it is about; a kind has few notes.
	Kind string
	// Key is unique within the kind.
	Key   string
	Value string
}

// Kinds of notes.
const (
	// NoteMove is about a copy from another store that is not done: such a store
	// is not to be used. The key is the source.
	NoteMove = "move"
	// NoteGroup is the cluster that serves a transaction group: see Group.
	NoteGroup = "vgroup"
)

// Movable is a Store whose whole content can be copied to another (storage/move).
type Movable interface {
	Store

	// Graves calls f with the finished transactions that still answer with their
	// outcome, in any order, until f returns false. ExpiresAt may be later than
	// what was asked for, by up to a minute.
	Graves(ctx context.Context, f func(Grave) bool) error

	// PutNote makes a note durable, or with an empty value removes it. It may be
	// repeated.
	PutNote(ctx context.Context, n Note) error

	// Notes lists the notes of a kind in the order of their keys.
	Notes(ctx context.Context, kind string) ([]Note, error)

	// Others lists the other coordinators that have the store open now; none when
	// the store lets in only one.
	Others(ctx context.Context) ([]Node, error)
}

// Grave is a finished transaction. Stores find it by its id alone.
type Grave struct {
	ID int64
	Tombstone
}

// ErrBadNote reports a note that no store takes. Nothing was written.
var ErrBadNote = errors.New("bad note")

// Whole is the Batch that puts s, a transaction that lives, into another store as
// it is: with its revision, its branches and the locks that they hold.
func Whole(s *State) *Batch {
	return &Batch{XID: s.XID, Resume: s.Revision, Global: &s.Global, Add: s.Branches}
}

// unknownPlace stands in the XID of a transaction of which only the id is known.
const unknownPlace = "0.0.0.0:0"

// Whole is the Batch that puts the finished transaction into another store.
func (g Grave) Whole() *Batch {
	return &Batch{XID: xid.New(unknownPlace, g.ID), Global: &Global{ID: g.ID}, Finish: &g.Tombstone}
}

// Used is the Batch that tells a store that an id was used, for something that is
// gone: it ends a transaction with that id, whose outcome has long expired.
func Used(id int64) *Batch {
	return Grave{ID: id, Tombstone: Tombstone{Outcome: protocol.StatusFinished, ExpiresAt: 1}}.Whole()
}
