package saga

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/qiao-tx/qiao/protocol/xid"
	"github.com/qiao-tx/qiao/saga/expression"
	"github.com/qiao-tx/qiao/saga/machine"
	"github.com/qiao-tx/qiao/saga/sagalog"
)

// call makes a call and returns its result.
func (d *driver) call(ctx context.Context, c machine.Call) machine.Result {
	result := machine.Result{Row: c.Row}
	var output any
	var err error
	switch c.Kind {
	case machine.CallMachine:
		return d.runChild(ctx, c)
	case machine.CallUndoMachine:
		return d.undoChild(ctx, c)
	case machine.CallScript:
		output, err = d.protect(c.State.Name, func() (any, error) { return d.script(ctx, c) })
	default:
		output, err = d.service(ctx, c)
	}
	if err == nil {
		result.Output, err = d.protect(c.State.Name, func() (any, error) { return d.loggable(output) })
	}
	if err != nil {
		result.Failure = d.failure(err)
	}
	return result
}

// resultTooLong is the class of a result that the log does not take.
const resultTooLong = "ResultTooLong"

// loggable turns a result into what the log would give back.
func (d *driver) loggable(output any) (any, error) {
	v, err := plainCopy(output)
	if err != nil {
		return nil, err
	}
	if n := length(v); n > d.cfg.MaxResult/6 { // it may be too long with all its escapes
		text, err := json.Marshal(v)
		if err != nil {
			return nil, err
		}
		if len(text) > d.cfg.MaxResult {
			return nil, &Exception{Class: resultTooLong,
				Message: fmt.Sprintf("a result of %d bytes; Config.MaxResult is %d: answer with less, such as a key", len(text), d.cfg.MaxResult)}
		}
	}
	return v, nil
}

// length is about that of a value in JSON.
func length(v any) int {
	n := 8
	switch v := v.(type) {
	case string:
		n += len(v)
	case []any:
		for _, item := range v {
			n += length(item)
		}
	case map[string]any:
		for key, item := range v {
			n += len(key) + length(item)
		}
	}
	return n
}

// service calls a service, again after the errors that the state's Retry names.
func (d *driver) service(ctx context.Context, c machine.Call) (any, error) {
	s := c.State
	r := Request{Service: s.ServiceName, Method: s.ServiceMethod, Type: s.ServiceType, ParameterTypes: s.ParameterTypes, Input: c.Input,
		Call: Call{Instance: d.x.Instance.ID, XID: d.xid, State: s.Name, Key: c.Row.InstanceID + ":" + c.Origin.ID}}
	if c.Row.CompensatedFor != "" {
		r.Call.Compensates = r.Call.Key
		r.Call.Key = r.Call.Compensates + ":undo"
	}
	var attempts machine.Attempts
	reached := false
	for {
		r.Call.Attempt++
		output, err := d.attempt(ctx, r)
		if err == nil {
			return output, nil
		}
		f := *d.failure(err)
		reached = reached || f.Network != machine.NotSent || d.cfg.Invokers[r.Type] == nil && !saysNotSent(err)
		if reached && f.Network == machine.NotSent {
			f.Network = machine.NoAnswer
		}
		wait, again := attempts.Next(s.Retry, &f)
		if !again || !sleep(ctx, wait) {
			return nil, &f
		}
	}
}

// saysNotSent: a function of this process was reached, whatever it did not reach
// itself, unless it says otherwise.
func saysNotSent(err error) bool {
	var e *Exception
	return errors.As(err, &e) && e.NotSent
}

func (d *driver) attempt(ctx context.Context, r Request) (any, error) {
	ctx, cancel := context.WithTimeout(context.WithValue(ctx, callKey{}, r.Call), d.cfg.InvokeTimeout)
	defer cancel()
	if d.xid != "" {
		ctx = xid.WithBranchType(xid.NewContext(ctx, d.xid), xid.TypeSaga)
	}
	return d.protect(r.Call.State, func() (any, error) { return d.invoke(ctx, r) })
}

// protect runs code of the application, whose panic is an error of its state.
func (d *driver) protect(state string, run func() (any, error)) (output any, err error) {
	defer func() {
		if v := recover(); v != nil {
			d.cfg.Logger.Error("saga: code of the application panicked", "saga", d.x.Instance.ID, "state", state,
				"panic", v, "stack", string(debug.Stack()))
			output, err = nil, fmt.Errorf("the code of state %s panicked: %v", state, v)
		}
	}()
	return run()
}

func (d *driver) invoke(ctx context.Context, r Request) (any, error) {
	if invoker := d.cfg.Invokers[r.Type]; invoker != nil {
		return invoker.Invoke(ctx, r)
	}
	f, err := d.function(r.Service, r.Method)
	if err != nil {
		return nil, err
	}
	return f.invoke(ctx, r.Input)
}

// script runs a script. As in Seata its variables are the keys of the first input;
// those that have no value are null.
func (d *driver) script(ctx context.Context, c machine.Call) (any, error) {
	variables := map[string]any{}
	if len(c.State.Input) > 0 {
		names, _ := c.State.Input[0].(map[string]any)
		values, _ := c.Input[0].(map[string]any)
		for name := range names {
			variables[name] = values[name]
		}
	}
	if run := d.cfg.Scripts[c.State.ScriptType]; run != nil {
		ctx, cancel := context.WithTimeout(ctx, d.cfg.InvokeTimeout)
		defer cancel()
		return run(ctx, c.State.ScriptContent, variables)
	}
	if c.State.ScriptType != machine.Groovy {
		return nil, fmt.Errorf("no runner for scripts of the type %q; add it to Config.Scripts", c.State.ScriptType)
	}
	script, err := expression.ParseScript(c.State.ScriptContent)
	if err != nil {
		return nil, err
	}
	return script.Run(variables)
}

