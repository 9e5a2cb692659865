package coordinator

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/server/txn"
	"github.com/qiao-tx/qiao/storage"
)

// The caller of a commit with synchronous branches waits for the first round;
// who asks meanwhile is told how it stands.
func TestCallersWaitForTheFirstRound(t *testing.T) {
	inBubble(t, Config{}, func(t *testing.T, b *bench) {
		xid := b.begin(time.Minute)
		b.register(xid, protocol.TypeTCC, "debit", "")
		b.register(xid, protocol.TypeTCC, "credit", "")
		first := b.ask(java, commitOf(xid))
		orders := b.rms.taken()
		require.Len(t, orders, 1, "one after the other")
		orders[0].done()
		synctest.Wait()
		require.Zero(t, first.times())
		meanwhile := b.ask(ours, commitOf(xid))
		require.Equal(t, protocol.StatusCommitting, meanwhile.message().(*protocol.GlobalCommitResult).Status)
		require.Equal(t, "2", meanwhile.head()[HeadStatus])
		b.rms.taken()[0].done()
		synctest.Wait()
		require.Equal(t, protocol.StatusCommitted, first.message().(*protocol.GlobalCommitResult).Status)
		require.Nil(t, first.head(), "a Java client gets no head map of ours")
	})
}

// A rollback that stops for an operator settles its caller, with the truth.
func TestDirtyUndoSettlesTheCaller(t *testing.T) {
	inBubble(t, Config{}, func(t *testing.T, b *bench) {
		xid := b.begin(time.Minute)
		b.register(xid, protocol.TypeAT, "db", "t:1")
		b.rms.answerWith(func(o *ordered) {
			o.answer(o.result(protocol.BranchPhaseTwoRollbackFailedUnretryable), nil)
		})
		a := b.ask(java, rollbackOf(xid)).message().(*protocol.GlobalRollbackResult)
		require.Equal(t, protocol.StatusRollbackFailed, a.Status)
		require.EqualValues(t, 1, b.c.Stats().Parked)
		commit := b.ask(java, commitOf(xid)).message().(*protocol.GlobalCommitResult)
		require.Equal(t, protocol.StatusTimeoutRollbackFailed, commit.Status)
	})
}

// A round that takes too long: the caller is told that it goes on, once.
func TestCallerIsNotKeptForEver(t *testing.T) {
	inBubble(t, shortTimes, func(t *testing.T, b *bench) {
		xid := b.begin(time.Minute)
		b.register(xid, protocol.TypeTCC, "credit", "")
		began := time.Now()
		a := b.ask(java, commitOf(xid))
		time.Sleep(2900 * time.Millisecond)
		synctest.Wait()
		require.Zero(t, a.times())
		time.Sleep(200 * time.Millisecond)
		synctest.Wait()
		require.Equal(t, protocol.StatusCommitting, a.message().(*protocol.GlobalCommitResult).Status)
		require.Less(t, time.Since(began), shortTimes.AnswerTimeout)

		time.Sleep(time.Second)
		b.rms.taken()[0].done()
		synctest.Wait()
		require.Equal(t, 1, a.times())
		require.Equal(t, protocol.StatusCommitted, b.status(xid))
	})
}

// An undecided transaction is rolled back when its time is up, without anybody.
func TestTimeOutRollsBack(t *testing.T) {
	inBubble(t, Config{}, func(t *testing.T, b *bench) {
		b.rms.answerWith((*ordered).done)
		xid := b.begin(5 * time.Second)
		b.register(xid, protocol.TypeAT, "db", "t:1")
		time.Sleep(4900 * time.Millisecond)
		synctest.Wait()
		require.Equal(t, protocol.StatusBegin, b.status(xid))
		time.Sleep(300 * time.Millisecond)
		synctest.Wait()
		require.Equal(t, protocol.StatusTimeoutRollbacked, b.status(xid))
		require.EqualValues(t, 1, b.c.Stats().TimedOut)
	})
}

// An order that is not answered is given again, after growing waits; a resource
// manager that comes back gets it at once.
func TestUnansweredOrdersAreRepeated(t *testing.T) {
	inBubble(t, shortTimes, func(t *testing.T, b *bench) {
		b.rms.answerWith(func(o *ordered) { o.answer(nil, errors.New("no channel")) })
		xid := b.begin(time.Minute)
		b.register(xid, protocol.TypeTCC, "credit", "")
		a := b.ask(java, commitOf(xid))
		require.Equal(t, protocol.StatusCommitRetrying, a.message().(*protocol.GlobalCommitResult).Status)

		time.Sleep(8 * time.Second) // after 1, 2 and 4 s
		synctest.Wait()
		require.Len(t, b.rms.taken(), 4)
		require.EqualValues(t, 4, b.c.Stats().Unanswered)

		b.rms.answerWith((*ordered).done)
		b.c.ResourceUp("another")
		time.Sleep(200 * time.Millisecond)
		synctest.Wait()
		require.Empty(t, b.rms.taken())
		b.c.ResourceUp("credit")
		time.Sleep(200 * time.Millisecond)
		synctest.Wait()
		require.Len(t, b.rms.taken(), 1)
		require.Equal(t, protocol.StatusCommitted, b.status(xid))
	})
}

