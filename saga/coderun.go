package saga

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/qiao-tx/qiao/protocol/xid"
	"github.com/qiao-tx/qiao/saga/history"
	"github.com/qiao-tx/qiao/saga/machine"
)

// codeRun is one run of a saga in code: from its start, or from what the log has of
// it, to its end. One goroutine owns it, and lets its strands run by turns.
type codeRun struct {
	transaction
	code *code
	inst *machine.Instance
	h    *history.History
	life *life
	// limit is when the saga has taken too long.
	limit time.Time
	// replayed is closed when the function has done again what the log has.
	replayed *once

	strands, ready []*strand
	current        atomic.Pointer[strand]
	yielded        chan struct{}
	unwinding      bool
	// now is the time of the last event that the function knows.
	now      time.Time
	versions map[string]int
	// fresh are commands that the strands gave since the last event; open are those
	// that wait, by path; all are those that the function has come to, by path.
	fresh     []*command
	open, all map[string]*command
	// refused is why the function cannot be run.
	refused error
	out     string
	// order is closed when the saga is to be undone where it is; inside is the
	// same for the sagas in it.
	order  <-chan struct{}
	inside chan struct{}
	// undoing: the saga is undone as soon as the function is where the log is.
	undoing bool

	// calls are steps and inner sagas under way.
	results chan ended
	calls   int
}

// once is a channel that is closed once.
type once struct {
	ch chan struct{}
	do sync.Once
}

func (r *codeRun) isReplayed() { r.replayed.do.Do(func() { close(r.replayed.ch) }) }

// newRun returns a run of an instance that the engine has claimed.
func (e *Engine) newRun(c *code, i *machine.Instance, rows []*machine.Row) *codeRun {
	r := &codeRun{transaction: e.transactionOf(i, c.key(), true), code: c, inst: i, h: history.New(rows),
		replayed: &once{ch: make(chan struct{})}, yielded: make(chan struct{}), versions: map[string]int{},
		inside: make(chan struct{}), open: map[string]*command{}, all: map[string]*command{}, results: make(chan ended), undoing: i.Compensation != "", limit: time.Now().Add(c.timeout)}
	at, _ := i.StartParams[codeTime].(int64)
	r.now = time.UnixMilli(at).UTC()
	e.mu.Lock()
	defer e.mu.Unlock()
	if r.life = e.running[i.ID]; r.life != nil {
		r.order = r.life.undo
	}
	return r
}

// errUndo ends the function of a saga that is to be undone where it is.
var errUndo = errors.New("the saga is undone")

// run takes the instance to its end. An error leaves it where the log has it.
func (r *codeRun) run(ctx context.Context) error {
	calls, stopCalls := context.WithCancel(ctx)
	// Strands and calls must not outlive the run.
	defer func() {
		r.unwind()
		stopCalls()
		for ; r.calls > 0; r.calls-- {
			<-r.results
		}
	}()
	in, _ := r.inst.StartParams[codeIn].(string)
	main := r.spawn(nil, "", func(c *Context) (err error) {
		r.out, err = r.code.fn(c, in)
		return err
	})
	for !main.ended {
		if err := r.advance(ctx, calls, main); errors.Is(err, errUndo) {
			stopCalls()
			close(r.inside)
			return r.interrupted(ctx)
		} else if err != nil {
			return err
		}
	}
	if err := r.h.Complete(); err != nil {
		return r.changed(err)
	}
	r.isReplayed()
	return r.returned(ctx, main.err)
}

// advance lets the function run until it waits, makes durable what it has begun, and
// gives it the next result.
func (r *codeRun) advance(ctx, calls context.Context, main *strand) error {
	r.turn()
	if r.refused != nil {
		return r.refused
	}
	if err := r.begin(ctx); err != nil {
		return err
	}
	if main.ended {
		return nil
	}
	rows, err := r.nextResults(ctx, calls)
	for _, row := range rows {
		cmd := r.open[row.ServiceMethod]
		delete(r.open, cmd.place.Path)
		r.now = history.Ended(row)
		r.ready = append(r.ready, cmd.strand)
	}
	return err
}

func (r *codeRun) changed(err error) error {
	var d *history.Difference
	if errors.As(err, &d) {
		return &ChangedError{Saga: r.inst.ID, Flow: r.code.name, Version: r.code.version, Logged: d.Logged, Found: d.Found}
	}
	return err
}

func (r *codeRun) refuse(logged, found history.Place) {
	r.refused = r.changed(&history.Difference{Logged: logged, Found: found})
}

