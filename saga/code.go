package saga

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/qiao-tx/qiao/saga/history"
	"github.com/qiao-tx/qiao/saga/machine"
	"github.com/qiao-tx/qiao/saga/sagalog"
)

// Errors of sagas in code.
var (
	// ErrChanged: the function does not do what the log of the saga says that it
	// did. The error is a *ChangedError. The saga stays where it is.
	ErrChanged = errors.New("the code of the saga has changed")
	// ErrNotRegistered: this engine does not have the code of the saga, or not in
	// its version.
	ErrNotRegistered = errors.New("the saga's code is not registered")
	// ErrNoSignal: Await has waited as long as it should.
	ErrNoSignal = errors.New("no signal has come")
)

// ChangedError tells where the code of a saga and its log differ.
type ChangedError struct {
	Saga, Flow, Version string
	// Logged is what the log has, Found what the code comes to.
	Logged, Found history.Place
}

func (e *ChangedError) Error() string {
	return fmt.Sprintf("saga %s of %s, version %s: the code has changed: %v; run the code that it began with, register the new code as another version, or ask Context.Version before what is new",
		e.Saga, e.Flow, e.Version, &history.Difference{Logged: e.Logged, Found: e.Found})
}

func (e *ChangedError) Unwrap() error { return ErrChanged }

// Flow is a saga that is written as a Go function. Make it with Code, and give it to
// Engine.Register in each process that starts such sagas or may recover them.
type Flow[In, Out any] struct {
	// Timeout bounds a saga from its start, or from where it was taken up again:
	// one that has not ended then is undone. It must be longer than what the saga
	// waits for. Zero means Config.Timeout. Set it before Register.
	Timeout       time.Duration
	name, version string
	fn            func(c *Context, in In) (Out, error)
}

// Code makes a function a saga. The function must be deterministic: what it does
// may depend only on its input and on what the Context and the functions of this
// package give it. All else, also the time, random numbers and goroutines, belongs
// into steps. Whatever crashes, the function is run again from its start and gets
// what the log has, until it comes to what was not done yet.
//
// A saga goes on with the version that it began with. In and Out, and what steps
// return, go through encoding/json.
func Code[In, Out any](name, version string, fn func(c *Context, in In) (Out, error)) *Flow[In, Out] {
	return &Flow[In, Out]{name: name, version: version, fn: fn}
}

// Registrable is a *Flow.
type Registrable interface{ code() *code }

// code is a Flow without its types: JSON in, JSON out.
type code struct {
	name, version, id string
	timeout           time.Duration
	// fn is nil if this process does not have the code.
	fn func(c *Context, in string) (string, error)
}

func (f *Flow[In, Out]) code() *code {
	return &code{name: f.name, version: f.version, timeout: f.Timeout, fn: func(c *Context, in string) (string, error) {
		var v In
		if err := json.Unmarshal([]byte(in), &v); err != nil {
			return "", fmt.Errorf("the input of %s: %w", f.name, err)
		}
		out, err := f.fn(c, v)
		if err != nil {
			return "", err
		}
		return toJSON(out)
	}}
}

func toJSON(v any) (string, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return "", fmt.Errorf("a value that cannot be logged: %w", err)
	}
	return string(text), nil
}

func (c *code) key() string { return c.name + "@" + c.version }

// Register gives the engine code that it can run. Several versions of one name may
// be there: keep the old one until its sagas have ended. It writes a definition
// named name@version to the store.
func (e *Engine) Register(ctx context.Context, flows ...Registrable) error {
	for _, f := range flows {
		if err := e.register(ctx, f.code()); err != nil {
			return err
		}
	}
	return nil
}

