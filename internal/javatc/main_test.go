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

// long asks for what takes a Java coordinator minutes.
var long = flag.Bool("long", false, "also wait for the deletion of undo logs, which starts after three minutes")

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
			if *long && tc.java { // ours starts it after a day
				t.Run("undo logs are deleted", func(t *testing.T) {
					t.Parallel()
					testUndoDeletion(t, tc)
				})
			}
			if tc.java {
				t.Run("registration", func(t *testing.T) { testRegistration(t, tc) })
			}
			t.Run("stories", func(t *testing.T) { tellAll(t, tc) })
			t.Run("sagas", func(t *testing.T) { tellSagas(t, tc) })
			if tc.kill != nil {
				t.Run("killed", func(t *testing.T) { testKilled(t, tc) })
			}
		})
	}
}

// tellAll tells all stories to a coordinator at once.
func tellAll(t *testing.T, tc *coordinator) {
	for group, stories := range map[string][]story{
		"AT": storiesOfAT, "locks": storiesOfLocks, "time-outs": storiesOfTimeouts, "TCC": storiesOfTCC, "remote participants": storiesOfRemote,
		"lost messages": storiesOfLostMessages, "lost patience": storiesOfPatience,
	} {
		for _, s := range stories {
			t.Run(group+": "+s.name, func(t *testing.T) {
				t.Parallel()
				s.run(t, tc)
			})
		}
	}
}
