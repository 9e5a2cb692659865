package testenv_test

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/internal/testenv"
)

// recorder is a test that notes how it was ended.
type recorder struct {
	testing.TB
	failed, skipped string
}

func (r *recorder) Helper() {}

func (r *recorder) Fatalf(format string, args ...any) {
	r.failed = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

func (r *recorder) Skip(args ...any) {
	r.skipped = fmt.Sprint(args...)
	runtime.Goexit()
}

func missing(t *testing.T) *recorder {
	r := &recorder{TB: t}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		testenv.Missing(r, "a server", "install it")
	}()
	<-ended
	return r
}

// No suite is left out unseen: where everything is required it fails, elsewhere
// the closing summary of make test names it.
func TestWhatIsMissingFailsOrIsReported(t *testing.T) {
	report := filepath.Join(t.TempDir(), "report")
	t.Setenv("QIAO_SKIP_REPORT", report)
	for _, test := range []struct {
		ci, requireAll string
		fails          bool
	}{{"", "", false}, {"false", "0", false}, {"true", "", true}, {"", "1", true}} {
		t.Setenv("CI", test.ci)
		t.Setenv("QIAO_REQUIRE_ALL", test.requireAll)
		r := missing(t)
		if test.fails {
			require.Contains(t, r.failed, "a server is missing")
			require.Contains(t, r.failed, "install it")
			require.Empty(t, r.skipped)
			continue
		}
		require.Empty(t, r.failed)
		require.Contains(t, r.skipped, "install it")
		text, err := os.ReadFile(report)
		require.NoError(t, err)
		require.Contains(t, string(text), r.skipped+"\n")
	}
}
