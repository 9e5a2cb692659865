package gateway

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"
)

// spoken is what a connection speaks.
type spoken int

const (
	speaksUnknown spoken = iota
	speaksSeata
	speaksHTTP
	speaksHTTP2
	speaksTLS
	speaksNode // the store of another node of the cluster
)

// openings are the first bytes of what may arrive. None is the beginning of
// another.
var openings = []struct {
	bytes  string
	spoken spoken
}{
	{"\xda\xda", speaksSeata},
	{"PRI * HTTP/2.0\r\n", speaksHTTP2},
	{"\x16\x03", speaksTLS},
	{"qiao-raft ", speaksNode},
	{"GET ", speaksHTTP},
	{"HEAD ", speaksHTTP},
	{"POST ", speaksHTTP},
	{"PUT ", speaksHTTP},
	{"DELETE ", speaksHTTP},
	{"PATCH ", speaksHTTP},
	{"OPTIONS ", speaksHTTP},
}

// longestOpening is the most that sniff reads.
const longestOpening = 16

var (
	errForeign = errors.New("it speaks neither Seata's protocol nor HTTP")
	errTLS     = errors.New("it speaks TLS, which this release does not: connect without")
	errSilent  = errors.New("it did not show its protocol in time")
)

// sniff reads until the protocol is clear, for at most timeout, and returns the
// connection with what was read put back.
func sniff(nc net.Conn, timeout time.Duration) (spoken, net.Conn, error) {
	if err := nc.SetReadDeadline(time.Now().Add(timeout)); err != nil {
		return speaksUnknown, nil, err
	}
	var buf [longestOpening]byte
	n := 0
	for n < len(buf) {
		got, err := nc.Read(buf[n:])
		n += got
		what, open := match(buf[:n])
		switch {
		case what == speaksTLS:
			return what, nil, errTLS
		case what != speaksUnknown:
			return what, &resumed{Conn: nc, read: buf[:n]}, nc.SetReadDeadline(time.Time{})
		case !open:
			return what, nil, fmt.Errorf("%w: it begins with %q", errForeign, buf[:n])
		case errors.Is(err, os.ErrDeadlineExceeded):
			return what, nil, fmt.Errorf("%w, %v: got %q", errSilent, timeout, buf[:n])
		case err != nil:
			return what, nil, err
		}
	}
	return speaksUnknown, nil, fmt.Errorf("%w: it begins with %q", errForeign, buf[:n])
}

// match tells what begins with read, and whether more bytes may tell.
func match(read []byte) (what spoken, open bool) {
	for _, o := range openings {
		switch {
		case bytes.HasPrefix(read, []byte(o.bytes)):
			return o.spoken, false
		case strings.HasPrefix(o.bytes, string(read)):
			open = true
		}
	}
	return speaksUnknown, open
}

// resumed is a connection whose first bytes were read already.
type resumed struct {
	net.Conn
	read []byte
}

func (c *resumed) Read(p []byte) (int, error) {
	if len(c.read) == 0 {
		return c.Conn.Read(p)
	}
	n := copy(p, c.read)
	c.read = c.read[n:]
	return n, nil
}

func (c *resumed) CloseWrite() error { return closeWrite(c.Conn) }

func closeWrite(nc net.Conn) error {
	if c, ok := nc.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return nil
}
