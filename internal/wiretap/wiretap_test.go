package wiretap

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func unhex(tb testing.TB, s string) []byte {
	tb.Helper()
	b, err := hex.DecodeString(s)
	require.NoError(tb, err)
	return b
}

const (
	ping  = "dada0100000010001003010000000001"
	begin = "dada010000001d0010000100000000010001000027100005747269616c"
)

// pieces feeds a stream and writes down what it emits.
func pieces(feed func(*Stream, func(Piece))) []string {
	var s Stream
	var got []string
	feed(&s, func(p Piece) {
		switch {
		case errors.Is(p.Err, ErrForeign):
			got = append(got, fmt.Sprintf("%d foreign", p.Offset))
		case errors.Is(p.Err, ErrLost):
			got = append(got, fmt.Sprintf("%d lost", p.Offset))
		case errors.Is(p.Err, ErrTruncated):
			got = append(got, fmt.Sprintf("%d truncated", p.Offset))
		case p.Err != nil:
			got = append(got, p.Err.Error())
		default:
			got = append(got, fmt.Sprintf("%d %x", p.Offset, p.Frame))
		}
	})
	return got
}

// Frames are found however the bytes arrive.
func TestFramesAreFoundInPieces(t *testing.T) {
	b := unhex(t, ping+begin+ping)
	for size := 1; size <= len(b); size++ {
		got := pieces(func(s *Stream, emit func(Piece)) {
			for rest := b; len(rest) > 0; {
				n := min(size, len(rest))
				chunk := bytes.Clone(rest[:n])
				s.Feed(chunk, emit)
				clear(chunk) // the caller's memory is not kept
				rest = rest[n:]
			}
			s.Close(emit)
		})
		require.Equal(t, []string{"0 " + ping, "16 " + begin, "45 " + ping}, got, "chunks of %d", size)
	}
}

func TestWhatIsNoFrame(t *testing.T) {
	feed := func(parts ...string) []string {
		return pieces(func(s *Stream, emit func(Piece)) {
			for _, part := range parts {
				s.Feed(unhex(t, part), emit)
			}
			s.Close(emit)
		})
	}
	assert.Empty(t, feed())
	assert.Equal(t, []string{"0 foreign"}, feed("47", "4554", ping), "told by the first two bytes, once")
	assert.Equal(t, []string{"0 " + ping, "16 lost"}, feed(ping+"dadb", ping))
	assert.Equal(t, []string{"0 " + ping, "16 lost"}, feed(ping+"dada01ffffffff001003010000000001", ping), "too long")
	assert.Equal(t, []string{"0 truncated"}, feed("dada01"))
	assert.Equal(t, []string{"0 " + ping, "16 truncated"}, feed(ping+begin[:40]))
}

// Where bytes are missing, frames are found again at the start of a segment.
func TestFramesAreFoundAgainAfterAGap(t *testing.T) {
	got := pieces(func(s *Stream, emit func(Piece)) {
		s.Skip(0, emit)
		s.Feed(unhex(t, "00112233445566778899aabbccddeeff"), emit) // the end of a frame
		s.Feed(unhex(t, "dada0900000000000000000000000000"), emit) // only looks like one
		s.Feed(unhex(t, begin[:40]), emit)
		s.Feed(unhex(t, begin[40:]+ping+begin[:40]), emit)
		s.Skip(9, emit)
		s.Feed(unhex(t, "ffff"+ping), emit) // not at the start: passed over
		s.Feed(unhex(t, ping), emit)
		s.Close(emit)
	})
	assert.Equal(t, []string{"32 " + begin, "61 " + ping, "77 truncated", "124 " + ping}, got)
}

// No bytes crash a stream, and what it says is frames is where it says.
func FuzzStream(f *testing.F) {
	f.Add(unhex(f, ping+begin+ping), 7)
	f.Add(unhex(f, ping+"dadb"), 3)
	f.Fuzz(func(t *testing.T, b []byte, size int) {
		var s Stream
		emit := func(p Piece) {
			require.LessOrEqual(t, p.Offset+int64(len(p.Frame)), int64(len(b)))
			if p.Err == nil {
				require.Equal(t, b[p.Offset:p.Offset+int64(len(p.Frame))], p.Frame)
			}
		}
		for rest := b; len(rest) > 0; {
			n := min(max(size, 1), len(rest))
			s.Feed(rest[:n], emit)
			rest = rest[n:]
		}
		s.Close(emit)
	})
}

// target is a server that hands its connections to the test.
func target(t *testing.T) (net.Listener, chan net.Conn) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	accepted := make(chan net.Conn, 1)
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			accepted <- conn
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		running.Wait()
	})
	return listener, accepted
}

