package client_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/client"
	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/rpc"
	"github.com/qiao-tx/qiao/protocol/xid"
	"github.com/qiao-tx/qiao/rm"
	"github.com/qiao-tx/qiao/rm/tcc"
	"github.com/qiao-tx/qiao/tm"
)

// resource is an AT resource whose phase two is a function.
type resource struct {
	id     string
	finish func(ctx context.Context, b rm.Branch) error
}

func (r *resource) ID() string                    { return r.id }
func (*resource) BranchType() protocol.BranchType { return protocol.TypeAT }

func (r *resource) Commit(ctx context.Context, b rm.Branch) (protocol.BranchStatus, error) {
	return protocol.BranchPhaseTwoCommitted, r.call(ctx, b)
}

func (r *resource) Rollback(ctx context.Context, b rm.Branch) (protocol.BranchStatus, error) {
	return protocol.BranchPhaseTwoRollbacked, r.call(ctx, b)
}

func (r *resource) call(ctx context.Context, b rm.Branch) error {
	if r.finish == nil {
		return nil
	}
	return r.finish(ctx, b)
}

// everyRequest is each request that a Client can make.
func everyRequest(c *client.Client) map[string]func(context.Context) error {
	report := rm.Report{Branch: rm.Branch{XID: "h:1:2", ID: 3}}
	return map[string]func(context.Context) error{
		"begin": func(ctx context.Context) error {
			_, err := c.TM().Begin(ctx, tm.Options{})
			return err
		},
		"status": func(ctx context.Context) error {
			_, err := c.TM().Status(ctx, "h:1:2")
			return err
		},
		"register resource": func(ctx context.Context) error {
			return c.RM().RegisterResource(ctx, &resource{id: "db"})
		},
		"register branch": func(ctx context.Context) error {
			_, err := c.RM().RegisterBranch(ctx, rm.Registration{XID: "h:1:2", Type: protocol.TypeAT})
			return err
		},
		"report branch": func(ctx context.Context) error { return c.RM().ReportBranch(ctx, report) },
		"check locks": func(ctx context.Context) error {
			return c.RM().CheckLocks(ctx, "h:1:2", protocol.TypeAT, "db", "t:1")
		},
	}
}

func TestRegistrationsReachTheWire(t *testing.T) {
	tc := startTC(t)
	c := open(t, client.Config{}, tc)
	id, err := c.RM().RegisterBranch(t.Context(), rm.Registration{
		XID: "h:1:2", Type: protocol.TypeAT, ResourceID: "db", LockKey: "t:1,2", ApplicationData: "{}", RequestKey: "k",
	})
	require.NoError(t, err)
	assert.EqualValues(t, 4711, id)
	got := requests[*protocol.BranchRegister](tc)[0]
	assert.Equal(t, &protocol.BranchRegister{XID: "h:1:2", Type: protocol.TypeAT, ResourceID: "db", LockKey: "t:1,2", ApplicationData: "{}"}, got.Message)
	assert.Equal(t, map[string]string{"qiao-request": "k"}, got.Head)

	require.NoError(t, c.RM().ReportBranch(t.Context(), rm.Report{
		Branch: rm.Branch{XID: "h:1:2", ID: 3, Type: protocol.TypeXA, ResourceID: "db", ApplicationData: "{}"},
		Status: protocol.BranchPhaseOneFailed,
	}))
	assert.Equal(t, &protocol.BranchReport{XID: "h:1:2", BranchID: 3, Status: protocol.BranchPhaseOneFailed,
		ResourceID: "db", ApplicationData: "{}", Type: protocol.TypeXA}, requests[*protocol.BranchReport](tc)[0].Message)

	require.NoError(t, c.RM().CheckLocks(t.Context(), "h:1:2", protocol.TypeAT, "db", "t:1"))
	assert.Equal(t, &protocol.GlobalLockQuery{XID: "h:1:2", Type: protocol.TypeAT, ResourceID: "db", LockKey: "t:1"},
		requests[*protocol.GlobalLockQuery](tc)[0].Message)
}

