package saga_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/qiao-tx/qiao/saga"
	"github.com/qiao-tx/qiao/saga/history"
	"github.com/qiao-tx/qiao/saga/machine"
	"github.com/qiao-tx/qiao/saga/sagalog"
)

// mortal is a Store of a process that dies before or after its n-th write: from then
// on it does nothing. It notes which calls have their end in the log.
type mortal struct {
	sagalog.Store
	world *world
	mu    sync.Mutex
	left  int
	dead  bool
}

// die tells whether the process is dead at one more point.
func (m *mortal) die() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.left--; m.left == 0 {
		m.dead = true
	}
	return m.dead
}

func (m *mortal) isDead() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.dead
}

func (m *mortal) Write(ctx context.Context, b *machine.Batch) error {
	if m.die() {
		return sagalog.ErrFenced
	}
	if err := m.Store.Write(ctx, b); err != nil {
		return err
	}
	m.world.mu.Lock()
	for _, r := range b.Done {
		if r.CompensatedFor != "" {
			m.world.ended["undo "+r.Name] = true
		} else if history.Kind(r.Type) == history.Step {
			m.world.ended[r.Name] = true
		}
	}
	m.world.mu.Unlock()
	if m.die() {
		return sagalog.ErrFenced
	}
	return nil
}

// writer draws scripts whose steps have different names.
type writer struct {
	t             *rapid.T
	steps, awaits int
}

func (w *writer) script(depth int) (lines []string) {
	for range rapid.IntRange(1, 4).Draw(w.t, "lines") {
		kinds := []string{"step", "step", "step", "sleep 1ms", "await", "version", "call inner@1", "call innerbad@1", "fail"}
		if depth > 0 {
			kinds = append(kinds, "group", "group")
		}
		switch kind := rapid.SampledFrom(kinds).Draw(w.t, "line"); kind {
		case "step":
			w.steps++
			how := rapid.SampledFrom([]string{"", "", "", "noundo", "fails try", "notdone try", "panics try", "fails", "notdone"}).Draw(w.t, "how")
			lines = append(lines, fmt.Sprintf("step s%d %s", w.steps, how))
		case "await":
			w.awaits++
			lines = append(lines, fmt.Sprintf("await w%d", w.awaits))
		case "version":
			w.steps++
			lines = append(lines, fmt.Sprintf("version v%d 0 1", w.steps), fmt.Sprintf("step s%d", w.steps), "end")
		case "fail":
			return append(lines, "fail at the end")
		case "group":
			lines = append(lines, "group")
			for i := range rapid.IntRange(1, 3).Draw(w.t, "branches") {
				if i > 0 {
					lines = append(lines, "branch")
				}
				lines = append(lines, w.script(depth-1)...)
			}
			lines = append(lines, "end")
		default:
			lines = append(lines, kind)
		}
	}
	return lines
}

// ordeal is one saga through deaths.
type ordeal struct {
	*rapid.T
	script string
	awaits int
	store  sagalog.Store
	world  *world
	ended  *saga.Saga
	deaths int
}

// live opens an engine that dies after so many points, and takes the saga as far as
// it comes.
func (o *ordeal) live(points int) {
	ctx := context.Background()
	store := &mortal{Store: o.store, world: o.world, left: points}
	e, err := saga.Open(ctx, saga.Config{Store: store, ErrorNames: map[string]error{"Refused": errRefused}, Logger: quiet()})
	require.NoError(o, err)
	defer func() {
		if o.ended == nil {
			o.deaths++
		}
		stopped, cancel := context.WithCancel(ctx)
		cancel()
		_ = e.Close(stopped)
	}()
	for _, f := range []struct{ name, text string }{{"inner", "step x\nstep y"}, {"innerbad", "step x\nstep y fails"}, {"order", o.script}} {
		require.NoError(o, e.Register(ctx, o.world.flow(f.name, "1", parseScript(f.text))))
	}
	_, err = e.Recover(ctx)
	if store.isDead() {
		return
	}
	require.NoError(o, err)
	s, err := e.ByBusinessKey(ctx, "one")
	if errors.Is(err, sagalog.ErrNotFound) {
		var started *saga.Started[string]
		started, err = o.world.flows["order@1"].Start(ctx, e, "in", saga.StartOptions{BusinessKey: "one"})
		if store.isDead() {
			return
		}
		require.NoError(o, err)
		s = &saga.Saga{ID: started.ID}
	}
	require.NoError(o, err)
	for i := range o.awaits {
		err := e.Signal(ctx, s.ID, fmt.Sprintf("w%d", i+1), "now", saga.SignalOptions{Key: "one"})
		if !errors.Is(err, saga.ErrEnded) && !store.isDead() {
			require.NoError(o, err)
		}
	}
	if store.isDead() { // perhaps by a signal, which the saga would wait for
		return
	}
	s, err = e.Wait(ctx, s.ID)
	if store.isDead() {
		return
	}
	require.NoError(o, err)
	o.ended = s
}

