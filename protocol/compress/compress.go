package compress

import (
	"errors"
	"fmt"
	"strings"
	"sync"
)

// Ids of compressors (org.apache.seata.core.compressor.CompressorType).
const (
	None     byte = 0
	Gzip     byte = 1
	Zip      byte = 2
	Bzip2    byte = 4
	LZ4      byte = 5
	Deflater byte = 6
	Zstd     byte = 7
)

// Errors of this package.
var (
	// ErrUnsupported: a compressor that is not spoken here.
	ErrUnsupported = errors.New("unsupported compressor")
	// ErrTooLarge: the body would be longer than allowed.
	ErrTooLarge = errors.New("decompressed body too large")
	// ErrDamaged: the bytes are not what the compressor writes.
	ErrDamaged = errors.New("damaged compressed body")
)

// Pool holds the working memory of compressors, about a megabyte for each that
// is at work, and leaves it to the garbage collector when it lies idle. The
// zero value is ready for use, by any goroutine; the connections of a process
// best share one.
type Pool struct {
	gzipReaders, gzipWriters     sync.Pool
	flateReaders, flateWriters   sync.Pool
	zlibReaders, zlibWriters     sync.Pool
	bzip2Writers, lz4Compressors sync.Pool
	zstdDecoders, zstdEncoders   sync.Pool
}

// method is one compressor; without functions it is known by name only.
type method struct {
	name   string
	pack   func(p *Pool, dst, body []byte) ([]byte, error)
	unpack func(p *Pool, buf, packed []byte, limit int) ([]byte, error)
}

// methods are all compressors by id. Nobody writes to them.
var methods = [...]method{
	None:     {"none", appendPlain, plain},
	Gzip:     {"gzip", (*Pool).appendGzip, (*Pool).gunzip},
	Zip:      {"zip", (*Pool).appendZip, (*Pool).unzip},
	3:        {name: "sevenz"},
	Bzip2:    {"bzip2", (*Pool).appendBzip2, (*Pool).bunzip2},
	LZ4:      {"lz4", (*Pool).appendLZ4, (*Pool).unlz4},
	Deflater: {"deflater", (*Pool).appendZlib, (*Pool).unzlib},
	Zstd:     {"zstd", (*Pool).appendZstd, (*Pool).unzstd},
}

// methodOf returns the compressor with the id. The error wraps ErrUnsupported.
func methodOf(id byte) (method, error) {
	m := method{name: "unknown"}
	if int(id) < len(methods) {
		m = methods[id]
	}
	if m.pack == nil {
		return m, fmt.Errorf("%w %d (%s); set seata.transport.compressor to %s at the peer",
			ErrUnsupported, id, m.name, alternatives(" or "))
	}
	return m, nil
}

// ByName returns the id of the compressor with the name, in any letter case. The
// error wraps ErrUnsupported and lists the valid names.
func ByName(name string) (byte, error) {
	for id, m := range methods {
		if m.pack != nil && strings.EqualFold(m.name, name) {
			return byte(id), nil
		}
	}
	return 0, fmt.Errorf("%w %q; valid are %s", ErrUnsupported, name, alternatives(", "))
}

// Names are the names of the compressors that are spoken, as Seata's setting
// transport.compressor has them.
func Names() []string {
	var names []string
	for _, m := range methods {
		if m.pack != nil {
			names = append(names, m.name)
		}
	}
	return names
}

// alternatives lists the names, the last two with a word between them.
func alternatives(last string) string {
	names := Names()
	return strings.Join(names[:len(names)-1], ", ") + last + names[len(names)-1]
}

// Append appends body, packed by the compressor with the id, to dst. The error
// wraps ErrUnsupported; dst is then unchanged.
func (p *Pool) Append(dst []byte, id byte, body []byte) ([]byte, error) {
	m, err := methodOf(id)
	if err != nil {
		return dst, err
	}
	return m.pack(p, dst, body)
}

// Expand returns the body that the compressor with the id packed, of at most
// limit bytes. The body lies in buf's memory when that suffices; packed by None
// it is packed itself. The error wraps ErrUnsupported, ErrTooLarge or
// ErrDamaged.
func (p *Pool) Expand(buf []byte, id byte, packed []byte, limit int) ([]byte, error) {
	m, err := methodOf(id)
	if err != nil {
		return nil, err
	}
	body, err := m.unpack(p, buf, packed, limit)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", m.name, err)
	}
	return body, nil
}

func appendPlain(_ *Pool, dst, body []byte) ([]byte, error) { return append(dst, body...), nil }

func plain(_ *Pool, _, packed []byte, limit int) ([]byte, error) {
	return packed, checkSize(uint64(len(packed)), limit)
}

func checkSize(size uint64, limit int) error {
	if size > uint64(limit) {
		return fmt.Errorf("%w: %d bytes, at most %d are allowed; split the work into smaller branches", ErrTooLarge, size, limit)
	}
	return nil
}

// room returns size bytes, of buf when it has them, for what the bytes of
// packed become. One byte of them becomes at most ratio bytes.
func room(buf []byte, size uint64, packed []byte, ratio uint64, limit int) ([]byte, error) {
	if size > ratio*uint64(len(packed)) {
		return nil, fmt.Errorf("%w: %d bytes cannot come from %d", ErrDamaged, size, len(packed))
	}
	if err := checkSize(size, limit); err != nil {
		return nil, err
	}
	if size <= uint64(cap(buf)) {
		return buf[:size:size], nil
	}
	return make([]byte, size), nil
}
