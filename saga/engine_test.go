package saga_test

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	_ "modernc.org/sqlite"

	"github.com/qiao-tx/qiao/saga"
	"github.com/qiao-tx/qiao/saga/httpservice"
	"github.com/qiao-tx/qiao/saga/machine"
	"github.com/qiao-tx/qiao/saga/sagalog"
)

func TestMain(m *testing.M) {
	if os.Getenv(victimVariable) != "" {
		victim()
	}
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("database/sql.(*DB).connectionOpener"))
}

// stores are fresh ones of the kinds that need no server.
func stores(t *testing.T) map[string]sagalog.Store {
	return map[string]sagalog.Store{"memory": sagalog.NewMemory(), "sqlite": openSQLite(t, filepath.Join(t.TempDir(), "saga.db"), "")}
}

func openDB(path string) (*sql.DB, error) {
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=journal_mode(WAL)&_pragma=busy_timeout(10000)&_pragma=synchronous(FULL)")
	if err != nil {
		return nil, err
	}
	return db, sagalog.CreateTables(context.Background(), db)
}

func openStore(t testing.TB, db *sql.DB) (*sagalog.SQL, error) {
	return sagalog.OpenSQL(t.Context(), sagalog.Config{DB: db})
}

func openSQLite(t *testing.T, path, node string) *sagalog.SQL {
	t.Helper()
	db, err := openDB(path)
	require.NoError(t, err)
	s, err := sagalog.OpenSQL(t.Context(), sagalog.Config{DB: db, Node: node})
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, s.Close())
		require.NoError(t, db.Close())
	})
	return s
}

func openEngine(t *testing.T, cfg saga.Config) *saga.Engine {
	t.Helper()
	e, err := saga.Open(t.Context(), cfg)
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		require.NoError(t, e.Close(ctx))
	})
	return e
}

const oneStep = `{"Name": "one", "StartState": "A", "Version": "1", "States": {
  "A": {"Type": "ServiceTask", "ServiceName": "s", "ServiceMethod": "do", "Input": ["$.[x]"], "Output": {"y": "$.#root"}, "CompensateState": "U",
    "Retry": [{"Exceptions": ["Again"], "MaxAttempts": 2}]},
  "U": {"Type": "ServiceTask", "ServiceName": "s", "ServiceMethod": "undo"}}}`

func define(t *testing.T, e *saga.Engine, texts ...string) {
	t.Helper()
	for _, text := range texts {
		_, err := e.Define(t.Context(), []byte(text))
		require.NoError(t, err)
	}
}

type point struct {
	X    int       `json:"x"`
	When time.Time `json:"when"`
}

