//go:build linux

package javatc

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/client"
	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/xid"
	"github.com/qiao-tx/qiao/rm"
	"github.com/qiao-tx/qiao/tm"
)

// brief is how long requests wait in the tests that kill the coordinator.
const brief = 2 * time.Second

// connectDirectly is the configuration of an application without the relay.
func (c *coordinator) connectDirectly() client.Config {
	return client.Config{Addresses: []string{c.address}, TMTimeout: brief, RMTimeout: brief}
}

// testKilled: a coordinator that is killed leaves applications with typed errors
// that come in time, whatever they are doing; when it is back, they are connected
// and their resources registered again.
func testKilled(t *testing.T, tc *coordinator) {
	busy := startLoad(newEnv(t, tc, tc.connectDirectly()))
	e := newEnv(t, tc, tc.connectDirectly())
	action := e.action(hooks{})
	toRollBack, toCommit := e.begin(ample), e.begin(ample)
	inOne, inOther := xid.NewContext(t.Context(), toRollBack.XID()), xid.NewContext(t.Context(), toCommit.XID())
	require.NoError(t, e.add(inOne, 1, 1))
	require.NoError(t, e.addOther(inOne, 1, 1))
	require.NoError(t, action.Try(inOne, hold{"x", 3, 9}))
	require.NoError(t, e.add(inOther, 2, 1))
	require.NoError(t, action.Try(inOther, hold{"y", 2, 7}))

	busy.goesOn()
	tc.kill()
	e.whileAway(action.Try, inOne, toCommit)
	tc.restart()

	e.decide(toCommit.Commit)
	e.decide(toRollBack.Rollback)
	require.Eventually(t, func() bool {
		return e.rows(e.plain) == "1=10 2=28 3=30" && e.rows(e.plainOther) == "1=10 2=20 3=30" && e.undoRows() == 0
	}, patience, 20*time.Millisecond, "phase two reaches the resources")
	e.mu.Lock()
	assert.ElementsMatch(t, []string{"try x", "try y", "confirm y", "cancel x"}, e.calls)
	e.mu.Unlock()
	require.NoError(t, e.global(ample, func(ctx context.Context) error { return e.add(ctx, 1, 1) }))
	busy.goesOn()
	busy.end()
}

// decide asks again while there is no answer. What a Java coordinator has
// forgotten by then, the rows must tell.
func (e *env) decide(decision func(context.Context) error) {
	e.t.Helper()
	err := decision(e.t.Context())
	for end := time.Now().Add(patience); errors.Is(err, tm.ErrUnavailable) && time.Now().Before(end); err = decision(e.t.Context()) {
		time.Sleep(10 * time.Millisecond)
	}
	if !e.tc.java || !errors.Is(err, tm.ErrNotFound) {
		require.NoError(e.t, err)
	}
}

// whileAway makes every kind of request of a coordinator that is not there.
func (e *env) whileAway(try func(context.Context, hold) error, bound context.Context, open *tm.Tx) {
	e.t.Helper()
	ctx := e.t.Context()
	_, _ = e.app.TM().Status(ctx, open.XID()) // notices it, if nothing has
	var requests sync.WaitGroup
	for name, request := range map[string]func() error{
		"begin":  func() error { return e.global(ample, func(context.Context) error { return nil }) },
		"status": func() error { _, err := e.app.TM().Status(ctx, open.XID()); return err },
		"commit": func() error { return open.Commit(ctx) },
		"resource": func() error {
			return e.app.RM().RegisterResource(ctx, &stub{id: "too-late", kind: protocol.TypeTCC, e: e})
		},
		"AT":    func() error { return e.add(bound, 3, 1) },
		"TCC":   func() error { return try(bound, hold{"z", 1, 1}) },
		"locks": func() error { return e.app.RM().CheckLocks(ctx, open.XID(), protocol.TypeAT, e.resource, "account:1") },
	} {
		requests.Go(func() {
			start := time.Now()
			err := request()
			assert.Less(e.t, time.Since(start), 5*brief, "%s does not hang", name)
			assert.Contains(e.t, []string{"tm.ErrUnavailable", "rm.ErrUnavailable"}, namesOf(err), "%s: %v", name, err)
			var ofTM *tm.Unavailable
			var ofRM *rm.Unavailable
			assert.True(e.t, errors.As(err, &ofTM) && ofTM.SafeToRetry || errors.As(err, &ofRM) && ofRM.SafeToRetry,
				"%s certainly was not carried out: %v", name, err)
		})
	}
	requests.Wait()
	assert.Equal(e.t, "1=11 2=21+7 3=30+9", e.rows(e.plain), "what could not be registered is rolled back")
}

func (e *env) undoRows() (n int) {
	e.t.Helper()
	require.NoError(e.t, e.plain.QueryRow("SELECT COUNT(*) FROM undo_log WHERE log_status = 0").Scan(&n))
	return n
}

// load is an application that makes one transaction after the other, eight at a time.
type load struct {
	e       *env
	stop    chan struct{}
	workers sync.WaitGroup

	mu sync.Mutex
	// outcomes counts the transactions by the names of their errors.
	outcomes map[string]int
}

func startLoad(e *env) *load {
	e.t.Helper()
	l := &load{e: e, stop: make(chan struct{}), outcomes: map[string]int{}}
	e.t.Cleanup(func() { // also when the test has failed
		if !l.stopped() {
			close(l.stop)
		}
		l.workers.Wait()
	})
	action := e.action(hooks{})
	for i := range 8 {
		id := 10 + i
		e.must(e.plain, "INSERT INTO account (id, n, held) VALUES (?, 0, 0)", id)
		l.workers.Go(func() {
			for !l.stopped() {
				l.transaction(func(ctx context.Context) error {
					if err := e.add(ctx, id, 1); err != nil {
						return err
					}
					return action.Try(ctx, hold{"load", id, 1})
				})
			}
		})
	}
	return l
}

func (l *load) stopped() bool {
	select {
	case <-l.stop:
		return true
	default:
		return false
	}
}

func (l *load) transaction(work func(context.Context) error) {
	start := time.Now()
	err := l.e.app.TM().Run(l.e.t.Context(), tm.Options{Timeout: 5 * time.Second}, work)
	assert.Less(l.e.t, time.Since(start), 20*time.Second, "no transaction hangs: %v", err)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.outcomes[namesOf(err)]++
}

// goesOn waits for some more transactions that are committed.
func (l *load) goesOn() {
	l.e.t.Helper()
	before := l.committed()
	require.Eventually(l.e.t, func() bool { return l.committed() >= before+20 }, patience, 20*time.Millisecond)
}

func (l *load) committed() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.outcomes[""]
}

// end stops the load, and wants every error to be one that an application can
// tell apart. (What Seata's coordinator makes of transactions that it was killed
// in is not the SDK's to mend.)
func (l *load) end() {
	close(l.stop)
	l.workers.Wait()
	for names, n := range l.outcomes {
		l.e.t.Logf("%5d × %q", n, names)
		first, _, _ := strings.Cut(names, " ")
		assert.True(l.e.t, names == "" || sentinels[first] != nil, "an error without a type: %s", names)
	}
}
