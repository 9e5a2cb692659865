package javaerror_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/internal/testenv"
	"github.com/qiao-tx/qiao/saga/javaerror"
	"github.com/qiao-tx/qiao/saga/machine"
)

// TestErrorsAndJava: Java reads the errors that are written here as exceptions, and
// those that Java writes are read here.
func TestErrorsAndJava(t *testing.T) {
	testenv.NeedJava(t)
	dir := t.TempDir()
	name := func(n string) string { return filepath.Join(dir, n) }
	f := &machine.Failure{Class: "com.example.NoSeat", Also: []string{"java.lang.RuntimeException", "HTTP 409", "*saga.Exception"},
		Message: "full: 桥 𝄞\x00!"}
	require.NoError(t, os.WriteFile(name("ours"), javaerror.Encode(f), 0o600))
	out, err := exec.Command("java", "-Dfile.encoding=UTF-8", "testdata/java/Errors.java", name("ours"), name("plain"), name("own"), name("silent")).CombinedOutput()
	require.NoError(t, err, "%s", out)
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	assert.Equal(t, []string{"java.lang.RuntimeException", "full: 桥 𝄞\x00!", "com.example.NoSeat", "java.lang.RuntimeException", "HTTP 409", "*saga.Exception"}, lines)

	for file, want := range map[string]*machine.Failure{
		"plain":  {Class: "java.lang.RuntimeException", Also: []string{"java.lang.Exception", "java.lang.Throwable"}, Message: "plain"},
		"silent": {Class: "java.lang.RuntimeException", Also: []string{"java.lang.Exception", "java.lang.Throwable"}},
		"own": {Class: "Errors$Booking", Also: []string{"java.lang.IllegalStateException", "java.lang.RuntimeException", "java.lang.Exception",
			"java.lang.Throwable"}, Message: "no seat 桥"},
	} {
		b, err := os.ReadFile(name(file))
		require.NoError(t, err)
		assert.Equal(t, want, javaerror.Decode(b), file)
	}
}

func FuzzDecodeFailure(f *testing.F) {
	f.Add(javaerror.Encode(&machine.Failure{Class: "a.B", Also: []string{"c"}, Message: "m", Network: machine.NotSent}))
	f.Add([]byte("\xac\xed\x00\x05sr\x00\x03a.B"))
	f.Fuzz(func(t *testing.T, b []byte) {
		first := javaerror.Decode(b)
		if first != nil && first.Class != "" && len(first.Message) < 60000 {
			assert.Equal(t, javaerror.Decode(javaerror.Encode(first)).Class, strings.ToValidUTF8(first.Class, "\ufffd"))
		}
	})
}
