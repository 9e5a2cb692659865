package saga_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/qiao-tx/qiao/saga"
)

// script is the code of a saga as a text, so that stories and random tests can write
// it, and change it under a running saga. Its lines, with words after them:
//
//	step NAME      do and undo it; fails, notdone, refuses (while the world does),
//	               noundo, badundo (while the world refuses), and try: goes on after
//	               its error
//	sleep DURATION, await NAME [DURATION], call FLOW@VERSION
//	version NAME OLDEST NEWEST … end    what is new
//	group … branch … end
//	fail TEXT, halt TEXT, panic TEXT
//
// What the saga has seen is its result.
type script []line

type line struct {
	words    []string
	branches []script
}

func parseScript(text string) script {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	s, rest := parseBlock(lines)
	if len(rest) > 0 {
		panic("too many ends")
	}
	return s
}

func parseBlock(lines []string) (s script, rest []string) {
	for len(lines) > 0 {
		words := strings.Fields(lines[0])
		if len(words) == 0 {
			lines = lines[1:]
			continue
		}
		if words[0] == "end" || words[0] == "branch" {
			return s, lines
		}
		l := line{words: words}
		lines = lines[1:]
		if words[0] == "version" || words[0] == "group" {
			for {
				var b script
				b, lines = parseBlock(lines)
				l.branches = append(l.branches, b)
				end := strings.TrimSpace(lines[0]) == "end"
				lines = lines[1:]
				if end {
					break
				}
			}
		}
		s = append(s, l)
	}
	return s, nil
}

// world is what the steps of scripts act on.
type world struct {
	mu      sync.Mutex
	calls   []string
	keys    map[string]map[string]bool
	refuses bool
	// ended are calls whose end is in the log; again those that came after that.
	ended map[string]bool
	again []string
	flows map[string]*saga.Flow[string, string]
}

func newWorld() *world {
	return &world{refuses: true, keys: map[string]map[string]bool{}, ended: map[string]bool{}, flows: map[string]*saga.Flow[string, string]{}}
}

var errRefused = errors.New("it refuses")

func (w *world) called(ctx context.Context, what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls = append(w.calls, what)
	name, _, _ := strings.Cut(what, "(")
	if name = strings.TrimSpace(name); w.ended[name] && !strings.HasSuffix(name, "x") && !strings.HasSuffix(name, "y") { // which may be of several sagas
		w.again = append(w.again, name)
	}
	call, _ := saga.FromContext(ctx)
	if w.keys[what] == nil {
		w.keys[what] = map[string]bool{}
	}
	w.keys[what][call.Key] = true
}

func (w *world) refusing() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.refuses
}

func (w *world) take() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	defer func() { w.calls = nil }()
	return w.calls
}

// flow makes a script a saga.
func (w *world) flow(name, version string, s script) *saga.Flow[string, string] {
	f := saga.Code(name, version, func(c *saga.Context, in string) (string, error) {
		seen := []string{in}
		err := w.play(c, s, &seen)
		return strings.Join(seen, " "), err
	})
	w.flows[name+"@"+version] = f
	return f
}

func (w *world) play(c *saga.Context, s script, seen *[]string) error {
	for _, l := range s {
		if err := w.playLine(c, l, seen); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) playLine(c *saga.Context, l line, seen *[]string) (err error) {
	saw := func(what string) { *seen = append(*seen, what) }
	arg := strings.Join(l.words[1:], " ")
	switch l.words[0] {
	case "step":
		return w.step(c, l, saw)
	case "sleep":
		before := c.Now()
		c.Sleep(duration(arg))
		if c.Now().Before(before.Add(duration(arg)).Truncate(time.Millisecond)) {
			return fmt.Errorf("slept from %v to %v", before, c.Now())
		}
	case "await":
		var timeout time.Duration
		if len(l.words) > 2 {
			timeout = duration(l.words[2])
		}
		v, err := saga.Await[string](c, l.words[1], timeout)
		if errors.Is(err, saga.ErrNoSignal) {
			v, err = "nothing", nil
		}
		saw(l.words[1] + "=" + v)
		return err
	case "call":
		v, err := w.flows[l.words[1]].Call(c, "inner")
		saw("(" + v + ")")
		return err
	case "version":
		oldest, _ := strconv.Atoi(l.words[2])
		newest, _ := strconv.Atoi(l.words[3])
		n := c.Version(l.words[1], oldest, newest)
		saw(fmt.Sprintf("%s%d", l.words[1], n))
		if n >= 1 {
			return w.play(c, l.branches[0], seen)
		}
	case "group":
		g := c.Group()
		for _, b := range l.branches {
			g.Go(func(c *saga.Context) error { return w.play(c, b, seen) })
		}
		return g.Wait()
	case "fail":
		return errors.New(arg)
	case "halt":
		return saga.Halt(errors.New(arg))
	case "panic":
		panic(arg)
	default:
		return fmt.Errorf("unknown line %q", l.words)
	}
	return nil
}

func duration(text string) time.Duration {
	d, err := time.ParseDuration(text)
	if err != nil {
		panic(err)
	}
	return d
}

func (w *world) step(c *saga.Context, l line, saw func(string)) error {
	name := l.words[1]
	has := func(word string) bool { return strings.Contains(" "+strings.Join(l.words[2:], " ")+" ", " "+word+" ") }
	undo := func(ctx context.Context, result string) error {
		w.called(ctx, "undo "+name+"("+result+")")
		if has("badundo") && w.refusing() {
			return errRefused
		}
		return nil
	}
	if has("noundo") {
		undo = nil
	}
	v, err := saga.Step(c, name, func(ctx context.Context) (string, error) {
		w.called(ctx, name)
		switch {
		case has("fails"), has("refuses") && w.refusing():
			return "", errRefused
		case has("notdone"):
			return "", saga.NotDone(errRefused)
		case has("panics"):
			panic("in the step")
		case has("waits"):
			<-ctx.Done()
			return "", ctx.Err()
		}
		return strings.ToUpper(name), nil
	}, undo)
	if err != nil && !errors.Is(err, errRefused) {
		saw("other")
	}
	if err != nil && has("try") {
		saw(name + "!")
		return nil
	}
	if err == nil {
		saw(v)
	}
	if err != nil && has("halts") {
		return saga.Halt(err)
	}
	return err
}