// TestOnlyOurCoordinatorHearsOfLocalLocks: one of Seata 1.8.0 would lose locks.
func TestOnlyOurCoordinatorHearsOfLocalLocks(t *testing.T) {
	for java, want := range map[bool]string{false: `{"autoCommit":false}`, true: ""} {
		tc := startTC(t)
		tc.java = java
		c := open(t, client.Config{}, tc)
		for _, r := range []rm.Registration{
			{XID: "h:1:2", HoldsLocks: true},
			{XID: "h:1:2", HoldsLocks: true, ApplicationData: "mine"},
			{XID: "h:1:2"},
		} {
			_, err := c.RM().RegisterBranch(t.Context(), r)
			require.NoError(t, err)
		}
		var got []string
		for _, r := range requests[*protocol.BranchRegister](tc) {
			got = append(got, r.Message.(*protocol.BranchRegister).ApplicationData)
		}
		assert.Equal(t, []string{want, "mine", ""}, got, "java: %v", java)
	}
}

func TestErrorsOfBranches(t *testing.T) {
	holder := map[string]string{"qiao-holder": "h:1:9"}
	fail := func(code protocol.ExceptionCode) *protocol.BranchRegisterResult {
		return &protocol.BranchRegisterResult{TxResult: protocol.Failure(code, "because")}
	}
	cases := []struct {
		name   string
		answer answer
		want   error
		is     error
	}{
		{"lock conflict", answer{message: fail(protocol.ExceptionLockKeyConflict), head: holder},
			&rm.LockConflict{Holder: "h:1:9", Message: "because"}, rm.ErrLockConflict},
		{"lock conflict of a Java coordinator", answer{message: fail(protocol.ExceptionLockKeyConflict)},
			&rm.LockConflict{Message: "because"}, rm.ErrLockConflict},
		{"holder rolls back", answer{message: fail(protocol.ExceptionLockKeyConflictFailFast), head: holder},
			&rm.LockConflict{Holder: "h:1:9", FailFast: true, Message: "because"}, rm.ErrLockConflict},
		{"not found", answer{message: fail(protocol.ExceptionGlobalTransactionNotExist)}, nil, rm.ErrNotActive},
		{"decided", answer{message: fail(protocol.ExceptionGlobalTransactionNotActive)}, nil, rm.ErrNotActive},
		{"wrong status", answer{message: fail(protocol.ExceptionGlobalTransactionStatusInvalid)}, nil, rm.ErrNotActive},
		{"timed out", answer{message: fail(protocol.ExceptionTransactionTimeout)}, nil, rm.ErrNotActive},
		{"another reason", answer{message: fail(protocol.ExceptionFailedStore)}, nil, rm.ErrRefused},
		{"nonsense", answer{message: &protocol.BranchReportResult{TxResult: protocol.OK()}}, nil, rm.ErrRefused},
	}
	tc := startTC(t)
	c := open(t, client.Config{}, tc)
	for _, test := range cases {
		t.Run(test.name, func(t *testing.T) {
			tc.on(func(rpc.Request) (answer, bool) { return test.answer, true })
			_, err := c.RM().RegisterBranch(t.Context(), rm.Registration{XID: "h:1:2", Type: protocol.TypeAT})
			assert.ErrorIs(t, err, test.is)
			if test.want != nil {
				assert.Equal(t, test.want, err)
			}
		})
	}
	tc.on(func(rpc.Request) (answer, bool) {
		return answer{message: &protocol.GlobalLockQueryResult{TxResult: protocol.OK()}, head: holder}, true
	})
	err := c.RM().CheckLocks(t.Context(), "h:1:2", protocol.TypeAT, "db", "t:1")
	assert.Equal(t, &rm.LockConflict{Holder: "h:1:9"}, err)
	tc.on(func(rpc.Request) (answer, bool) {
		return answer{message: &protocol.BranchRegisterResult{TxResult: protocol.OK()}}, true
	})
	assert.ErrorIs(t, c.RM().ReportBranch(t.Context(), rm.Report{}), rm.ErrRefused)
}

func TestEveryNodeKnowsEveryResourceAlsoAfterReconnecting(t *testing.T) {
	one, two := startTC(t), startTC(t)
	c := open(t, client.Config{}, one, two)
	awaitInUse(t, c, one, two)
	for _, id := range []string{"db1", "db2"} {
		require.NoError(t, c.RM().RegisterResource(t.Context(), &resource{id: id}))
	}
	for _, tc := range []*fakeTC{one, two} {
		require.Eventually(t, func() bool { return contains(tc.lastResources(), "db2") }, patience, time.Millisecond)
		before := len(requests[*protocol.RegisterRM](tc))
		tc.stop()
		tc.start()
		tc.awaitKnown(before + 1)
		assert.Equal(t, []string{"db1", "db2"}, tc.lastResources())
	}
}

