//go:build linux

package javatc

import (
	"flag"
	"fmt"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// patience bounds every wait for something that must happen.
const patience = 60 * time.Second

func TestMain(m *testing.M) {
	// The stories wait most of the time, for time-outs above all.
	if err := flag.Set("test.parallel", "16"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

// TestTheSDKOnBothCoordinators is one test, because a Java coordinator takes its
// time to start.
func TestTheSDKOnBothCoordinators(t *testing.T) {
	for _, tc := range startCoordinators(t) {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			t.Run("AT", func(t *testing.T) { tell(t, tc, storiesOfAT) })
			t.Run("locks", func(t *testing.T) { tell(t, tc, storiesOfLocks) })
			t.Run("time-outs", func(t *testing.T) { tell(t, tc, storiesOfTimeouts) })
			t.Run("TCC", func(t *testing.T) { tell(t, tc, storiesOfTCC) })
			t.Run("lost messages", func(t *testing.T) { tell(t, tc, storiesOfLostMessages) })
			t.Run("lost patience", func(t *testing.T) { tell(t, tc, storiesOfPatience) })
		})
	}
}
