package main

import (
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/qiao-tx/qiao/protocol/xid"
)

// listenTCP listens, or says what is in the way and what to do about it.
func listenTCP(address string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	switch {
	case err == nil:
		return l, nil
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("listen on %s: the port is in use; stop the program that has it or choose another with --listen", address)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return nil, fmt.Errorf("listen on %s: no network card of this machine has the address; choose another with --listen", address)
	case errors.Is(err, syscall.EACCES):
		return nil, fmt.Errorf("listen on %s: not permitted to this user; choose a port from 1024 with --listen", address)
	default:
		return nil, fmt.Errorf("listen on %s: %w; choose another address with --listen", address, err)
	}
}

// advertisedAddress is the host:port in XIDs: what the operator says, else
// where the server listens, else, on a wildcard, the first address of cards.
func advertisedAddress(advertise string, listening net.Addr, cards func() ([]net.Addr, error)) (string, error) {
	at, err := netip.ParseAddrPort(listening.String())
	if err != nil {
		return "", fmt.Errorf("advertise: %w", err)
	}
	port := strconv.Itoa(int(at.Port()))
	var address string
	switch {
	case advertise == "" && at.Addr().IsUnspecified():
		host, err := firstAddress(cards)
		if err != nil {
			return "", err
		}
		address = net.JoinHostPort(host, port)
	case advertise == "":
		address = net.JoinHostPort(at.Addr().Unmap().String(), port)
	default:
		host, ownPort, err := net.SplitHostPort(advertise)
		if err != nil {
			host, ownPort = strings.Trim(advertise, "[]"), port
		}
		if n, err := strconv.ParseUint(ownPort, 10, 16); err != nil || n == 0 || !reachableHost(host) {
			return "", fmt.Errorf("advertise %q: want a host name or address that clients can reach, with or without a port", advertise)
		}
		address = net.JoinHostPort(host, ownPort)
	}
	if n := len(xid.New(address, math.MaxInt64)); n > xid.MaxLen {
		return "", fmt.Errorf("advertise %s: its XIDs would have up to %d bytes, and XA allows %d; advertise a shorter name or an IP address",
			address, n, xid.MaxLen)
	}
	return address, nil
}

// reachableHost tells whether clients may find a server under host: an address
// of one machine, or what looks like a name.
func reachableHost(host string) bool {
	if ip, err := netip.ParseAddr(host); err == nil {
		return !ip.IsUnspecified() && !ip.IsMulticast()
	}
	return host != "" && !strings.ContainsAny(host, " \t\r\n/@,;#^:[]")
}

// firstAddress is the first address that other machines may know, IPv4 before
// IPv6.
func firstAddress(cards func() ([]net.Addr, error)) (string, error) {
	all, err := cards()
	if err != nil {
		return "", fmt.Errorf("find an address to advertise: %w; name one with --advertise", err)
	}
	var found netip.Addr
	for _, a := range all {
		prefix, err := netip.ParsePrefix(a.String())
		if err != nil || !prefix.Addr().IsGlobalUnicast() {
			continue
		}
		if ip := prefix.Addr().Unmap(); !found.IsValid() || ip.Is4() && found.Is6() {
			found = ip
		}
	}
	if !found.IsValid() {
		return "", errors.New("no network card has an address to advertise; name one with --advertise")
	}
	return found.String(), nil
}

// writePortFile writes the address for whoever started the server. It appears
// whole or not at all.
func writePortFile(path string, address net.Addr) error {
	temporary := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".new")
	if err := os.WriteFile(temporary, []byte(address.String()+"\n"), 0o644); err != nil {
		return fmt.Errorf("port-file: %w", err)
	}
	if err := os.Rename(temporary, path); err != nil {
		return fmt.Errorf("port-file: %w", err)
	}
	return nil
}
