package saga

import (
	"errors"
	"fmt"
	"runtime/debug"
)

// strand is the function of a saga, or a branch of a group in it: a goroutine that
// runs only while all others of the saga wait. So a replay gives the same order of
// everything, also where branches share variables.
type strand struct {
	run *codeRun
	// path is that of the group's branch; empty for the function itself.
	path string
	// n counts what the strand has done.
	n int
	// resume lets it run; false unwinds it.
	resume chan bool
	groups []*Group
	// of is the group that it is a branch of, or nil.
	of    *Group
	ended bool
	err   error
}

// unwound is what a strand panics with that is not to go on.
type unwound struct{}

// spawn makes a strand that is ready to run f.
func (r *codeRun) spawn(of *Group, path string, f func(c *Context) error) *strand {
	s := &strand{run: r, of: of, path: path, resume: make(chan bool)}
	r.strands, r.ready = append(r.strands, s), append(r.ready, s)
	go func() {
		returned := false
		defer func() {
			v := recover()
			if _, ok := v.(unwound); !ok && !returned {
				s.err = r.panicked(v)
			}
			s.ended = true
			r.yielded <- struct{}{}
		}()
		if !<-s.resume {
			panic(unwound{})
		}
		c := &Context{s}
		s.err = f(c)
		for _, g := range s.groups { // those that nobody has waited for
			s.err = errors.Join(s.err, g.Wait())
		}
		returned = true
	}()
	return s
}

func (r *codeRun) panicked(v any) error {
	if v == nil {
		v = "runtime.Goexit"
	}
	r.cfg.Logger.Error("saga: code panicked", "saga", r.inst.ID, "panic", v, "stack", string(debug.Stack()))
	return fmt.Errorf("%s panicked: %v", r.code.name, v)
}

// turn runs the strands that are ready, one after the other, until all wait.
func (r *codeRun) turn() {
	for len(r.ready) > 0 {
		s := r.ready[0]
		r.ready = r.ready[1:]
		r.switchTo(s, true)
		if g := s.of; s.ended && g != nil {
			if g.running--; g.running == 0 && g.waiting {
				g.waiting = false
				r.ready = append(r.ready, g.strand)
			}
		}
	}
}

func (r *codeRun) switchTo(s *strand, goOn bool) {
	r.current.Store(s)
	s.resume <- goOn
	<-r.yielded
	r.current.Store(nil)
}

// park gives way until the strand is ready again.
func (s *strand) park() {
	s.run.yielded <- struct{}{}
	if !<-s.resume {
		panic(unwound{})
	}
}

// unwind ends all strands where they are; their deferred functions run.
func (r *codeRun) unwind() {
	r.unwinding = true
	r.ready = nil
	for i := 0; i < len(r.strands); i++ {
		if s := r.strands[i]; !s.ended {
			r.switchTo(s, false)
		}
	}
}

// use tells that the strand's function does something.
func (s *strand) use() {
	if s.run.current.Load() != s {
		panic("saga: a Context was used outside its function: in a step, in a goroutine, or in another branch of a group; a branch has a Context of its own")
	}
	if s.run.unwinding {
		panic(unwound{})
	}
}

// next returns the path of what the strand does now.
func (s *strand) next() string {
	s.n++
	if s.path == "" {
		return fmt.Sprint(s.n)
	}
	return fmt.Sprintf("%s.%d", s.path, s.n)
}

// Group runs parts of a saga at the same time.
type Group struct {
	strand   *strand
	path     string
	branches []*strand
	running  int
	waiting  bool
}

// Group returns a Group. What it does at the same time are steps, timers, waits and
// sagas; the functions themselves run by turns, and may share variables.
func (c *Context) Group() *Group {
	c.s.use()
	g := &Group{strand: c.s, path: c.s.next()}
	c.s.groups = append(c.s.groups, g)
	return g
}

// Go adds a branch, with a Context of its own. It begins when the function waits.
func (g *Group) Go(f func(c *Context) error) {
	g.strand.use()
	path := fmt.Sprintf("%s.%d", g.path, len(g.branches)+1)
	g.running++
	g.branches = append(g.branches, g.strand.run.spawn(g, path, f))
}

// Wait waits for all branches and returns their errors, joined in the order of Go.
// It is called at the latest when the function returns.
func (g *Group) Wait() error {
	g.strand.use()
	if g.running > 0 {
		g.waiting = true
		g.strand.park()
	}
	var all error
	for _, s := range g.branches {
		all = errors.Join(all, s.err)
	}
	return all
}
