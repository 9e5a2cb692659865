//go:build linux

package javatc

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/client"
	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/saga"
	"github.com/qiao-tx/qiao/saga/sagalog"
)

// booking is a saga of two services, of which the second may fail.
const booking = `{"Name": "booking", "StartState": "Hotel", "Version": "1", %s "States": {
  "Hotel": {"Type": "ServiceTask", "ServiceName": "hotel", "ServiceMethod": "book", "CompensateState": "CancelHotel",
    "Input": [{"guest": "$.[guest]"}], "Output": {"room": "$.room"}, "Next": "Flight"},
  "Flight": {"Type": "ServiceTask", "ServiceName": "flight", "ServiceMethod": "book", "CompensateState": "CancelFlight",
    "Catch": [{"Exceptions": ["NoSeat"], "Next": "Undo"}], "Next": "Done"},
  "CancelHotel": {"Type": "ServiceTask", "ServiceName": "hotel", "ServiceMethod": "cancel", "Input": ["$.[room]"]},
  "CancelFlight": {"Type": "ServiceTask", "ServiceName": "flight", "ServiceMethod": "cancel"},
  "Undo": {"Type": "CompensationTrigger", "Next": "Failed"},
  "Failed": {"Type": "Fail", "ErrorCode": "SOLD_OUT"},
  "Done": {"Type": "Succeed"}}}`

// travel is the world of a saga's story: services that do as told, and their calls.
type travel struct {
	t      *testing.T
	app    *client.Client
	db     *sql.DB
	mu     sync.Mutex
	calls  []string
	answer map[string][]error // what the next calls of a method answer
	flow   *saga.Flow[string, string]
}

// book is booking as code.
func (w *travel) book(c *saga.Context, _ string) (string, error) {
	room, err := saga.Step(c, "hotel", func(ctx context.Context) (string, error) { return "12b", w.call(ctx, "hotel") },
		func(ctx context.Context, room string) error { return w.call(ctx, "cancel hotel "+room) })
	if err != nil {
		return "", err
	}
	_, err = saga.Step(c, "flight", func(ctx context.Context) (string, error) { return "", w.call(ctx, "flight") },
		func(ctx context.Context, _ string) error { return w.call(ctx, "cancel flight") })
	var step *saga.StepError
	if errors.As(err, &step) {
		if f := step.Failure(); !f.Matches("NoSeat") {
			return "", saga.Halt(err)
		}
	}
	return room, err
}

func (w *travel) call(ctx context.Context, method string) error {
	w.mu.Lock()
	w.calls = append(w.calls, method)
	var err error
	if next := w.answer[method]; len(next) > 0 {
		err, w.answer[method] = next[0], next[1:]
	}
	w.mu.Unlock()
	if errors.Is(err, errHang) {
		<-ctx.Done()
		return ctx.Err()
	}
	return err
}

var (
	errHang   = errors.New("hang until the engine stops")
	errNoSeat = &saga.Exception{Class: "NoSeat", Message: "the flight is full"}
)

func newTravel(t *testing.T, tc *coordinator, answer map[string][]error) *travel {
	t.Helper()
	w := &travel{t: t, answer: maps.Clone(answer)}
	db, err := sql.Open("sqlite", filepath.Join(t.TempDir(), "saga.db")+"?_pragma=journal_mode(wal)&_pragma=busy_timeout(20000)")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	require.NoError(t, sagalog.CreateTables(t.Context(), db))
	w.db = db
	w.app, err = client.Open(t.Context(), client.Config{Addresses: []string{tc.address}, ApplicationID: application(), Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		require.NoError(t, w.app.Close(ctx))
	})
	return w
}