func (e *Engine) register(ctx context.Context, c *code) error {
	switch {
	case c.name == "" || c.version == "" || len(c.key()) > 100 || strings.ContainsAny(c.key(), "#:"):
		return fmt.Errorf("saga: register %q, version %q: want a name and a version, 99 bytes at most together, without the characters # and : in them", c.name, c.version)
	case len(c.version) > 16:
		return fmt.Errorf("saga: register %q, version %q: want a version of 16 bytes at most", c.name, c.version)
	case c.timeout < 0:
		return fmt.Errorf("saga: register %q: Timeout %v: want more than 0", c.name, c.timeout)
	case c.timeout == 0:
		c.timeout = e.cfg.Timeout
	}
	content, err := json.Marshal(map[string]string{"Name": c.name, "Version": c.version, "Language": "Go"})
	if err != nil {
		return err
	}
	now := time.Now()
	d, err := e.cfg.Store.Define(ctx, sagalog.Definition{ID: sagalog.NewID(now), Name: c.key(), Tenant: e.cfg.Tenant, App: e.cfg.Application,
		Version: c.version, Content: string(content), Type: sagalog.Code, Created: now.Truncate(time.Millisecond)})
	if err != nil {
		return fmt.Errorf("saga: register %s: %w", c.key(), err)
	}
	c.id = d.ID
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.codes[c.key()] != nil {
		return fmt.Errorf("saga: register %s: it is registered already", c.key())
	}
	e.codes[c.key()] = c
	e.programs[c.id] = &program{code: c, id: c.id}
	e.watchSignals(context.WithoutCancel(ctx))
	return nil
}

// keepCode returns the program of a definition whose code this process may not have.
func (e *Engine) keepCode(d sagalog.Definition) *program {
	e.mu.Lock()
	defer e.mu.Unlock()
	if c := e.codes[d.Name]; c != nil { // another process has defined it, too
		return &program{code: c, id: d.ID}
	}
	name, _, _ := strings.Cut(d.Name, "@")
	return &program{code: &code{name: name, version: d.Version, id: d.ID, timeout: e.cfg.Timeout}, id: d.ID}
}

