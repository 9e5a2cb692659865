//go:build linux

package dubbojava

import (
	"slices"
	"sync"
	"testing"
	"time"

	"dubbo.apache.org/dubbo-go/v3/common/constant"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/internal/javapeer"
)

// testPlain: a transfer of every kind, one after the other.
func (w *world) testPlain(t *testing.T, by string) {
	for _, over := range []string{constant.DubboProtocol, constant.TriProtocol} {
		for _, mode := range []string{modeAT, modeTCC} {
			for _, commit := range []bool{true, false} {
				f := w.open(t, by, over, mode, commit)
				w.end(t, f)
				w.check(t, f)
			}
		}
	}
}

// testOdd: what a Java consumer attaches that is no XID of ours is refused, and
// nothing is done.
func (w *world) testOdd(t *testing.T) {
	const (
		owner   = "owner99"
		unknown = "was never begun on this coordinator"
		nothing = "" // that is no transaction: the call is outside of one
	)
	for _, odd := range []struct {
		name        string
		attachments map[string]any
		dubbo, tri  string // what the caller reads
	}{
		{"no XID", map[string]any{"TX_XID": "nonsense"}, "malformed XID", "malformed XID"},
		{"no XID, in lower case", map[string]any{"tx_xid": "nonsense"}, "malformed XID", "malformed XID"},
		{"two of them", map[string]any{"TX_XID": "10.0.0.7:8091:1", "tx_xid": "10.0.0.7:8091:2"},
			"more than one transaction", unknown}, // Java sends one of them over Triple
		{"another coordinator's", map[string]any{"TX_XID": "10.0.0.7:8091:42"}, unknown, unknown},
		{"a number", map[string]any{"TX_XID": 42}, "TX_XID", "TX_XID"},
		// Java sends no lists over Triple.
		{"a list of one", map[string]any{"TX_XID": []string{"10.0.0.7:8091:42"}}, unknown, nothing},
		{"a list of two", map[string]any{"TX_XID": []string{"10.0.0.7:8091:42", "10.0.0.7:8091:43"}}, "more than one transaction", nothing},
	} {
		for over, refusal := range map[string]string{constant.DubboProtocol: odd.dubbo, constant.TriProtocol: odd.tri} {
			a := w.java.Do(javapeer.Command{
				"op": "odd", "bank": address(over, goPorts), "owner": owner, "money": amount, "attachments": odd.attachments,
			})
			if refusal == nothing {
				assert.Equal(t, "null", a.Outcome, "%s over %s: %s", odd.name, over, a.Error)
				_, err := w.books["go"].Exec("UPDATE account SET money = money - ? WHERE owner = ?", amount, owner)
				require.NoError(t, err)
				continue
			}
			assert.Contains(t, a.Error, refusal, "%s over %s: %s", odd.name, over, a.Outcome)
		}
	}
	assert.Equal(t, "1000 0", w.account(t, "go", owner))
}

// testGoKilled: Java begins, and Go's provider dies with all branches in their
// first phase. Decisions stand all the same, also over a crash of the coordinator,
// and the provider learns them when it is back.
func (w *world) testGoKilled(t *testing.T) {
	all := w.openAll(t, "java")
	w.provider.kill()
	for _, f := range all {
		w.end(t, f)
	}
	w.restartCoordinator(t)
	w.provider.start()
	for _, f := range all {
		w.check(t, f)
	}
	require.Eventually(t, func() bool {
		for over := range goPorts {
			if w.outside(over).Error != "" {
				return false
			}
		}
		return true
	}, patience, 100*time.Millisecond, "Java's references connect again")
}

// restartCoordinator also sees to it that Java's resource manager connects again:
// it waits for a minute after its start unless it has something to ask.
func (w *world) restartCoordinator(t *testing.T) {
	w.tc.Kill()
	w.tc.Restart()
	f := w.open(t, "go", constant.DubboProtocol, modeAT, true)
	w.end(t, f)
	w.check(t, f)
}

// testRestarted: the coordinator dies with transactions open that both sides began.
func (w *world) testRestarted(t *testing.T) {
	all := slices.Concat(w.openAll(t, "java"), w.openAll(t, "go"))
	w.restartCoordinator(t)
	for _, f := range all {
		w.end(t, f)
	}
	for _, f := range all {
		w.check(t, f)
	}
}

// testJavaKilled: Go begins, and Java's provider dies with all branches in their
// first phase.
func (w *world) testJavaKilled(t *testing.T) {
	w.noUndo(t, "java") // Java answers that a branch is committed before it deletes the record
	all := w.openAll(t, "go")
	w.java.Kill()
	for _, f := range all {
		w.end(t, f)
	}
	w.java = javapeer.Launch(w.t, w.program)
	w.t.Cleanup(w.java.Kill)
	for _, f := range all {
		w.check(t, f)
	}
	again := w.open(t, "java", constant.TriProtocol, modeTCC, true)
	w.end(t, again)
	w.check(t, again)
}

// outside has Java call Go many times outside of a transaction.
func (w *world) outside(over string) javapeer.Answer {
	return w.java.Do(javapeer.Command{"op": "outside", "bank": address(over, goPorts)})
}

// testOutside: after all that no thread of Java's and no call of Go's is in a
// transaction unasked.
func (w *world) testOutside(t *testing.T) {
	for _, over := range []string{constant.DubboProtocol, constant.TriProtocol} {
		a := w.outside(over)
		assert.Equal(t, []string{"null"}, a.Events, "calls of Go over %s: %s", over, a.Error)
		var calls sync.WaitGroup
		for range 64 {
			calls.Go(func() {
				x, err := w.call(t.Context(), over, bankInterface, "xid")
				assert.NoError(t, err)
				assert.Equal(t, "null", x, "calls of Java over %s", over)
			})
		}
		calls.Wait()
	}
}
