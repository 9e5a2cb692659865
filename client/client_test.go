package client_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/qiao-tx/qiao/client"
	"github.com/qiao-tx/qiao/client/naming"
	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/rpc"
	"github.com/qiao-tx/qiao/protocol/xid"
	"github.com/qiao-tx/qiao/rm"
	"github.com/qiao-tx/qiao/tm"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func nothing(context.Context) error { return nil }

func TestOpenRegistersTheApplication(t *testing.T) {
	tc := startTC(t)
	open(t, client.Config{Group: "shop"}, tc)
	tms, rms := requests[*protocol.RegisterTM](tc), requests[*protocol.RegisterRM](tc)
	require.Len(t, tms, 1)
	require.Len(t, rms, 1)
	identity := protocol.Identity{Version: "2.5.0", ApplicationID: "order-service", Group: "shop"}
	assert.Equal(t, &protocol.RegisterTM{Identity: identity}, tms[0].Message)
	assert.Equal(t, &protocol.RegisterRM{Identity: identity}, rms[0].Message)
	assert.Equal(t, map[string]string{"qiao": "1"}, tms[0].Head)
	assert.Equal(t, map[string]string{"qiao": "1"}, rms[0].Head)
}

// TestATransactionAlwaysHasAName: Seata's store in a database needs one.
func TestATransactionAlwaysHasAName(t *testing.T) {
	tc := startTC(t)
	c := open(t, client.Config{}, tc)
	for _, name := range []string{"", "place-order"} {
		require.NoError(t, c.TM().Run(t.Context(), tm.Options{Name: name}, nothing))
	}
	var got []string
	for _, r := range requests[*protocol.GlobalBegin](tc) {
		got = append(got, r.Message.(*protocol.GlobalBegin).Name)
	}
	assert.Equal(t, []string{"default", "place-order"}, got)
}

func TestOpenFailsWithTheReason(t *testing.T) {
	away, refusing := reserveTC(t), startTC(t)
	refusing.on(func(r rpc.Request) (answer, bool) {
		return answer{message: &protocol.RegisterTMResult{}}, true
	})
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	_, err := client.Open(ctx, client.Config{
		Addresses: []string{away.address, refusing.address}, ApplicationID: "order-service", Logger: slog.New(slog.DiscardHandler),
	})
	assert.ErrorIs(t, err, tm.ErrUnavailable)
	assert.ErrorIs(t, err, context.DeadlineExceeded)
	assert.ErrorContains(t, err, away.address)
	assert.ErrorContains(t, err, "refused the application \"order-service\"")
}

func TestRequestsWaitForACoordinatorThatIsAway(t *testing.T) {
	tc := reserveTC(t)
	c := open(t, client.Config{DoNotWait: true}, tc)
	started := make(chan struct{})
	done := make(chan error, 1)
	go func() {
		close(started)
		done <- c.TM().Run(t.Context(), tm.Options{}, nothing)
	}()
	<-started
	tc.start()
	assert.NoError(t, <-done)

	tc.stop()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	err := c.TM().Run(ctx, tm.Options{}, nothing)
	var unavailable *tm.Unavailable
	require.ErrorAs(t, err, &unavailable)
	assert.ErrorIs(t, err, context.DeadlineExceeded)
}

func TestAnswersAreAwaitedNoLongerThanConfigured(t *testing.T) {
	tc := startTC(t)
	c := open(t, client.Config{TMTimeout: 200 * time.Millisecond}, tc)
	tc.on(func(rpc.Request) (answer, bool) { return answer{}, true })
	_, err := c.TM().Status(t.Context(), "h:1:2")
	var unavailable *tm.Unavailable
	require.ErrorAs(t, err, &unavailable)
	assert.False(t, unavailable.SafeToRetry, "it was sent")
	assert.ErrorContains(t, err, "configured time")
}

