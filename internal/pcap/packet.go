package pcap

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"
)

// segment is a TCP segment.
type segment struct {
	at       time.Time
	from, to netip.AddrPort
	seq      uint32
	syn      bool
	fin, rst bool
	data     []byte
	// cut is how many bytes of it were not captured.
	cut int
}

// Kinds of links (https://www.tcpdump.org/linktypes.html).
const (
	linkNull     = 0
	linkEthernet = 1
	linkRaw      = 101
	linkLoop     = 108
	linkCooked   = 113
	linkIPv4     = 228
	linkIPv6     = 229
	linkCooked2  = 276
)

// Kinds of what a link carries.
const (
	etherIPv4 = 0x0800
	etherIPv6 = 0x86dd
	etherVLAN = 0x8100
	etherQinQ = 0x88a8
	protoTCP  = 6
)

// network takes the header of the link off a packet. Whether IPv4 or IPv6
// follows is told by its first byte. Anything else is nil.
func network(link uint32, b []byte) ([]byte, error) {
	switch link {
	case linkEthernet:
		return afterEther(b, 12)
	case linkNull, linkLoop: // an address family, whose numbers differ by system
		return after(b, 4), nil
	case linkRaw, linkIPv4, linkIPv6, 12, 14:
		return b, nil
	case linkCooked:
		return afterEther(b, 14)
	case linkCooked2:
		if len(b) < 20 || !isIP(binary.BigEndian.Uint16(b)) {
			return nil, nil
		}
		return b[20:], nil
	}
	return nil, fmt.Errorf("%w: %d; capture on Ethernet, loopback or \"any\"", ErrLink, link)
}

// afterEther returns what follows the protocol number at offset at.
func afterEther(b []byte, at int) ([]byte, error) {
	for len(b) >= at+2 {
		kind := binary.BigEndian.Uint16(b[at:])
		switch {
		case isIP(kind):
			return b[at+2:], nil
		case kind != etherVLAN && kind != etherQinQ:
			return nil, nil
		}
		at += 4
	}
	return nil, nil
}

func isIP(kind uint16) bool { return kind == etherIPv4 || kind == etherIPv6 }

func after(b []byte, n int) []byte {
	if len(b) < n {
		return nil
	}
	return b[n:]
}

// internet is an IP packet without its header.
type internet struct {
	from, to netip.Addr
	protocol byte
	data     []byte
	cut      int
}

// parseIP reads an IP packet; ok is false for what is none, and for fragments.
func parseIP(b []byte) (p internet, ok bool) {
	if len(b) == 0 {
		return p, false
	}
	switch b[0] >> 4 {
	case 4:
		return parseIPv4(b)
	case 6:
		return parseIPv6(b)
	}
	return p, false
}

func parseIPv4(b []byte) (p internet, ok bool) {
	if len(b) < 20 {
		return p, false
	}
	header, total := int(b[0]&15)*4, int(binary.BigEndian.Uint16(b[2:]))
	const moreFragmentsOrOffset = 0x3fff
	if header < 20 || header > len(b) || binary.BigEndian.Uint16(b[6:])&moreFragmentsOrOffset != 0 {
		return p, false
	}
	p = internet{
		from: netip.AddrFrom4([4]byte(b[12:])), to: netip.AddrFrom4([4]byte(b[16:])), protocol: b[9],
	}
	return p.limit(b[header:], total-header, total == 0)
}

func parseIPv6(b []byte) (p internet, ok bool) {
	if len(b) < 40 {
		return p, false
	}
	p = internet{from: netip.AddrFrom16([16]byte(b[8:])), to: netip.AddrFrom16([16]byte(b[24:])), protocol: b[6]}
	length := int(binary.BigEndian.Uint16(b[4:]))
	rest, whole := b[40:], length
	for p.protocol == 0 || p.protocol == 43 || p.protocol == 60 { // options and routing
		if len(rest) < 8 {
			return p, false
		}
		n := 8 * (int(rest[1]) + 1)
		if n > len(rest) {
			return p, false
		}
		p.protocol, rest, length = rest[0], rest[n:], length-n
	}
	return p.limit(rest, length, whole == 0)
}

// limit cuts off padding, and notes what was not captured. A network card that
// splits packets itself leaves the length 0.
func (p internet) limit(b []byte, length int, byCard bool) (internet, bool) {
	switch {
	case byCard:
		length = len(b)
	case length < 0:
		return p, false
	}
	p.data = b[:min(length, len(b))]
	p.cut = length - len(p.data)
	return p, true
}

// parseTCP reads the segment of a packet; ok is false for what is none.
func parseTCP(p internet, at time.Time) (s segment, ok bool) {
	b := p.data
	if p.protocol != protoTCP || len(b) < 20 {
		return s, false
	}
	header := int(b[12]>>4) * 4
	if header < 20 || header > len(b) {
		return s, false
	}
	flags := b[13]
	return segment{
		at:   at,
		from: netip.AddrPortFrom(p.from, binary.BigEndian.Uint16(b)), to: netip.AddrPortFrom(p.to, binary.BigEndian.Uint16(b[2:])),
		seq: binary.BigEndian.Uint32(b[4:]),
		fin: flags&1 != 0, syn: flags&2 != 0, rst: flags&4 != 0,
		data: b[header:], cut: p.cut,
	}, true
}
