package pcap

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"time"
)

// Blocks of a pcapng file that matter here; others are passed over.
const (
	sectionHeader        = 0x0a0d0d0a // the same in both byte orders
	interfaceDescription = 1
	simplePacket         = 3
	enhancedPacket       = 6
)

// maxInterfaces bounds what a file can make us remember.
const maxInterfaces = 1 << 12

// ngFile is a pcapng file: blocks, of which some describe interfaces and some
// are packets.
type ngFile struct {
	in         io.Reader
	order      binary.ByteOrder
	interfaces []ngInterface // of this section
	data       []byte
}

type ngInterface struct {
	link uint32
	// perSecond is how many ticks of a timestamp are a second.
	perSecond float64
}

func (f *ngFile) next() (packet, error) {
	for {
		kind, body, err := f.block()
		if err != nil {
			return packet{}, err
		}
		switch kind {
		case interfaceDescription:
			if err := f.describe(body); err != nil {
				return packet{}, err
			}
		case enhancedPacket:
			return f.enhanced(body)
		case simplePacket:
			if len(body) < 4 || len(f.interfaces) == 0 {
				return packet{}, fmt.Errorf("%w: a packet before its interface", ErrFormat)
			}
			n := min(int64(f.order.Uint32(body)), int64(len(body)-4))
			return packet{link: f.interfaces[0].link, data: body[4 : 4+n]}, nil
		}
	}
}

// block reads one block: its kind and what is between its two lengths.
func (f *ngFile) block() (kind uint32, body []byte, err error) {
	var header [8]byte
	if _, err := io.ReadFull(f.in, header[:]); err != nil {
		return 0, nil, endOf(err, "the header of a block")
	}
	if binary.BigEndian.Uint32(header[:]) == sectionHeader {
		return f.section(header[4:])
	}
	if f.order == nil {
		return 0, nil, fmt.Errorf("%w: it does not begin with a section", ErrFormat)
	}
	body, err = f.rest(f.order.Uint32(header[4:]), 8)
	return f.order.Uint32(header[:]), body, err
}

// section begins a section, which may have another byte order.
func (f *ngFile) section(length []byte) (uint32, []byte, error) {
	var magic [4]byte
	if _, err := io.ReadFull(f.in, magic[:]); err != nil {
		return 0, nil, fmt.Errorf("%w: it ends within the header of a section", ErrFormat)
	}
	switch {
	case binary.LittleEndian.Uint32(magic[:]) == 0x1a2b3c4d:
		f.order = binary.LittleEndian
	case binary.BigEndian.Uint32(magic[:]) == 0x1a2b3c4d:
		f.order = binary.BigEndian
	default:
		return 0, nil, fmt.Errorf("%w: a section of byte order %x", ErrFormat, magic)
	}
	f.interfaces = nil
	body, err := f.rest(f.order.Uint32(length), 12)
	return sectionHeader, body, err
}

// rest reads a block of which some bytes were read.
func (f *ngFile) rest(length, read uint32) ([]byte, error) {
	if length < read+4 || length%4 != 0 || length > maxPacket {
		return nil, fmt.Errorf("%w: a block of %d bytes", ErrFormat, length)
	}
	b, err := readPart(f.in, &f.data, int(length-read))
	if err != nil {
		return nil, err
	}
	return b[:len(b)-4], nil
}

func (f *ngFile) describe(body []byte) error {
	if len(body) < 8 || len(f.interfaces) == maxInterfaces {
		return fmt.Errorf("%w: an interface of %d bytes, after %d others", ErrFormat, len(body), len(f.interfaces))
	}
	described := ngInterface{link: uint32(f.order.Uint16(body)), perSecond: 1e6}
	for options := body[8:]; len(options) >= 4; {
		code, n := f.order.Uint16(options), int(f.order.Uint16(options[2:]))
		padded := (n + 3) &^ 3
		if code == 0 || len(options) < 4+padded {
			break
		}
		if code == 9 && n == 1 { // if_tsresol
			described.perSecond = resolution(options[4])
		}
		options = options[4+padded:]
	}
	f.interfaces = append(f.interfaces, described)
	return nil
}

// resolution is a power of 10, or of 2 when the highest bit is set.
func resolution(b byte) float64 {
	if b&0x80 != 0 {
		return math.Pow(2, float64(b&0x7f))
	}
	return math.Pow10(int(b))
}

func (f *ngFile) enhanced(body []byte) (packet, error) {
	if len(body) < 20 || int64(f.order.Uint32(body)) >= int64(len(f.interfaces)) {
		return packet{}, fmt.Errorf("%w: a packet of an interface that is not described", ErrFormat)
	}
	of := f.interfaces[f.order.Uint32(body)]
	n := int64(f.order.Uint32(body[12:]))
	if n > int64(len(body)-20) {
		return packet{}, fmt.Errorf("%w: a packet of %d bytes in %d", ErrFormat, n, len(body)-20)
	}
	ticks := uint64(f.order.Uint32(body[4:]))<<32 | uint64(f.order.Uint32(body[8:]))
	return packet{timeOf(ticks, of.perSecond), of.link, body[20 : 20+n]}, nil
}

// timeOf is exact to the microsecond, which is what a float holds.
func timeOf(ticks uint64, perSecond float64) time.Time {
	seconds, fraction := math.Modf(float64(ticks) / perSecond)
	return time.Unix(int64(seconds), int64(math.Round(fraction*1e6))*1000)
}
