package saga

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/qiao-tx/qiao/saga/machine"
	"github.com/qiao-tx/qiao/saga/sagalog"
	"github.com/qiao-tx/qiao/saga/statelang"
)

// Engine runs sagas. It may be used concurrently.
type Engine struct {
	cfg Config
	// rows counts the runs of states.
	rows atomic.Uint64

	mu        sync.Mutex
	functions map[string]map[string]*function
	programs  map[string]*program // by definition id
	newest    map[string]*program // by name
	codes     map[string]*code    // by name@version
	// running are the sagas that this engine drives.
	running map[string]*life
	// waiting are the instances that wait for a signal.
	waiting map[string]chan struct{}
	// watching: signals that other processes take in are looked for.
	watching bool
	// stopAdopting ends the search for sagas of nodes that die; nil if there is none.
	stopAdopting    context.CancelFunc
	closing, closed bool
	// park is closed when closing begins.
	park chan struct{}
	// work are the goroutines of the engine.
	work sync.WaitGroup
}

// program is a definition that can be run: a compiled machine, or code.
type program struct {
	*machine.Program
	code *code
	id   string
}

// life is that of a saga in this process.
type life struct {
	stop context.CancelFunc
	done chan struct{}
	// undo is closed when a saga in code is to be undone from where it is, because
	// of cause.
	undo  chan struct{}
	cause *machine.Failure
	// err is why a saga in code has stopped without an end.
	err error
}

// Open returns an Engine. With a Coordinator it makes itself known to it. Give the
// engine its services and machines, then call Recover.
func Open(ctx context.Context, cfg Config) (*Engine, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	e := &Engine{cfg: cfg, functions: map[string]map[string]*function{},
		programs: map[string]*program{}, newest: map[string]*program{},
		codes: map[string]*code{}, running: map[string]*life{}, waiting: map[string]chan struct{}{}, park: make(chan struct{})}
	e.rows.Store(uint64(rand.Uint32())) // apart from an engine that ended in this millisecond
	if cfg.Coordinator != nil {
		if err := cfg.Coordinator.RegisterResource(ctx, resource{e}); err != nil {
			return nil, fmt.Errorf("saga: %w", err)
		}
	}
	return e, nil
}

// Close refuses new sagas and waits for those that run. When ctx ends first, they
// are stopped where they are: an engine on the same log goes on with them. It does
// not wait for sagas in code that wait for a time or a signal.
func (e *Engine) Close(ctx context.Context) error {
	e.mu.Lock()
	if !e.closing {
		close(e.park)
	}
	e.closing = true
	if e.stopAdopting != nil {
		e.stopAdopting()
	}
	e.mu.Unlock()
	done := make(chan struct{})
	go func() { defer close(done); e.work.Wait() }()
	var err error
	select {
	case <-done:
	case <-ctx.Done():
		err = fmt.Errorf("saga: stopped while sagas were running; Recover goes on with them: %w", context.Cause(ctx))
	}
	e.mu.Lock()
	e.closed = true
	for _, l := range e.running {
		l.stop()
	}
	e.mu.Unlock()
	<-done
	return err
}