// begin compares the commands that the function gave with the log, and writes those
// that are new, all at once.
func (r *codeRun) begin(ctx context.Context) error {
	var b machine.Batch
	for _, cmd := range r.fresh {
		row, err := r.h.Visit(cmd.place)
		if err != nil {
			return r.changed(err)
		}
		r.open[cmd.place.Path], r.all[cmd.place.Path] = cmd, cmd
		if cmd.row = row; row != nil {
			if until := untilOf(row); !until.IsZero() { // the log knows
				cmd.due = until
			}
			continue
		}
		if r.undoing {
			continue
		}
		cmd.row = &machine.Row{InstanceID: r.inst.ID, Name: cmd.place.Name, Type: string(cmd.place.Kind), ServiceName: r.code.key(),
			ServiceMethod: cmd.place.Path, Started: time.Now().UTC().Truncate(time.Millisecond), Input: cmd.input, Status: machine.Running}
		cmd.row.ForUpdate = cmd.undo != nil
		if err := r.identify(ctx, cmd.row); err != nil {
			return r.stopFor(err, cmd)
		}
		r.h.Number(cmd.row)
		b.Begun = append(b.Begun, cmd.row)
	}
	r.fresh = nil
	if len(b.Begun) == 0 {
		return nil
	}
	for _, row := range b.Begun {
		if cmd := r.open[row.ServiceMethod]; cmd.value != "" { // versions
			r.h.End(row, time.Now(), cmd.value)
			row.Status = machine.Succeeded
			b.Done = append(b.Done, row)
		}
	}
	if err := r.write(ctx, &b); err != nil {
		return err
	}
	for _, row := range b.Begun {
		r.h.Began(row)
	}
	return nil
}

// identify gives a new row its id: that of a branch for what is called.
func (r *codeRun) identify(ctx context.Context, row *machine.Row) (err error) {
	if kind := history.Kind(row.Type); kind != history.Step && kind != history.Child {
		row.ID = r.rowID()
		return nil
	}
	row.ID, err = r.branch(ctx, row.Name)
	return err
}

// stopFor makes the saga undo itself since a step cannot begin.
func (r *codeRun) stopFor(err error, cmd *command) error {
	f := r.failure(err)
	f.Message = fmt.Sprintf("%s cannot begin: %s", cmd.place.Name, f.Message)
	r.inst.Failure = f
	cmd.row = nil
	return errUndo
}

func untilOf(row *machine.Row) time.Time {
	in, _ := row.Input.(map[string]any)
	text, _ := in["until"].(string)
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return time.Time{}
	}
	return t
}

// write makes a batch durable and tells the coordinator.
func (r *codeRun) write(ctx context.Context, b *machine.Batch) error {
	if b.Note == nil && b.Finish == nil { // one that has lost the instance begins nothing
		b.Guard = r.inst
	}
	if err := r.cfg.Store.Write(ctx, b); err != nil {
		return err
	}
	if r.xid != "" && !r.cfg.NoBranches {
		for _, row := range b.Done {
			if kind := history.Kind(row.Type); kind != history.Step && kind != history.Child {
				continue
			}
			origin := row
			for _, other := range r.h.Rows() {
				if other.ID == row.CompensatedFor {
					origin = other
				}
			}
			r.reportBranch(ctx, row, origin, origin)
		}
	}
	r.tellEnd(ctx, b.Finish, r.code.timeout)
	return nil
}

// nextResults returns the rows that end next: as the log has it, and then as things
// go.
func (r *codeRun) nextResults(ctx, calls context.Context) ([]*machine.Row, error) {
	rows, err := r.h.NextEnds()
	if err != nil {
		return nil, r.changed(err)
	}
	if len(rows) > 0 {
		return rows, nil
	}
	if err := r.h.Complete(); err != nil {
		return nil, r.changed(err)
	}
	r.isReplayed()
	if r.undoing {
		return nil, errUndo
	}
	for _, cmd := range r.open {
		if !cmd.launched && cmd.do != nil {
			if cmd.place.Kind == history.Child { // which hears of it by itself
				r.launch(ctx, cmd)
			} else {
				r.launch(calls, cmd)
			}
		}
	}
	end, err := r.await(ctx)
	if err != nil {
		return nil, err
	}
	if err := r.record(ctx, end); err != nil {
		return nil, err
	}
	return []*machine.Row{end.command.row}, nil
}

// launch makes a call in a goroutine of its own.
func (r *codeRun) launch(ctx context.Context, cmd *command) {
	cmd.launched = true
	r.calls++
	go func() {
		end := cmd.do(ctx)
		end.command = cmd
		r.results <- end
	}()
}

