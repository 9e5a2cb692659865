// Package naming finds transaction coordinators.
//
// Job: the Resolver interface, and a Resolver for a fixed list of addresses.
// Owner: client asks a Resolver now and again.
// It must not know: connections, or what is done with the addresses.
package naming

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
)

// Resolver finds the nodes of the coordinator. It may be called concurrently.
type Resolver interface {
	// Resolve returns the addresses (host:port) of all nodes that there are now,
	// at least one. The caller keeps using the last answer when it fails.
	Resolve(ctx context.Context) ([]string, error)
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
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return fmt.Errorf("%w %q: the port is not a number from 1 to 65535", ErrAddress, address)
	}
	return nil
}
