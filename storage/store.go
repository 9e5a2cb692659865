package storage

import (
	"context"
	"errors"
	"fmt"

	"github.com/qiao-tx/qiao/protocol"
)

// Errors of a Store. Others wrap one of these or mean that the outcome is
// unknown: the batch may or may not have been made durable.
var (
	// ErrMoved: the transaction's revision is not the batch's. Load again and
	// decide again.
	ErrMoved = errors.New("the transaction has moved on")
	// ErrFull: the store refuses new transactions and branches because its
	// space runs out; decisions and phase two go on. Retry later.
	ErrFull = errors.New("the store is nearly full")
	// ErrUnavailable: nothing was written, and the store takes nothing now.
	// Safe to retry.
	ErrUnavailable = errors.New("the store is unavailable")
	// ErrClosed: the store was closed; nothing was written.
	ErrClosed = errors.New("the store is closed")
)

// LockHeld reports that a row belongs to another transaction. Nothing was
// written.
type LockHeld struct {
	Key    RowKey
	Holder Lock
}

func (e *LockHeld) Error() string {
	resource, table, pk := e.Key.Split()
	return fmt.Sprintf("row %s:%s of %s is locked by global transaction %s, branch %d (%s)",
		table, pk, resource, e.Holder.XID, e.Holder.BranchID, e.Holder.Status)
}

// Lock is the holder of one row.
type Lock struct {
	XID      string
	BranchID int64
	// Status is the holding transaction's.
	Status protocol.GlobalStatus
}

// Store keeps transactions. All methods are safe for concurrent use.
type Store interface {
	// Load returns the transaction as of the last applied Batch; the zero State
	// (not Exists) when there is none, and one that is Finished while its
	// tombstone lasts.
	Load(ctx context.Context, xid string) (State, error)

	// Apply makes b durable, whole or not at all, and returns when it is. It
	// answers ErrMoved when the revision differs and *LockHeld when an added
	// branch wants a row of another transaction; then nothing was written.
	// When ctx ends first the outcome is unknown.
	Apply(ctx context.Context, b *Batch) error

	// CheckLocks answers *LockHeld when one of the rows belongs to a
	// transaction other than xid.
	CheckLocks(ctx context.Context, xid string, rows []RowKey) error

	// Due lists transactions whose DueAt is not 0 and not after now, earliest
	// first, at most limit.
	Due(ctx context.Context, now int64, limit int) ([]string, error)

	// Scan calls f with each live (not finished) transaction whose id is over
	// after, in the order of ids, until f returns false. The view is one moment's
	// per transaction, not across them.
	Scan(ctx context.Context, after int64, f func(State) bool) error

	// ScanLocks calls f with each held row lock until f returns false.
	ScanLocks(ctx context.Context, f func(RowKey, Lock) bool) error

	// LastID is the latest transaction or branch id ever applied, by LaterID; 0
	// when none. New ids must have a sequence above its own. The highest number
	// would not do, as it is always that of the node with the highest worker id.
	LastID(ctx context.Context) (int64, error)

	// Stats counts what the store holds.
	Stats() Stats

	// Close waits for Applies under way and releases the store.
	Close() error
}

// Submitter is a Store that needs no goroutine to wait for a Batch. Its Load and
// CheckLocks wait for no disk and no network.
type Submitter interface {
	Store

	// Submit is Apply without the wait. An error means that nothing was written.
	// Without one, done is called once with what Apply would answer: from another
	// goroutine or later, never by Submit itself. It must not block, as others
	// wait behind it. b must not be changed any more.
	Submit(b *Batch, done func(error)) error
}

// Stats counts what a store holds and has done since it was opened.
type Stats struct {
	Globals, Branches, Locks, Tombstones int64
	// Batches counts applied ones; Entries the records that carried them: a
	// durable store makes one record and one fsync of many Batches.
	Batches, Entries uint64
}