// have fails if the code is not there.
func (e *Engine) have(c *code, id string) error {
	if c.fn != nil {
		return nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	var versions []string
	for _, other := range e.codes {
		if other.name == c.name {
			versions = append(versions, other.version)
		}
	}
	return fmt.Errorf("saga %s of %s began with version %s, registered are %q: %w; register that version too, until its sagas have ended",
		id, c.name, c.version, versions, ErrNotRegistered)
}

// Started is a saga under way, or one that has ended.
type Started[Out any] struct {
	// ID is the saga's, its XID under a coordinator.
	ID  string
	run *Run
}

// Wait returns the result of a saga once it has ended: an error that is a
// *FailedError if it has failed. If ctx ends first, the saga goes on.
func (s *Started[Out]) Wait(ctx context.Context) (Out, error) {
	return result[Out](s.run.Wait(ctx))
}

func result[Out any](s *Saga, err error) (Out, error) {
	var out Out
	if err != nil {
		return out, err
	}
	if s.Status != machine.Succeeded || s.Compensation != "" {
		return out, &FailedError{Saga: s}
	}
	text, _ := s.Variables[codeOut].(string)
	if err := json.Unmarshal([]byte(text), &out); err != nil {
		return out, fmt.Errorf("saga %s: its result: %w", s.ID, err)
	}
	return out, nil
}

// Start begins a saga; it is in the log when Start returns. It may be repeated
// after an error if a BusinessKey tells whether it had begun after all.
func (f *Flow[In, Out]) Start(ctx context.Context, e *Engine, in In, o StartOptions) (*Started[Out], error) {
	text, err := toJSON(in)
	if err != nil {
		return nil, fmt.Errorf("saga: start %s: %w", f.name, err)
	}
	r, err := e.startCode(ctx, f.name+"@"+f.version, text, o)
	if err != nil {
		return nil, err
	}
	return &Started[Out]{ID: r.ID, run: r}, nil
}

// Run begins a saga and waits for its result, as Start and Wait.
func (f *Flow[In, Out]) Run(ctx context.Context, e *Engine, in In, o StartOptions) (Out, error) {
	s, err := f.Start(ctx, e, in, o)
	if err != nil {
		var none Out
		return none, err
	}
	return s.Wait(ctx)
}

// Result waits for a saga that was begun earlier, also by another process, and
// returns what Wait would have. While another process runs it the error is ErrRunning.
func (f *Flow[In, Out]) Result(ctx context.Context, e *Engine, id string) (Out, error) {
	return result[Out](e.Wait(ctx, id))
}

// Wait returns a saga once it has ended. While another process runs it the error is
// ErrRunning.
func (e *Engine) Wait(ctx context.Context, id string) (*Saga, error) {
	e.mu.Lock()
	l := e.running[id]
	e.mu.Unlock()
	if l != nil {
		select {
		case <-l.done:
			if l.err != nil {
				return nil, l.err
			}
		case <-ctx.Done():
			return nil, fmt.Errorf("saga %s goes on: %w", id, context.Cause(ctx))
		}
	}
	s, err := e.Get(ctx, id)
	if err == nil && s.Running {
		return nil, fmt.Errorf("saga %s: %w, in another process or in one that was stopped", id, ErrRunning)
	}
	return s, err
}

// FailedError is how a saga in code ended that has not succeeded, or was undone.
type FailedError struct{ Saga *Saga }

func (e *FailedError) Error() string {
	s := e.Saga
	text := fmt.Sprintf("saga %s of %s", s.ID, s.Machine)
	if s.Status == machine.Unknown {
		text += " has halted"
	} else if s.Status != machine.Succeeded {
		text += " has failed"
	}
	if s.Failure != nil {
		text += ": " + s.Failure.Message
	}
	switch s.Compensation {
	case machine.Succeeded:
		text += "; it was undone"
	case machine.Failed:
		text += "; it could not be undone: Engine.Compensate tries again"
	}
	return text
}

// Keys of the parameters in the log.
const (
	codeIn   = "in"
	codeOut  = "out"
	codeTime = "at" // milliseconds since 1970
)

func codeOutcome(i *machine.Instance, rows []*machine.Row, c *code) *Saga {
	return &Saga{ID: i.ID, Machine: c.key(), BusinessKey: i.BusinessKey, Status: i.Status, Compensation: i.Compensation,
		Failure: i.Failure, Variables: i.EndParams, States: history.New(rows).Rows(), Running: i.Live}
}

func (e *Engine) startCode(ctx context.Context, key, in string, o StartOptions) (*Run, error) {
	e.mu.Lock()
	c := e.codes[key]
	e.mu.Unlock()
	if c == nil {
		return nil, fmt.Errorf("saga: start %s: %w; give it to Engine.Register", key, ErrNotRegistered)
	}
	id, err := e.beginID(ctx, c.key(), true, c.timeout)
	if err != nil {
		return nil, fmt.Errorf("saga: start %s: %w", key, err)
	}
	life, err := e.claim(ctx, id)
	if err != nil {
		e.abandonID(ctx, id, true)
		return nil, err
	}
	inst := e.newInstance(c, id, in)
	inst.BusinessKey = o.BusinessKey
	if err := e.cfg.Store.Write(life, &machine.Batch{Insert: inst}); err != nil {
		e.abandonID(life, id, true)
		e.release(id)
		return nil, fmt.Errorf("saga: start %s: %w", key, err)
	}
	return e.launchCode(life, e.newRun(c, inst, nil)), nil
}

func (e *Engine) newInstance(c *code, id, in string) *machine.Instance {
	now := time.Now().UTC().Truncate(time.Millisecond)
	return &machine.Instance{ID: id, MachineID: c.id, Tenant: e.cfg.Tenant, Started: now, Updated: now, Status: machine.Running, Live: true,
		StartParams: map[string]any{codeIn: in, codeTime: now.UnixMilli()}}
}

// launchCode drives a saga in code in a goroutine of its own.
func (e *Engine) launchCode(ctx context.Context, r *codeRun) *Run {
	run := &Run{ID: r.inst.ID, done: make(chan struct{})}
	go func() {
		defer close(run.done)
		defer e.release(run.ID)
		r, run.err = e.driveCode(ctx, r)
		r.life.err = run.err
		run.saga = codeOutcome(r.inst, r.h.Rows(), r.code)
	}()
	return run
}

// driveCode takes a run to its end. When the log fails it goes on from what the log
// has, as soon as it can be read, or leaves the saga to a later Recover.
func (e *Engine) driveCode(ctx context.Context, r *codeRun) (*codeRun, error) {
	err := r.run(ctx)
	wait := firstLogWait / 2
	for range logAttempts {
		if err == nil || final(err) || ctx.Err() != nil {
			break
		}
		wait = min(2*wait, longLogWait)
		e.cfg.Logger.Warn("saga: the log failed; trying to go on from it", "saga", r.inst.ID, "error", err)
		if !sleep(ctx, wait) {
			break
		}
		var log *machine.Log
		if log, err = e.cfg.Store.Load(ctx, r.inst.ID); err != nil {
			continue
		}
		again := e.newRun(r.code, log.Instance, log.Rows)
		again.replayed, again.limit = r.replayed, r.limit
		if r = again; log.Instance.Live {
			err = r.run(ctx)
		}
	}
	if err != nil && ctx.Err() != nil && !errors.Is(err, ErrClosed) {
		err = fmt.Errorf("%w: %w", ErrClosed, err)
	}
	if err != nil && !errors.Is(err, ErrChanged) {
		err = fmt.Errorf("saga %s: %w", r.inst.ID, err)
	}
	return r, err
}

// recoverCode goes on with a saga that was interrupted. It returns when the
// function has done again what it had done.
func (e *Engine) recoverCode(life context.Context, log *machine.Log, c *code) error {
	id := log.Instance.ID
	if err := e.have(c, id); err != nil {
		e.release(id)
		return fmt.Errorf("saga %s is not recovered: %w", id, err)
	}
	r := e.newRun(c, log.Instance, log.Rows)
	replayed := r.replayed
	run := e.launchCode(life, r)
	select {
	case <-run.done:
		return run.err
	case <-replayed.ch:
		return nil
	}
}

type codeMode uint8

const (
	codeForward codeMode = iota
	codeCompensate
)

// operateCode takes up a saga in code; ok tells whether it is one.
func (e *Engine) operateCode(ctx context.Context, id string, params map[string]any, mode codeMode) (saga *Saga, err error, ok bool) {
	_, p, err := e.load(ctx, id)
	if err != nil || p.code == nil {
		return nil, nil, false
	}
	if len(params) > 0 {
		return nil, fmt.Errorf("saga %s: one in code takes no parameters when it is taken up again; send it a Signal", id), true
	}
	if mode == codeCompensate && e.undoRunning(id, &machine.Failure{Class: "Compensate", Message: "it was ordered to be undone"}) {
		if saga, err = e.Wait(ctx, id); err != nil || saga.Compensation != "" {
			return saga, err, true
		} // it has ended before it heard of it
	}
	life, err := e.claim(ctx, id)
	if err != nil {
		return nil, err, true
	}
	log, err := e.cfg.Store.Load(ctx, id) // none may have written since it is claimed
	if err == nil {
		err = e.have(p.code, id)
	}
	var b *machine.Batch
	if err == nil {
		b, err = restart(log, p.code, mode)
	}
	if err == nil && b != nil {
		err = e.cfg.Store.Write(life, b)
	}
	if err != nil || b == nil {
		e.release(id)
		if err != nil {
			return nil, fmt.Errorf("saga %s: %w", id, err), true
		}
		return codeOutcome(log.Instance, log.Rows, p.code), nil, true
	}
	saga, err = e.launchCode(life, e.newRun(p.code, log.Instance, log.Rows)).Wait(ctx)
	return saga, err, true
}

// restart returns what takes an instance up again, or nil if nothing is to be done.
func restart(log *machine.Log, c *code, mode codeMode) (*machine.Batch, error) {
	i := log.Instance
	if i.Live && time.Since(i.Updated) <= c.timeout {
		return nil, fmt.Errorf("%w, in another process or in one that has died", ErrRunning)
	}
	b := &machine.Batch{Restart: i, Before: i.Updated}
	switch {
	case i.Compensation == machine.Succeeded:
		return nil, nil
	case mode == codeCompensate:
		i.Compensation = machine.Running
		if i.Live {
			i.Status = machine.Failed
			i.Failure = &machine.Failure{Class: "Compensate", Message: "it was ordered to be undone"}
		}
	case i.Compensation != "":
		return nil, fmt.Errorf("%w: it is being undone; Compensate goes on with that", machine.ErrDenied)
	case !i.Live && i.Status != machine.Unknown:
		return nil, nil
	default:
		i.Status = machine.Running
		if r := history.LastFailed(log.Rows); r != nil && !i.Live {
			r.Status, r.Ended, r.Output, r.Failure = machine.Running, time.Time{}, nil, nil
			b.Again = append(b.Again, r)
		}
	}
	i.Updated, i.Live = time.Now().UTC().Truncate(time.Millisecond), true
	if !i.Updated.After(b.Before) {
		i.Updated = b.Before.Add(time.Millisecond)
	}
	return b, nil
}

// undoRunning makes a saga that this engine runs undo itself.
func (e *Engine) undoRunning(id string, cause *machine.Failure) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	l := e.running[id]
	if l != nil && l.cause == nil {
		l.cause = cause
		close(l.undo)
	}
	return l != nil
}