// record makes the end of a command durable.
func (r *codeRun) record(ctx context.Context, end ended) error {
	if end.fatal != nil {
		return end.fatal
	}
	row := end.command.row
	row.Status, row.Failure = end.status, end.failure
	r.h.End(row, time.Now(), end.value)
	b := &machine.Batch{Done: []*machine.Row{row}}
	if s := end.signal; s != nil {
		s.Status, s.Ended = machine.Succeeded, row.Ended
		b.Done = append(b.Done, s)
	}
	return r.write(ctx, b)
}

// await waits until a command ends, or something else puts an end to waiting.
func (r *codeRun) await(ctx context.Context) (ended, error) {
	limit := time.NewTimer(time.Until(r.limit))
	defer limit.Stop()
	news := r.listen()
	defer r.unlisten(news)
	for {
		end, wait, err := r.waited(ctx)
		if err != nil || end.command != nil {
			return end, err
		}
		timer := time.NewTimer(wait)
		var park <-chan struct{}
		if r.calls == 0 { // nothing is lost by parking it
			park = r.park
		}
		select {
		case end = <-r.results:
			r.calls--
		case <-timer.C:
		case <-news:
		case <-limit.C:
			r.inst.Failure = &machine.Failure{Class: "Timeout", Message: fmt.Sprintf("it has taken longer than %v", r.code.timeout)}
			err = errUndo
		case <-r.order:
			r.inst.Failure = &machine.Failure{Class: "Compensate", Message: "the outer saga is undone"}
			if r.inst.ParentID == "" {
				r.inst.Failure = r.life.cause
			}
			err = errUndo
		case <-park:
			err = ErrClosed
		case <-ctx.Done():
			err = ErrClosed
		}
		timer.Stop()
		if err == nil && ctx.Err() != nil { // what a call said while it was being stopped says nothing
			err = ErrClosed
		}
		if err != nil || end.command != nil {
			return end, err
		}
	}
}

// longest is how long nothing need be looked at.
const longest = time.Hour

// waited returns a timer or a wait that has ended, or how long to wait for one.
func (r *codeRun) waited(ctx context.Context) (end ended, wait time.Duration, err error) {
	var signals []*machine.Row
	var first *command
	for _, cmd := range r.open {
		if cmd.signal != "" && signals == nil {
			if signals, err = r.cfg.Store.Signals(ctx, []string{r.inst.ID}); err != nil {
				return end, 0, err
			}
		}
		if cmd.signal != "" {
			if s := history.NextSignal(signals, cmd.signal); s != nil && r.before(cmd, end.command) {
				text, _ := s.Input.(string)
				end = ended{command: cmd, value: text, status: machine.Succeeded, signal: s}
			}
		}
		if !cmd.due.IsZero() && (first == nil || cmd.due.Before(first.due)) {
			first = cmd
		}
	}
	if end.command != nil || first == nil {
		return end, longest, nil
	}
	if wait = time.Until(first.due); wait > 0 {
		return end, min(wait, longest), nil
	}
	end = ended{command: first, value: "null", status: machine.Succeeded}
	if first.signal != "" {
		end.status, end.failure = machine.Failed, &machine.Failure{Class: "NoSignal", Message: ErrNoSignal.Error()}
	}
	return end, 0, nil
}

// before tells which of two waits for a signal has it: the one that began first.
func (r *codeRun) before(a, b *command) bool {
	return b == nil || history.Begun(a.row) < history.Begun(b.row)
}

// guard calls something of the application: with its Call in the context, with
// InvokeTimeout, and safe from panics.
func (r *codeRun) guard(ctx context.Context, row *machine.Row, undoes string, f func(ctx context.Context) error) (err error) {
	call := Call{Instance: r.inst.ID, XID: r.xid, State: row.Name, Key: r.inst.ID + ":" + row.ID, Attempt: 1}
	if undoes != "" {
		call.Compensates = r.inst.ID + ":" + undoes
		call.Key = call.Compensates + ":undo"
	}
	ctx, cancel := context.WithTimeout(context.WithValue(ctx, callKey{}, call), r.cfg.InvokeTimeout)
	defer cancel()
	if r.xid != "" {
		ctx = xid.WithBranchType(xid.NewContext(ctx, r.xid), xid.TypeSaga)
	}
	defer func() {
		if v := recover(); v != nil {
			r.cfg.Logger.Error("saga: a step panicked", "saga", r.inst.ID, "step", row.Name, "panic", v, "stack", string(debug.Stack()))
			err = fmt.Errorf("step %s panicked: %v", row.Name, v)
		}
	}()
	return f(ctx)
}