// TestACoordinatorThatDiesOverARequest: every idempotent request is repeated
// when the node is back.
func TestACoordinatorThatDiesOverARequest(t *testing.T) {
	tc := startTC(t)
	c := open(t, client.Config{}, tc)
	seen := make(map[protocol.TypeCode]bool) // the handlers of one node do not overlap here
	var mu sync.Mutex
	tc.on(func(r rpc.Request) (answer, bool) {
		mu.Lock()
		defer mu.Unlock()
		code := r.Message.TypeCode()
		registration := code == protocol.TypeRegisterTM || code == protocol.TypeRegisterRM
		if registration || seen[code] {
			return answer{}, false
		}
		seen[code] = true
		return answer{hangUp: true}, true
	})
	assert.NoError(t, c.TM().Run(t.Context(), tm.Options{}, nothing))
	assert.ErrorIs(t, c.TM().Run(t.Context(), tm.Options{}, func(context.Context) error { return errBusiness }), errBusiness)
	_, err := c.TM().Status(t.Context(), "h:1:2")
	assert.NoError(t, err)
	assert.Len(t, requests[*protocol.GlobalCommit](tc), 2)
	assert.Len(t, requests[*protocol.GlobalRollback](tc), 2)
}

var errBusiness = errors.New("no stock")

// awaitInUse begins until every node has taken one, which it does only when the
// client is connected to it.
func awaitInUse(t *testing.T, c *client.Client, nodes ...*fakeTC) {
	t.Helper()
	for started := time.Now(); time.Since(started) < patience; {
		idle := false
		for _, tc := range nodes {
			idle = idle || len(requests[*protocol.GlobalBegin](tc)) == 0
		}
		if !idle {
			return
		}
		require.NoError(t, c.TM().Run(t.Context(), tm.Options{}, nothing))
	}
	require.Fail(t, "a node takes no begin")
}

func TestTwoNodes(t *testing.T) {
	one, two := startTC(t), startTC(t)
	c := open(t, client.Config{}, one, two)
	awaitInUse(t, c, one, two)
	for range 20 {
		require.NoError(t, c.TM().Run(t.Context(), tm.Options{}, nothing))
	}
	for _, tc := range []*fakeTC{one, two} {
		for _, r := range requests[*protocol.GlobalCommit](tc) {
			assert.Contains(t, r.Message.(*protocol.GlobalCommit).XID, tc.address+":", "a request goes to the transaction's node")
		}
	}

	tx, err := c.TM().Begin(t.Context(), tm.Options{})
	require.NoError(t, err)
	home, other := one, two
	if address, _, _ := xid.Parse(tx.XID()); address == two.address {
		home, other = two, one
	}
	home.stop()
	other.forget()
	require.NoError(t, tx.Commit(t.Context()))
	assert.Len(t, requests[*protocol.GlobalCommit](other), 1, "another node serves when that is down")
}

func TestAFollowerSendsToAnotherNode(t *testing.T) {
	one, two := startTC(t), startTC(t)
	c := open(t, client.Config{}, one, two)
	awaitInUse(t, c, one, two)
	var refusals atomic.Int32
	one.on(func(r rpc.Request) (answer, bool) {
		if _, ok := r.Message.(*protocol.GlobalBegin); !ok {
			return answer{}, false
		}
		refusals.Add(1)
		return answer{message: &protocol.GlobalBeginResult{TxResult: protocol.Failure(protocol.ExceptionNotRaftLeader, "not the leader")}}, true
	})
	for refusals.Load() == 0 {
		tx, err := c.TM().Begin(t.Context(), tm.Options{})
		require.NoError(t, err)
		assert.Contains(t, tx.XID(), two.address)
	}
}

