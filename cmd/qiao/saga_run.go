package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/qiao-tx/qiao/saga"
	"github.com/qiao-tx/qiao/saga/graph"
	"github.com/qiao-tx/qiao/saga/httpservice"
	"github.com/qiao-tx/qiao/saga/machine"
	"github.com/qiao-tx/qiao/saga/sagalog"
	"github.com/qiao-tx/qiao/saga/statelang"
)

// sagaRunFlags say what run is to do.
type sagaRunFlags struct {
	name, params, key, svg, log string
	stubs, fails, services      []string
	asJSON                      bool
	timeout                     time.Duration
}

func newSagaRunCommand() *cobra.Command {
	var f sagaRunFlags
	cmd := &cobra.Command{
		Use:   "run FILE...",
		Short: "Run a state machine with stub services, or real ones over HTTP",
		Long: `run runs the first machine, or the one that --machine names; the other files may hold
machines that it calls. A service answers with its first input, as --stub says, or
with an error, as --fail says. With --service it is called over HTTP.

  --stub service.method=JSON          the result
  --fail service.method=Class         an error of that class, at every call
  --fail service.method=Class*2       at the first two calls
  --service name=URL                  POST URL/method with the input as JSON

Each run of a state is a line: its status, name, service, time, and what came out.
The exit code is 0 if the saga succeeded (status SU, nothing undone).`,
		Example: `  qiao saga run order.json --params '{"count": 2}'
  qiao saga run order.json --fail balance.reduce=NoMoney --svg order.svg
  qiao saga run order.json --service inventory=http://127.0.0.1:8080/inventory --log saga.db`,
		Args: sagaFiles,
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, args) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.name, "machine", "", "the `name` of the machine to run; default is that of the first file")
	flags.StringVar(&f.params, "params", "{}", "the parameters, a JSON `object`")
	flags.StringVar(&f.key, "business-key", "", "the saga's business key")
	flags.StringArrayVar(&f.stubs, "stub", nil, "what a service answers: `service.method=JSON`; may be repeated")
	flags.StringArrayVar(&f.fails, "fail", nil, "which service fails: `service.method=Class[*times]`; may be repeated")
	flags.StringArrayVar(&f.services, "service", nil, "a service to call over HTTP: `name=URL`; may be repeated")
	flags.StringVar(&f.svg, "svg", "", "draw how far it came into this `file`")
	flags.StringVar(&f.log, "log", "", "keep the log in this SQLite `file`; default is to forget it")
	flags.DurationVar(&f.timeout, "timeout", 5*time.Minute, "how long one call of a service may take")
	flags.BoolVar(&f.asJSON, "json", false, "print the saga as one JSON object")
	return cmd
}

func (f *sagaRunFlags) run(cmd *cobra.Command, files []string) (err error) {
	ctx := cmd.Context()
	services, err := f.invoker()
	if err != nil {
		return err
	}
	params, err := jsonObject("--params", f.params)
	if err != nil {
		return err
	}
	var machines []*statelang.Machine
	types := map[string]saga.Invoker{"": services, "SpringBean": services}
	for _, name := range files {
		m, err := readMachine(name, cmd.InOrStdin())
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		machines = append(machines, m)
		for _, s := range m.States {
			types[s.ServiceType] = services
		}
	}
	store, done, err := f.store(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done()) }()
	e, err := saga.Open(ctx, saga.Config{Store: store, Invokers: types, InvokeTimeout: f.timeout, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, e.Close(ctx))
	}()
	for i, m := range machines {
		if _, err := e.Define(ctx, []byte(m.Content)); err != nil {
			return fmt.Errorf("%s: %w", files[i], err)
		}
	}
	if f.name == "" {
		f.name = machines[0].Name
	}
	s, err := e.Start(ctx, f.name, params, saga.StartOptions{BusinessKey: f.key})
	if s == nil {
		return err
	}
	return errors.Join(f.show(cmd.OutOrStdout(), s), f.draw(s, machines), err, failedSaga(s, err))
}

// failedSaga makes the exit code tell of a saga that did not succeed.
func failedSaga(s *saga.Saga, err error) error {
	if err != nil || s.Status == machine.Succeeded && s.Compensation == "" {
		return nil
	}
	status := string(s.Status)
	if s.Compensation != "" {
		status += ", compensation " + string(s.Compensation)
	}
	return fmt.Errorf("the saga ended with %s", status)
}

func (f *sagaRunFlags) store(ctx context.Context) (sagalog.Store, func() error, error) {
	if f.log == "" {
		return sagalog.NewMemory(), func() error { return nil }, nil
	}
	db, err := (&sagaDatabase{driver: "sqlite", dsn: f.log}).open()
	if err != nil {
		return nil, nil, err
	}
	if err := sagalog.CreateTables(ctx, db); err != nil {
		return nil, nil, errors.Join(err, db.Close())
	}
	s, err := sagalog.OpenSQL(ctx, sagalog.Config{DB: db, Node: "qiao saga run"})
	if err != nil {
		return nil, nil, errors.Join(err, db.Close())
	}
	return s, func() error { return errors.Join(s.Close(), db.Close()) }, nil
}

func (f *sagaRunFlags) draw(s *saga.Saga, machines []*statelang.Machine) error {
	if f.svg == "" {
		return nil
	}
	for _, m := range machines {
		if m.Name == s.Machine {
			p := graph.Progress{ID: s.ID, Status: s.Status, Compensation: s.Compensation, Rows: s.States}
			return os.WriteFile(f.svg, graph.SVG(m, p), 0o644)
		}
	}
	return nil
}

