package testenv_test

import (
	"encoding/hex"
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/internal/testenv"
)

// A registration of a transaction manager, and a begin, as Java 1.1.0 sends them.
const (
	registerFrame = "dada010000003e00100201000000000200650005312e312e30000f6170706c69636174696f6e4e616d65001064656661756c745f74785f67726f75700000"
	beginFrame    = "dada010000001d0010000100000000010001000027100005747269616c"
)

func TestJavaCoordinatorAnswersBeforeAndAfterAKill(t *testing.T) {
	tc := testenv.JavaTC(t, testenv.JavaTCOptions{})
	first := converse(t, tc.Address())
	assert.Contains(t, first, "\x00\x05"+testenv.JavaTCVersion, "it says its version")
	assert.Contains(t, first, testenv.JavaTCHost+":", "an XID is of the host that the tests know")

	tc.Kill()
	_, err := net.Dial("tcp", tc.Address())
	require.Error(t, err)
	tc.Restart()
	assert.Contains(t, converse(t, tc.Address()), testenv.JavaTCHost+":")
}

// converse registers, begins a transaction and returns both answers.
func converse(t *testing.T, address string) (answers string) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.SetDeadline(time.Now().Add(20*time.Second)))
	for _, text := range []string{registerFrame, beginFrame} {
		frame, err := hex.DecodeString(text)
		require.NoError(t, err)
		_, err = conn.Write(frame)
		require.NoError(t, err)
		head := make([]byte, 7)
		_, err = io.ReadFull(conn, head)
		require.NoError(t, err)
		rest := make([]byte, int(head[5])<<8+int(head[6])-len(head))
		_, err = io.ReadFull(conn, rest)
		require.NoError(t, err)
		answers += string(rest)
	}
	return answers
}
