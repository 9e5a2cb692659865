package sim

import (
	"iter"
	"slices"
	"time"
)

// task is work of a node that may wait for the store: a coroutine that runs
// only while the world lets it, and parks at every call of the store.
type task struct {
	next  func() (struct{}, bool)
	yield func(struct{}) bool
	// dead: the node crashed. The task runs on to its end without a pause, and
	// the node's seams swallow all it does.
	dead, done bool
}

// spawn starts a task of the node.
func (n *node) spawn(f func()) {
	t := &task{}
	// stop is not needed: every task is run to its end, by a crash if need be.
	t.next, _ = iter.Pull(func(yield func(struct{}) bool) {
		t.yield = yield
		f()
	})
	n.tasks = append(n.tasks, t)
	n.w.after(n.w.between(0, time.Millisecond), func() { n.step(t) })
}

// step lets the task run to its next park.
func (n *node) step(t *task) {
	if t.done {
		return
	}
	if wait := n.stillUntil - n.w.now; wait > 0 && !t.dead {
		n.w.after(wait, func() { n.step(t) })
		return
	}
	n.w.running = t
	_, more := t.next()
	n.w.running = nil
	if more {
		n.w.after(n.storeLatency(), func() { n.step(t) })
		return
	}
	t.done = true
	i := slices.Index(n.tasks, t)
	n.tasks = slices.Delete(n.tasks, i, i+1)
}

// park lets others run before the task goes on.
func (w *world) park() {
	if t := w.running; !t.dead {
		t.yield(struct{}{})
	}
}

// kill ends all tasks of the node.
func (n *node) kill() {
	for len(n.tasks) > 0 {
		t := n.tasks[0]
		t.dead = true
		n.step(t)
	}
}

func (n *node) storeLatency() time.Duration {
	if n.w.chance(n.w.plan.SlowStore) {
		return n.w.between(time.Millisecond, 3*time.Second)
	}
	return n.w.between(10*time.Microsecond, 2*time.Millisecond)
}
