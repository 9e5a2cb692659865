//go:build linux

package sidebyside

// rolling moves the fleet from one coordinator to the other while it works, and back.
func (w *world) rolling() {
	w.run("rolling, from Java and back", func() {
		w.ours.Stop()
		l := w.startLoad()
		l.goesOn(20)
		w.ours.Restart()
		l.goesOn(40)
		w.java.Stop()
		l.goesOn(60)
		w.java.Restart()
		l.goesOn(40)
		w.ours.Stop()
		l.goesOn(20)
		w.ours.Restart()
		l.check()
	})
}

// drainThenMove stops new transactions before it changes the coordinator: nothing is
// lost, and every transfer that was begun ends as the application was told.
func (w *world) drainThenMove() {
	w.run("drain, then move, to Java and back", func() {
		l := w.startLoad()
		l.goesOn(20)
		l.paused.Lock()
		w.drained()
		w.ours.Stop()
		l.paused.Unlock()
		l.goesOn(20)
		l.paused.Lock()
		w.drained()
		w.java.Stop()
		w.ours.Restart()
		l.paused.Unlock()
		l.goesOn(20)
		l.check()
		w.java.Restart()
	})
}