// TestKilledAtEveryWriteOfCode: whatever a saga does, and at whichever write its
// process dies, before or after it, and that of its recovery, too: it ends as without
// a death, each step is called at least once and never after its end is in the log,
// always with the same key, and what was done is undone in the reverse order of the
// log.
func TestKilledAtEveryWriteOfCode(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := &writer{t: t}
		script := strings.Join(w.script(2), "\n")
		through := func(points ...int) *ordeal {
			o := &ordeal{T: t, script: script, awaits: w.awaits, store: sagalog.NewMemory(), world: newWorld()}
			for _, n := range append(points, 1<<30) {
				if o.ended == nil {
					o.live(n)
				}
			}
			require.NotNil(t, o.ended)
			o.check()
			return o
		}
		want := through()
		for point := 1; ; point++ {
			got := through(point, 1+point/2)
			require.Equal(t, want.end(), got.end(), "killed at %d", point)
			require.Equal(t, want.steps(), got.steps(), "killed at %d", point)
			if got.deaths == 0 {
				break
			}
		}
	})
}

// end is how the saga ended; branches see things in any order.
func (o *ordeal) end() string {
	out, _ := o.ended.Variables["out"].(string)
	words := strings.Fields(strings.NewReplacer(`"`, " ", "(", " ", ")", " ").Replace(out))
	slices.Sort(words)
	message := ""
	if o.ended.Failure != nil {
		message = o.ended.Failure.Message
	}
	return fmt.Sprintf("%s/%s %v %s", o.ended.Status, o.ended.Compensation, words, message)
}

// steps are the runs that the log has, and how they ended.
func (o *ordeal) steps() []string {
	var all []string
	for _, r := range o.ended.States {
		if history.Kind(r.Type) == history.Signal { // one may come after the end
			continue
		}
		all = append(all, fmt.Sprintf("%s %s %s %s", r.Type, r.ServiceMethod, r.Name, r.Status))
	}
	slices.Sort(all)
	return all
}

func (o *ordeal) check() {
	require.False(o, o.ended.Running)
	require.Empty(o, o.world.again, "steps that were called after their end was in the log")
	var first []string // calls, each once
	count := map[string]int{}
	for _, call := range o.world.calls {
		name, _, _ := strings.Cut(call, "(")
		if count[name]++; count[name] == 1 {
			first = append(first, name)
		}
	}
	var forward []*machine.Row
	var undone []string
	for _, r := range o.ended.States {
		kind := history.Kind(r.Type)
		if kind != history.Step && kind != history.Child {
			continue
		}
		name := r.Name
		if r.CompensatedFor != "" {
			name = "undo " + name
			undone = append(undone, r.ServiceMethod)
		} else {
			forward = append(forward, r)
		}
		require.True(o, r.Finished(), name)
		if kind == history.Step {
			require.GreaterOrEqual(o, count[name], 1, name)
			require.LessOrEqual(o, count[name], 1+o.deaths, name)
			for call, keys := range o.world.keys {
				if n, _, _ := strings.Cut(call, "("); n == name {
					require.Len(o, keys, 1, "all calls of %s have one key", name)
				}
			}
		}
	}
	if o.ended.Compensation == "" {
		require.Empty(o, undone)
		return
	}
	var want, wantCalls []string
	for _, r := range slices.Backward(forward) {
		if r.ForUpdate && r.Status != machine.Failed {
			want = append(want, "undo "+r.ServiceMethod)
			if history.Kind(r.Type) == history.Step {
				wantCalls = append(wantCalls, "undo "+r.Name)
			}
		}
	}
	require.Equal(o, want, undone)
	var calls []string
	for _, name := range first {
		if strings.HasPrefix(name, "undo s") {
			calls = append(calls, name)
		}
	}
	require.Equal(o, wantCalls, calls)
}

