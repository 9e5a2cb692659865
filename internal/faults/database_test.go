//go:build linux

package faults

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/internal/testenv"
)

// strike is one way to break a transfer by the death of one side's server.
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
		{"a call before the local commit", modeCall, true, debitOf, beforeLocalCommit, 1, rolledBack},
		{"a call within its compensation", modeCall, false, debitOf, beforeLocalCommit, 2, rolledBack},
		{"TCC within phase two of a rollback", modeTCC, false, debitOf, beforeLocalCommit, 2, rolledBack},
	})
}

// TestKillThePreparedDatabase is the same under XA, where what was prepared is
// there again when the server has come back; and for the server of the credit
// side, PostgreSQL, too.
func TestKillThePreparedDatabase(t *testing.T) {
	t.Parallel()
	maria, mariaDSN := testenv.OwnMariaDB(t)
	postgres, postgresDSN := testenv.OwnPostgreSQL(t)
	b := openBank(t, mariaDSN, "pgx", postgresDSN)
	strikeAll(t, b, maria, strikesUnderXA("MariaDB ", debitOf))
	strikeAll(t, b, postgres, strikesUnderXA("PostgreSQL ", creditOf))
}

func strikesUnderXA(server string, side func(*bank) *process) []strike {
	return []strike{
		{server + "after the registration", modeXA, true, side, afterRegister, 1, rolledBack},
		{server + "before it is prepared", modeXA, true, side, beforeLocalCommit, 1, rolledBack},
		{server + "after it is prepared", modeXA, true, side, afterLocalCommit, 1, committed},
		{server + "before the commit", modeXA, true, tmOf, beforeDecision, 1, committed},
		{server + "before the order to commit", modeXA, true, side, orderReceived, 1, committed},
		{server + "within the commit", modeXA, true, side, beforeLocalCommit, 2, committed},
		{server + "after the commit", modeXA, true, side, afterLocalCommit, 2, committed},
		{server + "before the rollback", modeXA, false, tmOf, beforeDecision, 1, rolledBack},
		{server + "within the rollback", modeXA, false, side, beforeLocalCommit, 2, rolledBack},
		{server + "after the rollback", modeXA, false, side, afterLocalCommit, 2, rolledBack},
	}
}

func strikeAll(t *testing.T, b *bank, server *testenv.Server, strikes []strike) {
	for _, test := range strikes {
		ok := t.Run(test.name, func(t *testing.T) {
			// A server that starts twice within a second seems to be the same.
			require.Eventually(t, func() bool {
				var name string
				var uptime int
				err := b.books["debit"].QueryRowContext(t.Context(), "SHOW GLOBAL STATUS LIKE 'Uptime'").Scan(&name, &uptime)
				return err == nil && uptime > 0
			}, patience, 20*time.Millisecond)
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