// start serves a proxy and returns what it showed once it has ended.
func start(t *testing.T, to string) (address string, stop func() []string) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var seen []string
	proxy := Proxy{Target: to, Show: func(e Event) {
		arrow := map[Direction]string{ToTarget: "→", FromTarget: "←"}[e.Direction]
		switch {
		case e.Note != "":
			note, _, _ := strings.Cut(e.Note, " ")
			seen = append(seen, fmt.Sprintf("#%d %s", e.Connection, note))
		case e.Piece.Err != nil:
			seen = append(seen, fmt.Sprintf("#%d %s unreadable", e.Connection, arrow))
		default:
			seen = append(seen, fmt.Sprintf("#%d %s %x", e.Connection, arrow, e.Piece.Frame))
		}
	}}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- proxy.Serve(ctx, listener) }()
	return listener.Addr().String(), func() []string {
		cancel()
		require.NoError(t, <-ended)
		return seen
	}
}

func read(t *testing.T, conn net.Conn, n int) string {
	t.Helper()
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(10*time.Second)))
	b := make([]byte, n)
	_, err := io.ReadFull(conn, b)
	require.NoError(t, err)
	return hex.EncodeToString(b)
}

// All bytes arrive, also those that are no frames, and an end is passed on while
// the other direction goes on.
func TestProxyForwardsEverythingAndShowsFrames(t *testing.T) {
	listener, accepted := target(t)
	address, stop := start(t, listener.Addr().String())
	client, err := net.Dial("tcp", address)
	require.NoError(t, err)
	defer client.Close()
	server := <-accepted
	defer server.Close()

	_, err = client.Write(unhex(t, begin+ping[:10]))
	require.NoError(t, err)
	require.Equal(t, begin+ping[:10], read(t, server, 34), "half a frame is forwarded at once")
	_, err = server.Write(unhex(t, ping))
	require.NoError(t, err)
	require.Equal(t, ping, read(t, client, 16))
	_, err = client.Write(append(unhex(t, ping[10:]), "nonsense that nobody reads"...))
	require.NoError(t, err)
	require.Equal(t, ping[10:]+hex.EncodeToString([]byte("nonsense that nobody reads")), read(t, server, 37))
	require.NoError(t, client.(*net.TCPConn).CloseWrite())
	_, err = server.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF)
	_, err = server.Write(unhex(t, ping))
	require.NoError(t, err)
	require.Equal(t, ping, read(t, client, 16), "the other direction is still open")
	require.NoError(t, server.Close())
	_, err = client.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF)

	seen := stop()
	require.ElementsMatch(t, []string{
		"#1 open", "#1 → " + begin, "#1 ← " + ping, "#1 → " + ping, "#1 → unreadable", "#1 ← " + ping, "#1 closed",
	}, seen)
	require.Equal(t, "#1 open", seen[0])
	require.Equal(t, "#1 closed", seen[len(seen)-1])
}

func TestProxyEndsItsConnections(t *testing.T) {
	listener, accepted := target(t)
	address, stop := start(t, listener.Addr().String())
	client, err := net.Dial("tcp", address)
	require.NoError(t, err)
	defer client.Close()
	server := <-accepted
	defer server.Close()
	require.Equal(t, []string{"#1 open", "#1 closed"}, stop())
	for _, conn := range []net.Conn{client, server} {
		_, err = conn.Read(make([]byte, 1))
		require.Error(t, err)
	}
	_, err = net.Dial("tcp", address)
	require.Error(t, err, "it still accepts")
}

func TestProxySaysThatNobodyIsThere(t *testing.T) {
	listener, _ := target(t)
	nobody := listener.Addr().String()
	require.NoError(t, listener.Close())
	address, stop := start(t, nobody)
	client, err := net.Dial("tcp", address)
	require.NoError(t, err)
	_, err = client.Read(make([]byte, 1))
	require.Error(t, err)
	require.NoError(t, client.Close())
	require.Equal(t, []string{"#1 open", "#1 closed:"}, stop())
}

// What is shown first is shown before any answer to it, every time.
func TestProxyShowsFirst(t *testing.T) {
	listener, accepted := target(t)
	front, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var seen []Direction
	proxy := Proxy{Target: listener.Addr().String(), ShowFirst: true, Show: func(e Event) {
		if e.Note == "" {
			seen = append(seen, e.Direction)
		}
	}}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- proxy.Serve(ctx, front) }()
	client, err := net.Dial("tcp", front.Addr().String())
	require.NoError(t, err)
	defer client.Close()
	server := <-accepted
	defer server.Close()
	var echo sync.WaitGroup
	echo.Go(func() { _, _ = io.Copy(server, server) })
	const rounds = 2000
	for range rounds {
		_, err := client.Write(unhex(t, ping))
		require.NoError(t, err)
		read(t, client, 16)
	}
	cancel()
	require.NoError(t, <-ended)
	echo.Wait()
	require.Len(t, seen, 2*rounds)
	for i := range rounds {
		require.Equal(t, []Direction{ToTarget, FromTarget}, seen[2*i:2*i+2], "round %d", i)
	}
}
