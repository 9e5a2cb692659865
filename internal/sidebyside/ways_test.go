//go:build linux

package sidebyside

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/internal/testenv"
)

// TestSideBySide is one test, because a Java coordinator takes its time to start.
func TestSideBySide(t *testing.T) {
	servers := testenv.MySQLServers()
	if *long == 0 {
		servers = servers[:1] // the SQL of both is tried by package sqldb
	}
	for _, server := range servers {
		t.Run(server.Name, func(t *testing.T) {
			w := newWorld(t, server)
			java, ours := w.clients()
			w.everyWay(java, ours)
			w.conflicts(java, ours)
			w.timeOuts(java, ours)
			w.lateBranch(java, ours)
			w.overtaken(java, ours)
			w.oursKilled(java, ours)
			w.javaKilled(java, ours)
			w.drainThenMove()
			w.rolling()
			if *long > 0 {
				w.restless(*long)
			}
		})
	}
}

// everyWay begins on one, registers on both, and decides on one.
func (w *world) everyWay(java, ours *side) {
	for _, home := range []*side{java, ours} {
		for _, decider := range []*side{java, ours} {
			for _, decision := range []string{"commit", "rollback"} {
				w.run(fmt.Sprintf("begun on %s, %s on %s", home.name, decision, decider.name), func() {
					one, two := w.money(1), w.money(2)
					x := home.begin(time.Minute)
					require.Empty(w.t, java.add(x, 1, 5).Error)
					require.Empty(w.t, ours.add(x, 2, 5).Error)
					require.Empty(w.t, ours.add(x, 1, 5).Error)
					require.Empty(w.t, java.add(x, 2, 5).Error)
					tried := []int64{java.try(x), ours.try(x)}
					status := decider.decide(x, decision)
					w.settled(x)
					events := append(java.events(), ours.events()...)
					if decision == "commit" {
						require.Contains(w.t, []string{"Committed", "Committing"}, status)
						require.Equal(w.t, []int64{one + 10, two + 10}, []int64{w.money(1), w.money(2)})
						w.called(events, "confirm", tried)
					} else {
						require.Equal(w.t, "Rollbacked", status)
						require.Equal(w.t, []int64{one, two}, []int64{w.money(1), w.money(2)})
						w.called(events, "cancel", tried)
					}
				})
			}
		}
	}
}

// called wants each branch to be told once, and nothing else.
func (w *world) called(events []string, what string, branches []int64) {
	w.t.Helper()
	var want []string
	for _, b := range branches {
		want = append(want, fmt.Sprint(what, " ", b))
	}
	events = slices.DeleteFunc(events, func(e string) bool { return strings.HasPrefix(e, "try ") })
	require.ElementsMatch(w.t, want, events)
}

// conflicts: a row that is locked through one coordinator is locked on the other.
func (w *world) conflicts(java, ours *side) {
	for _, c := range []struct{ holder, other *side }{{java, ours}, {ours, java}} {
		w.run("a row locked on "+c.holder.name, func() {
			before := w.money(3)
			x, y := c.holder.begin(time.Minute), c.other.begin(time.Minute)
			require.Empty(w.t, c.holder.add(x, 3, 1).Error)
			require.Contains(w.t, c.other.add(y, 3, 1).Error, "LockConflict")
			require.Contains(w.t, []string{"Committed"}, c.other.decide(x, "commit"))
			w.settled(x)
			require.Empty(w.t, c.other.add(y, 3, 1).Error)
			require.Equal(w.t, "Rollbacked", c.holder.decide(y, "rollback"))
			w.settled(y)
			require.Equal(w.t, before+1, w.money(3))
		})
	}
}

// timeOuts: what is out of time is rolled back once, whoever began it.
func (w *world) timeOuts(java, ours *side) {
	w.run("out of time", func() {
		before := w.money(4)
		onJava, onOurs := java.begin(2*time.Second), ours.begin(2*time.Second)
		require.Empty(w.t, ours.add(onJava, 4, 1).Error)
		require.Empty(w.t, java.add(onOurs, 5, 1).Error)
		tried := []int64{java.try(onJava), ours.try(onOurs)}
		w.settled(onJava)
		w.settled(onOurs)
		require.Equal(w.t, before, w.money(4))
		w.called(append(java.events(), ours.events()...), "cancel", tried)
		assert.Contains(w.t, []string{"TimeoutRollbacked", "TimeoutRollbacking", "Finished"}, ours.decide(onJava, "commit"))
	})
}
