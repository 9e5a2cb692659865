//go:build linux

package faults

import (
	"testing"
	"time"

	"github.com/qiao-tx/qiao/internal/testenv"
)

// TestKillTheDatabase kills the server of the debit side under a transfer; the
// resource manager lives on, and the server comes back after the answer.
func TestKillTheDatabase(t *testing.T) {
	t.Parallel()
	server, dsn := testenv.OwnMariaDB(t)
	b := newBank(t, dsn)
	for _, test := range []struct {
		name   string
		mode   string
		commit bool
		// victim reaches the step for the nth time when the server dies.
		victim *process
		step   string
		nth    int
		want   string
	}{
		{"AT before the local commit", modeAT, true, b.debit, beforeLocalCommit, 1, rolledBack},
		{"AT after the local commit", modeAT, true, b.debit, afterLocalCommit, 1, committed},
		{"AT before phase two of a commit", modeAT, true, b.tm, beforeDecision, 1, committed},
		{"AT within phase two of a commit", modeAT, true, b.debit, orderReceived, 1, committed},
		{"AT before phase two of a rollback", modeAT, false, b.tm, beforeDecision, 1, rolledBack},
		{"AT within phase two of a rollback", modeAT, false, b.debit, beforeLocalCommit, 2, rolledBack},
		{"TCC before the local commit", modeTCC, true, b.debit, beforeLocalCommit, 1, rolledBack},
		{"TCC before phase two of a commit", modeTCC, true, b.tm, beforeDecision, 1, committed},
		{"TCC within phase two of a commit", modeTCC, true, b.debit, beforeLocalCommit, 2, committed},
		{"TCC before phase two of a rollback", modeTCC, false, b.tm, beforeDecision, 1, rolledBack},
		{"a call before the local commit", modeCall, true, b.debit, beforeLocalCommit, 1, rolledBack},
		{"a call within its compensation", modeCall, false, b.debit, beforeLocalCommit, 2, rolledBack},
		{"TCC within phase two of a rollback", modeTCC, false, b.debit, beforeLocalCommit, 2, rolledBack},
	} {
		ok := t.Run(test.name, func(t *testing.T) {
			died := make(chan struct{})
			b.arm(test.victim, test.step, test.nth, func() {
				server.Kill()
				close(died)
			})
			o := b.newOrder(test.mode, test.commit, ample)
			answer := b.place(o)
			select {
			case <-died:
			case <-time.After(patience):
				t.Fatalf("the step was never reached; the transfer: %+v", answer)
			}
			server.Restart()
			b.settle(t)
			b.verify(t, o, answer, test.want)
		})
		if !ok {
			return // what follows would fail for this reason
		}
	}
}
