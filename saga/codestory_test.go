package saga_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/internal/testenv"
	"github.com/qiao-tx/qiao/saga"
	"github.com/qiao-tx/qiao/saga/history"
	"github.com/qiao-tx/qiao/saga/machine"
	"github.com/qiao-tx/qiao/saga/sagalog"
)

// codeteller runs the stories of testdata/code:
//
//	code F@V        the script of a saga, from the next start of the engine on
//	engine          stop the engine where it is and open another on its log
//	start F@V       begin a saga and wait until it has ended; with waiting until it
//	                waits for a signal, with so many rows= and calls=
//	signal NAME=X   give it a signal, once for each key=
//	mend            the world refuses no more
//	recover, forward, compensate, wait, get
//
// Every store must give the same answers.
type codeteller struct {
	t      *testing.T
	store  sagalog.Store
	world  *world
	texts  map[string]string
	order  []string
	engine *saga.Engine
	last   string
	sorted bool
}

func TestCodeStories(t *testing.T) {
	datadriven.Walk(t, "testdata/code", func(t *testing.T, path string) {
		for name, store := range map[string]func() sagalog.Store{
			"memory":     func() sagalog.Store { return sagalog.NewMemory() },
			"sqlite":     func() sagalog.Store { return openSQLite(t, filepath.Join(t.TempDir(), "saga.db"), "") },
			"mariadb":    func() sagalog.Store { return openServer(t, "mysql", testenv.MariaDB(t)) },
			"postgresql": func() sagalog.Store { return openServer(t, "pgx", testenv.PostgreSQL(t)) },
		} {
			t.Logf("in %s", name)
			s := &codeteller{t: t, store: store(), world: newWorld(), texts: map[string]string{}}
			s.open()
			datadriven.RunTest(t, path, s.tell)
			stop(t, s.engine)
		}
	})
}

// stop ends an engine where it is.
func stop(t *testing.T, e *saga.Engine) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_ = e.Close(ctx) // an error says that some were stopped
}

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

func (s *codeteller) open() {
	var err error
	s.engine, err = saga.Open(s.t.Context(), saga.Config{Store: s.store, ErrorNames: map[string]error{"Refused": errRefused}, Logger: quiet()})
	require.NoError(s.t, err)
	for _, key := range s.order {
		name, version, _ := strings.Cut(key, "@")
		require.NoError(s.t, s.engine.Register(s.t.Context(), s.world.flow(name, version, parseScript(s.texts[key]))))
	}
}

func (s *codeteller) tell(t *testing.T, d *datadriven.TestData) string {
	ctx := t.Context()
	var err error
	s.sorted = d.HasArg("sorted")
	switch d.Cmd {
	case "code":
		key := d.CmdArgs[0].Key
		if d.HasArg("gone") {
			s.order = slices.DeleteFunc(s.order, func(k string) bool { return k == key })
			return ""
		}
		if !slices.Contains(s.order, key) {
			s.order = append(s.order, key)
		}
		s.texts[key] = d.Input
		return ""
	case "engine":
		stop(t, s.engine)
		s.open()
		return ""
	case "mend":
		s.world.mu.Lock()
		defer s.world.mu.Unlock()
		s.world.refuses = false
		return ""
	case "start":
		s.world.refuses = true
		started, err := s.world.flows[d.CmdArgs[0].Key].Start(ctx, s.engine, "in", saga.StartOptions{})
		require.NoError(t, err)
		s.last = started.ID
		if d.HasArg("waiting") {
			s.untilWaiting(d)
			return s.show(nil)
		}
		_, err = started.Wait(ctx)
		return s.show(err)
	case "signal":
		var key string
		d.MaybeScanArgs(t, "key", &key)
		a := d.CmdArgs[0]
		err = s.engine.Signal(ctx, s.last, a.Key, a.Vals[0], saga.SignalOptions{Key: key})
		return s.errors(err)
	case "recover":
		var n int
		n, err = s.engine.Recover(ctx)
		if err != nil {
			return s.errors(err)
		}
		if d.HasArg("waiting") {
			s.untilWaiting(d)
			return fmt.Sprintf("%d\n%s", n, s.show(nil))
		}
		_, err = s.engine.Wait(ctx, s.last)
		return fmt.Sprintf("%d\n%s", n, s.show(err))
	case "forward":
		_, err = s.engine.Forward(ctx, s.last, nil)
	case "compensate":
		_, err = s.engine.Compensate(ctx, s.last, nil)
	case "wait":
		got, waitErr := s.engine.Wait(ctx, s.last)
		if err = waitErr; err == nil {
			_, err = s.world.flows[got.Machine].Result(ctx, s.engine, s.last)
		}
	case "get":
	default:
		t.Fatalf("unknown command %s", d.Cmd)
	}
	return s.show(err)
}

