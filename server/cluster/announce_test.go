package cluster

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/server/peers"
)

// deaf is a client that hears nothing.
type deaf struct{}

func (deaf) Go(_ protocol.Message, _ time.Duration, done func(protocol.Message, error)) {
	done(nil, errors.New("deaf"))
}
func (deaf) Send(protocol.Message) error { return errors.New("deaf") }

// served lists who serves what in a registry, by the clients' ids.
func served(r *peers.Registry, channels map[uint64]*peers.Channel) map[string][]string {
	w := r.Watch()
	defer w.Close()
	all := make(map[string][]string)
	for _, rm := range w.Take() {
		all[rm.Channel.Identity().ClientID] = rm.Resources
	}
	for _, c := range channels {
		all[c.Identity().ClientID] = c.Resources()
	}
	return all
}

// However a node's clients come, change and go, and whenever it gets to tell, the
// other one knows the same in the end.
func TestAnnouncementsAddUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		here, there := peers.New(slog.New(slog.DiscardHandler)), peers.New(slog.New(slog.DiscardHandler))
		watch := here.Watch()
		defer watch.Close()
		a := &announcer{mesh: New(Config{Peers: here}), announced: make(map[uint64]*announced)}
		open := make(map[int]*peers.Channel)
		known := make(map[uint64]*peers.Channel)
		tell := func() {
			for _, rm := range watch.Take() {
				for _, m := range a.news(rm) {
					hear(t, there, known, rm, m)
				}
			}
		}
		resource := rapid.SampledFrom([]string{"", "a", "b", "a,b", "c", "b,c,d"})
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			port := rapid.IntRange(1, 4).Draw(t, "client")
			c := open[port]
			if c == nil {
				c = here.Open(deaf{}, netip.AddrPortFrom(netip.MustParseAddr("10.0.0.1"), uint16(port)))
				open[port] = c
			}
			who := &protocol.Identity{Version: "1.5.2", ApplicationID: rapid.SampledFrom([]string{"x", "y"}).Draw(t, "application"), Group: "g"}
			switch rapid.IntRange(0, 5).Draw(t, "event") {
			case 0:
				require.NoError(t, c.RegisterTM(who, false))
			case 1, 2:
				_, err := c.RegisterRM(who, resource.Draw(t, "resources"), false)
				require.NoError(t, err)
			case 3:
				if c.Identity() != nil && c.Identity().RM {
					c.Unregister(resource.Draw(t, "resources"))
				}
			case 4:
				c.Close()
				delete(open, port)
			case 5:
				tell()
			}
		}
		tell()
		require.Equal(t, served(here, nil), served(there, known))
		require.Equal(t, slices.Sorted(maps.Keys(known)), slices.Sorted(maps.Keys(a.announced)))
	})
}

// hear does what the far end does with an announcement.
func hear(t *rapid.T, there *peers.Registry, known map[uint64]*peers.Channel, rm peers.LocalRM, m protocol.Message) {
	number := rm.Channel.Number()
	switch m := m.(type) {
	case *protocol.RegisterRM:
		if known[number] == nil {
			address, err := addressOf(headOf(rm))
			require.NoError(t, err)
			known[number] = there.OpenRemote("here", deaf{}, address)
		}
		_, err := known[number].RegisterRM(&m.Identity, m.ResourceIDs, false)
		require.NoError(t, err)
	case *protocol.UnregisterRM:
		require.NotNil(t, known[number])
		if m.ResourceIDs == "" {
			known[number].Close()
			delete(known, number)
			return
		}
		known[number].Unregister(m.ResourceIDs)
	}
}

// A resource manager with very many resources is announced in parts.
func TestManyResourcesAreAnnouncedInParts(t *testing.T) {
	here := peers.New(slog.New(slog.DiscardHandler))
	watch := here.Watch()
	defer watch.Close()
	a := &announcer{mesh: New(Config{Peers: here}), announced: make(map[uint64]*announced)}
	c := here.Open(deaf{}, netip.MustParseAddrPort("10.0.0.1:1"))
	var all string
	for i := range 2*announceMax + 1 {
		all += fmt.Sprintf("resource-%d,", i)
	}
	_, err := c.RegisterRM(&protocol.Identity{Version: "2.5.0", ApplicationID: "x"}, all, false)
	require.NoError(t, err)
	require.Len(t, a.news(watch.Take()[0]), 3)
	require.Empty(t, watch.Take())
}
