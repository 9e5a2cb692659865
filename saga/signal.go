package saga

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/qiao-tx/qiao/saga/history"
	"github.com/qiao-tx/qiao/saga/machine"
	"github.com/qiao-tx/qiao/saga/sagalog"
)

// ErrEnded: the saga has ended, so a signal to it reaches nobody.
var ErrEnded = errors.New("the saga has ended")

// SignalOptions are for one signal.
type SignalOptions struct {
	// Key makes a signal one of a kind: a second one with the same key, to the
	// same saga, is not delivered. So a Signal whose outcome is not known can be
	// repeated.
	Key string
}

// Signal gives a signal to a saga in code, which Await waits for: now or later, in
// this process or in another. When it returns the signal is in the log; it is
// delivered once. The payload goes through encoding/json.
func (e *Engine) Signal(ctx context.Context, id, name string, payload any, o SignalOptions) error {
	text, err := toJSON(payload)
	if err != nil {
		return fmt.Errorf("saga: signal %q to %s: %w", name, id, err)
	}
	if name == "" || len(name) > 100 {
		return fmt.Errorf("saga: signal %q to %s: want a name of 1 to 100 bytes", name, id)
	}
	log, p, err := e.load(ctx, id)
	if err != nil {
		return fmt.Errorf("saga: signal %q to %s: %w", name, id, err)
	}
	switch {
	case p.code == nil:
		return fmt.Errorf("saga: signal %q to %s: a state machine takes no signals", name, id)
	case !log.Instance.Live && (log.Instance.Status != machine.Unknown || log.Instance.Compensation != ""):
		return fmt.Errorf("saga: signal %q to %s: %w", name, id, ErrEnded)
	}
	now := time.Now()
	row := &machine.Row{ID: sagalog.NewID(now), InstanceID: id, Name: name, Type: string(history.Signal), ServiceName: p.code.key(),
		Started: now.UTC().Truncate(time.Millisecond), Status: machine.Running, Input: text}
	if o.Key != "" {
		sum := sha256.Sum256([]byte(name + "\x00" + o.Key))
		row.ID = "signal-" + hex.EncodeToString(sum[:16])
	}
	err = e.cfg.Store.Write(ctx, &machine.Batch{Begun: []*machine.Row{row}})
	if err != nil && !(o.Key != "" && errors.Is(err, sagalog.ErrExists)) {
		return fmt.Errorf("saga: signal %q to %s: %w", name, id, err)
	}
	e.nudge(id)
	return nil
}

// nudge lets an instance look for signals.
func (e *Engine) nudge(id string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	select {
	case e.waiting[id] <- struct{}{}:
	default:
	}
}

// listen returns what tells of signals while a run waits for some.
func (r *codeRun) listen() chan struct{} {
	for _, cmd := range r.open {
		if cmd.signal != "" {
			news := make(chan struct{}, 1)
			r.mu.Lock()
			defer r.mu.Unlock()
			r.waiting[r.inst.ID] = news
			return news
		}
	}
	return nil
}

func (r *codeRun) unlisten(news chan struct{}) {
	if news != nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.waiting, r.inst.ID)
	}
}

// watchEvery is how often signals are looked for that other processes took in.
const watchEvery = time.Second

// watchSignals looks for signals until the engine closes. The caller holds e.mu.
func (e *Engine) watchSignals(ctx context.Context) {
	if e.watching || e.closing {
		return
	}
	e.watching = true
	e.work.Go(func() {
		ticker := time.NewTicker(watchEvery)
		defer ticker.Stop()
		for {
			select {
			case <-e.park:
				return
			case <-ticker.C:
			}
			e.mu.Lock()
			ids := make([]string, 0, len(e.waiting))
			for id := range e.waiting {
				ids = append(ids, id)
			}
			e.mu.Unlock()
			rows, err := e.cfg.Store.Signals(ctx, ids)
			if err != nil {
				e.cfg.Logger.Warn("saga: signals from other processes", "error", err)
			}
			for _, row := range rows {
				e.nudge(row.InstanceID)
			}
		}
	})
}