// openCode makes the engine of a saga in code whose steps write to a file.
func openCode(ctx context.Context, store sagalog.Store, journal string, before func()) (*saga.Engine, *saga.Flow[string, string], error) {
	e, err := saga.Open(ctx, saga.Config{Store: store})
	if err != nil {
		return nil, nil, err
	}
	var mu sync.Mutex
	note := func(ctx context.Context, name string) (string, error) {
		before()
		mu.Lock()
		defer mu.Unlock()
		call, _ := saga.FromContext(ctx)
		f, err := os.OpenFile(journal, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			return "", err
		}
		_, err = fmt.Fprintf(f, "%s\t%s\n", name, call.Key)
		return name, errors.Join(err, f.Close())
	}
	step := func(c *saga.Context, name string, fails error) error {
		_, err := saga.Step(c, name, func(ctx context.Context) (string, error) {
			v, err := note(ctx, name)
			return v, errors.Join(err, fails)
		}, func(ctx context.Context, _ string) error {
			_, err := note(ctx, "undo "+name)
			return err
		})
		return err
	}
	hotel := saga.Code("hotel", "1", func(c *saga.Context, nights int) (int, error) {
		return nights, errors.Join(step(c, "room", nil), step(c, "meals", nil))
	})
	trip := saga.Code("trip", "1", func(c *saga.Context, _ string) (string, error) {
		if err := step(c, "plan", nil); err != nil {
			return "", err
		}
		g := c.Group()
		g.Go(func(c *saga.Context) error { _, err := hotel.Call(c, 3); return err })
		g.Go(func(c *saga.Context) error {
			_, err := saga.Await[string](c, "go", 0)
			return err
		})
		if err := g.Wait(); err != nil {
			return "", err
		}
		return "", step(c, "flight", errFull)
	})
	return e, trip, e.Register(ctx, hotel, trip)
}

// codeVictim is the process that kills itself in the middle of a saga in code.
func codeVictim(part []string) {
	ctx := context.Background()
	steps, err := strconv.Atoi(part[3])
	must(err)
	count := &counter{n: steps}
	db, err := openDB(part[0])
	must(err)
	store, err := sagalog.OpenSQL(ctx, sagalog.Config{DB: db})
	must(err)
	e, trip, err := openCode(ctx, killer{store, count}, part[1], count.step)
	must(err)
	must(finishTrip(ctx, e, trip))
	must(e.Close(ctx))
	os.Exit(0)
}

// finishTrip recovers or starts the one saga and waits for its end.
func finishTrip(ctx context.Context, e *saga.Engine, trip *saga.Flow[string, string]) error {
	if _, err := e.Recover(ctx); err != nil {
		return err
	}
	id := ""
	if s, err := e.ByBusinessKey(ctx, "one"); err == nil {
		id = s.ID
	} else if errors.Is(err, sagalog.ErrNotFound) {
		started, err := trip.Start(ctx, e, "", saga.StartOptions{BusinessKey: "one"})
		if err != nil {
			return err
		}
		id = started.ID
	} else {
		return err
	}
	if err := e.Signal(ctx, id, "go", "now", saga.SignalOptions{Key: "one"}); err != nil && !errors.Is(err, saga.ErrEnded) {
		return err
	}
	_, err := e.Wait(ctx, id)
	return err
}

// TestCodeIsKilledForReal kills the process of a saga in code with SIGKILL, and that
// of its recovery, with the log on SQLite.
func TestCodeIsKilledForReal(t *testing.T) {
	step := 1
	for ; ; step += 1 + step/6 {
		dir := t.TempDir()
		survived := kill(t, dir, "code", step)
		if !survived {
			kill(t, dir, "code", 1+step/2)
		}
		e, trip, err := openCode(t.Context(), openSQLite(t, filepath.Join(dir, "saga.db"), ""), filepath.Join(dir, "journal"), func() {})
		require.NoError(t, err)
		require.NoError(t, finishTrip(t.Context(), e, trip))
		s, err := e.ByBusinessKey(t.Context(), "one")
		require.NoError(t, err)
		assert.Equal(t, "FA/SU", string(s.Status)+"/"+string(s.Compensation))
		require.NoError(t, e.Close(t.Context()))
		names, keys := readJournal(t, filepath.Join(dir, "journal"))
		var first []string
		for _, n := range names {
			if !slices.Contains(first, n) {
				first = append(first, n)
			}
		}
		assert.Equal(t, []string{"plan", "room", "meals", "flight", "undo flight", "undo meals", "undo room", "undo plan"}, first)
		for name, of := range keys {
			assert.Len(t, of, 1, name)
		}
		if survived {
			assert.Len(t, names, len(first), "nothing is called twice")
			break
		}
	}
	assert.Greater(t, step, 20)
}
