//go:build linux

package javapeer

import (
	"context"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/internal/testenv"
)

// A client of Seata 0.6.1, unmodified, speaks frames of version 0 and always
// merges its requests.
func TestUnmodifiedJavaClientOfVersion0(t *testing.T) {
	testenv.NeedJava(t)
	tc := startCoordinator(t)
	classpath, err := Compile("v0", "v0/src/main/java/qiao/Old.java")
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	var log lockedBuffer
	java := exec.CommandContext(ctx, "java", "-Xmx256m", "-XX:TieredStopAtLevel=1",
		"--add-opens=java.base/java.lang=ALL-UNNAMED", // its proxies need what Java 8 allowed
		"-Dservice.default.grouplist="+tc.address, "-cp", classpath, "qiao.Old")
	java.Stderr = &log
	java.WaitDelay = time.Second
	out, err := java.Output()
	require.NoError(t, err, "%s\n%s", out, &log)
	assert.Equal(t, []string{"Begin", "confirm", "Committed", "Begin", "cancel", "Rollbacked", "Begin"}, strings.Fields(string(out)))
	assert.Contains(t, tc.log.String(), "version=0.6.1")
}
