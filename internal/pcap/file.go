package pcap

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"
)

// Errors of this package.
var (
	// ErrFormat: the file is neither pcap nor pcapng, or is damaged.
	ErrFormat = errors.New("damaged capture file")
	// ErrLink: the packets were captured on a kind of link that is not read here.
	ErrLink = errors.New("unsupported kind of link")
)

// maxPacket is the longest packet that is believed; tcpdump cuts at 256 KiB.
const maxPacket = 1 << 20

// packet is one captured packet.
type packet struct {
	at   time.Time
	link uint32
	data []byte // holds until the next packet is read
}

// file reads packets one by one; next ends with io.EOF.
type file interface {
	next() (packet, error)
}

// IsFile tells whether b, the first 4 bytes of something, begin a capture file.
func IsFile(b []byte) bool {
	if len(b) < 4 {
		return false
	}
	_, _, err := classicOrder(b)
	return err == nil || binary.BigEndian.Uint32(b) == sectionHeader
}

func openFile(r io.Reader) (file, error) {
	in := bufio.NewReaderSize(r, 64<<10)
	magic, err := in.Peek(4)
	if err != nil {
		return nil, fmt.Errorf("%w: it ends within its first 4 bytes", ErrFormat)
	}
	if binary.BigEndian.Uint32(magic) == sectionHeader {
		return &ngFile{in: in}, nil
	}
	return openClassic(in)
}

// classicFile is a pcap file: a header and packets.
type classicFile struct {
	in    io.Reader
	order binary.ByteOrder
	nano  bool
	link  uint32
	data  []byte
}

// classicOrder reads the magic number of a pcap file.
func classicOrder(magic []byte) (order binary.ByteOrder, nano bool, err error) {
	for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
		switch order.Uint32(magic) {
		case 0xa1b2c3d4:
			return order, false, nil
		case 0xa1b23c4d:
			return order, true, nil
		}
	}
	return nil, false, fmt.Errorf("%w: it begins with %x, which is neither pcap nor pcapng", ErrFormat, magic[:4])
}

func openClassic(in io.Reader) (*classicFile, error) {
	var header [24]byte
	if _, err := io.ReadFull(in, header[:]); err != nil {
		return nil, fmt.Errorf("%w: it ends within its header", ErrFormat)
	}
	order, nano, err := classicOrder(header[:])
	if err != nil {
		return nil, err
	}
	// The upper bits of the link type hold other things.
	return &classicFile{in: in, order: order, nano: nano, link: order.Uint32(header[20:]) & 0xffff}, nil
}

func (f *classicFile) next() (packet, error) {
	var header [16]byte
	if _, err := io.ReadFull(f.in, header[:]); err != nil {
		return packet{}, endOf(err, "the header of a packet")
	}
	seconds, fraction := f.order.Uint32(header[:]), f.order.Uint32(header[4:])
	if !f.nano {
		fraction *= 1000
	}
	n := f.order.Uint32(header[8:])
	if n > maxPacket {
		return packet{}, fmt.Errorf("%w: a packet of %d bytes", ErrFormat, n)
	}
	data, err := readPart(f.in, &f.data, int(n))
	return packet{time.Unix(int64(seconds), int64(fraction)), f.link, data}, err
}

// endOf is io.EOF at the end of the file, and an error within one of its parts.
func endOf(err error, part string) error {
	if errors.Is(err, io.EOF) {
		return io.EOF
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: it ends within %s", ErrFormat, part)
	}
	return err
}

// readPart reads n bytes into the memory of buf.
func readPart(in io.Reader, buf *[]byte, n int) ([]byte, error) {
	if cap(*buf) < n {
		*buf = make([]byte, n)
	}
	b := (*buf)[:n]
	if _, err := io.ReadFull(in, b); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, endOf(err, "a packet")
	}
	return b, nil
}
