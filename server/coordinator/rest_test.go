package coordinator

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/storage"
)

// soleBench is a bench whose store nobody else changes.
func soleBench(t *testing.T, test func(t *testing.T, b *bench)) {
	inBubbles(t, Config{Sole: true}, test, map[string]bool{"sole": true})
}

// A sole coordinator asks the store for no transaction that it has just changed,
// and remembers none that has ended.
func TestASoleCoordinatorRemembers(t *testing.T) {
	soleBench(t, func(t *testing.T, b *bench) {
		xid := b.begin(time.Minute)
		b.register(xid, protocol.TypeAT, "db", "t:1")
		b.register(xid, protocol.TypeTCC, "credit", "")
		commit := b.ask(java, commitOf(xid))
		require.Zero(t, commit.times())
		require.Zero(t, b.store.loaded())
		for range 2 { // first the branch that has to be waited for
			b.rms.taken()[0].done()
			synctest.Wait()
		}
		require.Equal(t, protocol.StatusCommitted, commit.message().(*protocol.GlobalCommitResult).Status)
		require.Zero(t, b.store.loaded())
		require.Zero(t, b.lanes(), "the transaction has ended")
	})
}

// lanes counts the lanes that exist.
func (b *bench) lanes() int {
	n := 0
	for i := range b.c.lanes {
		s := &b.c.lanes[i]
		s.mu.Lock()
		n += len(s.lanes)
		s.mu.Unlock()
	}
	return n
}

// After an Apply that failed the store alone knows how the transaction stands.
func TestWhatAFailureLeavesIsAskedFor(t *testing.T) {
	soleBench(t, func(t *testing.T, b *bench) {
		xid := b.begin(time.Minute)
		b.store.onApply(func(batch *storage.Batch) error {
			require.NoError(t, b.store.Store.Apply(t.Context(), batch))
			return errors.New("the answer was lost")
		})
		lost := b.ask(java, &protocol.BranchRegister{XID: xid, Type: protocol.TypeTCC, ResourceID: "credit"})
		require.Equal(t, protocol.ResultFailed, lost.message().(*protocol.BranchRegisterResult).Code)
		b.store.onApply(nil)
		require.Zero(t, b.store.loaded())
		b.ask(java, commitOf(xid))
		require.Equal(t, 1, b.store.loaded())
		require.Len(t, b.rms.taken(), 1, "the branch whose registration was stored takes part")
	})
}

// However many transactions live, a bounded number is remembered; the others are
// asked for.
func TestLanesThatRestAreBounded(t *testing.T) {
	soleBench(t, func(t *testing.T, b *bench) {
		xids := make([]string, 3*laneShards*maxResting/2)
		for i := range xids {
			xids[i] = b.begin(time.Minute)
		}
		remembered := b.lanes()
		require.LessOrEqual(t, remembered, laneShards*maxResting)
		require.Greater(t, remembered, laneShards*maxResting/2)
		require.False(t, b.c.busy(), "who only remembers keeps nobody from stopping")
		for _, xid := range xids {
			r := b.ask(java, commitOf(xid)).message().(*protocol.GlobalCommitResult)
			require.Equal(t, protocol.StatusCommitted, r.Status)
		}
		require.Equal(t, len(xids)-remembered, b.store.loaded())
		require.Zero(t, b.lanes())
	})
}

// What another node has changed is not answered from memory, though a decision
// needs no Load: the store refuses it if there was a change.
func TestAnotherNodesChangesAreSeen(t *testing.T) {
	withOthers(t, Config{}, func(t *testing.T, b *bench) {
		other := b.node(Config{Address: "10.0.0.2:8091", WorkerID: 1})
		defer other.Close()
		xid := b.begin(time.Minute)
		committed := b.post(other, java, commitOf(xid), nil)
		synctest.Wait()
		require.Equal(t, protocol.StatusCommitted, committed.message().(*protocol.GlobalCommitResult).Status)
		require.Zero(t, b.store.loaded()-1, "the other node's")
		report := b.ask(java, &protocol.BranchReport{XID: xid, BranchID: 7})
		require.Equal(t, protocol.ExceptionGlobalTransactionNotExist, report.message().(*protocol.BranchReportResult).Exception)
	})
}

// What comes while a Batch is under way is not answered from what that Batch led to:
// the process may have stood still in between, and another node acted.
func TestAnswersFromARememberedState(t *testing.T) {
	withOthers(t, Config{}, func(t *testing.T, b *bench) {
		xid := b.begin(time.Minute)
		var late *answer
		b.store.after = func(batch *storage.Batch) {
			late = b.post(b.c, java, &protocol.BranchReport{XID: xid, BranchID: 7}, nil)
			require.NoError(t, b.store.Store.Apply(t.Context(), &storage.Batch{
				XID: xid, Revision: batch.Revision + 1, Finish: &storage.Tombstone{Outcome: protocol.StatusCommitted},
			}))
		}
		b.register(xid, protocol.TypeAT, "db", "t:1")
		synctest.Wait()
		require.Equal(t, protocol.ExceptionGlobalTransactionNotExist, late.message().(*protocol.BranchReportResult).Exception)
	})
}
