//go:build linux

package faults

import (
	"cmp"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/internal/relay"
	"github.com/qiao-tx/qiao/internal/testenv"
	"github.com/qiao-tx/qiao/protocol"
)

const (
	// ample is a time-out that no transaction of these tests reaches.
	ample = time.Minute
	// orphaned is the time-out of a transaction that nobody will decide.
	orphaned = 3 * time.Second
)

// kill is one way to break a transfer: kill -9 who, at which step.
type kill struct {
	name string
	// victim is the process that dies and is started again.
	victim func(*bank) *process
	// arm has die called at the step.
	arm func(b *bank, die func())
	// timeout of the transaction.
	timeout time.Duration
	// want is the outcome; "" stands for what was asked for.
	want string
}

func coordinatorOf(b *bank) *process { return b.coordinator }
func tmOf(b *bank) *process          { return b.tm }
func debitOf(b *bank) *process       { return b.debit }
func creditOf(b *bank) *process      { return b.credit }

// TestKillAtEveryStep kills each process at each step of a transaction, one
// after the other on a bank that goes on.
func TestKillAtEveryStep(t *testing.T) { killAtEveryStep(t, modeAT, modeTCC, modeCall) }

// TestKillAtEveryStepUnderXA is a test of its own so that it runs before the
// others: more banks at once would make time-outs pass that are not meant to.
func TestKillAtEveryStepUnderXA(t *testing.T) { killAtEveryStep(t, modeXA) }

func killAtEveryStep(t *testing.T, modes ...string) {
	rounds := 1
	if *long {
		rounds = 20
	}
	for _, mode := range modes {
		for _, commit := range []bool{true, false} {
			t.Run(mode+", to be "+asked(commit), func(t *testing.T) {
				t.Parallel()
				b := newBankFor(t, mode, testenv.MariaDB(t))
				for round := range rounds {
					for _, k := range kills(mode, commit) {
						name := k.name
						if round > 0 {
							name += fmt.Sprintf(" again %d", round)
						}
						if !t.Run(name, func(t *testing.T) { b.survive(t, k, mode, commit) }) {
							return // what follows would fail for this reason
						}
					}
				}
			})
		}
	}
}

// survive runs one transfer over a kill.
func (b *bank) survive(t *testing.T, k kill, mode string, commit bool) {
	victim := k.victim(b)
	died := make(chan struct{})
	k.arm(b, func() {
		victim.kill()
		close(died)
	})
	o := b.newOrder(mode, commit, k.timeout)
	answered := make(chan told, 1)
	go func() { answered <- b.place(o) }()
	select {
	case <-died:
	case <-time.After(patience):
		t.Fatalf("the step was never reached; the transfer: %+v", <-answered)
	}
	victim.start()
	answer := <-answered
	b.settle(t)

	b.verify(t, o, answer, cmp.Or(k.want, asked(commit)))
	if victim != b.tm {
		assert.NotEqual(t, unknown, answer.Outcome, "what was told, with %q", answer.Error)
	}
}

// asked is the outcome that is asked for.
func asked(commit bool) string {
	if commit {
		return committed
	}
	return rolledBack
}

// verify wants the transfer to have ended so: in the databases and for the
// coordinator.
func (b *bank) verify(t *testing.T, o order, answer told, want string) {
	t.Helper()
	x := cmp.Or(answer.XID, b.relay.LastBegun())
	require.Contains(t, statuses[want], b.status(x), "the transfer: %+v", answer)
	if answer.Outcome != unknown {
		require.Equal(t, want, answer.Outcome, "what was told, with %q", answer.Error)
	}
	b.expect(o, want)
	b.audit(t)
}

// kills lists all steps for a mode and a decision.
func kills(mode string, commit bool) []kill {
	all := killsOfTM(commit)
	for _, rm := range []struct {
		name   string
		victim func(*bank) *process
	}{{"debit", debitOf}, {"credit", creditOf}} {
		all = append(all, killsOfRM(rm.name, rm.victim, mode, commit)...)
	}
	return append(all, killsOfCoordinator(mode, commit)...)
}

