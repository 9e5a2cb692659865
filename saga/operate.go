package saga

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/qiao-tx/qiao/saga/machine"
	"github.com/qiao-tx/qiao/saga/sagalog"
)

// load reads an instance and its definition.
func (e *Engine) load(ctx context.Context, id string) (*machine.Log, *program, error) {
	log, err := e.cfg.Store.Load(ctx, id)
	if err != nil {
		return nil, nil, err
	}
	p, err := e.programByID(ctx, log.Instance.MachineID)
	return log, p, err
}

func (e *Engine) reload(ctx context.Context, id string) (*machine.Execution, error) {
	log, p, err := e.load(ctx, id)
	if err != nil {
		return nil, err
	}
	if p.code != nil {
		return nil, fmt.Errorf("saga %s is one in code, not a state machine's", id)
	}
	return machine.Reload(p.Program, e.settings(), log)
}

// shown returns a saga as its log has it.
func (e *Engine) shown(log *machine.Log, p *program) (*Saga, error) {
	if p.code != nil {
		return codeOutcome(log.Instance, log.Rows, p.code), nil
	}
	x, err := machine.Reload(p.Program, e.settings(), log)
	if err != nil {
		return nil, err
	}
	return outcome(x), nil
}

// Get returns a saga as the log has it.
func (e *Engine) Get(ctx context.Context, id string) (*Saga, error) {
	log, p, err := e.load(ctx, id)
	if err != nil {
		return nil, err
	}
	return e.shown(log, p)
}

// ByBusinessKey returns the saga that was started with a business key.
func (e *Engine) ByBusinessKey(ctx context.Context, key string) (*Saga, error) {
	log, err := e.cfg.Store.ByBusinessKey(ctx, e.cfg.Tenant, key)
	if err != nil {
		return nil, err
	}
	p, err := e.programByID(ctx, log.Instance.MachineID)
	if err != nil {
		return nil, err
	}
	return e.shown(log, p)
}

// Forward goes on with a saga that has not succeeded: the state that failed runs
// again. params replace variables. A saga that has succeeded is returned as it is.
func (e *Engine) Forward(ctx context.Context, id string, params map[string]any) (*Saga, error) {
	if saga, err, ok := e.operateCode(ctx, id, params, codeForward); ok {
		return saga, err
	}
	return e.operate(ctx, id, params, func(x *machine.Execution, params map[string]any) (machine.Step, error) {
		return x.Forward(time.Now(), params, false, e.childCompensation(ctx))
	})
}

// SkipAndForward goes on with a saga after the state that failed, as if that state
// had not been there: it is marked SK in the log.
func (e *Engine) SkipAndForward(ctx context.Context, id string, params map[string]any) (*Saga, error) {
	if _, p, err := e.load(ctx, id); err == nil && p.code != nil {
		return nil, fmt.Errorf("saga %s: %w: one in code cannot skip a step", id, machine.ErrDenied)
	}
	return e.operate(ctx, id, params, func(x *machine.Execution, params map[string]any) (machine.Step, error) {
		return x.Forward(time.Now(), params, true, e.childCompensation(ctx))
	})
}

// Compensate undoes what a saga did, the last state first, also after it has
// succeeded. params replace variables. A saga that was undone is returned as it is.
func (e *Engine) Compensate(ctx context.Context, id string, params map[string]any) (*Saga, error) {
	if saga, err, ok := e.operateCode(ctx, id, params, codeCompensate); ok {
		return saga, err
	}
	return e.operate(ctx, id, params, func(x *machine.Execution, params map[string]any) (machine.Step, error) {
		return x.Compensate(time.Now(), params)
	})
}

// operate takes a saga up that is not running. If ctx ends first, it goes on.
func (e *Engine) operate(ctx context.Context, id string, params map[string]any, begin func(*machine.Execution, map[string]any) (machine.Step, error)) (*Saga, error) {
	own, err := plainCopy(params)
	if err != nil {
		return nil, fmt.Errorf("saga %s: parameters: %w", id, err)
	}
	life, err := e.claim(ctx, id)
	if err != nil {
		return nil, err
	}
	r, saga, err := e.takeUp(life, id, func(x *machine.Execution) (machine.Step, error) {
		i := x.Instance
		if i.Live && time.Since(i.Updated) <= e.cfg.Timeout {
			return machine.Step{}, fmt.Errorf("saga %s: %w, in another process or in one that has died", id, ErrRunning)
		}
		variables, _ := own.(map[string]any)
		return begin(x, variables)
	})
	if r == nil {
		e.release(id)
		return saga, err
	}
	return r.Wait(ctx)
}