func contains(ids []string, id string) bool {
	for _, other := range ids {
		if other == id {
			return true
		}
	}
	return false
}

func TestNothingIsSentBeforeTheRegistration(t *testing.T) {
	tc := startTC(t)
	c := open(t, client.Config{}, tc)
	require.NoError(t, c.RM().RegisterResource(t.Context(), &resource{id: "db"}))
	for range 5 {
		tc.forget()
		tc.hangUp()
		require.NoError(t, c.TM().Run(t.Context(), tm.Options{}, nothing))
		tc.mu.Lock()
		var got []protocol.TypeCode
		for _, r := range tc.received {
			got = append(got, r.Message.TypeCode())
		}
		tc.mu.Unlock()
		if got[0] == protocol.TypeGlobalBegin { // it left before the client noticed the end
			got = got[1:]
		}
		require.GreaterOrEqual(t, len(got), 2)
		assert.Equal(t, []protocol.TypeCode{protocol.TypeRegisterTM, protocol.TypeRegisterRM}, got[:2])
	}
}

func TestARefusedResourceIsNotKept(t *testing.T) {
	tc := startTC(t)
	c := open(t, client.Config{}, tc)
	tc.on(func(r rpc.Request) (answer, bool) {
		m, ok := r.Message.(*protocol.RegisterRM)
		return answer{message: &protocol.RegisterRMResult{}}, ok && m.ResourceIDs != ""
	})
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	err := c.RM().RegisterResource(ctx, &resource{id: "db"})
	assert.ErrorIs(t, err, rm.ErrUnavailable)
	assert.ErrorContains(t, err, `refused the resources ["db"]: it gave no reason; look into its log`)
	tc.on(nil)
	assert.NoError(t, c.RM().RegisterResource(t.Context(), &resource{id: "db"}), "it may be registered again")

	assert.ErrorContains(t, c.RM().RegisterResource(t.Context(), &resource{id: "a,b"}), "comma")
}

// dieOnce ends the connection over the first branch registration.
func dieOnce(tc *fakeTC) {
	var once sync.Once
	tc.on(func(r rpc.Request) (a answer, handled bool) {
		if _, ok := r.Message.(*protocol.BranchRegister); ok {
			once.Do(func() { a, handled = answer{hangUp: true}, true })
		}
		return a, handled
	})
}

// TestALostRegistration: whether it is repeated depends on the mode and the
// coordinator.
func TestALostRegistration(t *testing.T) {
	cases := []struct {
		name     string
		java     bool
		kind     protocol.BranchType
		key      string
		repeated bool
	}{
		{"AT on our coordinator", false, protocol.TypeAT, "k", true},
		{"AT on Java's", true, protocol.TypeAT, "k", true},
		{"TCC with a key on our coordinator", false, protocol.TypeTCC, "k", true},
		{"TCC without a key", false, protocol.TypeTCC, "", false},
		{"TCC on Java's", true, protocol.TypeTCC, "k", false},
	}
	for _, test := range cases {
		t.Run(test.name, func(t *testing.T) {
			tc := startTC(t)
			tc.java = test.java
			c := open(t, client.Config{}, tc)
			dieOnce(tc)
			err := c.TM().Run(t.Context(), tm.Options{}, func(ctx context.Context) error {
				id, err := c.RM().RegisterBranch(ctx, rm.Registration{
					XID: xid.FromContext(ctx), Type: test.kind, ResourceID: "a", RequestKey: test.key,
				})
				if test.repeated {
					assert.EqualValues(t, 4711, id)
					return err
				}
				var lost *rm.Unavailable
				if assert.ErrorAs(t, err, &lost) {
					assert.False(t, lost.SafeToRetry)
				}
				return nil // the application drops the error
			})
			sent := requests[*protocol.BranchRegister](tc)
			if test.repeated {
				require.NoError(t, err)
				require.Len(t, sent, 2)
				assert.Equal(t, sent[0].Head, sent[1].Head, "the same key")
				return
			}
			assert.ErrorIs(t, err, tm.ErrRollbackOnly)
			assert.Len(t, sent, 1)
			assert.Empty(t, requests[*protocol.GlobalCommit](tc))
			assert.Len(t, requests[*protocol.GlobalRollback](tc), 1)
		})
	}
}