// firstMap is the parameters of a machine in a machine.
func firstMap(input []any) map[string]any {
	if len(input) > 0 {
		m, _ := input[0].(map[string]any)
		return m
	}
	return nil
}

func childOf(r *machine.Row) string { return r.InstanceID + ":" + r.ID }

// runChild runs a machine in the machine, or goes on with the one that an earlier
// run of the state has begun.
func (d *driver) runChild(ctx context.Context, c machine.Call) machine.Result {
	x, err := d.child(ctx, c)
	if err != nil && x == nil {
		result := machine.Result{Row: c.Row, Failure: d.failure(err)}
		if errors.Is(err, machine.ErrDenied) { // the run that is repeated tells how it stands
			result.Status = c.Origin.Status
		}
		return result
	}
	if err != nil && !errors.Is(err, ErrFault) {
		return machine.Result{Row: c.Row, Failure: d.failure(err)}
	}
	i := x.Instance
	status := machine.Unknown
	switch {
	case c.Mode == machine.Forwarding && i.Status == machine.Succeeded, i.Compensation == "", i.Compensation == machine.Failed:
		status = i.Status
	case i.Compensation == machine.Succeeded:
		status = machine.Failed
	}
	output := map[string]any{}
	for name, v := range i.EndParams {
		output[name] = v
	}
	delete(output, machine.VarElements)
	output[machine.VarSubStatus] = string(status)
	return machine.Result{Row: c.Row, Output: output, Status: status}
}

// child returns the inner execution at its end; with an error it may be nil.
func (d *driver) child(ctx context.Context, c machine.Call) (*machine.Execution, error) {
	if c.Mode != machine.Starting {
		ids, err := d.cfg.Store.Children(ctx, childOf(c.Origin))
		if err != nil {
			return nil, err
		}
		if len(ids) > 0 {
			x, err := d.goOn(ctx, ids[0], c)
			if x == nil || x.Instance.Compensation != machine.Succeeded || c.Mode != machine.Forwarding {
				return x, err
			}
			// It was undone: begin anew.
		}
	}
	if d.depth >= maxDepth {
		return nil, fmt.Errorf("machines are nested more than %d deep: does %s run itself by way of others?", maxDepth, c.State.StateMachineName)
	}
	p, err := d.programOf(ctx, c.State.StateMachineName)
	if err != nil {
		return nil, err
	}
	if err := d.ready(p.Machine); err != nil {
		return nil, err
	}
	inst := &machine.Instance{ID: sagalog.NewID(time.Now()), MachineID: p.id, Tenant: d.x.Instance.Tenant,
		ParentID: childOf(c.Origin), BusinessKey: c.Row.BusinessKey, StartParams: firstMap(c.Input)}
	x := machine.New(p.Program, d.settings(), inst)
	return d.inner(ctx, x, x.Begin(time.Now()))
}

// goOn takes up an inner instance that has begun.
func (d *driver) goOn(ctx context.Context, id string, c machine.Call) (*machine.Execution, error) {
	x, err := d.reload(ctx, id)
	if err != nil {
		return nil, err
	}
	switch {
	case c.Mode == machine.Forwarding && x.Instance.Compensation != machine.Succeeded:
		step, err := x.Forward(time.Now(), firstMap(c.Input), false, d.childCompensation(ctx))
		if errors.Is(err, machine.ErrDone) {
			return x, nil
		}
		if err != nil {
			return nil, err
		}
		return d.inner(ctx, x, step)
	case x.Instance.Live:
		return d.inner(ctx, x, x.Resume(time.Now()))
	}
	return x, nil
}

// inner drives an inner execution within the call of the outer one.
func (d *driver) inner(ctx context.Context, x *machine.Execution, step machine.Step) (*machine.Execution, error) {
	in := &driver{transaction: transaction{d.Engine, d.xid, x.Machine().Name}, x: x, depth: d.depth + 1}
	if err := in.commit(ctx, &step); err != nil {
		return nil, err
	}
	err := in.drive(ctx, in.follow(ctx, step))
	return in.x, err
}

// undoChild compensates the machine that a state has run.
func (d *driver) undoChild(ctx context.Context, c machine.Call) machine.Result {
	result := machine.Result{Row: c.Row}
	ids, err := d.cfg.Store.Children(ctx, childOf(c.Origin))
	if err == nil && len(ids) == 0 {
		err = fmt.Errorf("the machine of state row %s is not in the log", c.Origin.ID)
	}
	var x *machine.Execution
	if err == nil {
		x, err = d.reload(ctx, ids[0])
	}
	if err != nil {
		result.Failure = d.failure(err)
		return result
	}
	step, err := x.Compensate(time.Now(), firstMap(c.Input))
	if err == nil {
		x, err = d.inner(ctx, x, step)
	}
	if err != nil && !errors.Is(err, machine.ErrDone) && !errors.Is(err, ErrFault) {
		result.Failure = d.failure(err)
		return result
	}
	result.Status, result.Output = x.Instance.Compensation, mapOrNil(x.Instance.EndParams)
	return result
}

func mapOrNil(m map[string]any) any {
	if m == nil {
		return nil
	}
	return m
}

// childCompensation returns how the compensation of a row's machine stands.
func (e *Engine) childCompensation(ctx context.Context) func(origin *machine.Row) (machine.Status, error) {
	return func(origin *machine.Row) (machine.Status, error) {
		ids, err := e.cfg.Store.Children(ctx, childOf(origin))
		if err != nil || len(ids) == 0 {
			return "", err
		}
		log, err := e.cfg.Store.Load(ctx, ids[0])
		if err != nil {
			return "", err
		}
		return log.Instance.Compensation, nil
	}
}
