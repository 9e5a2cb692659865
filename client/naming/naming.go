// Package naming finds transaction coordinators.
//
// Job: what a registry of coordinator nodes has to do (Resolver, Watcher,
// Announcer), and the resolvers that need no registry: a fixed list, and one that
// remembers what another found. Registries are packages below this one.
// Owner: client asks a Resolver now and again; a server runs an Announcer.
// It must not know: connections, or what is done with the addresses.
package naming

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Resolver finds the nodes of the coordinator. It may be called concurrently.
type Resolver interface {
	// Resolve returns the addresses (host:port) of all nodes that there are now,
	// at least one. The caller keeps using the last answer when it fails. An error
	// that comes together with addresses says that they are old: they are for a
	// caller that has none.
	Resolve(ctx context.Context) ([]string, error)
}

// Watcher is a Resolver that notices by itself when its answer changes.
type Watcher interface {
	Resolver
	// Watch calls changed whenever Resolve may have a new answer, until ctx ends,
	// and only then returns. It outlasts any trouble with the registry, and calls
	// changed after it, as changes may have been missed. A caller asks Resolve now
	// and again all the same.
	Watch(ctx context.Context, changed func())
}

// Announcer keeps a coordinator node listed where the Resolver of the same
// registry finds it.
type Announcer interface {
	// Announce lists address (host:port) until ctx ends, and lists it again
	// whenever the registry has lost it. It calls state with nil when the node is
	// listed, and with the reason when it could not be, each time that changes; it
	// then tries again. When ctx has ended it takes the node off the list within a
	// few seconds, or returns why that failed: the registry then forgets the node
	// by itself later.
	Announce(ctx context.Context, address string, state func(error)) error
}

// ErrAddress reports an address that is not host:port.
var ErrAddress = errors.New("bad coordinator address")

// Static is a Resolver whose answer never changes.
type Static struct{ addresses []string }

// NewStatic returns a Resolver for addresses, each host:port or [ipv6]:port,
// without the repeated ones. The error wraps ErrAddress.
func NewStatic(addresses ...string) (*Static, error) {
	if len(addresses) == 0 {
		return nil, fmt.Errorf("%w: none is given; name one such as 127.0.0.1:8091", ErrAddress)
	}
	s := &Static{}
	for _, address := range addresses {
		if err := Check(address); err != nil {
			return nil, err
		}
		if !slices.Contains(s.addresses, address) {
			s.addresses = append(s.addresses, address)
		}
	}
	return s, nil
}

// Resolve returns the addresses given to NewStatic.
func (s *Static) Resolve(context.Context) ([]string, error) { return slices.Clone(s.addresses), nil }

// Check reports an address that is not host:port with both parts present. The
// error wraps ErrAddress.
func Check(address string) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("%w %q: want host:port, such as 127.0.0.1:8091: %w", ErrAddress, address, err)
	}
	if host == "" {
		return fmt.Errorf("%w %q: the host is missing", ErrAddress, address)
	}
	_, notIP := netip.ParseAddr(host)
	if strings.ContainsAny(host, " \t\r\n/,;@") || notIP != nil && strings.ContainsAny(host, ":[]%") {
		return fmt.Errorf("%w %q: the host is no name and no address", ErrAddress, address)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return fmt.Errorf("%w %q: the port is not a number from 1 to 65535", ErrAddress, address)
	}
	return nil
}

// FromSeata returns the host:port of an address as Java Seata writes it, which
// puts no brackets around an IPv6 address. The error wraps ErrAddress.
func FromSeata(text string) (string, error) {
	address := strings.TrimSpace(text)
	if i := strings.LastIndexByte(address, ':'); i > 0 && !strings.HasPrefix(address, "[") {
		if ip, err := netip.ParseAddr(address[:i]); err == nil && ip.Is6() {
			address = net.JoinHostPort(ip.WithZone("").Unmap().String(), address[i+1:])
		}
	}
	return address, Check(address)
}

// ToSeata returns a host:port as Java Seata writes it. See FromSeata.
func ToSeata(address string) (string, error) {
	if err := Check(address); err != nil {
		return "", err
	}
	host, port, err := net.SplitHostPort(address)
	host, _, _ = strings.Cut(host, "%")
	return host + ":" + port, err
}
