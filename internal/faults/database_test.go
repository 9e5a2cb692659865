//go:build linux

package faults

import (
	"testing"
	"time"

	"github.com/qiao-tx/qiao/internal/testenv"
)

// strike is one way to break a transfer by the death of the debit side's server.
type strike struct {
	name   string
	mode   string
	commit bool
	// victim reaches the step for the nth time when the server dies.
	victim func(*bank) *process
	step   string
	nth    int
	want   string
}

// TestKillTheDatabase kills the server of the debit side under a transfer; the
// resource manager lives on, and the server comes back after the answer.
func TestKillTheDatabase(t *testing.T) {
	t.Parallel()
	server, dsn := testenv.OwnMariaDB(t)
	strikeAll(t, newBank(t, dsn), server, []strike{
		{"AT before the local commit", modeAT, true, debitOf, beforeLocalCommit, 1, rolledBack},
		{"AT after the local commit", modeAT, true, debitOf, afterLocalCommit, 1, committed},
		{"AT before phase two of a commit", modeAT, true, tmOf, beforeDecision, 1, committed},
		{"AT within phase two of a commit", modeAT, true, debitOf, orderReceived, 1, committed},
		{"AT before phase two of a rollback", modeAT, false, tmOf, beforeDecision, 1, rolledBack},
		{"AT within phase two of a rollback", modeAT, false, debitOf, beforeLocalCommit, 2, rolledBack},
		{"TCC before the local commit", modeTCC, true, debitOf, beforeLocalCommit, 1, rolledBack},
		{"TCC before phase two of a commit", modeTCC, true, tmOf, beforeDecision, 1, committed},
		{"TCC within phase two of a commit", modeTCC, true, debitOf, beforeLocalCommit, 2, committed},
		{"TCC before phase two of a rollback", modeTCC, false, tmOf, beforeDecision, 1, rolledBack},
		{"TCC within phase two of a rollback", modeTCC, false, debitOf, beforeLocalCommit, 2, rolledBack},
	})
}

// TestKillThePreparedDatabase is the same under XA: what was prepared is there
// again when the server has come back.
func TestKillThePreparedDatabase(t *testing.T) {
	t.Parallel()
	server, dsn := testenv.OwnMariaDB(t)
	strikeAll(t, newBankFor(t, modeXA, dsn), server, []strike{
		{"after the registration", modeXA, true, debitOf, afterRegister, 1, rolledBack},
		{"before it is prepared", modeXA, true, debitOf, beforeLocalCommit, 1, rolledBack},
		{"after it is prepared", modeXA, true, debitOf, afterLocalCommit, 1, committed},
		{"before the commit", modeXA, true, tmOf, beforeDecision, 1, committed},
		{"before the order to commit", modeXA, true, debitOf, orderReceived, 1, committed},
		{"within the commit", modeXA, true, debitOf, beforeLocalCommit, 2, committed},
		{"after the commit", modeXA, true, debitOf, afterLocalCommit, 2, committed},
		{"before the rollback", modeXA, false, tmOf, beforeDecision, 1, rolledBack},
		{"within the rollback", modeXA, false, debitOf, beforeLocalCommit, 2, rolledBack},
		{"after the rollback", modeXA, false, debitOf, afterLocalCommit, 2, rolledBack},
	})
}

func strikeAll(t *testing.T, b *bank, server *testenv.Server, strikes []strike) {
	for _, test := range strikes {
		ok := t.Run(test.name, func(t *testing.T) {
			died := make(chan struct{})
			b.arm(test.victim(b), test.step, test.nth, func() {
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
