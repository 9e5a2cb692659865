package coordinator

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/storage"
)

// What waits for one transaction while the store is at work shares one Batch.
func TestWaitingEventsShareABatch(t *testing.T) {
	inBubble(t, Config{}, func(t *testing.T, b *bench) {
		xid := b.begin(time.Minute)
		b.store.close()
		answers := make([]*answer, 51)
		for i := range answers {
			answers[i] = b.post(b.c, java, &protocol.BranchRegister{
				XID: xid, ResourceID: "db", LockKey: fmt.Sprintf("t:%d", i)}, nil)
			if i == 0 {
				synctest.Wait() // it is at the store; the others have to wait
			}
		}
		synctest.Wait()
		require.Zero(t, answers[0].times())
		b.store.open()
		synctest.Wait()

		ids := make(map[int64]bool)
		for _, a := range answers {
			r := a.message().(*protocol.BranchRegisterResult)
			require.Equal(t, protocol.ResultSuccess, r.Code)
			ids[r.BranchID] = true
		}
		require.Len(t, ids, len(answers))
		require.EqualValues(t, 3, b.c.Stats().Batches, "the begin, the first registration, the others")
	})
}

// A row that is locked keeps only the registration that wants it from the Batch.
func TestLockConflictFailsAlone(t *testing.T) {
	inBubble(t, Config{}, func(t *testing.T, b *bench) {
		holder := b.begin(time.Minute)
		b.register(holder, protocol.TypeAT, "db", "t:7")
		xid := b.begin(time.Minute)
		b.store.close()
		var answers []*answer
		for i := range 10 {
			answers = append(answers, b.post(b.c, ours, &protocol.BranchRegister{
				XID: xid, ResourceID: "db", LockKey: fmt.Sprintf("t:%d", i)}, nil))
			synctest.Wait()
		}
		commit := b.post(b.c, java, commitOf(xid), nil)
		b.store.open()
		synctest.Wait()
		for i, a := range answers {
			r := a.message().(*protocol.BranchRegisterResult)
			if i != 7 {
				assert.Equal(t, protocol.ResultSuccess, r.Code, r.Message)
				continue
			}
			assert.Equal(t, protocol.ExceptionLockKeyConflict, r.Exception)
			assert.Contains(t, r.Message, holder)
			assert.Equal(t, holder, a.head()[HeadHolder])
		}
		assert.Equal(t, protocol.StatusCommitted, commit.message().(*protocol.GlobalCommitResult).Status)
		assert.EqualValues(t, 1, b.c.Stats().LockConflicts)
	})
}

// A client that holds local locks must not wait for a holder that rolls back:
// the rollback may need them.
func TestLockConflictFailsFastWhileTheHolderRollsBack(t *testing.T) {
	inBubble(t, Config{}, func(t *testing.T, b *bench) {
		holder := b.begin(time.Minute)
		b.register(holder, protocol.TypeAT, "db", "t:7")
		b.ask(java, rollbackOf(holder)) // nobody answers its order
		for data, want := range map[string]protocol.ExceptionCode{
			`{"autoCommit":false}`:              protocol.ExceptionLockKeyConflictFailFast,
			`{"autoCommit":true}`:               protocol.ExceptionLockKeyConflict,
			`{"autoCommit":"nonsense"}`:         protocol.ExceptionLockKeyConflict,
			`{"skipCheckLock":true}`:            protocol.ExceptionLockKeyConflict,
			``:                                  protocol.ExceptionLockKeyConflict,
			`{"autoCommit":false, and nonsense`: protocol.ExceptionLockKeyConflict,
		} {
			a := b.ask(java, &protocol.BranchRegister{XID: b.begin(time.Minute), ResourceID: "db", LockKey: "t:7", ApplicationData: data})
			assert.Equal(t, want, a.message().(*protocol.BranchRegisterResult).Exception, data)
			assert.Nil(t, a.head(), "a Java client gets no head map of ours")
		}
	})
}

// Neither the answer nor an order leaves before the decision is durable.
func TestNothingLeavesBeforeItIsDurable(t *testing.T) {
	inBubble(t, Config{}, func(t *testing.T, b *bench) {
		xid := b.begin(time.Minute)
		b.register(xid, protocol.TypeAT, "db", "t:1")
		b.store.close()
		a := b.ask(java, commitOf(xid))
		require.Zero(t, a.times())
		require.Empty(t, b.rms.taken())
		b.store.open()
		synctest.Wait()
		require.Equal(t, protocol.StatusCommitted, a.message().(*protocol.GlobalCommitResult).Status)
		require.Len(t, b.rms.taken(), 1)
	})
}