// A node that starts gives again the orders that it, or another, had given.
func TestRestartResumesPhaseTwo(t *testing.T) {
	inBubble(t, Config{}, func(t *testing.T, b *bench) {
		xid := b.begin(time.Minute)
		b.register(xid, protocol.TypeAT, "db", "t:1")
		undecided := b.begin(time.Minute)
		b.ask(java, commitOf(xid))
		require.Len(t, b.rms.taken(), 1)
		b.c.Close()

		b.c = b.node(Config{Address: "10.0.0.1:8091"})
		time.Sleep(200 * time.Millisecond)
		synctest.Wait()
		orders := b.rms.taken()
		require.Len(t, orders, 1)
		orders[0].done()
		synctest.Wait()
		require.Equal(t, protocol.StatusCommitted, b.status(xid))
		require.Equal(t, protocol.StatusBegin, b.status(undecided))
	})
}

// A resource manager has a bounded number of orders to answer; one that does
// not answer delays nobody else (I12).
func TestASlowResourceManagerDelaysOnlyItself(t *testing.T) {
	cfg := shortTimes
	cfg.OrdersInFlight, cfg.OrdersQueued = 2, 3
	inBubble(t, cfg, func(t *testing.T, b *bench) {
		for i := range 7 {
			xid := b.begin(time.Minute)
			b.register(xid, protocol.TypeAT, "slow", fmt.Sprintf("t:%d", i))
			b.ask(java, commitOf(xid))
		}
		slow := b.rms.taken()
		require.Len(t, slow, 2)
		stats := b.c.Stats()
		require.Equal(t, 3, stats.OrdersWaiting)
		require.EqualValues(t, 2, stats.Unanswered, "two more than can wait: they are given again later")

		fast := b.begin(time.Minute)
		b.register(fast, protocol.TypeAT, "fast", "t:1")
		b.ask(java, commitOf(fast))
		orders := b.rms.taken()
		require.Len(t, orders, 1)
		require.Equal(t, "fast", orders[0].resource)

		slow[0].done()
		synctest.Wait()
		require.Len(t, b.rms.taken(), 1, "its place goes to the next")

		b.rms.answerWith((*ordered).done)
		time.Sleep(time.Minute)
		synctest.Wait()
		slow[1].done() // far too late
		synctest.Wait()
		require.Zero(t, b.c.Stats().OrdersWaiting)
		for i := range 7 {
			a := b.ask(java, &protocol.GlobalLockQuery{XID: "10.0.0.1:8091:99", ResourceID: "slow", LockKey: fmt.Sprintf("t:%d", i)})
			assert.True(t, a.message().(*protocol.GlobalLockQueryResult).Lockable)
		}
	})
}

// An order that waited too long for a place is not sent: the due-loop has given
// it again, or is about to.
func TestOrdersExpireInTheQueue(t *testing.T) {
	cfg := shortTimes
	cfg.OrdersInFlight, cfg.OrdersQueued = 1, 10
	cfg.AnswerTimeout, cfg.Machine.AnswerMillis = 5*time.Second, 6_500
	inBubble(t, cfg, func(t *testing.T, b *bench) {
		for i := range 2 {
			xid := b.begin(time.Minute)
			b.register(xid, protocol.TypeAT, "slow", fmt.Sprintf("t:%d", i))
			b.ask(java, commitOf(xid))
		}
		first := b.rms.taken()
		require.Len(t, first, 1)
		time.Sleep(4 * time.Second)
		first[0].done()
		synctest.Wait()
		require.Empty(t, b.rms.taken())
		require.EqualValues(t, 1, b.c.Stats().Unanswered)
		time.Sleep(1200 * time.Millisecond)
		synctest.Wait()
		require.Len(t, b.rms.taken(), 1)
	})
}