// TestFunctionsAsServices: arguments and results go through JSON where their types
// are not JSON's own.
func TestFunctionsAsServices(t *testing.T) {
	when := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	cases := []struct {
		name   string
		fn     any
		x, y   any
		class  string
		status string
	}{
		{name: "a struct", fn: func(p point) point { p.X++; return p }, x: point{1, when}, y: map[string]any{"x": int64(2), "when": "2026-01-02T03:04:05Z"}},
		{name: "a pointer and a context", fn: func(_ context.Context, p *point) (*point, error) { return p, nil }, x: point{1, when},
			y: map[string]any{"x": int64(1), "when": "2026-01-02T03:04:05Z"}},
		{name: "bytes", fn: func(b []byte) []byte { return b }, x: []byte("abc"), y: "YWJj"},
		{name: "an int32", fn: func(n int32) float32 { return float32(n) / 2 }, x: 5, y: 2.5},
		{name: "nothing", fn: func() {}, x: 5},
		{name: "more arguments than inputs", fn: func(a, b string) string { return a + b + "!" }, x: "a", y: "a!"},
		{name: "an argument of another type", fn: func(int) {}, x: "five", class: "java.lang.IllegalArgumentException", status: "UN"},
		{name: "a panic", fn: func(int) { panic("oh") }, x: 1, class: "java.lang.RuntimeException", status: "UN"},
		{name: "a result that is no JSON", fn: func() any { return make(chan int) }, class: "java.lang.RuntimeException", status: "UN"},
		{name: "a time-out", fn: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }, class: "java.net.SocketTimeoutException", status: "UN"},
		{name: "a result that is too long", fn: func() string { return strings.Repeat("x", 70_000) }, class: "ResultTooLong", status: "UN"},
		{name: "a long result", fn: func() string { return strings.Repeat("x", 60_000) }, y: strings.Repeat("x", 60_000)},
		{name: "a named error", fn: func() error { return errors.Join(errors.New("x"), errFull) }, class: "Full", status: "UN"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			e := openEngine(t, saga.Config{Store: sagalog.NewMemory(), InvokeTimeout: 50 * time.Millisecond, ErrorNames: map[string]error{"Full": errFull},
				Logger: slog.New(slog.DiscardHandler)})
			require.NoError(t, e.Func("s", "do", c.fn))
			require.NoError(t, e.Func("s", "undo", func() {}))
			define(t, e, oneStep)
			s, err := e.Start(t.Context(), "one", map[string]any{"x": c.x}, saga.StartOptions{})
			require.NoError(t, err)
			assert.Equal(t, c.y, s.Variables["y"])
			if c.class != "" {
				assert.Equal(t, c.status, string(s.Status))
				require.NotNil(t, s.Failure)
				assert.Equal(t, c.class, s.Failure.Class, s.Failure.Message)
				assert.True(t, s.Failure.Matches("java.lang.Throwable"))
			}
		})
	}
	e := openEngine(t, saga.Config{Store: sagalog.NewMemory()})
	for want, fn := range map[string]any{"is no function": 5, "variadic": func(...int) {}, "at most one result": func() (int, int) { return 0, 0 }} {
		assert.ErrorContains(t, e.Func("s", "do", fn), want)
	}
	require.NoError(t, e.Func("s", "do", func() {}))
	assert.ErrorContains(t, e.Func("s", "do", func() {}), "there already")
	assert.ErrorContains(t, e.Service("s2", 5), "no exported methods")
	define(t, e, oneStep)
	_, err := e.Start(t.Context(), "one", nil, saga.StartOptions{})
	assert.ErrorIs(t, err, saga.ErrNoService)
	assert.ErrorContains(t, err, "state U")
}

// TestCallsOfARunShareAKey: a retry and a forward have the key of the first call.
func TestCallsOfARunShareAKey(t *testing.T) {
	var calls []saga.Call
	e := openEngine(t, saga.Config{Store: sagalog.NewMemory()})
	fail := errors.New("no")
	require.NoError(t, e.Func("s", "do", func(ctx context.Context) error {
		c, ok := saga.FromContext(ctx)
		require.True(t, ok)
		calls = append(calls, c)
		if len(calls) == 1 {
			return &saga.Exception{Class: "Again"}
		}
		return fail
	}))
	require.NoError(t, e.Func("s", "undo", func(ctx context.Context) {
		c, _ := saga.FromContext(ctx)
		calls = append(calls, c)
	}))
	define(t, e, oneStep)
	s, err := e.Start(t.Context(), "one", nil, saga.StartOptions{})
	require.NoError(t, err)
	fail = nil
	_, err = e.Forward(t.Context(), s.ID, nil)
	require.NoError(t, err)
	s, err = e.Compensate(t.Context(), s.ID, nil)
	require.NoError(t, err)
	require.Len(t, calls, 4)
	key := s.ID + ":" + s.States[0].ID
	assert.Equal(t, []string{key, key, key}, []string{calls[0].Key, calls[1].Key, calls[2].Key})
	assert.Equal(t, []int{1, 2, 1}, []int{calls[0].Attempt, calls[1].Attempt, calls[2].Attempt})
	assert.Equal(t, key, calls[3].Compensates)
	assert.NotEqual(t, key, calls[3].Key)
}

