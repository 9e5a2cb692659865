//go:build linux

package javapeer

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/qiao-tx/qiao/internal/testenv"
)

// The same client does the same over gRPC (transport.protocol=grpc, from Seata
// 2.3), messages in codec 40.
func TestUnmodifiedJavaClientOverGRPC(t *testing.T) {
	tc := startCoordinator(t)
	java := Start(t, tc.address, "java-grpc", "transport.protocol=grpc")
	assert.Contains(t, tc.log.String(), "transport=grpc application=java-grpc")
	t.Run("begin and decide without branches", func(t *testing.T) { testNoBranches(t, java) })
	t.Run("TCC", func(t *testing.T) { testTCC(t, java) })
	server := testenv.MySQLServers()[0] // the transport makes no difference to a database
	t.Run("AT restores rows on "+server.Name, func(t *testing.T) { testAT(t, java, server) })
	t.Run("the time-out rolls back", func(t *testing.T) { testTimeout(t, java) })
	t.Run("a killed coordinator comes back", func(t *testing.T) { testRestart(t, tc, java) })
}
