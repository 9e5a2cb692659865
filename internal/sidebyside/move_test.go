//go:build linux

package sidebyside

import (
	"math/rand/v2"
	"time"
)

// drainThenMove moves from this project's coordinator, which is alone, to Java's with
// nothing under way: every transfer that was begun ends as the application was told.
func (w *world) drainThenMove() {
	w.run("drain, then move to Java", func() {
		l := w.startLoad()
		l.goesOn(30)
		l.paused.Lock()
		w.drained()
		w.ours.Stop()
		w.java.Restart()
		l.paused.Unlock()
		l.goesOn(30)
		l.check()
		if n := l.count(unknown); n > 0 {
			w.t.Errorf("of %d transfers the application does not know what became of them", n)
		}
	})
}

// rolling moves from Java's coordinator, which is alone, to ours while the fleet
// works, and back.
func (w *world) rolling() {
	w.run("rolling, from Java and back", func() {
		l := w.startLoad()
		l.goesOn(20)
		w.ours.Restart()
		l.goesOn(40)
		w.java.Stop()
		l.goesOn(40)
		w.java.Restart()
		l.goesOn(40)
		w.ours.Stop()
		l.goesOn(20)
		w.ours.Restart()
		l.check()
	})
}

// restless moves to and fro, with kill -9 as often as with SIGTERM.
func (w *world) restless(howLong time.Duration) {
	w.run("to and fro", func() {
		l := w.startLoad()
		moves := 0
		for began := time.Now(); time.Since(began) < howLong; moves++ {
			end, restart := w.java.Stop, w.java.Restart
			switch rand.IntN(4) {
			case 0:
				end = w.java.Kill
			case 1:
				end, restart = w.ours.Stop, w.ours.Restart
			case 2:
				end, restart = w.ours.Kill, w.ours.Restart
			}
			l.goesOn(rand.IntN(100))
			end()
			l.goesOn(rand.IntN(100))
			restart()
		}
		w.t.Logf("%d times away", moves)
		l.check()
	})
}