// untilWaiting waits until the log has so many rows, and nothing is under way but
// waits for a signal or a time, and as many steps have been called.
func (s *codeteller) untilWaiting(d *datadriven.TestData) {
	var rows, calls int
	d.MaybeScanArgs(s.t, "rows", &rows)
	d.MaybeScanArgs(s.t, "calls", &calls)
	require.Eventually(s.t, func() bool {
		got, err := s.engine.Get(s.t.Context(), s.last)
		require.NoError(s.t, err)
		waits := false
		for _, r := range got.States {
			switch kind := history.Kind(r.Type); {
			case r.Finished() || kind == history.Signal:
			case kind == history.Wait, kind == history.Timer, strings.Contains(r.Name, "waits"):
				waits = true
			default:
				return false
			}
		}
		s.world.mu.Lock()
		defer s.world.mu.Unlock()
		return waits && len(got.States) >= rows && len(s.world.calls) >= calls
	}, 10*time.Second, 2*time.Millisecond)
}

var rowNumber = regexp.MustCompile(`\b\d{15,}\b`)

func (s *codeteller) errors(err error) string {
	if err == nil {
		return ""
	}
	return rowNumber.ReplaceAllString(anyID.ReplaceAllString(strings.ReplaceAll(err.Error(), s.last, "SAGA"), "ID"), "ROW") + "\n"
}

func (s *codeteller) show(err error) string {
	var b strings.Builder
	calls := s.world.take()
	if s.sorted { // those at the same time come in any order
		slices.Sort(calls)
	}
	for _, call := range calls {
		fmt.Fprintf(&b, "call %s\n", call)
	}
	got, getErr := s.engine.Get(s.t.Context(), s.last)
	require.NoError(s.t, getErr)
	paths := map[string]string{}
	for _, r := range got.States {
		paths[r.ID] = r.ServiceMethod
		if history.Kind(r.Type) == history.Signal {
			fmt.Fprintf(&b, "signal %s %s %v\n", r.Name, r.Status, r.Input)
			continue
		}
		fmt.Fprintf(&b, "%s %s %s", r.ServiceMethod, r.Name, r.Status)
		if v := history.Value(r); v != "" && v != "null" {
			fmt.Fprintf(&b, " %s", v)
		}
		if r.CompensatedFor != "" {
			assert.Equal(s.t, "undo "+paths[r.CompensatedFor], r.ServiceMethod)
		}
		if r.Failure != nil {
			fmt.Fprintf(&b, " (%s)", s.short(r.Failure))
		}
		b.WriteByte('\n')
	}
	fmt.Fprintf(&b, "status %s", got.Status)
	if got.Compensation != "" {
		fmt.Fprintf(&b, ", compensation %s", got.Compensation)
	}
	if got.Running {
		b.WriteString(", running")
	}
	if out, ok := got.Variables["out"]; ok {
		fmt.Fprintf(&b, ", out %v", out)
	}
	b.WriteByte('\n')
	var failed *saga.FailedError
	if err != nil && !errors.As(err, &failed) || failed != nil {
		b.WriteString(s.errors(err))
	}
	return b.String()
}

func (s *codeteller) short(f *machine.Failure) string {
	return strings.TrimSpace(s.errors(errors.New(f.Error())))
}