func TestADecisionIsRepeatedWhenTheStoreFails(t *testing.T) {
	tc := startTC(t)
	c := open(t, client.Config{}, tc)
	var failures atomic.Int32
	tc.on(func(r rpc.Request) (answer, bool) {
		_, ok := r.Message.(*protocol.GlobalCommit)
		ok = ok && failures.Add(1) <= 2
		return answer{message: &protocol.GlobalCommitResult{
			TxResult: protocol.Failure(protocol.ExceptionFailedStore, "busy"), Status: protocol.StatusFinished,
		}}, ok
	})
	assert.NoError(t, c.TM().Run(t.Context(), tm.Options{}, nothing))
	assert.Len(t, requests[*protocol.GlobalCommit](tc), 3)

	failures.Store(-100) // from now on always
	err := c.TM().Run(t.Context(), tm.Options{}, nothing)
	assert.ErrorIs(t, err, tm.ErrRefused)
	assert.ErrorIs(t, err, tm.ErrOutcomeUnknown)
}

func TestANodeThatShutsDownSendsToAnother(t *testing.T) {
	one, two := startTC(t), startTC(t)
	c := open(t, client.Config{}, one, two)
	awaitInUse(t, c, one, two)
	var refusals atomic.Int32
	one.on(func(r rpc.Request) (answer, bool) {
		_, ok := r.Message.(*protocol.GlobalBegin)
		if ok {
			refusals.Add(1)
		}
		return answer{message: &protocol.GlobalBeginResult{
			TxResult: protocol.Failure(protocol.ExceptionBeginFailed, "shutting down"),
		}}, ok
	})
	for started := time.Now(); refusals.Load() == 0 && time.Since(started) < patience; {
		_, err := c.TM().Begin(t.Context(), tm.Options{})
		require.NoError(t, err)
	}
}

func TestCommitTellsTheTrueStatus(t *testing.T) {
	cases := []struct {
		status protocol.GlobalStatus
		head   map[string]string
		is     error
	}{
		{protocol.StatusCommitted, nil, nil},
		{protocol.StatusFinished, nil, tm.ErrNotFound},
		{protocol.StatusFinished, map[string]string{"qiao-status": "10"}, tm.ErrHeuristic},
		{protocol.StatusTimeoutRollbacking, map[string]string{"qiao-status": "4"}, tm.ErrRolledBack},
		{protocol.StatusTimeoutRollbacking, map[string]string{"qiao-status": "many"}, tm.ErrTimedOut},
		{protocol.StatusTimeoutRollbacking, map[string]string{"qiao-status": "6"}, tm.ErrTimedOut},
	}
	tc := startTC(t)
	c := open(t, client.Config{}, tc)
	for _, test := range cases {
		tc.on(func(r rpc.Request) (answer, bool) {
			_, ok := r.Message.(*protocol.GlobalCommit)
			return answer{message: &protocol.GlobalCommitResult{TxResult: protocol.OK(), Status: test.status}, head: test.head}, ok
		})
		err := c.TM().Run(t.Context(), tm.Options{}, nothing)
		if test.is == nil {
			assert.NoError(t, err)
		} else {
			assert.ErrorIs(t, err, test.is, "%v %v", test.status, test.head)
		}
	}
}