// sagaOutput is the form of --json.
type sagaOutput struct {
	ID           string         `json:"id"`
	Machine      string         `json:"machine"`
	Status       machine.Status `json:"status"`
	Compensation machine.Status `json:"compensation,omitempty"`
	Failure      string         `json:"failure,omitempty"`
	Variables    map[string]any `json:"variables"`
	States       []sagaState    `json:"states"`
}

type sagaState struct {
	ID             string         `json:"id"`
	Name           string         `json:"name"`
	Type           string         `json:"type"`
	Status         machine.Status `json:"status"`
	CompensatedFor string         `json:"compensatedFor,omitempty"`
	RetriedFor     string         `json:"retriedFor,omitempty"`
	Millis         int64          `json:"millis"`
	Input          any            `json:"input"`
	Output         any            `json:"output"`
	Failure        string         `json:"failure,omitempty"`
}

func (f *sagaRunFlags) show(out io.Writer, s *saga.Saga) error {
	o := sagaOutput{ID: s.ID, Machine: s.Machine, Status: s.Status, Compensation: s.Compensation, Variables: s.Variables, States: []sagaState{}}
	if s.Failure != nil {
		o.Failure = s.Failure.Error()
	}
	for _, r := range s.States {
		row := sagaState{ID: r.ID, Name: r.Name, Type: r.Type, Status: r.Status, CompensatedFor: r.CompensatedFor, RetriedFor: r.RetriedFor,
			Input: r.Input, Output: r.Output, Millis: max(r.Ended.Sub(r.Started).Milliseconds(), 0)}
		if r.Failure != nil {
			row.Failure = r.Failure.Error()
		}
		o.States = append(o.States, row)
	}
	if f.asJSON {
		return json.NewEncoder(out).Encode(o)
	}
	var b strings.Builder
	for i, row := range o.States {
		service := s.States[i].ServiceName
		if s.States[i].ServiceMethod != "" {
			service += "." + s.States[i].ServiceMethod
		}
		what := row.Failure
		if what == "" {
			text, _ := json.Marshal(row.Output)
			what = string(text)
		}
		fmt.Fprintf(&b, "%-3s %-28s %-28s %5d ms  %.120s\n", row.Status, row.Name, service, row.Millis, what)
	}
	fmt.Fprintf(&b, "\n%s %s: status %s", o.Machine, o.ID, o.Status)
	if o.Compensation != "" {
		fmt.Fprintf(&b, ", compensation %s", o.Compensation)
	}
	if o.Failure != "" {
		fmt.Fprintf(&b, ": %s", o.Failure)
	}
	_, err := fmt.Fprintln(out, b.String())
	return err
}

func jsonObject(flag, text string) (map[string]any, error) {
	v, err := jsonValue(flag, text)
	m, ok := v.(map[string]any)
	if err == nil && !ok {
		err = usageError{fmt.Errorf("%s %s: want a JSON object, {…}", flag, text)}
	}
	return m, err
}

func jsonValue(flag, text string) (v any, err error) {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		return nil, usageError{fmt.Errorf("%s %s: this is no JSON: %w", flag, text, err)}
	}
	if d.More() {
		return nil, usageError{fmt.Errorf("%s %s: text after the end of the JSON value", flag, text)}
	}
	return v, nil
}

// stubServices answer as the flags say.
type stubServices struct {
	http    *httpservice.Invoker
	remote  map[string]string
	answers map[string]any
	mu      sync.Mutex
	fails   map[string]*stubFailure
}

type stubFailure struct {
	class string
	left  int // negative: at every call
}

func (f *sagaRunFlags) invoker() (*stubServices, error) {
	s := &stubServices{remote: map[string]string{}, answers: map[string]any{}, fails: map[string]*stubFailure{}}
	for _, flag := range f.services {
		name, url, ok := strings.Cut(flag, "=")
		if !ok {
			return nil, usageError{fmt.Errorf("--service %s: want name=URL", flag)}
		}
		s.remote[name] = url
	}
	for _, flag := range f.stubs {
		name, text, ok := strings.Cut(flag, "=")
		if !ok {
			return nil, usageError{fmt.Errorf("--stub %s: want service.method=JSON", flag)}
		}
		v, err := jsonValue("--stub "+name, text)
		if err != nil {
			return nil, err
		}
		s.answers[name] = v
	}
	for _, flag := range f.fails {
		name, class, ok := strings.Cut(flag, "=")
		if !ok || class == "" {
			return nil, usageError{fmt.Errorf("--fail %s: want service.method=Class, or service.method=Class*times", flag)}
		}
		failure := &stubFailure{class: class, left: -1}
		if before, times, counted := strings.Cut(class, "*"); counted {
			n, err := strconv.Atoi(times)
			if err != nil || n < 1 {
				return nil, usageError{fmt.Errorf("--fail %s: want a number of times from 1 after the *", flag)}
			}
			failure.class, failure.left = before, n
		}
		s.fails[name] = failure
	}
	s.http = httpservice.New(httpservice.Config{Services: s.remote})
	return s, nil
}

// Invoke implements saga.Invoker.
func (s *stubServices) Invoke(ctx context.Context, r saga.Request) (any, error) {
	name := r.Service + "." + r.Method
	s.mu.Lock()
	failure := s.fails[name]
	fails := failure != nil && failure.left != 0
	if fails {
		failure.left--
	}
	s.mu.Unlock()
	if fails {
		return nil, &saga.Exception{Class: failure.class, Message: "as --fail says"}
	}
	if v, ok := s.answers[name]; ok {
		return v, nil
	}
	if _, ok := s.remote[r.Service]; ok || strings.HasPrefix(r.Service, "http://") || strings.HasPrefix(r.Service, "https://") {
		return s.http.Invoke(ctx, r)
	}
	if len(r.Input) == 0 {
		return nil, nil
	}
	return r.Input[0], nil
}
