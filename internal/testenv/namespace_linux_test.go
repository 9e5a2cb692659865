package testenv_test

import (
	"net"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/internal/testenv"
)

// What a test does in a namespace, nobody else sees: both runs listen on one port.
func TestANamespaceIsCutOff(t *testing.T) {
	const handedOver = "QIAO_TEST_HANDED_OVER"
	if !testenv.InNamespace() {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		defer func() { require.NoError(t, l.Close()) }()
		testenv.RunInNamespace(t, handedOver+"="+l.Addr().String())
		return
	}
	taken := os.Getenv(handedOver)
	_, err := net.Dial("tcp", taken)
	require.Error(t, err, "the first run's listener is not here")
	l, err := net.Listen("tcp", taken)
	require.NoError(t, err)
	require.NoError(t, l.Close())
	l, err = net.Listen("tcp", testenv.NamespaceAddress+":0")
	require.NoError(t, err)
	defer func() { require.NoError(t, l.Close()) }()
	conn, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	require.NoError(t, conn.Close())
}