// TestOneRunAtATime: what runs cannot be taken up, here or in another engine.
func TestOneRunAtATime(t *testing.T) {
	path := filepath.Join(t.TempDir(), "saga.db")
	release := make(chan struct{})
	entered := make(chan struct{}, 1)
	open := func(node string) *saga.Engine {
		e := openEngine(t, saga.Config{Store: openSQLite(t, path, node)})
		require.NoError(t, e.Func("s", "do", func() { entered <- struct{}{}; <-release }))
		require.NoError(t, e.Func("s", "undo", func() {}))
		define(t, e, oneStep)
		return e
	}
	e, other := open("a"), open("b")
	run, err := e.StartAsync(t.Context(), "one", nil, saga.StartOptions{BusinessKey: "k"})
	require.NoError(t, err)
	<-entered
	for _, engine := range []*saga.Engine{e, other} {
		_, err = engine.Forward(t.Context(), run.ID, nil)
		assert.ErrorIs(t, err, saga.ErrRunning)
		_, err = engine.Compensate(t.Context(), run.ID, nil)
		assert.ErrorIs(t, err, saga.ErrRunning)
	}
	n, err := other.Recover(t.Context())
	require.NoError(t, err)
	assert.Zero(t, n, "it is another node's")
	short, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = run.Wait(short)
	assert.ErrorContains(t, err, "goes on")
	close(release)
	s, err := run.Wait(t.Context())
	require.NoError(t, err)
	assert.Equal(t, machine.Succeeded, s.Status)
	s, err = other.ByBusinessKey(t.Context(), "k")
	require.NoError(t, err)
	assert.Equal(t, run.ID, s.ID)
	require.NoError(t, e.Close(t.Context()))
	_, err = e.Start(t.Context(), "one", nil, saga.StartOptions{})
	assert.ErrorIs(t, err, saga.ErrClosed)
}

// TestTheLogFails: a saga whose write fails goes on from what the log has.
func TestTheLogFails(t *testing.T) {
	for name, after := range map[string]bool{"the write was not made": false, "the write was made": true} {
		t.Run(name, func(t *testing.T) {
			calls := 0
			store := &flaky{Store: sagalog.NewMemory(), failAt: 2, after: after}
			e := openEngine(t, saga.Config{Store: store, Logger: slog.New(slog.DiscardHandler)})
			require.NoError(t, e.Func("s", "do", func(x int) int { calls++; return x }))
			require.NoError(t, e.Func("s", "undo", func() {}))
			define(t, e, oneStep)
			s, err := e.Start(t.Context(), "one", map[string]any{"x": 4}, saga.StartOptions{})
			require.NoError(t, err)
			assert.Equal(t, machine.Succeeded, s.Status)
			assert.Equal(t, int64(4), s.Variables["y"])
			want := 2
			if after {
				want = 1
			}
			assert.Equal(t, want, calls)
		})
	}
}

// flaky fails at one write, before or after making it.
type flaky struct {
	sagalog.Store
	failAt int
	after  bool
}

func (f *flaky) Write(ctx context.Context, b *machine.Batch) error {
	f.failAt--
	if f.failAt != 0 {
		return f.Store.Write(ctx, b)
	}
	if f.after {
		if err := f.Store.Write(ctx, b); err != nil {
			return err
		}
	}
	return errors.New("the connection is gone")
}

// TestTheTimeOfASagaEnds: the next task is not begun, and the outcome is in doubt.
func TestTheTimeOfASagaEnds(t *testing.T) {
	e := openEngine(t, saga.Config{Store: sagalog.NewMemory(), Timeout: 5 * time.Millisecond})
	require.NoError(t, e.Func("s", "do", func() { time.Sleep(20 * time.Millisecond) })) // longer than the saga may take
	require.NoError(t, e.Func("s", "undo", func() {}))
	define(t, e, `{"Name": "late", "StartState": "A", "Version": "1", "States": {
	  "A": {"Type": "ServiceTask", "ServiceName": "s", "ServiceMethod": "do", "Next": "B"},
	  "B": {"Type": "ServiceTask", "ServiceName": "s", "ServiceMethod": "undo"}}}`)
	s, err := e.Start(t.Context(), "late", nil, saga.StartOptions{})
	assert.ErrorIs(t, err, saga.ErrFault)
	assert.Equal(t, machine.Unknown, s.Status)
	assert.Len(t, s.States, 1)
	assert.ErrorContains(t, s.Failure, "longer than")
}

