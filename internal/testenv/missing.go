package testenv

import (
	"os"
	"testing"
)

// missing ends the test because the machine lacks something. Where everything
// is required (CI, or QIAO_REQUIRE_ALL) that is a failure, so that a suite can
// never be left out unseen; elsewhere the test is skipped and says what to do.
func missing(t testing.TB, what, remedy string) {
	t.Helper()
	if required() {
		t.Fatalf("%s is missing, and this run requires every suite (CI or QIAO_REQUIRE_ALL is set): %s", what, remedy)
	}
	t.Skipf("NOT RUN: %s is missing: %s", what, remedy)
}

func required() bool {
	for _, name := range []string{"QIAO_REQUIRE_ALL", "CI"} {
		if v := os.Getenv(name); v != "" && v != "0" && v != "false" {
			return true
		}
	}
	return false
}
