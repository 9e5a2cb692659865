package rpc

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/native"
)

// outcome is what an asynchronous call ended with.
type outcome struct {
	m   protocol.Message
	err error
}

func TestACallReturnsItsAnswer(t *testing.T) {
	client, _ := newPair(t, Options{}, Options{Handler: beginner})
	r, err := client.Call(testContext(t), &protocol.GlobalBegin{Name: "x"}, nil)
	require.NoError(t, err)
	assert.Equal(t, "x", r.Message.(*protocol.GlobalBeginResult).XID)
}

func TestHeadMapsTravelBothWays(t *testing.T) {
	client, _ := newPair(t, Options{}, Options{Handler: func(c *Conn, r Request) {
		_ = c.Reply(r, &protocol.RegisterTMResult{Identified: true}, map[string]string{"heard": r.Head["said"]})
	}})
	r, err := client.Call(testContext(t), &protocol.RegisterTM{}, map[string]string{"said": "hello"})
	require.NoError(t, err)
	assert.Equal(t, map[string]string{"heard": "hello"}, r.Head)
	asked := make(chan Response, 1)
	client.Ask(&protocol.RegisterTM{}, map[string]string{"said": "hello"}, time.Minute, func(r Response, err error) {
		assert.NoError(t, err)
		asked <- r
	})
	assert.Equal(t, r, <-asked)
}

// Answers given to the wrong caller, lost, or doubled turn this red, as does a
// data race.
func TestConcurrentCallersGetTheirOwnAnswers(t *testing.T) {
	client, _ := newPair(t, Options{}, Options{Handler: beginner})
	ctx := testContext(t)
	var callers sync.WaitGroup
	for i := range 32 {
		callers.Go(func() {
			for j := range 50 {
				name := fmt.Sprintf("%d/%d", i, j)
				r, err := client.Call(ctx, &protocol.GlobalBegin{Name: name}, nil)
				if assert.NoError(t, err) {
					assert.Equal(t, name, r.Message.(*protocol.GlobalBeginResult).XID)
				}
			}
		})
	}
	callers.Wait()
	client.mu.Lock()
	defer client.mu.Unlock()
	assert.Empty(t, client.pending)
}

func TestBothSidesCallOverOneConnection(t *testing.T) {
	commit := func(c *Conn, r Request) {
		_ = c.Reply(r, &protocol.BranchCommitResult{BranchOutcome: protocol.BranchOutcome{TxResult: protocol.OK(), BranchID: 7}}, nil)
	}
	client, server := newPair(t, Options{Handler: commit}, Options{Handler: beginner})
	answers := make(chan outcome, 1)
	// Both sides use request id 1 now; they must not be confused.
	server.Go(&protocol.BranchCommit{}, time.Minute, func(m protocol.Message, err error) { answers <- outcome{m, err} })
	r, err := client.Call(testContext(t), &protocol.GlobalBegin{Name: "x"}, nil)
	require.NoError(t, err)
	assert.IsType(t, &protocol.GlobalBeginResult{}, r.Message)
	o := <-answers
	require.NoError(t, o.err)
	assert.Equal(t, int64(7), o.m.(*protocol.BranchCommitResult).BranchID)
}

func TestAnswersOutOfOrder(t *testing.T) {
	const n = 10
	var asked []Request
	client, _ := newPair(t, Options{}, Options{Handler: func(c *Conn, r Request) {
		if asked = append(asked, r); len(asked) < n {
			return
		}
		for i := n - 1; i >= 0; i-- {
			beginner(c, asked[i])
		}
	}})
	answers := make(chan outcome, n)
	for i := range n {
		client.Go(&protocol.GlobalBegin{Name: strconv.Itoa(i)}, time.Minute, func(m protocol.Message, err error) { answers <- outcome{m, err} })
	}
	for i := n - 1; i >= 0; i-- {
		o := <-answers
		require.NoError(t, o.err)
		assert.Equal(t, strconv.Itoa(i), o.m.(*protocol.GlobalBeginResult).XID)
	}
}

// A Java server with batching answers several requests in one frame.
func TestABatchAnswersTheCallsThatItNames(t *testing.T) {
	var asked []Request
	client, _ := newPair(t, Options{}, Options{Handler: func(c *Conn, r Request) {
		if asked = append(asked, r); len(asked) < 2 {
			return
		}
		late := int32(99) // answers a request that nobody made
		_ = c.Reply(r, &protocol.BatchResult{
			Messages: []protocol.Message{
				&protocol.GlobalBeginResult{TxResult: protocol.OK(), XID: "second"},
				&protocol.GlobalBeginResult{TxResult: protocol.OK(), XID: "nobody's"},
				&protocol.GlobalBeginResult{TxResult: protocol.OK(), XID: "first"},
			},
			IDs: []int32{asked[1].ID, late, asked[0].ID},
		}, nil)
	}})
	answers := make([]chan outcome, 2)
	for i := range answers {
		answers[i] = make(chan outcome, 1)
		client.Go(&protocol.GlobalBegin{}, time.Minute, func(m protocol.Message, err error) { answers[i] <- outcome{m, err} })
	}
	for i, want := range []string{"first", "second"} {
		o := <-answers[i]
		require.NoError(t, o.err)
		assert.Equal(t, want, o.m.(*protocol.GlobalBeginResult).XID)
	}
}