// engine opens an engine of the application; stop ends it as a crash would, except
// that the services hear of it.
func (w *travel) engine(timeout time.Duration, strategy string) (e *saga.Engine, stop func()) {
	w.t.Helper()
	store, err := sagalog.OpenSQL(w.t.Context(), sagalog.Config{DB: w.db})
	require.NoError(w.t, err)
	e, err = saga.Open(w.t.Context(), saga.Config{Store: store, Coordinator: w.app.Saga(), Timeout: timeout, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(w.t, err)
	require.NoError(w.t, e.Func("hotel", "book", func(ctx context.Context, _ map[string]any) (map[string]any, error) {
		return map[string]any{"room": "12b"}, w.call(ctx, "hotel")
	}))
	require.NoError(w.t, e.Func("hotel", "cancel", func(ctx context.Context, room string) error { return w.call(ctx, "cancel hotel "+room) }))
	require.NoError(w.t, e.Func("flight", "book", func(ctx context.Context) error { return w.call(ctx, "flight") }))
	require.NoError(w.t, e.Func("flight", "cancel", func(ctx context.Context) error { return w.call(ctx, "cancel flight") }))
	_, err = e.Define(w.t.Context(), []byte(withStrategy(strategy)))
	require.NoError(w.t, err)
	w.flow = saga.Code("booking", "1", w.book)
	require.NoError(w.t, e.Register(w.t.Context(), w.flow))
	var once sync.Once
	stop = func() {
		once.Do(func() {
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			_ = e.Close(ctx)
			require.NoError(w.t, store.Close())
		})
	}
	w.t.Cleanup(stop)
	return e, stop
}

func withStrategy(strategy string) string {
	if strategy != "" {
		strategy = `"RecoverStrategy": "` + strategy + `",`
	}
	return fmt.Sprintf(booking, strategy)
}

// sagaStory is told to each coordinator.
type sagaStory struct {
	name   string
	answer map[string][]error
	// first is how Start ends, last what the coordinator brings about.
	first, last string
	calls       []string
	status      protocol.GlobalStatus
	// crash: the engine is stopped while the flight is booked, and the coordinator's
	// time-out decides what its successor does.
	crash    bool
	strategy string
	// code: the saga is the one in Go.
	code bool
}

var storiesOfSagas = []sagaStory{
	{name: "success", first: "SU/", last: "SU/", calls: []string{"hotel", "flight"}, status: protocol.StatusCommitted},
	{name: "an error that leads to compensation", answer: map[string][]error{"flight": {errNoSeat}},
		first: "UN/SU", last: "UN/SU", calls: []string{"hotel", "flight", "cancel flight", "cancel hotel 12b"}, status: protocol.StatusRollbacked},
	{name: "an error that leads nowhere goes forward", answer: map[string][]error{"flight": {errStop}},
		first: "UN/", last: "SU/", calls: []string{"hotel", "flight", "flight"}, status: protocol.StatusCommitted},
	{name: "a compensation that fails is repeated", answer: map[string][]error{"flight": {errNoSeat}, "cancel hotel 12b": {errStop}},
		first: "UN/UN", last: "UN/SU", calls: []string{"hotel", "flight", "cancel flight", "cancel hotel 12b", "cancel hotel 12b"},
		status: protocol.StatusRollbacked},
	{name: "the time-out of a saga that is left alone compensates", crash: true, answer: map[string][]error{"flight": {errHang}},
		last: "UN/SU", calls: []string{"hotel", "flight", "cancel flight", "cancel hotel 12b"}, status: protocol.StatusRollbacked}, // as the engine reports
	{name: "or goes forward, if the machine wants that", crash: true, strategy: "Forward", answer: map[string][]error{"flight": {errHang}},
		last: "SU/", calls: []string{"hotel", "flight", "flight"}, status: protocol.StatusCommitted},
	{name: "code that succeeds", code: true, first: "SU/", last: "SU/", calls: []string{"hotel", "flight"}, status: protocol.StatusCommitted},
	{name: "code that fails is undone", code: true, answer: map[string][]error{"flight": {errNoSeat}},
		first: "FA/SU", last: "FA/SU", calls: []string{"hotel", "flight", "cancel flight", "cancel hotel 12b"}, status: protocol.StatusRollbacked},
	{name: "code that halts goes forward", code: true, answer: map[string][]error{"flight": {errStop}},
		first: "UN/", last: "SU/", calls: []string{"hotel", "flight", "flight"}, status: protocol.StatusCommitted},
	{name: "an undo of code that fails is repeated", code: true, answer: map[string][]error{"flight": {errNoSeat}, "cancel hotel 12b": {errStop}},
		first: "FA/FA", last: "FA/SU", calls: []string{"hotel", "flight", "cancel flight", "cancel hotel 12b", "cancel hotel 12b"},
		status: protocol.StatusRollbacked},
	{name: "the time-out of code that is left alone undoes it", code: true, crash: true, answer: map[string][]error{"flight": {errHang}},
		last: "FA/SU", calls: []string{"hotel", "flight", "cancel flight", "cancel hotel 12b"}, status: protocol.StatusRollbacked},
}

func (s sagaStory) begin(t *testing.T, w *travel, e *saga.Engine) (id string) {
	if s.code {
		started, err := w.flow.Start(t.Context(), e, "Bai", saga.StartOptions{})
		require.NoError(t, err)
		return started.ID
	}
	run, err := e.StartAsync(t.Context(), "booking", map[string]any{"guest": "Bai"}, saga.StartOptions{})
	require.NoError(t, err)
	return run.ID
}

func (s sagaStory) run(t *testing.T, tc *coordinator) {
	w := newTravel(t, tc, s.answer)
	timeout := ample
	if s.crash {
		timeout = short
	}
	e, stop := w.engine(timeout, s.strategy)
	id := s.begin(t, w, e)
	if s.crash {
		require.Eventually(t, func() bool { w.mu.Lock(); defer w.mu.Unlock(); return len(w.calls) == 2 }, patience, time.Millisecond)
		stop()
		e, _ = w.engine(timeout, s.strategy)
	} else {
		got, err := e.Wait(t.Context(), id)
		require.NoError(t, err)
		assert.Equal(t, s.first, string(got.Status)+"/"+string(got.Compensation), "%v", got.Failure)
	}
	status := s.status
	if tc.java {
		status = protocol.StatusFinished
	}
	var ended string
	var known protocol.GlobalStatus
	assert.Eventually(t, func() bool {
		got, err := e.Get(t.Context(), id)
		require.NoError(t, err)
		ended = string(got.Status) + "/" + string(got.Compensation)
		known, err = w.app.TM().Status(t.Context(), id)
		require.NoError(t, err)
		return ended == s.last && known == status && !got.Running
	}, patience, 20*time.Millisecond)
	assert.Equal(t, s.last, ended)
	assert.Equal(t, status, known)
	w.mu.Lock()
	defer w.mu.Unlock()
	assert.Equal(t, s.calls, w.calls)
}

// TestSagasOnOurCoordinator needs no Java.
func TestSagasOnOurCoordinator(t *testing.T) {
	s := startOurs(t)
	tellSagas(t, &coordinator{name: "ours", address: s.address})
}

func tellSagas(t *testing.T, tc *coordinator) {
	for _, s := range storiesOfSagas {
		t.Run("sagas: "+s.name, func(t *testing.T) {
			t.Parallel()
			s.run(t, tc)
		})
	}
}