// What is not the answer to the order counts as none, and says why.
func TestJudge(t *testing.T) {
	order := &txn.Order{BranchOrder: protocol.BranchOrder{XID: "x:1:2", BranchID: 3}}
	outcome := func(xid string, id int64, s protocol.BranchStatus) protocol.BranchOutcome {
		return protocol.BranchOutcome{TxResult: protocol.OK(), XID: xid, BranchID: id, Status: s}
	}
	for _, c := range []struct {
		name     string
		rollback bool
		m        protocol.Message
		err      error
		status   protocol.BranchStatus
		reason   string
	}{
		{"an answer", false, &protocol.BranchCommitResult{BranchOutcome: outcome("x:1:2", 3, protocol.BranchPhaseTwoCommitted)}, nil, protocol.BranchPhaseTwoCommitted, ""},
		{"an answer to a rollback", true, &protocol.BranchRollbackResult{BranchOutcome: outcome("x:1:2", 3, protocol.BranchPhaseTwoRollbacked)}, nil, protocol.BranchPhaseTwoRollbacked, ""},
		{"no answer", false, nil, context.DeadlineExceeded, protocol.BranchUnknown, "deadline"},
		{"nothing at all", false, nil, nil, protocol.BranchUnknown, "<nil>"},
		{"another message", false, &protocol.Heartbeat{}, nil, protocol.BranchUnknown, "Heartbeat"},
		{"the answer to the opposite", false, &protocol.BranchRollbackResult{BranchOutcome: outcome("x:1:2", 3, protocol.BranchPhaseTwoRollbacked)}, nil, protocol.BranchUnknown, "BranchRollbackResult"},
		{"and the other way round", true, &protocol.BranchCommitResult{BranchOutcome: outcome("x:1:2", 3, protocol.BranchPhaseTwoCommitted)}, nil, protocol.BranchUnknown, "BranchCommitResult"},
		{"another branch", false, &protocol.BranchCommitResult{BranchOutcome: outcome("x:1:2", 4, protocol.BranchPhaseTwoCommitted)}, nil, protocol.BranchUnknown, "branch 4"},
		{"another transaction", false, &protocol.BranchCommitResult{BranchOutcome: outcome("x:1:9", 3, protocol.BranchPhaseTwoCommitted)}, nil, protocol.BranchUnknown, "x:1:9"},
	} {
		a := judge(order, c.rollback, c.m, c.err)
		assert.EqualValues(t, 3, a.BranchID, c.name)
		assert.Equal(t, c.status, a.Status, c.name)
		assert.Contains(t, a.Reason, c.reason, c.name)
	}
}

// The answers of one round share a Batch, once all of them are there.
func TestAnswersOfARoundShareABatch(t *testing.T) {
	inBubble(t, Config{}, func(t *testing.T, b *bench) {
		xid := b.begin(time.Minute)
		for i := range 5 {
			b.register(xid, protocol.TypeAT, "db", fmt.Sprintf("t:%d", i))
		}
		b.ask(java, commitOf(xid))
		before := b.c.Stats().Batches
		orders := b.rms.taken()
		require.Len(t, orders, 5)
		for i, o := range orders {
			require.Equal(t, before, b.c.Stats().Batches, "after %d answers", i)
			o.done()
			synctest.Wait()
		}
		require.Equal(t, before+1, b.c.Stats().Batches)
		require.Equal(t, protocol.StatusCommitted, b.status(xid))
	})
}

// A store that hangs does not pile up Ticks of the transactions that are due.
func TestDueTransactionsAreTickedOnce(t *testing.T) {
	inBubble(t, Config{}, func(t *testing.T, b *bench) {
		xid := b.begin(time.Second)
		b.store.close()
		time.Sleep(10 * time.Second)
		synctest.Wait()
		require.Equal(t, 1, b.c.Stats().Ticking)
		s := b.c.shard(xid)
		s.mu.Lock()
		waiting := len(s.lanes[xid].queue)
		s.mu.Unlock()
		require.Zero(t, waiting, "one Tick is at the store; no other waits behind it")
	})
}

// Orders that a node lets out long after it decided them may contradict what
// was decided since. They are withheld: the due-loop gives them again.
func TestOrdersAreWithheldAfterAStandstill(t *testing.T) {
	cfg := shortTimes
	cfg.PollEvery = 10 * time.Second
	inBubble(t, cfg, func(t *testing.T, b *bench) {
		xid := b.begin(time.Minute)
		b.register(xid, protocol.TypeAT, "db", "t:1")
		const standstill = 9 * time.Second
		b.store.onApply(func(*storage.Batch) error {
			b.store.onApply(nil)
			time.Sleep(standstill)
			return nil
		})
		a := b.post(b.c, java, commitOf(xid), nil)
		time.Sleep(standstill)
		synctest.Wait()
		require.Equal(t, protocol.StatusCommitted, a.message().(*protocol.GlobalCommitResult).Status)
		require.Empty(t, b.rms.taken())
		require.EqualValues(t, 1, b.c.Stats().Withheld)

		b.rms.answerWith((*ordered).done)
		time.Sleep(cfg.PollEvery)
		synctest.Wait()
		require.Len(t, b.rms.taken(), 1)
		require.Equal(t, protocol.StatusCommitted, b.status(xid))
	})
}

// A caller who has waited long enough takes nobody else along.
func TestOnlyOverdueCallersAreAnswered(t *testing.T) {
	inBubble(t, shortTimes, func(t *testing.T, b *bench) {
		xid := b.begin(time.Minute)
		b.register(xid, protocol.TypeTCC, "credit", "")
		first := b.ask(java, commitOf(xid))
		time.Sleep(2 * time.Second)
		second := &answer{}
		b.c.shard(xid).lanes[xid].await(call{done: func(r txn.Reply, err error) {
			second.take(&protocol.GlobalCommitResult{Status: r.Status}, nil)
		}})
		time.Sleep(1500 * time.Millisecond)
		synctest.Wait()
		require.Equal(t, 1, first.times())
		require.Zero(t, second.times())
		b.rms.taken()[0].done()
		synctest.Wait()
		require.Equal(t, protocol.StatusCommitted, second.message().(*protocol.GlobalCommitResult).Status)
	})
}
