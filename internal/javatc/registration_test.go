//go:build linux

package javatc

import (
	"net"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/internal/testenv"
	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/rpc"
	"github.com/qiao-tx/qiao/protocol/xid"
)

// testRegistration: the answers to registrations differ between versions 1 and 2
// of the frame, and a coordinator answers in the version that it is asked in. A
// refusal has a reason in version 2 only.
func testRegistration(t *testing.T, tc *coordinator) {
	conn, accepted := register(t, tc, protocol.SeataVersion)
	assert.True(t, accepted.Identified)
	assert.NotEmpty(t, accepted.Version)
	if accepted.Version == testenv.JavaTCVersion { // later ones serve clients of any version
		_, refused := register(t, tc, "0.5.0")
		assert.False(t, refused.Identified)
		assert.Empty(t, refused.Message)
	}

	// Its XIDs carry its idea of its address, which need not be where it is reached.
	answer, err := conn.Call(t.Context(), &protocol.GlobalBegin{TimeoutMillis: 1000, Name: t.Name()}, nil)
	require.NoError(t, err)
	address, _, err := xid.Parse(answer.Message.(*protocol.GlobalBeginResult).XID)
	require.NoError(t, err)
	assert.NotEqual(t, tc.address, address)
}

// register registers a transaction manager, with a key in the head map that a
// Java coordinator does not know, as our client does.
func register(t *testing.T, tc *coordinator, version string) (*rpc.Conn, *protocol.RegisterTMResult) {
	t.Helper()
	nc, err := net.Dial("tcp", tc.address)
	require.NoError(t, err)
	conn := rpc.New(nc, rpc.Options{})
	t.Cleanup(func() { conn.Close(nil); conn.Wait() })
	answer, err := conn.Call(t.Context(), &protocol.RegisterTM{Identity: protocol.Identity{
		Version: version, ApplicationID: application(), Group: "default_tx_group",
	}}, map[string]string{"qiao": "1"})
	require.NoError(t, err)
	return conn, answer.Message.(*protocol.RegisterTMResult)
}