func TestALostRegistrationForATransactionOfAnotherProcess(t *testing.T) {
	tc := startTC(t)
	tc.java = true
	c := open(t, client.Config{}, tc)
	dieOnce(tc)
	ctx := xid.NewContext(t.Context(), "h:1:2")
	_, err := c.RM().RegisterBranch(ctx, rm.Registration{XID: "h:1:2", Type: protocol.TypeTCC, ResourceID: "a"})
	assert.ErrorIs(t, err, rm.ErrUnavailable)
	rollbacks := requests[*protocol.GlobalRollback](tc)
	require.Len(t, rollbacks, 1, "no mark can reach it, so it is rolled back")
	assert.Equal(t, "h:1:2", rollbacks[0].Message.(*protocol.GlobalRollback).XID)
}

func TestTCCEndToEnd(t *testing.T) {
	tc := startTC(t)
	c := open(t, client.Config{}, tc)
	called := make(chan string, 8)
	step := func(name string) func(context.Context, int) error {
		return func(_ context.Context, amount int) error {
			assert.Equal(t, 30, amount)
			called <- name
			return nil
		}
	}
	freeze, err := tcc.Register(t.Context(), c.RM(), tcc.Action[int]{
		Name: "freeze", Try: step("try"), Confirm: step("confirm"), Cancel: step("cancel"),
	})
	require.NoError(t, err)
	require.NoError(t, c.TM().Run(t.Context(), tm.Options{}, func(ctx context.Context) error { return freeze.Try(ctx, 30) }))
	assert.Equal(t, "try", <-called)

	registered := requests[*protocol.BranchRegister](tc)[0].Message.(*protocol.BranchRegister)
	order := protocol.BranchOrder{XID: registered.XID, BranchID: 4711, Type: protocol.TypeTCC,
		ResourceID: "freeze", ApplicationData: registered.ApplicationData}
	got, err := tc.connection().Call(t.Context(), &protocol.BranchCommit{BranchOrder: order}, nil)
	require.NoError(t, err)
	assert.Equal(t, "confirm", <-called)
	assert.Equal(t, &protocol.BranchCommitResult{BranchOutcome: protocol.BranchOutcome{
		TxResult: protocol.OK(), XID: registered.XID, BranchID: 4711, Status: protocol.BranchPhaseTwoCommitted,
	}}, got.Message)
}

func TestOrdersAreAnsweredOnTheConnectionThatAsked(t *testing.T) {
	one, two := startTC(t), startTC(t)
	c := open(t, client.Config{}, one, two)
	awaitInUse(t, c, one, two)
	require.NoError(t, c.RM().RegisterResource(t.Context(), &resource{id: "db", finish: func(_ context.Context, b rm.Branch) error {
		if b.ID == 2 {
			panic("boom")
		}
		return nil
	}}))
	for i, tc := range []*fakeTC{one, two} {
		order := protocol.BranchOrder{XID: "h:1:2", BranchID: int64(i + 1), ResourceID: "db"}
		got, err := tc.connection().Call(t.Context(), &protocol.BranchRollback{BranchOrder: order}, nil)
		require.NoError(t, err)
		result := got.Message.(*protocol.BranchRollbackResult)
		assert.EqualValues(t, i+1, result.BranchID)
		if i == 0 {
			assert.Equal(t, protocol.BranchPhaseTwoRollbacked, result.Status)
		} else {
			assert.Equal(t, protocol.BranchPhaseTwoRollbackFailedRetryable, result.Status)
			assert.Contains(t, result.Message, "boom")
		}
	}
}

// TestASlowResourceDelaysNoOther: its orders fill its own workers and queue.
func TestASlowResourceDelaysNoOther(t *testing.T) {
	const workers = 3
	tc := startTC(t)
	c := open(t, client.Config{OrderConcurrency: workers}, tc)
	started, release := make(chan struct{}, 100), make(chan struct{})
	require.NoError(t, c.RM().RegisterResource(t.Context(), &resource{id: "slow", finish: func(context.Context, rm.Branch) error {
		started <- struct{}{}
		<-release
		return nil
	}}))
	require.NoError(t, c.RM().RegisterResource(t.Context(), &resource{id: "fast"}))
	conn := tc.connection()
	var slow sync.WaitGroup
	for i := range 20 {
		slow.Go(func() {
			_, err := conn.Call(t.Context(), &protocol.BranchCommit{BranchOrder: protocol.BranchOrder{BranchID: int64(i), ResourceID: "slow"}}, nil)
			assert.NoError(t, err)
		})
	}
	for range workers {
		<-started
	}
	for range 50 {
		_, err := conn.Call(t.Context(), &protocol.BranchCommit{BranchOrder: protocol.BranchOrder{ResourceID: "fast"}}, nil)
		require.NoError(t, err)
	}
	assert.Empty(t, started, "no more run at once than configured")
	close(release)
	slow.Wait()
}

