package testenv

import (
	"errors"
	"fmt"
	"os"
	"testing"
)

// Missing ends the test because the machine lacks something. Where everything
// is required (CI, or QIAO_REQUIRE_ALL) that is a failure, so that a suite can
// never be left out unseen; elsewhere the test is skipped and says what to do.
func Missing(t testing.TB, what, remedy string) {
	t.Helper()
	if required() {
		t.Fatalf("%s is missing, and this run requires every suite (CI or QIAO_REQUIRE_ALL is set): %s", what, remedy)
	}
	reason := fmt.Sprintf("NOT RUN: the suites on %s, which is missing: %s", what, remedy)
	if err := report(reason); err != nil {
		t.Fatal(err)
	}
	t.Skip(reason)
}

// report adds a line to the file that QIAO_SKIP_REPORT names: make test prints
// it in its closing summary.
func report(line string) error {
	path := os.Getenv("QIAO_SKIP_REPORT")
	if path == "" {
		return nil
	}
	file, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("QIAO_SKIP_REPORT: %w", err)
	}
	_, err = fmt.Fprintln(file, line)
	return errors.Join(err, file.Close())
}

func required() bool {
	for _, name := range []string{"QIAO_REQUIRE_ALL", "CI"} {
		if v := os.Getenv(name); v != "" && v != "0" && v != "false" {
			return true
		}
	}
	return false
}
