package storetest

import (
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/xid"
	"github.com/qiao-tx/qiao/storage"
)

// Factory opens one store, empty at first.
type Factory struct {
	// Open opens the store, and the same store again after it was closed. The
	// suite closes what it opened.
	Open func(t *testing.T) storage.Store
	// Durable says that what was acknowledged is there after Close and Open.
	Durable bool
}

// Run checks the stores that open makes, a new one for each subtest.
func Run(t *testing.T, open func(t *testing.T) Factory) {
	for _, test := range []struct {
		name string
		run  func(*world)
	}{
		{"Begin", testBegin},
		{"BeginTwice", testBeginTwice},
		{"Revisions", testRevisions},
		{"InvalidBatch", testInvalidBatch},
		{"WholeState", testWholeState},
		{"StateIsShared", testStateIsShared},
		{"Finish", testFinish},
		{"TombstoneExpires", testTombstoneExpires},
		{"LockConflict", testLockConflict},
		{"LockConflictStatus", testLockConflictStatus},
		{"LockConflictWritesNothing", testLockConflictWritesNothing},
		{"LocksAreReentrant", testLocksAreReentrant},
		{"LocksAreReleased", testLocksAreReleased},
		{"UnlockedBranchesLockNothing", testUnlockedBranchesLockNothing},
		{"BadLockKey", testBadLockKey},
		{"CheckLocks", testCheckLocks},
		{"Due", testDue},
		{"Scan", testScan},
		{"ScanLocks", testScanLocks},
		{"LastID", testLastID},
		{"Stats", testStats},
		{"Whole", testWhole},
		{"Graves", testGraves},
		{"Notes", testNotes},
		{"Canceled", testCanceled},
		{"Closed", testClosed},
		{"Submit", testSubmit},
		{"SubmitClosed", testSubmitClosed},
		{"ConcurrentRevisions", testConcurrentRevisions},
		{"ConcurrentLocks", testConcurrentLocks},
		{"ConcurrentTransactions", testConcurrentTransactions},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := &world{T: t, factory: open(t)}
			w.open()
			test.run(w)
			if !w.closed {
				require.NoError(t, w.store.Close())
			}
		})
	}
}

// world is one store under test.
type world struct {
	*testing.T
	factory Factory
	store   storage.Store
	closed  bool
	lastID  atomic.Int64
}

func (w *world) open() {
	w.store = w.factory.Open(w.T)
	w.closed = false
}

// reopen closes and opens a durable store; on another it does nothing.
func (w *world) reopen() {
	w.Helper()
	if !w.factory.Durable {
		return
	}
	require.NoError(w, w.store.Close())
	w.open()
}

// twice runs check now and again after the store was reopened.
func (w *world) twice(check func()) {
	w.Helper()
	check()
	if w.factory.Durable {
		w.reopen()
		check()
	}
}

const (
	startMillis = 1_700_000_000_000
	retention   = 180_000
	resource    = "jdbc:mysql://127.0.0.1:3306/stock"
)

func (w *world) newID() int64 { return w.lastID.Add(1) }

// begun is a batch that begins a transaction under a new id.
func (w *world) begun() *storage.Batch {
	id := w.newID()
	return &storage.Batch{XID: xid.New("127.0.0.1:8091", id), At: startMillis, Global: &storage.Global{
		ID: id, Status: protocol.StatusBegin, ApplicationID: "orders", Group: "default_tx_group", Name: "place order",
		BeganAt: startMillis, TimeoutMillis: 60_000,
	}}
}

// branch is a new AT branch that locks the rows of lockKey.
func (w *world) branch(lockKey string) storage.Branch {
	return storage.Branch{
		ID: w.newID(), Type: protocol.TypeAT, Status: protocol.BranchRegistered, ResourceID: resource,
		ClientID: "orders:127.0.0.1:50123", LockKey: lockKey, Locked: true, RegisteredAt: startMillis,
	}
}

// begin applies a transaction with a branch for each lock key.
func (w *world) begin(lockKeys ...string) storage.State {
	w.Helper()
	b := w.begun()
	for _, k := range lockKeys {
		b.Add = append(b.Add, w.branch(k))
	}
	return w.apply(storage.State{}, b)
}

// apply applies b to s, which must succeed, and returns the state after.
func (w *world) apply(s storage.State, b *storage.Batch) storage.State {
	w.Helper()
	b.Revision = s.Revision
	if b.XID == "" {
		b.XID = s.XID
	}
	next, err := s.Apply(b)
	require.NoError(w, err)
	require.NoError(w, w.store.Apply(w.Context(), b))
	return next
}

func finishing(outcome protocol.GlobalStatus) *storage.Batch {
	return &storage.Batch{At: startMillis, Finish: &storage.Tombstone{Outcome: outcome, ExpiresAt: startMillis + retention}}
}

func (w *world) load(x string) storage.State {
	w.Helper()
	s, err := w.store.Load(w.Context(), x)
	require.NoError(w, err)
	return s
}

// holders lists all held locks.
func (w *world) holders() map[storage.RowKey]storage.Lock {
	w.Helper()
	held := make(map[storage.RowKey]storage.Lock)
	require.NoError(w, w.store.ScanLocks(w.Context(), func(row storage.RowKey, lock storage.Lock) bool {
		require.NotContains(w, held, row, "a lock listed twice")
		held[row] = lock
		return true
	}))
	return held
}

// requireHeld checks that err names row's holder.
func (w *world) requireHeld(err error, row storage.RowKey, holder storage.State, branch int64) {
	w.Helper()
	var held *storage.LockHeld
	require.ErrorAs(w, err, &held)
	require.Equal(w, row, held.Key)
	require.Equal(w, storage.Lock{XID: holder.XID, BranchID: branch, Status: holder.Global.Status}, held.Holder)
}