func TestBadConfigurations(t *testing.T) {
	_, err := saga.Open(t.Context(), saga.Config{})
	assert.ErrorContains(t, err, "Config.Store")
	_, err = saga.Open(t.Context(), saga.Config{Store: sagalog.NewMemory(), Timeout: -1})
	assert.ErrorContains(t, err, "Config.Timeout")
}

// TestErrorsOfTheNetwork: a service that was not reached did nothing (FA); one that
// gives no answer may have done its work (UN).
func TestErrorsOfTheNetwork(t *testing.T) {
	nobody, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, nobody.Close())
	mute, err := net.Listen("tcp", "127.0.0.1:0") // accepts and says nothing
	require.NoError(t, err)
	defer func() { require.NoError(t, mute.Close()) }()
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	e := openEngine(t, saga.Config{Store: sagalog.NewMemory(), InvokeTimeout: 100 * time.Millisecond, Invokers: map[string]saga.Invoker{
		"http": httpservice.New(httpservice.Config{Client: client, Services: map[string]string{
			"nobody": "http://" + nobody.Addr().String(), "mute": "http://" + mute.Addr().String()}})}})
	for service, want := range map[string]struct {
		status machine.Status
		class  string
	}{
		"nobody": {machine.Failed, "java.net.ConnectException"},
		"mute":   {machine.Unknown, "java.net.SocketTimeoutException"},
	} {
		define(t, e, `{"Name": "`+service+`", "StartState": "A", "Version": "1", "States": {"A": {"Type": "ServiceTask", "ServiceType": "http",
		  "ServiceName": "`+service+`", "ServiceMethod": "x", "IsForUpdate": true}}}`)
		s, err := e.Start(t.Context(), service, nil, saga.StartOptions{})
		require.NoError(t, err)
		assert.Equal(t, want.status, s.States[0].Status, service)
		assert.True(t, s.Failure.Matches(want.class), "%+v", s.Failure)
		assert.True(t, s.Failure.Matches("java.io.IOException"))
	}
}

// TestAnEngineThatLostItsSaga writes no end for it: a saga whose time is over may be
// taken up by another engine while a service still hangs.
func TestAnEngineThatLostItsSaga(t *testing.T) {
	path := filepath.Join(t.TempDir(), "saga.db")
	entered, release := make(chan struct{}), make(chan struct{})
	var undone atomic.Int32
	open := func(node string) *saga.Engine {
		e := openEngine(t, saga.Config{Store: openSQLite(t, path, node), Timeout: 20 * time.Millisecond, Logger: slog.New(slog.DiscardHandler)})
		require.NoError(t, e.Func("s", "do", func() { close(entered); <-release }))
		require.NoError(t, e.Func("s", "undo", func() { undone.Add(1) }))
		define(t, e, oneStep)
		return e
	}
	e, other := open("a"), open("b")
	run, err := e.StartAsync(t.Context(), "one", nil, saga.StartOptions{})
	require.NoError(t, err)
	<-entered
	require.Eventually(t, func() bool {
		s, err := other.Compensate(t.Context(), run.ID, nil)
		if errors.Is(err, saga.ErrRunning) { // its time is not over yet
			return false
		}
		require.NoError(t, err)
		return s.Compensation == machine.Succeeded
	}, 20*time.Second, time.Millisecond)
	close(release)
	_, err = run.Wait(t.Context())
	assert.ErrorIs(t, err, sagalog.ErrTaken)
	s, err := e.Get(t.Context(), run.ID)
	require.NoError(t, err)
	assert.Equal(t, machine.Unknown, s.Status)
	assert.Equal(t, machine.Succeeded, s.Compensation)
	assert.EqualValues(t, 1, undone.Load())
}
