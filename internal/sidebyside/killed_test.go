//go:build linux

package sidebyside

import (
	"time"

	"github.com/stretchr/testify/require"
)

// oursKilled: what this coordinator leaves when it is killed Java finishes.
func (w *world) oursKilled(java, ours *side) {
	w.run("ours is killed", func() {
		w.killed(ours, java, w.ours.Kill)
		w.ours.Restart()
	})
}

// javaKilled: what a killed Java coordinator leaves is finished here. It stays away.
func (w *world) javaKilled(java, ours *side) {
	w.run("Java is killed", func() { w.killed(java, ours, w.java.Kill) })
}

// killed kills the coordinator of dying in the middle of transactions.
func (w *world) killed(dying, other *side, kill func()) {
	var before []int64
	for account := range 6 {
		before = append(before, w.money(10+account))
	}
	open := func(account int, timeout time.Duration) string {
		x := dying.begin(timeout)
		require.Empty(w.t, dying.add(x, 10+account, 1).Error)
		require.Empty(w.t, other.add(x, 10+account, 1).Error)
		return x
	}
	toCommit, toRollBack := open(0, time.Minute), open(1, time.Minute)
	late, decided := open(2, 5*time.Second), open(3, time.Minute)
	confirmed, cancelled := open(4, time.Minute), open(5, time.Minute)
	dying.try(confirmed)
	dying.try(cancelled)
	require.Equal(w.t, "Committed", dying.decide(decided, "commit"))
	kill()
	require.Equal(w.t, "Committed", other.decide(toCommit, "commit"))
	require.Equal(w.t, "Rollbacked", other.decide(toRollBack, "rollback"))
	require.Contains(w.t, []string{"Committed", "Committing"}, other.decide(confirmed, "commit"))
	require.Equal(w.t, "Rollbacked", other.decide(cancelled, "rollback"))
	for i, x := range []string{toCommit, toRollBack, late, decided, confirmed, cancelled} {
		w.settled(x)
		want := before[i]
		if x == toCommit || x == decided || x == confirmed {
			want += 2
		}
		require.Equal(w.t, want, w.money(10+i), i)
	}
	other.events()
}