// A decision that could not be stored is answered as unknown, orders nothing,
// and may be asked for again.
func TestAFailedDecisionIsNoDecision(t *testing.T) {
	inBubble(t, Config{}, func(t *testing.T, b *bench) {
		xid := b.begin(time.Minute)
		b.register(xid, protocol.TypeAT, "db", "t:1")
		b.store.onApply(func(*storage.Batch) error { return errors.New("disk on fire") })

		commit := b.ask(java, commitOf(xid)).message().(*protocol.GlobalCommitResult)
		require.Equal(t, protocol.ResultFailed, commit.Code)
		require.Equal(t, protocol.StatusFinished, commit.Status, "Java reads only the status, and 15 as an error")
		require.Contains(t, commit.Message, "disk on fire")
		rollback := b.ask(java, rollbackOf(xid)).message().(*protocol.GlobalRollbackResult)
		require.Equal(t, protocol.StatusUnKnown, rollback.Status)
		begin := b.ask(java, &protocol.GlobalBegin{}).message().(*protocol.GlobalBeginResult)
		require.Equal(t, protocol.ExceptionBeginFailed, begin.Exception)
		require.Empty(t, begin.XID)
		register := b.ask(java, &protocol.BranchRegister{XID: xid, ResourceID: "db"}).message().(*protocol.BranchRegisterResult)
		require.Equal(t, protocol.ExceptionBranchRegisterFailed, register.Exception)
		require.Zero(t, register.BranchID)
		require.Empty(t, b.rms.taken())

		b.store.onApply(nil)
		require.Equal(t, protocol.StatusBegin, b.status(xid))
		again := b.ask(java, commitOf(xid)).message().(*protocol.GlobalCommitResult)
		require.Equal(t, protocol.StatusCommitted, again.Status)
	})
}

// A store that runs full refuses a registration, not the decision beside it.
func TestFullStoreStillDecides(t *testing.T) {
	inBubble(t, Config{}, func(t *testing.T, b *bench) {
		xid := b.begin(time.Minute)
		b.register(xid, protocol.TypeAT, "db", "t:1")
		b.store.onApply(func(x *storage.Batch) error {
			if len(x.Add) > 0 {
				return storage.ErrFull
			}
			return nil
		})
		b.store.close()
		first := b.post(b.c, java, &protocol.BranchReport{XID: xid, BranchID: 1}, nil)
		register := b.post(b.c, java, &protocol.BranchRegister{XID: xid, ResourceID: "db"}, nil)
		commit := b.post(b.c, java, commitOf(xid), nil)
		b.store.open()
		synctest.Wait()
		require.Equal(t, protocol.ExceptionBranchTransactionNotExist, first.message().(*protocol.BranchReportResult).Exception)
		require.Equal(t, protocol.ResultFailed, register.message().(*protocol.BranchRegisterResult).Code)
		require.Equal(t, protocol.StatusCommitted, commit.message().(*protocol.GlobalCommitResult).Status)
	})
}

// Another node may change a transaction between this one's load and its
// decision: the decision is taken again from what is true now.
func TestAnotherNodeIsFaster(t *testing.T) {
	withOthers(t, Config{}, func(t *testing.T, b *bench) {
		other := b.node(Config{Address: "10.0.0.2:8091", WorkerID: 1})
		defer other.Close()
		xid := b.begin(time.Minute)
		late := make(chan protocol.Message, 1)
		b.store.onApply(func(*storage.Batch) error {
			b.store.onApply(nil)
			other.Handle(java, &protocol.BranchRegister{XID: xid, Type: protocol.TypeTCC, ResourceID: "credit"}, nil,
				func(m protocol.Message, _ map[string]string) { late <- m })
			r := (<-late).(*protocol.BranchRegisterResult)
			assert.Equal(t, protocol.ResultSuccess, r.Code)
			return nil
		})
		commit := b.ask(java, commitOf(xid))
		require.EqualValues(t, 1, b.c.Stats().Moved)
		require.Zero(t, commit.times(), "it was decided with the new branch, whose answer it waits for")
		orders := b.rms.taken()
		require.Len(t, orders, 1)
		orders[0].done()
		synctest.Wait()
		require.Equal(t, protocol.StatusCommitted, commit.message().(*protocol.GlobalCommitResult).Status)
	})
}

// A store that always says that the transaction has moved on is not asked for ever.
func TestEndlessMovesEnd(t *testing.T) {
	inBubble(t, Config{}, func(t *testing.T, b *bench) {
		xid := b.begin(time.Minute)
		b.store.onApply(func(*storage.Batch) error { return storage.ErrMoved })
		r := b.ask(java, commitOf(xid)).message().(*protocol.GlobalCommitResult)
		require.Equal(t, protocol.ResultFailed, r.Code)
		require.EqualValues(t, maxMoves, b.c.Stats().Moved)
		b.store.onApply(nil)
	})
}

// A saga's client may end it, or turn it round, while the decision that orders
// its application waits in the same fold: that order must not leave.
func TestAFoldOrdersOnlyWhatItEndsWith(t *testing.T) {
	for reported, orders := range map[protocol.GlobalStatus]int{
		protocol.StatusCommitted:        0,
		protocol.StatusCommitRetrying:   0,
		protocol.StatusRollbackRetrying: 1, // the rollback goes on
		protocol.StatusBegin:            1, // is refused and changes nothing
	} {
		inBubble(t, Config{}, func(t *testing.T, b *bench) {
			begun := b.ask(java, &protocol.GlobalBegin{Name: "$Saga_order"}).message().(*protocol.GlobalBeginResult)
			b.store.close()
			first := b.post(b.c, java, &protocol.BranchRegister{XID: begun.XID, Type: protocol.TypeSaga, ResourceID: "app#group"}, nil)
			synctest.Wait()
			require.Zero(t, first.times())
			rollback := b.post(b.c, java, rollbackOf(begun.XID), nil)
			b.post(b.c, java, &protocol.GlobalReport{Global: protocol.Global{XID: begun.XID}, Status: reported}, nil)
			b.store.open()
			synctest.Wait()
			require.Len(t, b.rms.taken(), orders, "%s", reported)
			if reported == protocol.StatusCommitted {
				require.Equal(t, reported, rollback.message().(*protocol.GlobalRollbackResult).Status)
			}
		})
	}
}
