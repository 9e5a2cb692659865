package raft

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"

	hraft "github.com/hashicorp/raft"
	"github.com/hashicorp/raft-wal/segment"
	"github.com/hashicorp/raft-wal/types"
)

// The form of a segment file of raft-wal, version 0: a header, then frames, then
// zeros up to the size that was allocated. Each append is a batch: entry frames,
// an index frame when it fills the segment, and a commit frame with the CRC-32C
// of the batch. The header belongs to the first batch.
const (
	segmentMagic       = 0x58eb6b0d
	segmentHeaderBytes = 32
	frameHeaderBytes   = 8 // frames begin at multiples of it
)

// segmentFile reads one segment through a window of it.
type segmentFile struct {
	info types.SegmentInfo
	name string
	file *os.File
	size int64

	window   []byte
	windowAt int64
	batch    batch
}

const windowBytes = 1 << 20

func openSegment(dir string, info types.SegmentInfo) (*segmentFile, error) {
	name := segment.FileName(info)
	file, err := os.OpenFile(filepath.Join(dir, name), os.O_RDWR, 0)
	if err != nil {
		return nil, wrap("open a segment of the log", err)
	}
	size, err := file.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, errors.Join(wrap("read a segment of the log", err), file.Close())
	}
	return &segmentFile{info: info, name: name, file: file, size: size}, nil
}

func (f *segmentFile) damaged(offset int64, index uint64, what string) error {
	return fmt.Errorf("%w: segment %s, offset %d, log entry %d: %s", ErrDamaged, f.name, offset, index, what)
}

// read returns n bytes at offset, good until the next call; nil when the file
// ends before.
func (f *segmentFile) read(offset int64, n int) ([]byte, error) {
	if offset+int64(n) > f.size {
		return nil, nil
	}
	from := offset - f.windowAt
	if from < 0 || from+int64(n) > int64(len(f.window)) {
		length := int(min(int64(max(n, windowBytes)), f.size-offset))
		if length > cap(f.window) {
			f.window = make([]byte, length)
		}
		f.window, f.windowAt, from = f.window[:length], offset, 0
		if _, err := f.file.ReadAt(f.window, offset); err != nil {
			f.window = f.window[:0]
			return nil, fmt.Errorf("read segment %s at offset %d: %w", f.name, offset, err)
		}
	}
	return f.window[from : from+int64(n)], nil
}

// frame is one frame, as read.
type frame struct {
	kind     byte
	checksum uint32 // in a commit frame
	payload  []byte // of the others
	encoded  []byte
}

// frame reads the frame at offset; kind is FrameInvalid when there is none.
func (f *segmentFile) frame(offset int64) (frame, error) {
	head, err := f.read(offset, frameHeaderBytes)
	if head == nil || head[1]|head[2]|head[3] != 0 {
		return frame{}, err
	}
	kind, number := head[0], binary.LittleEndian.Uint32(head[4:])
	switch kind {
	case segment.FrameCommit:
		return frame{kind: kind, checksum: number, encoded: head}, nil
	case segment.FrameEntry, segment.FrameIndex:
		if number > segment.MaxEntrySize {
			return frame{}, nil
		}
		padded := (int(number) + frameHeaderBytes - 1) / frameHeaderBytes * frameHeaderBytes
		encoded, err := f.read(offset, frameHeaderBytes+padded)
		if encoded == nil {
			return frame{}, err
		}
		return frame{kind: kind, payload: encoded[frameHeaderBytes : frameHeaderBytes+int(number)], encoded: encoded}, nil
	default:
		return frame{}, nil
	}
}

// batch is what one append wrote.
type batch struct {
	entries []foundEntry
	indexAt int64  // where the array of the index frame is, or 0
	index   []byte // that array
	end     int64  // after the commit frame
}

// foundEntry is an entry in a segment; bad is what is wrong with its seal.
type foundEntry struct {
	offset int64
	index  uint64
	seal   seal
	bad    error
}

