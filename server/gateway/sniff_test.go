package gateway

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// However the first bytes trickle in, the protocol is told, and no byte of it is
// lost.
func TestSniffByteByByte(t *testing.T) {
	const rest = "the rest of what the client says"
	for _, o := range openings {
		t.Run(fmt.Sprintf("%q", o.bytes), func(t *testing.T) {
			ours, theirs := net.Pipe()
			defer func() { require.NoError(t, ours.Close()) }()
			go func() {
				for _, b := range []byte(o.bytes + rest) {
					if _, err := theirs.Write([]byte{b}); err != nil {
						return
					}
				}
				_ = theirs.Close()
			}()
			spoken, nc, err := sniff(ours, patience)
			require.Equal(t, o.spoken, spoken)
			if o.spoken == speaksTLS {
				require.ErrorIs(t, err, errTLS)
				return
			}
			require.NoError(t, err)
			all, err := io.ReadAll(nc)
			require.NoError(t, err)
			require.Equal(t, o.bytes+rest, string(all))
		})
	}
}

func TestOpeningsAreDistinct(t *testing.T) {
	for i, a := range openings {
		require.LessOrEqual(t, len(a.bytes), longestOpening)
		for _, b := range openings[i+1:] {
			require.False(t, strings.HasPrefix(a.bytes, b.bytes) || strings.HasPrefix(b.bytes, a.bytes), "%q and %q", a.bytes, b.bytes)
		}
	}
}

func TestForeignProtocols(t *testing.T) {
	for _, test := range []struct{ name, bytes, log string }{
		{"first byte", "\x00", "it speaks neither Seata's protocol nor HTTP"},
		{"second byte of the magic", "\xda\xdb", "it speaks neither Seata's protocol nor HTTP"},
		{"almost HTTP", "GETS /", "it speaks neither Seata's protocol nor HTTP"},
		{"TLS", "\x16\x03\x01\x02\x00", "it speaks TLS, which this release does not"},
		{"SSH", "SSH-2.0-OpenSSH", "SSH"},
		{"the store of a cluster's node", "qiao-raft 1 x", "this server is no node of a cluster (cluster.nodes)"},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, nil)
			c := w.dial()
			c.write([]byte(test.bytes))
			c.closedByServer()
			w.eventuallyLogs(test.log)
			w.eventuallyLogs("level=WARN")
		})
	}
}

// A connection that says nothing, or begins and stops, is not kept.
func TestSilenceBeforeTheProtocolIsKnown(t *testing.T) {
	for _, opening := range []string{"", "\xda", "GE"} {
		w := newWorld(t, func(c *Config) { c.FirstBytesTimeout = 50 * time.Millisecond })
		c := w.dial()
		c.write([]byte(opening))
		c.closedByServer()
		w.eventuallyLogs("it did not show its protocol in time")
	}
}

// A port scanner or a load balancer's check is no event.
func TestConnectAndGo(t *testing.T) {
	w := newWorld(t, nil)
	require.NoError(t, w.dial().Close())
	w.eventuallyLogs("closed a connection before its protocol was known")
	require.NotContains(t, w.log.String(), "level=WARN")
}

func TestSlowHTTPClient(t *testing.T) {
	w := newWorld(t, nil)
	c := w.dial()
	for _, b := range []byte("GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n") {
		c.write([]byte{b})
	}
	answer, err := io.ReadAll(c)
	require.NoError(t, err)
	require.Contains(t, string(answer), "200 OK")
	require.Contains(t, string(answer), `"ok"`)
}

// Close does not wait for those who have not said anything yet.
func TestCloseEndsSniffing(t *testing.T) {
	w := newWorld(t, nil)
	c := w.dial()
	require.Eventually(t, func() bool { return w.connections.inside.Load() == 1 }, patience, time.Millisecond)
	w.end()
	c.closedByServer()
}
