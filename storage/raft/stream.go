package raft

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	hraft "github.com/hashicorp/raft"
)

// Opening is how a connection between the stores of two nodes begins; what
// accepts connections gives those that begin so to Store.Serve. The line goes on
// with the version, the cluster, the digest of what all nodes must agree on, and the nodes
// that speak and are spoken to.
const Opening = "qiao-raft "

const (
	openingVersion = "1"
	longestLine    = 512
	welcome        = "welcome"
	refused        = "refused: "
)

// streams carries Raft's connections. It is the hraft.StreamLayer of a node, and
// knows all that is open, so that closing it ends what waits for a peer.
type streams struct {
	cluster  *Cluster
	timeout  time.Duration // for the opening
	accepted chan net.Conn
	ended    chan struct{} // closed by Close
	end      func()

	mu   sync.Mutex
	open map[net.Conn]struct{} // nil when closed
	told map[string]time.Time  // when a reason to refuse was told last
}

func newStreams(c *Cluster, timeout time.Duration) *streams {
	s := &streams{cluster: c, timeout: timeout, accepted: make(chan net.Conn), open: make(map[net.Conn]struct{}), ended: make(chan struct{}), told: make(map[string]time.Time)}
	s.end = sync.OnceFunc(func() { close(s.ended) })
	return s
}

var errStreamsClosed = errors.New("the store is closing")

// Dial implements hraft.StreamLayer.
func (s *streams) Dial(address hraft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), min(timeout, s.timeout))
	defer cancel()
	go func() { // until Dial returns
		select {
		case <-s.ended:
			cancel()
		case <-ctx.Done():
		}
	}()
	nc, err := new(net.Dialer).DialContext(ctx, "tcp", string(address))
	if err != nil {
		return nil, err
	}
	nc, err = s.track(nc)
	if err != nil {
		return nil, err
	}
	if err := s.introduce(nc, string(address)); err != nil {
		return nil, errors.Join(err, nc.Close())
	}
	return nc, nil
}

// introduce says who calls and whom, and hears whether that is right.
func (s *streams) introduce(nc net.Conn, address string) error {
	to := ""
	for _, m := range s.cluster.Members {
		if m.Address == address {
			to = m.Name
		}
	}
	if err := nc.SetDeadline(time.Now().Add(s.timeout)); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(nc, "%s%s %s %s %s %s\n", Opening, openingVersion, s.cluster.Name, s.cluster.digest(), s.cluster.Self, to); err != nil {
		return err
	}
	answer, err := readLine(nc)
	if err != nil {
		return fmt.Errorf("node %s at %s does not answer as a node of a cluster: %w", to, address, err)
	}
	if answer != welcome {
		return fmt.Errorf("node %s at %s: %s", to, address, answer)
	}
	return nc.SetDeadline(time.Time{})
}

// receive checks how a connection begins and passes it to Raft.
func (s *streams) receive(nc net.Conn) error {
	nc, err := s.track(nc)
	if err != nil {
		return err
	}
	err = nc.SetDeadline(time.Now().Add(s.timeout))
	line := ""
	if err == nil {
		line, err = readLine(nc)
	}
	if err == nil {
		if err = s.check(line); err != nil {
			_, _ = fmt.Fprintf(nc, "%s%v\n", refused, err) // the error is what matters
			if closeErr := nc.Close(); !s.isNews(err.Error()) {
				return closeErr
			}
			return err
		} else {
			_, err = fmt.Fprintln(nc, welcome)
		}
	}
	if err == nil {
		err = nc.SetDeadline(time.Time{})
	}
	if err != nil {
		return errors.Join(err, nc.Close())
	}
	select {
	case s.accepted <- nc:
		return nil
	case <-s.ended:
		return errors.Join(errStreamsClosed, nc.Close())
	}
}

// tellAgain is how often one reason to refuse is told; Raft tries several times a
// second.
const tellAgain = time.Minute

func (s *streams) isNews(reason string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if now.Sub(s.told[reason]) < tellAgain {
		return false
	}
	clear(s.told) // it holds one: reasons have what strangers send in them
	s.told[reason] = now
	return true
}

// check tells what is wrong with a caller's opening line.
func (s *streams) check(line string) error {
	words := strings.Fields(strings.TrimPrefix(line, Opening))
	if !strings.HasPrefix(line, Opening) || len(words) == 0 {
		return fmt.Errorf("the connection begins with %.40q, want %q", line, Opening)
	}
	c := s.cluster
	switch {
	case words[0] != openingVersion || len(words) != 5:
		return fmt.Errorf("it speaks version %.20q of the protocol between nodes, this one version %s", words[0], openingVersion)
	case words[1] != c.Name:
		return fmt.Errorf("it belongs to cluster %.64q, this node to %q", words[1], c.Name)
	case words[4] != c.Self:
		return fmt.Errorf("it wants node %.64q, and this is %s: the address is in the wrong place of the list of nodes", words[4], c.Self)
	case c.index(words[3]) < 0 || words[3] == c.Self:
		return fmt.Errorf("it is node %.64q, which is none of the others in the list of node %s: %s", words[3], c.Self, c.list())
	case words[2] != c.digest():
		return fmt.Errorf("it has another list of nodes, or another election time-out, than node %s: %s, %v", c.Self, c.list(), c.ElectionTimeout)
	}
	return nil
}

// readLine reads up to a newline and not a byte more.
func readLine(nc net.Conn) (string, error) {
	var line []byte
	var one [1]byte
	for len(line) < longestLine {
		if _, err := nc.Read(one[:]); err != nil {
			return "", err
		}
		if one[0] == '\n' {
			return string(line), nil
		}
		line = append(line, one[0])
	}
	return "", fmt.Errorf("the first line is longer than %d bytes", longestLine)
}

// stream is a connection that its streams know until it is closed.
type stream struct {
	net.Conn
	of *streams
}

func (s *streams) track(nc net.Conn) (net.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open == nil {
		return nil, errors.Join(errStreamsClosed, nc.Close())
	}
	tracked := &stream{nc, s}
	s.open[tracked] = struct{}{}
	return tracked, nil
}

func (c *stream) Close() error {
	c.of.mu.Lock()
	delete(c.of.open, c)
	c.of.mu.Unlock()
	return c.Conn.Close()
}

// Accept implements net.Listener.
func (s *streams) Accept() (net.Conn, error) {
	select {
	case nc := <-s.accepted:
		return nc, nil
	case <-s.ended:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener: it closes every connection too.
func (s *streams) Close() error {
	s.end()
	s.mu.Lock()
	open := s.open
	s.open = nil
	s.mu.Unlock()
	for nc := range open {
		_ = nc.(*stream).Conn.Close() // whoever uses it gets an error
	}
	return nil
}

// Addr implements net.Listener: the address by which the others know this node.
func (s *streams) Addr() net.Addr { return streamAddr(s.cluster.member(s.cluster.Self).Address) }

type streamAddr string

func (streamAddr) Network() string  { return "tcp" }
func (a streamAddr) String() string { return string(a) }