// TestACommitAfterTheTimeoutOnJava: Seata's coordinator answers any commit after
// the time-out alike, so the client asks how the transaction really stands.
func TestACommitAfterTheTimeoutOnJava(t *testing.T) {
	tc := startTC(t)
	tc.java = true
	c := open(t, client.Config{}, tc)
	for status, is := range map[protocol.GlobalStatus]error{
		protocol.StatusBegin:              tm.ErrTimedOut, // it is going to be rolled back
		protocol.StatusTimeoutRollbacking: tm.ErrTimedOut,
		protocol.StatusAsyncCommitting:    nil,
		protocol.StatusCommitRetrying:     nil,
		protocol.StatusCommitFailed:       tm.ErrHeuristic,
		protocol.StatusFinished:           tm.ErrOutcomeUnknown,
	} {
		tc.on(func(r rpc.Request) (answer, bool) {
			switch r.Message.(type) {
			case *protocol.GlobalCommit:
				return answer{message: &protocol.GlobalCommitResult{TxResult: protocol.OK(), Status: protocol.StatusTimeoutRollbacking}}, true
			case *protocol.GlobalStatusRequest:
				return answer{message: &protocol.GlobalStatusResult{TxResult: protocol.OK(), Status: status}}, true
			}
			return answer{}, false
		})
		err := c.TM().Run(t.Context(), tm.Options{}, nothing)
		if is == nil {
			assert.NoError(t, err, status)
		} else {
			assert.ErrorIs(t, err, is, status)
			assert.Equal(t, is == tm.ErrTimedOut, errors.Is(err, tm.ErrRolledBack), "%v: %v", status, err)
		}
	}
	tc.on(func(r rpc.Request) (answer, bool) {
		switch r.Message.(type) {
		case *protocol.GlobalCommit:
			return answer{message: &protocol.GlobalCommitResult{TxResult: protocol.OK(), Status: protocol.StatusTimeoutRollbacking}}, true
		case *protocol.GlobalStatusRequest:
			return answer{message: &protocol.GlobalStatusResult{TxResult: protocol.Failure(protocol.ExceptionFailedStore, "no")}}, true
		}
		return answer{}, false
	})
	assert.ErrorIs(t, c.TM().Run(t.Context(), tm.Options{}, nothing), tm.ErrOutcomeUnknown)
}

func TestRefusalsAndNonsense(t *testing.T) {
	tc := startTC(t)
	c := open(t, client.Config{}, tc)
	for _, test := range []struct {
		answer protocol.Message
		is     error
		text   string
	}{
		{&protocol.GlobalBeginResult{TxResult: protocol.Failure(protocol.ExceptionBeginFailed, "disk is full")}, tm.ErrRefused, "disk is full"},
		{&protocol.GlobalBeginResult{TxResult: protocol.Failure(protocol.ExceptionGlobalTransactionNotExist, "gone")}, tm.ErrNotFound, "gone"},
		{&protocol.GlobalBeginResult{TxResult: protocol.Failure(protocol.ExceptionNotRaftLeader, "no leader")}, tm.ErrRefused, "no leader"},
		{&protocol.GlobalBeginResult{TxResult: protocol.OK(), XID: "nonsense"}, tm.ErrRefused, "nonsense"},
		{&protocol.GlobalCommitResult{TxResult: protocol.OK()}, tm.ErrRefused, "GlobalCommitResult"},
		{&protocol.RegisterTMResult{}, tm.ErrRefused, "RegisterTMResult"},
	} {
		tc.on(func(r rpc.Request) (answer, bool) {
			_, ok := r.Message.(*protocol.GlobalBegin)
			return answer{message: test.answer}, ok
		})
		_, err := c.TM().Begin(t.Context(), tm.Options{})
		assert.ErrorIs(t, err, test.is)
		assert.ErrorContains(t, err, test.text)
	}
}

func TestARequestThatCannotBeSent(t *testing.T) {
	tc := startTC(t)
	c := open(t, client.Config{}, tc)
	long := strings.Repeat("x", 1<<17)
	_, err := c.TM().Begin(t.Context(), tm.Options{Name: long})
	assert.ErrorContains(t, err, "cannot be sent")
	_, err = c.RM().RegisterBranch(t.Context(), rm.Registration{XID: "h:1:2", ResourceID: long})
	assert.ErrorContains(t, err, "cannot be sent")
	assert.NotErrorIs(t, err, rm.ErrUnavailable)
	assert.NoError(t, c.TM().Run(t.Context(), tm.Options{}, nothing), "the connection is still good")
}

// TestAnXIDMayNameANodeByNumber: the client was given its name.
func TestAnXIDMayNameANodeByNumber(t *testing.T) {
	one, two := startTC(t), startTC(t)
	_, port, err := net.SplitHostPort(one.address)
	require.NoError(t, err)
	c := open(t, client.Config{Addresses: []string{"localhost:" + port}}, two)
	awaitInUse(t, c, one, two)
	for range 20 {
		_, err := c.TM().Status(t.Context(), xid.New(one.address, 7))
		require.NoError(t, err)
	}
	assert.Empty(t, requests[*protocol.GlobalStatusRequest](two))
}

