package main

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAdvertisedAddress(t *testing.T) {
	cards := func() ([]net.Addr, error) {
		var all []net.Addr
		for _, s := range []string{"127.0.0.1/8", "fe80::1/64", "2001:db8::7/64", "10.1.2.3/24", "10.9.9.9/24"} {
			ip, network, err := net.ParseCIDR(s)
			require.NoError(t, err)
			all = append(all, &net.IPNet{IP: ip, Mask: network.Mask})
		}
		return all, nil
	}
	none := func() ([]net.Addr, error) { return nil, nil }
	broken := func() ([]net.Addr, error) { return nil, errors.New("netlink is down") }
	for _, test := range []struct {
		name, advertise, listening string
		cards                      func() ([]net.Addr, error)
		want, err                  string
	}{
		{"loopback is what clients of this machine use", "", "127.0.0.1:8091", none, "127.0.0.1:8091", ""},
		{"a card's own address", "", "10.9.9.9:8091", none, "10.9.9.9:8091", ""},
		{"wildcard: the first card, IPv4 before IPv6", "", "0.0.0.0:8091", cards, "10.1.2.3:8091", ""},
		{"wildcard over both families", "", "[::]:8091", cards, "10.1.2.3:8091", ""},
		{"IPv6", "", "[2001:db8::7]:8091", none, "[2001:db8::7]:8091", ""},
		{"host", "tc.internal", "0.0.0.0:8091", none, "tc.internal:8091", ""},
		{"host and port", "tc.internal:18091", "0.0.0.0:8091", none, "tc.internal:18091", ""},
		{"IPv6 host", "2001:db8::1", "0.0.0.0:8091", none, "[2001:db8::1]:8091", ""},
		{"IPv6 host in brackets", "[2001:db8::1]", "0.0.0.0:8091", none, "[2001:db8::1]:8091", ""},
		{"no card", "", "0.0.0.0:8091", none, "", "--advertise"},
		{"cards unknown", "", "0.0.0.0:8091", broken, "", "netlink is down"},
		{"no host", ":8091", "0.0.0.0:8091", none, "", "want a host name"},
		{"no port number", "tc:http", "0.0.0.0:8091", none, "", "want a host name"},
		{"two ports", "bad:host:1", "0.0.0.0:8091", none, "", "want a host name"},
		{"a wildcard", "0.0.0.0", "0.0.0.0:8091", none, "", "clients can reach"},
		{"a URL", "http://tc", "0.0.0.0:8091", none, "", "want a host name"},
		{"39 bytes are as long as may be", strings.Repeat("a", 39), "0.0.0.0:8091", none, strings.Repeat("a", 39) + ":8091", ""},
		{"40 are too long", strings.Repeat("a", 40), "0.0.0.0:8091", none, "", "up to 65 bytes, and XA allows 64"},
	} {
		t.Run(test.name, func(t *testing.T) {
			listening, err := net.ResolveTCPAddr("tcp", test.listening)
			require.NoError(t, err)
			got, err := advertisedAddress(test.advertise, listening, test.cards)
			if test.err != "" {
				require.ErrorContains(t, err, test.err)
				return
			}
			require.NoError(t, err)
			require.Equal(t, test.want, got)
		})
	}
}

func TestPortFileAppearsWhole(t *testing.T) {
	path := filepath.Join(t.TempDir(), "port")
	address := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8091}
	require.NoError(t, writePortFile(path, address))
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "127.0.0.1:8091\n", string(b))
	require.Error(t, writePortFile(filepath.Join(path, "below a file"), address))
}