func killsOfTM(commit bool) []kill {
	at := func(step string, timeout time.Duration, want string) kill {
		return kill{
			name: "TM " + step, victim: tmOf, timeout: timeout, want: want,
			arm: func(b *bank, die func()) { b.arm(b.tm, step, 1, die) },
		}
	}
	request := protocol.TypeGlobalRollback
	if commit {
		request = protocol.TypeGlobalCommit
	}
	return []kill{
		at(afterBegin, orphaned, rolledBack),
		at(afterFirstBranch, orphaned, rolledBack),
		at(afterSecondBranch, orphaned, rolledBack),
		at(beforeDecision, orphaned, rolledBack),
		{
			name: "TM after the decision is asked for", victim: tmOf, timeout: ample,
			arm: func(b *bank, die func()) {
				b.relay.Set(relay.Trap{Message: request, Nth: 1, Fate: relay.Delivered, Act: die})
			},
		},
		at(afterDecision, ample, ""),
	}
}

func killsOfRM(name string, victim func(*bank) *process, mode string, commit bool) []kill {
	at := func(step string, nth int, want string) kill {
		return kill{
			name: name + " " + step, victim: victim, timeout: ample, want: want,
			arm: func(b *bank, die func()) { b.arm(victim(b), step, nth, die) },
		}
	}
	steps := []kill{
		at(beforeRegister, 1, rolledBack),
		at(afterRegister, 1, rolledBack),
		at(beforeLocalCommit, 1, rolledBack),
		at(afterLocalCommit, 1, rolledBack),
		at(orderReceived, 1, ""),
		at(orderDone, 1, ""),
	}
	if mode == modeCall && commit {
		return steps[:4] // it has no phase two
	}
	if mode == modeAT && commit {
		return steps // its phase two is one statement
	}
	for _, step := range []string{beforeLocalCommit, afterLocalCommit} {
		k := at(step, 2, "")
		k.name += " of phase two"
		steps = append(steps, k)
	}
	return steps
}

// killsOfCoordinator kills it when a request reaches it (nothing is durable
// then), just after that (a race), when the answer leaves it (what it tells is
// durable), and just after that.
func killsOfCoordinator(mode string, commit bool) []kill {
	messages := []protocol.TypeCode{
		protocol.TypeGlobalBegin, protocol.TypeGlobalBeginResult,
		protocol.TypeBranchRegister, protocol.TypeBranchRegisterResult,
	}
	switch {
	case commit && mode == modeCall:
		messages = append(messages, protocol.TypeGlobalCommit, protocol.TypeGlobalCommitResult)
	case commit:
		messages = append(messages, protocol.TypeGlobalCommit, protocol.TypeBranchCommit,
			protocol.TypeBranchCommitResult, protocol.TypeGlobalCommitResult)
	default:
		messages = append(messages, protocol.TypeGlobalRollback, protocol.TypeBranchRollback,
			protocol.TypeBranchRollbackResult, protocol.TypeGlobalRollbackResult)
	}
	var steps []kill
	for _, m := range messages {
		for _, fate := range []relay.Fate{relay.Lost, relay.Delivered} {
			timeout := ample
			if m == protocol.TypeGlobalBeginResult || fate == relay.Delivered && m == protocol.TypeGlobalBegin {
				timeout = 4 * orphaned // the client begins again, and nobody knows of the first
			}
			steps = append(steps, kill{
				name:   fmt.Sprintf("coordinator %s %v", map[relay.Fate]string{relay.Lost: "before", relay.Delivered: "just after"}[fate], m),
				victim: coordinatorOf, timeout: timeout,
				arm: func(b *bank, die func()) { b.relay.Set(relay.Trap{Message: m, Nth: 1, Fate: fate, Act: die}) },
			})
		}
	}
	return steps
}