func TestAMergedResultAnswersTheMergedRequest(t *testing.T) {
	client, _ := newPair(t, Options{}, Options{Handler: func(c *Conn, r Request) {
		parts := r.Message.(*protocol.Merged).Messages
		_ = c.Reply(r, &protocol.MergedResult{Messages: make([]protocol.Message, 0, len(parts))}, nil)
	}})
	r, err := client.Call(testContext(t), &protocol.Merged{
		Messages: []protocol.Message{&protocol.GlobalLockQuery{}}, IDs: []int32{5},
	}, nil)
	require.NoError(t, err)
	assert.IsType(t, &protocol.MergedResult{}, r.Message)
}

func TestOneWayRequestsArriveInOrder(t *testing.T) {
	days := make(chan int16, 10)
	_, server := newPair(t, Options{Handler: func(_ *Conn, r Request) {
		assert.True(t, r.OneWay)
		days <- r.Message.(*protocol.UndoLogDelete).SaveDays
	}}, Options{})
	for i := range int16(10) {
		require.NoError(t, server.Send(&protocol.UndoLogDelete{SaveDays: i}))
	}
	for i := range int16(10) {
		assert.Equal(t, i, <-days)
	}
}

func TestAnOverdueCallEndsAndItsLateAnswerIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := make(chan Request, 1)
		client, server := newPipe(t, Options{}, Options{Handler: func(c *Conn, r Request) {
			if len(asked) == 0 {
				asked <- r
				return
			}
			beginner(c, r)
		}})
		started := time.Now()
		ended := make(chan outcome, 3)
		client.Go(&protocol.GlobalBegin{}, 3*time.Second, func(m protocol.Message, err error) { ended <- outcome{m, err} })
		client.Ask(&protocol.RegisterTM{}, nil, 3*time.Second, func(r Response, err error) { ended <- outcome{r.Message, err} })
		require.ErrorIs(t, (<-ended).err, ErrTimeout)
		o := <-ended
		assert.InDelta(t, 3*time.Second, time.Since(started), float64(tickEvery))
		require.ErrorIs(t, o.err, ErrTimeout)
		assert.False(t, SafeToRetry(o.err))
		assert.ErrorContains(t, o.err, "3s")

		beginner(server, <-asked)
		asked <- Request{}
		r, err := client.Call(t.Context(), &protocol.GlobalBegin{Name: "next"}, nil)
		require.NoError(t, err)
		assert.Equal(t, "next", r.Message.(*protocol.GlobalBeginResult).XID)
		assert.Empty(t, ended, "the callback ran twice")
	})
}

func TestACallEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, _ := newPipe(t, Options{}, Options{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := client.Call(ctx, &protocol.GlobalBegin{}, nil)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.False(t, SafeToRetry(err), "it was sent")
		assert.Empty(t, client.pending)

		_, err = client.Call(ctx, &protocol.GlobalBegin{}, nil)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.True(t, SafeToRetry(err), "the context had ended before")
	})
}

func TestAMessageThatCannotBeEncodedLeavesTheConnectionAlone(t *testing.T) {
	client, _ := newPair(t, Options{}, Options{Handler: beginner})
	tooLong := string(make([]byte, native.MaxText+1))
	_, err := client.Call(testContext(t), &protocol.GlobalBegin{Name: tooLong}, nil)
	require.ErrorIs(t, err, native.ErrTooLong)
	assert.True(t, SafeToRetry(err))
	require.ErrorIs(t, client.Send(&protocol.GlobalBegin{Name: tooLong}), native.ErrTooLong)
	ended := make(chan error, 1)
	client.Go(&protocol.GlobalBegin{Name: tooLong}, time.Minute, func(_ protocol.Message, err error) { ended <- err })
	require.ErrorIs(t, <-ended, native.ErrTooLong)

	_, err = client.Call(testContext(t), &protocol.GlobalBegin{}, nil)
	require.NoError(t, err)
}

func TestRequestIDsStartAtOneStayPositiveAndSkipThoseInUse(t *testing.T) {
	c := &Conn{pending: map[int32]*call{1: {}, 2: {}}}
	assert.Equal(t, int32(3), c.nextID())
	c.lastID = math.MaxInt32
	assert.Equal(t, int32(3), c.nextID())
	c = &Conn{}
	assert.Equal(t, int32(1), c.nextID())
}

// Whatever is under way when a connection closes: no call is lost, none ends
// twice, and none hangs.
func TestEveryCallEndsOnceWhenTheConnectionClosesAnyTime(t *testing.T) {
	for round := range 20 {
		client, server := newPair(t, Options{}, Options{Handler: beginner})
		closing := client
		if round%2 == 0 {
			closing = server
		}
		var begun, ended atomic.Int64
		var callers sync.WaitGroup
		ctx := testContext(t)
		for range 8 {
			callers.Go(func() {
				for client.Err() == nil {
					begun.Add(3)
					client.Ask(&protocol.GlobalBegin{}, nil, time.Minute, func(Response, error) { ended.Add(1) })
					client.Go(&protocol.GlobalBegin{}, time.Minute, func(protocol.Message, error) { ended.Add(1) })
					if _, err := client.Call(ctx, &protocol.GlobalBegin{}, nil); err != nil {
						assert.ErrorIs(t, err, ErrClosed)
					}
					if ended.Add(1) > int64(100*round) {
						closing.Close(nil)
					}
				}
			})
		}
		callers.Wait()
		client.Wait()
		assert.Equal(t, begun.Load(), ended.Load())
	}
}
