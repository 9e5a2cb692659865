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

// testKilled: a coordinator that is killed leaves the application with typed
// errors that come in time; when it is back, the application is connected and
// its resources are registered again.
func testKilled(t *testing.T, tc *coordinator) {
	e := newEnv(t, tc, tc.connectDirectly())
	action := e.action(hooks{})
	toRollBack, toCommit := e.begin(ample), e.begin(ample)
	inOne, inOther := xid.NewContext(t.Context(), toRollBack.XID()), xid.NewContext(t.Context(), toCommit.XID())
	require.NoError(t, e.add(inOne, 1, 1))
	require.NoError(t, e.addOther(inOne, 1, 1))
	require.NoError(t, action.Try(inOne, hold{"x", 3, 9}))
	require.NoError(t, e.add(inOther, 2, 1))
	require.NoError(t, action.Try(inOther, hold{"y", 2, 7}))

	tc.kill()
	e.whileAway(action.Try, inOne, toCommit)
	tc.restart()

	decide := func(what string, decision func(context.Context) error) {
		require.Eventually(t, func() bool {
			err := decision(t.Context())
			if err != nil {
				assert.Equal(t, "tm.ErrUnavailable", namesOf(err), "%s: %v", what, err)
			}
			return err == nil
		}, patience, 10*time.Millisecond, what)
	}
	decide("commit", toCommit.Commit)
	decide("rollback", toRollBack.Rollback)
	require.Eventually(t, func() bool {
		return e.rows(e.plain) == "1=10 2=28 3=30" && e.rows(e.plainOther) == "1=10 2=20 3=30" && e.undoRows() == 0
	}, patience, 20*time.Millisecond, "phase two reaches the resources")
	e.mu.Lock()
	assert.ElementsMatch(t, []string{"try x", "try y", "confirm y", "cancel x"}, e.calls)
	e.mu.Unlock()
	require.NoError(t, e.global(ample, func(ctx context.Context) error { return e.add(ctx, 1, 1) }))
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

// testKilledUnderLoad: whatever the moment, applications get typed errors in
// time, and go on when the coordinator is back. (What Seata's coordinator
// remembers of the transactions is not the SDK's to mend.)
func testKilledUnderLoad(t *testing.T, tc *coordinator) {
	e := newEnv(t, tc, tc.connectDirectly())
	action := e.action(hooks{})
	stop := make(chan struct{})
	var workers sync.WaitGroup
	var mu sync.Mutex
	outcomes := map[string]int{}
	var done int
	for i := range 8 {
		e.must(e.plain, "INSERT INTO account (id, n, held) VALUES (?, 0, 0)", 10+i)
		workers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				start := time.Now()
				err := e.app.TM().Run(t.Context(), tm.Options{Timeout: 5 * time.Second}, func(ctx context.Context) error {
					if err := e.add(ctx, 10+i, 1); err != nil {
						return err
					}
					return action.Try(ctx, hold{"load", 10 + i, 1})
				})
				assert.Less(t, time.Since(start), 20*time.Second, "no transaction hangs")
				mu.Lock()
				outcomes[namesOf(err)]++
				if err == nil {
					done++
				}
				mu.Unlock()
			}
		})
	}
	successes := func() int { mu.Lock(); defer mu.Unlock(); return done }
	goesOn := func() {
		before := successes()
		require.Eventually(t, func() bool { return successes() >= before+20 }, patience, 20*time.Millisecond)
	}
	goesOn()
	tc.kill()
	time.Sleep(brief)
	tc.restart()
	goesOn()
	close(stop)
	workers.Wait()
	for names, n := range outcomes {
		t.Logf("%5d × %q", n, names)
		first, _, _ := strings.Cut(names, " ")
		assert.True(t, names == "" || sentinels[first] != nil, "an error that an application cannot tell apart: %s", names)
	}
}