func TestCancellationEndsEveryRequest(t *testing.T) {
	tc := startTC(t)
	c := open(t, client.Config{}, tc)
	asked := make(chan struct{}, 16)
	tc.on(func(rpc.Request) (answer, bool) {
		asked <- struct{}{}
		return answer{}, true
	})
	for name, request := range everyRequest(c) {
		ctx, cancel := context.WithCancelCause(t.Context())
		errUser := errors.New("the user went away")
		go func() {
			<-asked
			cancel(errUser)
		}()
		err := request(ctx)
		assert.ErrorIs(t, err, context.Canceled, name)
		assert.ErrorIs(t, err, errUser, name)
		assert.ErrorIs(t, request(ctx), context.Canceled, "%s with a context that has ended", name)
	}
	assert.NoError(t, tc.connection().Err(), "a caller that goes away costs nobody else the connection")
}

func TestCloseEndsEverything(t *testing.T) {
	tc := startTC(t)
	c := open(t, client.Config{}, tc)
	asked := make(chan struct{})
	tc.on(func(rpc.Request) (answer, bool) {
		close(asked)
		return answer{}, true
	})
	failed := make(chan error, 1)
	go func() {
		_, err := c.TM().Status(t.Context(), "h:1:2")
		failed <- err
	}()
	<-asked
	require.NoError(t, c.Close(t.Context()))
	assert.ErrorIs(t, <-failed, client.ErrClosed)
	for name, request := range everyRequest(c) {
		assert.ErrorIs(t, request(t.Context()), client.ErrClosed, name)
	}
	assert.NoError(t, c.Close(t.Context()), "again")
}

func TestConfigIsChecked(t *testing.T) {
	good := client.Config{Addresses: []string{"h:1"}, ApplicationID: "a"}
	for want, breakIt := range map[string]func(cfg *client.Config){
		"either Addresses or a Resolver": func(cfg *client.Config) { cfg.Addresses = nil },
		"give either":                    func(cfg *client.Config) { cfg.Resolver = &list{} },
		"bad coordinator address":        func(cfg *client.Config) { cfg.Addresses = []string{"h"} },
		"ApplicationID is missing":       func(cfg *client.Config) { cfg.ApplicationID = "" },
		"colon":                          func(cfg *client.Config) { cfg.ApplicationID = "a:b" },
		"TMTimeout is -1ns":              func(cfg *client.Config) { cfg.TMTimeout = -1 },
		"OrderConcurrency":               func(cfg *client.Config) { cfg.OrderConcurrency = -1 },
	} {
		cfg := good
		breakIt(&cfg)
		_, err := client.Open(t.Context(), cfg)
		assert.ErrorContains(t, err, want)
	}
	assert.ErrorIs(t, naming.Check("h"), naming.ErrAddress)
}

// TestALostNodeIsLoggedOnce: not at every attempt to reach it again.
func TestALostNodeIsLoggedOnce(t *testing.T) {
	tc := startTC(t)
	var log syncBuffer
	open(t, client.Config{Logger: slog.New(slog.NewTextHandler(&log, nil))}, tc)
	tc.stop()
	require.Eventually(t, func() bool { return bytes.Contains(log.bytes(), []byte("not reached")) }, patience, time.Millisecond)
	tc.start()
	require.Eventually(t, func() bool { return bytes.Count(log.bytes(), []byte("connected to")) == 2 }, patience, time.Millisecond)
	assert.Equal(t, 1, bytes.Count(log.bytes(), []byte("not reached")))
	assert.Equal(t, 1, bytes.Count(log.bytes(), []byte("connection to the coordinator lost")))
}

type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) bytes() []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	return bytes.Clone(b.buf.Bytes())
}