// Define reads a state machine and keeps it in the store: instances refer to the
// definition that they were started with. The error of a bad text is a
// *statelang.Error that tells every mistake.
func (e *Engine) Define(ctx context.Context, text []byte) (*statelang.Machine, error) {
	m, err := statelang.Parse(text)
	if err != nil {
		return nil, err
	}
	compiled, err := machine.Compile(m)
	if err != nil {
		return nil, err
	}
	d, err := e.cfg.Store.Define(ctx, sagalog.Definition{
		ID: sagalog.NewID(time.Now()), Name: m.Name, Tenant: e.cfg.Tenant, App: e.cfg.Application, Comment: m.Comment,
		Version: m.Version, RecoverStrategy: string(m.RecoverStrategy), Content: m.Content, Created: time.Now().Truncate(time.Millisecond),
	})
	if err != nil {
		return nil, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	p := &program{Program: compiled, id: d.ID}
	e.programs[d.ID], e.newest[m.Name] = p, p
	return m, nil
}

// programOf returns the machine of a name as Define left it, or as the store has it.
func (e *Engine) programOf(ctx context.Context, name string) (*program, error) {
	e.mu.Lock()
	p := e.newest[name]
	e.mu.Unlock()
	if p != nil {
		return p, nil
	}
	d, err := e.cfg.Store.Newest(ctx, e.cfg.Tenant, name)
	if errors.Is(err, sagalog.ErrNotFound) {
		return nil, fmt.Errorf("saga: state machine %q: %w; Define it first", name, sagalog.ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("saga: %w", err)
	}
	return e.keep(d, true)
}

func (e *Engine) programByID(ctx context.Context, id string) (*program, error) {
	e.mu.Lock()
	p := e.programs[id]
	e.mu.Unlock()
	if p != nil {
		return p, nil
	}
	d, err := e.cfg.Store.ByID(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("saga: %w", err)
	}
	return e.keep(d, false)
}

func (e *Engine) keep(d sagalog.Definition, newest bool) (*program, error) {
	if d.Type == sagalog.Code {
		return e.keepCode(d), nil
	}
	m, err := statelang.Parse([]byte(d.Content))
	if err != nil {
		return nil, fmt.Errorf("saga: definition %s of %q: %w", d.ID, d.Name, err)
	}
	compiled, err := machine.Compile(m)
	if err != nil {
		return nil, fmt.Errorf("saga: definition %s of %q: %w", d.ID, d.Name, err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	p := &program{Program: compiled, id: d.ID}
	e.programs[d.ID] = p
	if newest {
		e.newest[d.Name] = p
	}
	return p, nil
}

// Saga is an instance as it stands.
type Saga struct {
	ID, Machine, BusinessKey string
	// Status is how its way forward ended, Compensation how undoing it did; empty
	// if nothing was to be undone.
	Status, Compensation machine.Status
	// Failure is the error that ended it, or nil.
	Failure *machine.Failure
	// Variables are those at the end, or so far.
	Variables map[string]any
	// States are the runs of its states in the order of their start. They must not
	// be changed.
	States []*machine.Row
	// Running: it has not ended.
	Running bool
}

func outcome(x *machine.Execution) *Saga {
	i := x.Instance
	variables := maps.Clone(x.Variables())
	delete(variables, machine.VarElements)
	return &Saga{ID: i.ID, Machine: x.Machine().Name, BusinessKey: i.BusinessKey, Status: i.Status, Compensation: i.Compensation,
		Failure: i.Failure, Variables: variables, States: x.Rows, Running: i.Live}
}

// StartOptions are for one saga.
type StartOptions struct {
	// BusinessKey is unique among the sagas of the tenant, if given: a second
	// start with it fails with sagalog.ErrExists.
	BusinessKey string
}

// Run is a saga under way.
type Run struct {
	// ID is the saga's.
	ID   string
	done chan struct{}
	saga *Saga
	err  error
}

// Wait returns the saga once it has ended. If ctx ends first, the saga goes on.
func (r *Run) Wait(ctx context.Context) (*Saga, error) {
	select {
	case <-r.done:
		return r.saga, r.err
	case <-ctx.Done():
		return nil, fmt.Errorf("saga %s goes on: %w", r.ID, context.Cause(ctx))
	}
}

// Start runs a machine and returns how it ended: a saga whose services failed is
// no error, its Status tells. An error means that the saga did not begin, that the
// machine is at fault (ErrFault, with the Saga), or that its end is not known yet.
// If ctx ends first, the saga goes on.
func (e *Engine) Start(ctx context.Context, name string, params map[string]any, o StartOptions) (*Saga, error) {
	r, err := e.StartAsync(ctx, name, params, o)
	if err != nil {
		return nil, err
	}
	return r.Wait(ctx)
}

// StartAsync begins a saga; its first row is in the log when it returns. After an
// error that wraps sagalog.ErrUnanswered it may have begun, and goes on then: repeat
// it only with a BusinessKey, which tells. After any other error it has not begun.
func (e *Engine) StartAsync(ctx context.Context, name string, params map[string]any, o StartOptions) (*Run, error) {
	p, err := e.programOf(ctx, name)
	if err != nil {
		return nil, err
	}
	if p.code != nil {
		return nil, fmt.Errorf("saga: %s is a saga in code: start it with Flow.Start", name)
	}
	if err := e.ready(p.Machine); err != nil {
		return nil, fmt.Errorf("saga: start %s: %w", name, err)
	}
	own, err := plainCopy(params)
	if err != nil {
		return nil, fmt.Errorf("saga: start %s: parameters: %w", name, err)
	}
	variables, _ := own.(map[string]any)
	inst := &machine.Instance{MachineID: p.id, Tenant: e.cfg.Tenant, BusinessKey: o.BusinessKey, StartParams: variables}
	if inst.ID, err = e.beginID(ctx, p.Machine.Name, p.Machine.Persist, e.cfg.Timeout); err != nil {
		return nil, fmt.Errorf("saga: start %s: %w", name, err)
	}
	life, err := e.claim(ctx, inst.ID)
	if err != nil {
		return nil, err
	}
	d := e.driver(machine.New(p.Program, e.settings(), inst))
	step := d.x.Begin(time.Now())
	err = d.commit(life, &step)
	if errors.Is(err, sagalog.ErrUnanswered) {
		e.launch(life, d, step, err)
		return nil, fmt.Errorf("saga: start %s: saga %s goes on if it has begun: %w", name, inst.ID, err)
	}
	if err != nil {
		e.abandonID(life, inst.ID, p.Machine.Persist)
		e.release(inst.ID)
		return nil, fmt.Errorf("saga: start %s: %w", name, err)
	}
	return e.launch(life, d, step, nil), nil
}

// launch drives a saga in a goroutine of its own. Its first step is committed, or
// unanswered is not nil and the log tells.
func (e *Engine) launch(ctx context.Context, d *driver, step machine.Step, unanswered error) *Run {
	r := &Run{ID: d.x.Instance.ID, done: make(chan struct{})}
	go func() {
		defer close(r.done)
		defer e.release(r.ID)
		err := unanswered
		if err == nil {
			err = d.follow(ctx, step)
		}
		r.err = d.drive(ctx, err)
		r.saga = outcome(d.x)
	}()
	return r
}

// settings are what machines need to know of the engine.
func (e *Engine) settings() machine.Settings {
	return machine.Settings{Timeout: e.cfg.Timeout, RetryUpdate: e.cfg.RetryUpdate, CompensateUpdate: e.cfg.CompensateUpdate,
		NewID: func(string) string { return sagalog.NewID(time.Now()) }}
}

// ready tells whether all functions that a machine calls are there.
func (e *Engine) ready(m *statelang.Machine) error {
	var missing []error
	for _, name := range m.Order {
		s := m.States[name]
		if s.Type == statelang.ScriptTask && s.ScriptType != machine.Groovy && e.cfg.Scripts[s.ScriptType] == nil {
			missing = append(missing, fmt.Errorf("state %s: no runner for scripts of the type %q; add it to Config.Scripts", name, s.ScriptType))
		}
		if s.Type != statelang.ServiceTask {
			continue
		}
		if e.cfg.Invokers[s.ServiceType] != nil {
			continue
		}
		if s.ServiceType != "" && s.ServiceType != springBean {
			missing = append(missing, fmt.Errorf("state %s: %w: no Invoker for the ServiceType %q; add it to Config.Invokers", name, ErrNoService, s.ServiceType))
			continue
		}
		if _, err := e.function(s.ServiceName, s.ServiceMethod); err != nil {
			missing = append(missing, fmt.Errorf("state %s: %w", name, err))
		}
	}
	return errors.Join(missing...)
}

const springBean = "SpringBean"

// claim makes sure that an instance is driven once in this process. The context is
// the run's: it has the values of ctx, such as a trace, and ends with the engine.
func (e *Engine) claim(ctx context.Context, id string) (context.Context, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closing {
		return nil, ErrClosed
	}
	if e.running[id] != nil {
		return nil, fmt.Errorf("saga %s: %w", id, ErrRunning)
	}
	of, stop := context.WithCancel(context.WithoutCancel(ctx))
	e.running[id] = &life{stop: stop, done: make(chan struct{}), undo: make(chan struct{})}
	e.work.Add(1)
	return of, nil
}

func (e *Engine) release(id string) {
	e.mu.Lock()
	e.running[id].stop()
	close(e.running[id].done)
	delete(e.running, id)
	e.mu.Unlock()
	e.work.Done()
}
