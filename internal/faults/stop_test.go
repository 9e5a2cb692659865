//go:build linux

package faults

import (
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/internal/testenv"
)

// TestStoppedCoordinator stops the coordinator without killing it, longer than
// some transactions may last, while transfers go on being asked for.
func TestStoppedCoordinator(t *testing.T) {
	t.Parallel()
	pause, timeout := 10*time.Second, 5*time.Second
	if *long {
		pause = time.Minute // longer than the clients wait, and than both ends keep a silent connection
	}
	b := newBank(t, testenv.MariaDB(t))
	var enough atomic.Bool
	var answered, done atomic.Int64 // transfers that ended, and that were committed
	var customers sync.WaitGroup
	for i := range 8 {
		customers.Go(func() {
			mode := []string{modeAT, modeTCC, modeCall, modeMixed}[i%4]
			for n := 0; !enough.Load(); n++ {
				if b.place(b.newOrder(mode, n%4 != 0, timeout)).Outcome == committed {
					done.Add(1)
				}
				answered.Add(1)
			}
		})
	}
	defer customers.Wait()
	defer enough.Store(true)
	// awaitMore waits until n more transfers are committed.
	awaitMore := func(n int64) {
		t.Helper()
		goal := done.Load() + n
		require.Eventually(t, func() bool { return done.Load() >= goal }, patience, 10*time.Millisecond)
	}
	awaitMore(50)

	b.coordinator.signal(syscall.SIGSTOP)
	before := answered.Load()
	<-time.After(pause)
	require.Less(t, answered.Load()-before, int64(100), "transfers went on without a coordinator")
	b.coordinator.signal(syscall.SIGCONT)
	awaitMore(100)

	enough.Store(true)
	customers.Wait()
	b.settle(t)
}

// TestSilentResource has one resource accept orders and never answer them. What
// else is under way, in the same process too, goes on at its speed.
func TestSilentResource(t *testing.T) {
	t.Parallel()
	waiting := 300
	if *long {
		waiting = 3000 // more than the coordinator's orders in flight
	}
	b := newBank(t, testenv.MariaDB(t))
	quiet := b.medianTransfer(100)

	b.credit.kill()
	b.credit.config.Silent = true
	b.credit.start()
	var customers sync.WaitGroup
	defer customers.Wait()
	for range waiting {
		customers.Go(func() { b.place(b.newOrder(modeTCC, true, ample)) })
	}
	require.Eventually(t, func() bool { return len(b.ledger(t, "debit")) >= 100+waiting }, patience, 20*time.Millisecond,
		"not every transfer is confirmed on the side that answers")
	beside := b.medianTransfer(100)
	t.Logf("a transfer takes %v, beside %d that wait %v", quiet, waiting, beside)
	require.Less(t, beside, 5*quiet+100*time.Millisecond)
	require.NotEmpty(t, b.leftovers(), "the resource is not silent")

	b.credit.kill()
	b.credit.config.Silent = false
	b.credit.start()
	customers.Wait()
	b.settle(t)
}

// medianTransfer makes n transfers under AT, one after the other.
func (b *bank) medianTransfer(n int) time.Duration {
	b.t.Helper()
	var took []time.Duration
	for range n {
		answer := b.place(b.newOrder(modeAT, true, ample))
		require.Equal(b.t, committed, answer.Outcome, answer.Error)
		took = append(took, answer.Took)
	}
	slices.Sort(took)
	return took[n/2]
}
