//go:build linux

package sidebyside

import (
	"flag"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// long has the fleet move many times, with coordinators killed in the middle.
var long = flag.Duration("long", 0, "move to and fro under load for this long, killing coordinators")

// patience bounds every wait for something that must happen.
const patience = 90 * time.Second

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