// TestARepeatedOrderRunsOnce: a coordinator that loses patience, or comes back,
// repeats an order that still runs. The one run answers the last request.
func TestARepeatedOrderRunsOnce(t *testing.T) {
	tc := startTC(t)
	c := open(t, client.Config{}, tc)
	started, release := make(chan struct{}, 100), make(chan struct{})
	require.NoError(t, c.RM().RegisterResource(t.Context(), &resource{id: "db", finish: func(context.Context, rm.Branch) error {
		started <- struct{}{}
		<-release
		return nil
	}}))
	commit := &protocol.BranchCommit{BranchOrder: protocol.BranchOrder{XID: "h:1:2", BranchID: 3, ResourceID: "db"}}
	impatient, cancel := context.WithCancel(t.Context())
	var asking sync.WaitGroup
	for range 10 {
		asking.Go(func() {
			_, err := tc.connection().Call(impatient, commit, nil)
			assert.ErrorIs(t, err, context.Canceled)
		})
	}
	<-started
	// An order that is answered now shows that the others have had time to run.
	require.NoError(t, c.RM().RegisterResource(t.Context(), &resource{id: "other"}))
	_, err := tc.connection().Call(t.Context(), &protocol.BranchCommit{BranchOrder: protocol.BranchOrder{ResourceID: "other"}}, nil)
	require.NoError(t, err)
	cancel()
	asking.Wait()
	answered := make(chan error, 1)
	go func() {
		_, err := tc.connection().Call(t.Context(), commit, nil)
		answered <- err
	}()
	_, err = tc.connection().Call(t.Context(), &protocol.BranchCommit{BranchOrder: protocol.BranchOrder{ResourceID: "other"}}, nil)
	require.NoError(t, err)
	require.Empty(t, started, "it runs more than once at a time")
	close(release)
	require.NoError(t, <-answered)

	_, err = tc.connection().Call(t.Context(), commit, nil)
	require.NoError(t, err, "when it is done it may be repeated")
}

func TestCloseWaitsForOrders(t *testing.T) {
	tc := startTC(t)
	c := open(t, client.Config{}, tc)
	started, release := make(chan struct{}), make(chan struct{})
	require.NoError(t, c.RM().RegisterResource(t.Context(), &resource{id: "db", finish: func(context.Context, rm.Branch) error {
		close(started)
		<-release
		return nil
	}}))
	answered := make(chan error, 1)
	go func() {
		_, err := tc.connection().Call(t.Context(), &protocol.BranchCommit{BranchOrder: protocol.BranchOrder{ResourceID: "db"}}, nil)
		answered <- err
	}()
	<-started
	closed := make(chan error, 1)
	go func() { closed <- c.Close(t.Context()) }()
	select {
	case <-closed:
		t.Error("closed before the order was done")
	case <-time.After(20 * time.Millisecond):
	}
	close(release)
	assert.NoError(t, <-closed)
	assert.NoError(t, <-answered, "its answer still left")
}

func TestCloseGivesUpWithItsContext(t *testing.T) {
	tc := startTC(t)
	c := open(t, client.Config{}, tc)
	started, ended := make(chan struct{}), make(chan error, 1)
	require.NoError(t, c.RM().RegisterResource(t.Context(), &resource{id: "db", finish: func(ctx context.Context, _ rm.Branch) error {
		close(started)
		<-ctx.Done()
		ended <- ctx.Err()
		return ctx.Err()
	}}))
	require.NoError(t, tc.connection().Send(&protocol.BranchCommit{BranchOrder: protocol.BranchOrder{ResourceID: "db"}}))
	<-started
	ctx, cancel := context.WithCancelCause(t.Context())
	errHurry := errors.New("in a hurry")
	cancel(errHurry)
	assert.ErrorIs(t, c.Close(ctx), errHurry)
	assert.ErrorIs(t, <-ended, context.Canceled, "the order's context ended")
}