// readBatch reads the batch at offset into f.batch and tells whether it is
// whole.
func (f *segmentFile) readBatch(offset int64) (bool, error) {
	b := &f.batch
	*b = batch{entries: b.entries[:0]}
	castagnoli := crc32.MakeTable(crc32.Castagnoli)
	var checksum uint32
	if offset == 0 {
		header, err := f.read(0, segmentHeaderBytes)
		if header == nil {
			return false, err
		}
		checksum = crc32.Checksum(header, castagnoli)
		offset = segmentHeaderBytes
	}
	for {
		found, err := f.frame(offset)
		if err != nil {
			return false, err
		}
		switch found.kind {
		case segment.FrameEntry:
			b.entries = append(b.entries, readEntry(offset, found.payload))
		case segment.FrameIndex:
			b.indexAt, b.index = offset+frameHeaderBytes, bytes.Clone(found.payload)
		case segment.FrameCommit:
			b.end = offset + frameHeaderBytes
			return found.checksum == checksum, nil
		default:
			return false, nil
		}
		checksum = crc32.Update(checksum, castagnoli, found.encoded)
		offset += int64(len(found.encoded))
	}
}

// readEntry reads a log entry in raft-wal's binary form and checks its seal.
func readEntry(offset int64, payload []byte) foundEntry {
	var numbers [3]uint64 // index, term, type
	var fields [2][]byte  // data, extensions; the time of the append follows
	short := foundEntry{offset: offset, bad: fmt.Errorf("%w: a log entry is cut short", ErrDamaged)}
	for i := range numbers {
		n := 0
		if numbers[i], n = binary.Uvarint(payload); n <= 0 {
			return short
		}
		payload = payload[n:]
	}
	for i := range fields {
		size, n := binary.Uvarint(payload)
		if n <= 0 || size > uint64(len(payload)-n) {
			return short
		}
		fields[i], payload = payload[n:n+int(size)], payload[n+int(size):]
	}
	log := hraft.Log{Index: numbers[0], Term: numbers[1], Type: hraft.LogType(numbers[2]), Data: fields[0], Extensions: fields[1]}
	s, err := readSeal(&log)
	return foundEntry{offset: offset, index: log.Index, seal: s, bad: err}
}

// checkHeader compares the header with the metadata.
func (f *segmentFile) checkHeader() error {
	header, err := f.read(0, segmentHeaderBytes)
	if err != nil {
		return err
	}
	if binary.LittleEndian.Uint64(header) != segmentMagic || binary.LittleEndian.Uint64(header[8:]) != f.info.BaseIndex ||
		binary.LittleEndian.Uint64(header[16:]) != f.info.ID || binary.LittleEndian.Uint64(header[24:]) != f.info.Codec {
		return f.damaged(0, f.info.BaseIndex, "the header is that of another segment")
	}
	return nil
}

// lastWritten returns where the bytes after offset that are not zero end, or
// offset when there are none.
func (f *segmentFile) lastWritten(offset int64) (int64, error) {
	last := offset
	var zeros [64 << 10]byte
	for offset < f.size {
		n := min(int64(len(zeros)), f.size-offset)
		part, err := f.read(offset, int(n))
		if err != nil {
			return 0, err
		}
		offset += n
		if !bytes.Equal(part, zeros[:n]) {
			last = offset
		}
	}
	return last, nil
}

// laterAppend looks between two offsets for an entry of an append after the one
// at from: raft-wal writes nothing before the append before it is on the disk.
// It returns that entry's offset, or 0. It needs no whole frame to start from,
// because frames are aligned and each entry is sealed.
func (f *segmentFile) laterAppend(from, to int64, after uint64) (int64, error) {
	for at := from + frameHeaderBytes; at < to; at += frameHeaderBytes {
		found, err := f.frame(at)
		if err != nil {
			return 0, err
		}
		if found.kind != segment.FrameEntry {
			continue
		}
		if entry := readEntry(at, found.payload); entry.bad != nil || entry.index <= after {
			continue
		}
		before, err := f.frame(at - frameHeaderBytes)
		if err != nil {
			return 0, err
		}
		whole, err := f.readBatch(at)
		if err != nil {
			return 0, err
		}
		if whole || before.kind == segment.FrameCommit {
			return at, nil
		}
	}
	return 0, nil
}

// zero overwrites the bytes between two offsets.
func (f *segmentFile) zero(from, to int64) error {
	f.window = f.window[:0]
	var zeros [64 << 10]byte
	for from < to {
		n, err := f.file.WriteAt(zeros[:min(int64(len(zeros)), to-from)], from)
		if err != nil {
			return fmt.Errorf("cut segment %s at offset %d: %w", f.name, from, err)
		}
		from += int64(n)
	}
	return nil
}

func (f *segmentFile) close() error { return wrap("close segment "+f.name, f.file.Close()) }
