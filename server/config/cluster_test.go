package config

import (
	"errors"
	"net"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestForNode(t *testing.T) {
	cards := func() ([]net.Addr, error) {
		var all []net.Addr
		for _, s := range []string{"127.0.0.1/8", "::1/128", "10.1.2.3/24"} {
			ip, network, err := net.ParseCIDR(s)
			require.NoError(t, err)
			all = append(all, &net.IPNet{IP: ip, Mask: network.Mask})
		}
		return all, nil
	}
	broken := func() ([]net.Addr, error) { return nil, errors.New("netlink is down") }
	const local = "a=127.0.0.1:8091,b=127.0.0.1:8092,c=127.0.0.1:8093"
	const apart = "a=10.1.2.2:8091, b=10.1.2.3:8091, c=tc.internal:8091"
	for _, test := range []struct {
		name, nodes, node, listen string
		insecure                  bool
		cards                     func() ([]net.Addr, error)
		wantName, wantListen, err string
	}{
		{"by name", local, "b", "", false, cards, "b", "127.0.0.1:8092", ""},
		{"by address", apart, "", "", true, cards, "b", "10.1.2.3:8091", ""},
		{"listening elsewhere", apart, "c", "0.0.0.0:8091", true, cards, "c", "0.0.0.0:8091", ""},
		{"several here", local, "", "", false, cards, "", "", "3 of cluster.nodes have an address of this machine"},
		{"none here", "a=10.9.9.9:1,b=x:1,c=y:1", "", "", true, cards, "", "", "0 of cluster.nodes"},
		{"unknown name", local, "d", "", false, cards, "", "", `cluster.node "d" is none of`},
		{"cards unknown", local, "", "", false, broken, "", "", "netlink is down"},
		{"not without insecure-listen", apart, "b", "", false, cards, "", "", "insecure-listen"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := Default()
			c.Cluster.Nodes, c.Cluster.Node, c.InsecureListen = test.nodes, test.node, test.insecure
			if test.listen != "" {
				c.Listen = test.listen
			}
			got, self, err := c.ForNode(test.cards)
			if test.err != "" {
				require.ErrorContains(t, err, test.err)
				return
			}
			require.NoError(t, err)
			require.Equal(t, test.wantName, self.Name)
			require.Equal(t, test.wantListen, got.Listen)
			require.Equal(t, self.Address, got.Advertise)
			require.Equal(t, self.Name, got.Cluster.Node)
		})
	}
}
