package javafile

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// File says what was read of one file.
type File struct {
	Name    string `json:"name"`
	Bytes   int64  `json:"bytes"`
	Records int64  `json:"records"`
	// TornAt is the offset of an end that is no whole record, TornBytes its length:
	// Java was killed in the middle of a write, or is in the middle of one.
	TornAt    int64 `json:"tornAt,omitempty"`
	TornBytes int64 `json:"tornBytes,omitempty"`
	// Damaged are whole records that were skipped.
	Damaged []string `json:"damaged,omitempty"`
}

const (
	lengthBytes = 4
	// maxRecord caps a record: Java's own cap is 16 KiB unless it is configured.
	maxRecord = 64 << 20
	// maxTorn is the longest end that is taken for a write that was not finished.
	maxTorn = 1 << 20
)

// frames reads the records of a file with size bytes and hands each out. A damaged
// one is an error that names its offset, or is skipped and noted.
func (f *File) frames(in io.Reader, size int64, skipDamaged bool, each func(*record)) error {
	r := bufio.NewReaderSize(in, 1<<16)
	f.Bytes = size
	var body []byte
	for at := int64(0); at < size; {
		left := size - at
		var head [lengthBytes]byte
		if left < lengthBytes {
			return f.torn(at, left)
		}
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return f.unreadable(at, err)
		}
		n := int64(int32(binary.BigEndian.Uint32(head[:])))
		switch {
		case n == 0 && onlyZeros(r, left-lengthBytes):
			return f.torn(at, left)
		case n <= 0 || n > maxRecord:
			return fmt.Errorf("%w: %s, offset %d: a length of %d; what follows cannot be told apart", ErrDamaged, f.Name, at, n)
		case n > left-lengthBytes && left > maxTorn:
			return fmt.Errorf("%w: %s, offset %d: a length of %d, and the file ends %d bytes on", ErrDamaged, f.Name, at, n, left)
		case n > left-lengthBytes:
			return f.torn(at, left)
		}
		if int64(cap(body)) < n {
			body = make([]byte, n)
		}
		if _, err := io.ReadFull(r, body[:n]); err != nil {
			return f.unreadable(at, err)
		}
		rec, err := decode(body[:n])
		if err != nil {
			err = fmt.Errorf("%s, offset %d: %w", f.Name, at, err)
			if !skipDamaged {
				return err
			}
			f.Damaged = append(f.Damaged, err.Error())
		} else {
			f.Records++
			each(rec)
		}
		at += lengthBytes + n
	}
	return nil
}

func (f *File) torn(at, n int64) error {
	f.TornAt, f.TornBytes = at, n
	return nil
}

func (f *File) unreadable(at int64, err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = errors.New("the file has become shorter")
	}
	return fmt.Errorf("read %s at offset %d: %w", f.Name, at, err)
}

// onlyZeros tells whether the next n bytes are zeros: a crash of the machine may
// leave such an end.
func onlyZeros(r io.ByteReader, n int64) bool {
	for ; n > 0; n-- {
		if b, err := r.ReadByte(); err != nil || b != 0 {
			return false
		}
	}
	return true
}