// takeUp commits the first step of a reloaded saga and drives it. Without a Run the
// caller still has the claim.
func (e *Engine) takeUp(ctx context.Context, id string, begin func(*machine.Execution) (machine.Step, error)) (*Run, *Saga, error) {
	x, err := e.reload(ctx, id)
	if err != nil {
		return nil, nil, err
	}
	if err := e.ready(x.Machine()); err != nil {
		return nil, nil, fmt.Errorf("saga %s: %w", id, err)
	}
	step, err := begin(x)
	if errors.Is(err, machine.ErrDone) {
		return nil, outcome(x), nil
	}
	if err != nil {
		return nil, nil, err
	}
	d := e.driver(x)
	err = d.commit(ctx, &step)
	if err != nil && !errors.Is(err, sagalog.ErrUnanswered) {
		return nil, nil, fmt.Errorf("saga %s: %w", id, err)
	}
	return e.launch(ctx, d, step, err), nil, nil
}

// Recover goes on with all sagas that this node was running when it stopped, and
// with those of nodes that have died, in parallel. Call it when the engine has its
// services and its code. It returns how many there were, when all have ended, or
// when ctx ends; they go on then. For sagas in code, which may wait for days, it does
// not wait. The error tells which could not be taken up. From then on the
// engine looks for sagas of nodes that die.
func (e *Engine) Recover(ctx context.Context) (int, error) {
	logs, err := e.cfg.Store.Interrupted(ctx)
	if err != nil {
		return 0, err
	}
	adopted, err := e.cfg.Store.Adopt(ctx)
	if err != nil {
		return 0, err
	}
	e.adoptFromNowOn(context.WithoutCancel(ctx))
	logs = append(logs, adopted...)
	return len(logs), e.recoverAll(ctx, logs)
}

func (e *Engine) recoverAll(ctx context.Context, logs []*machine.Log) error {
	var mu sync.Mutex
	var failed []error
	var all sync.WaitGroup
	places := make(chan struct{}, e.cfg.Parallel)
	for _, log := range logs {
		places <- struct{}{}
		all.Go(func() {
			defer func() { <-places }()
			if err := e.recoverOne(ctx, log); err != nil {
				mu.Lock()
				defer mu.Unlock()
				failed = append(failed, err)
			}
		})
	}
	all.Wait()
	return errors.Join(failed...)
}

func (e *Engine) recoverOne(ctx context.Context, log *machine.Log) error {
	id := log.Instance.ID
	life, err := e.claim(ctx, id)
	if err != nil {
		if errors.Is(err, ErrRunning) { // it has begun since the log was read
			return nil
		}
		return err
	}
	p, err := e.programByID(life, log.Instance.MachineID)
	if err == nil && p.code != nil {
		return e.recoverCode(life, log, p.code)
	}
	var x *machine.Execution
	if err == nil {
		x, err = machine.Reload(p.Program, e.settings(), log)
	}
	if err == nil {
		err = e.ready(x.Machine())
	}
	if err != nil {
		e.release(id)
		return fmt.Errorf("saga %s is not recovered: %w", id, err)
	}
	d := e.driver(x)
	step := x.Resume(time.Now())
	err = d.commit(life, &step)
	if err != nil && !errors.Is(err, sagalog.ErrUnanswered) {
		e.release(id)
		return fmt.Errorf("saga %s is not recovered: %w", id, err)
	}
	if _, err := e.launch(life, d, step, err).Wait(ctx); err != nil && !errors.Is(err, ErrFault) {
		return err
	}
	return nil
}

// adoptEvery is how often an engine looks for sagas of nodes that have died.
const adoptEvery = 5 * time.Second

func (e *Engine) adoptFromNowOn(ctx context.Context) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.stopAdopting != nil || e.closing {
		return
	}
	ctx, e.stopAdopting = context.WithCancel(ctx)
	e.work.Go(func() {
		for sleep(ctx, adoptEvery) {
			logs, err := e.cfg.Store.Adopt(ctx)
			if err != nil && ctx.Err() == nil {
				e.cfg.Logger.Warn("saga: sagas of nodes that have died", "error", err)
			}
			if len(logs) == 0 {
				continue
			}
			e.work.Go(func() { // some may last, and other nodes may die meanwhile
				if err := e.recoverAll(ctx, logs); err != nil && ctx.Err() == nil {
					e.cfg.Logger.Warn("saga: sagas of nodes that have died", "error", err)
				}
			})
		}
	})
}
