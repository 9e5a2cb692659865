package saga_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/datadriven"
	_ "github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/internal/testenv"
	"github.com/qiao-tx/qiao/saga"
	"github.com/qiao-tx/qiao/saga/machine"
	"github.com/qiao-tx/qiao/saga/sagalog"
)

// storyteller runs the stories of testdata/stories:
//
//	define    a machine
//	start M   run it; the lines say params, stub, fail, business-key
//	forward, skip, compensate    take the last saga up again
//	get       show it as the log has it
//
// Every store must give the same answers. The answer lists the calls, the runs in the log, and how it ended.
type storyteller struct {
	t      *testing.T
	engine *saga.Engine
	last   *saga.Saga
	sorted bool

	mu    sync.Mutex
	calls []string
	stubs map[string]string
	fails map[string]*failing
}

type failing struct {
	class string
	left  int
}

func TestStories(t *testing.T) {
	datadriven.Walk(t, "testdata/stories", func(t *testing.T, path string) {
		for name, store := range map[string]func() sagalog.Store{
			"memory":     func() sagalog.Store { return sagalog.NewMemory() },
			"sqlite":     func() sagalog.Store { return openSQLite(t, filepath.Join(t.TempDir(), "saga.db"), "") },
			"mariadb":    func() sagalog.Store { return openServer(t, "mysql", testenv.MariaDB(t)) },
			"postgresql": func() sagalog.Store { return openServer(t, "pgx", testenv.PostgreSQL(t)) },
		} {
			s := &storyteller{t: t}
			stub := invoker(s.invoke)
			s.engine = openEngine(t, saga.Config{Store: store(), Invokers: map[string]saga.Invoker{"": stub, "SpringBean": stub, "http": stub}})
			t.Logf("in %s", name)
			datadriven.RunTest(t, path, s.tell)
		}
	})
}

// anyID is one that sagalog.NewID made.
var anyID = regexp.MustCompile(`\b[0-9a-f]{26}\b`)

func openServer(t *testing.T, driver, dsn string) *sagalog.SQL {
	t.Helper()
	db, err := sql.Open(driver, dsn)
	require.NoError(t, err)
	require.NoError(t, sagalog.CreateTables(t.Context(), db))
	s, err := sagalog.OpenSQL(t.Context(), sagalog.Config{DB: db})
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, s.Close())
		require.NoError(t, db.Close())
	})
	return s
}

type invoker func(context.Context, saga.Request) (any, error)

func (f invoker) Invoke(ctx context.Context, r saga.Request) (any, error) { return f(ctx, r) }

func (s *storyteller) invoke(_ context.Context, r saga.Request) (any, error) {
	name := r.Service + "." + r.Method
	input, err := json.Marshal(r.Input)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, name+string(input))
	if f := s.fails[name]; f != nil && f.left != 0 {
		f.left--
		e := &saga.Exception{Class: f.class, Message: "no"}
		e.NotSent, e.NoAnswer = f.class == "NotSent", f.class == "NoAnswer"
		return nil, e
	}
	if text, ok := s.stubs[name]; ok {
		return json.RawMessage(text), nil
	}
	if len(r.Input) == 0 {
		return nil, nil
	}
	return r.Input[0], nil
}

func (s *storyteller) tell(t *testing.T, d *datadriven.TestData) string {
	ctx := t.Context()
	if d.Cmd == "define" {
		_, err := s.engine.Define(ctx, []byte(d.Input))
		if err != nil {
			return err.Error()
		}
		return ""
	}
	params, key := s.prepare(d)
	var err error
	var got *saga.Saga
	switch d.Cmd {
	case "start":
		got, err = s.engine.Start(ctx, d.CmdArgs[0].Key, params, saga.StartOptions{BusinessKey: key})
	case "forward":
		got, err = s.engine.Forward(ctx, s.last.ID, params)
	case "skip":
		got, err = s.engine.SkipAndForward(ctx, s.last.ID, params)
	case "compensate":
		got, err = s.engine.Compensate(ctx, s.last.ID, params)
	case "get":
		got, err = s.engine.Get(ctx, s.last.ID)
	default:
		t.Fatalf("unknown command %s", d.Cmd)
	}
	if errors.Is(err, sagalog.ErrExists) { // whose words are the database's
		return sagalog.ErrExists.Error()
	}
	if got == nil {
		text := err.Error()
		if s.last != nil {
			text = strings.ReplaceAll(text, s.last.ID, "SAGA")
		}
		return text
	}
	s.last = got
	stored, loadErr := s.engine.Get(ctx, got.ID)
	require.NoError(t, loadErr)
	logged := *got
	logged.States = slices.DeleteFunc(slices.Clone(got.States), func(r *machine.Row) bool { // there are states that are not logged
		return !slices.ContainsFunc(stored.States, func(o *machine.Row) bool { return o.ID == r.ID })
	})
	assert.Equal(t, s.show(&logged, nil), s.show(stored, nil), "the log says the same")
	return anyID.ReplaceAllString(s.show(got, err), "ID")
}

func (s *storyteller) prepare(d *datadriven.TestData) (params map[string]any, key string) {
	s.sorted = d.HasArg("sorted")
	s.calls, s.stubs, s.fails = nil, map[string]string{}, map[string]*failing{}
	for _, line := range strings.Split(d.Input, "\n") {
		word, rest, _ := strings.Cut(line, " ")
		name, value, _ := strings.Cut(rest, "=")
		switch word {
		case "params":
			decoder := json.NewDecoder(strings.NewReader(rest))
			decoder.UseNumber()
			require.NoError(s.t, decoder.Decode(&params))
		case "business-key":
			key = rest
		case "stub":
			s.stubs[name] = value
		case "fail":
			class, times, counted := strings.Cut(value, "*")
			f := &failing{class: class, left: -1}
			if counted {
				f.left, _ = strconv.Atoi(times)
			}
			s.fails[name] = f
		case "":
		default:
			s.t.Fatalf("unknown line %q", line)
		}
	}
	return params, key
}

// show tells a saga; ids become the row's number in the log.
func (s *storyteller) show(got *saga.Saga, err error) string {
	var b strings.Builder
	if err != nil && !errors.Is(err, saga.ErrFault) {
		fmt.Fprintf(&b, "error: %v\n", err)
	}
	calls := slices.Clone(s.calls)
	if s.sorted || got.Variables["loopResult"] != nil { // calls at the same time come in any order
		slices.Sort(calls)
	}
	for _, c := range calls {
		fmt.Fprintf(&b, "call %s\n", c)
	}
	number := map[string]int{}
	for i, r := range got.States {
		number[r.ID] = i + 1
	}
	for i, r := range got.States {
		fmt.Fprintf(&b, "%d %s %s", i+1, r.Name, r.Status)
		if r.CompensatedFor != "" {
			fmt.Fprintf(&b, " undoes %d", number[r.CompensatedFor])
		}
		if r.RetriedFor != "" {
			fmt.Fprintf(&b, " repeats %d", number[r.RetriedFor])
		}
		if r.Failure != nil {
			fmt.Fprintf(&b, " (%v)", r.Failure)
		}
		b.WriteByte('\n')
	}
	fmt.Fprintf(&b, "status %s", got.Status)
	if got.Compensation != "" {
		fmt.Fprintf(&b, ", compensation %s", got.Compensation)
	}
	if got.Failure != nil {
		fmt.Fprintf(&b, " (%v)", got.Failure)
	}
	variables, err := json.Marshal(got.Variables)
	require.NoError(s.t, err)
	fmt.Fprintf(&b, "\n%s\n", variables)
	return b.String()
}
