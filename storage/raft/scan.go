package raft

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"time"

	wal "github.com/hashicorp/raft-wal"
	"github.com/hashicorp/raft-wal/segment"
	"github.com/hashicorp/raft-wal/types"
)

// logScan reads the whole log before raft-wal does, whose recovery looks at the
// last append only and takes whatever it cannot read for a torn write. What it
// leaves is a log in which nothing is left to decide.
type logScan struct {
	dir    string
	logger *slog.Logger
	chain  *chain
	// offsets are where the entries of the present segment are.
	offsets []uint32
}

// scanLog checks the segments in dir against the metadata, the seals and the
// newest snapshot. The rest of an append that did not reach the disk whole is
// cut off and reported; anything else that is wrong is ErrDamaged.
func scanLog(dir string, meta types.MetaStore, chain *chain, logger *slog.Logger) error {
	state, err := meta.Load(dir)
	if err != nil {
		return err
	}
	if state, err = dropReplaced(dir, state, meta, chain, logger); err != nil {
		return err
	}
	if err := checkSegmentList(dir, state); err != nil {
		return err
	}
	s := &logScan{dir: dir, logger: logger, chain: chain}
	for i, info := range state.Segments {
		if i < len(state.Segments)-1 {
			err = s.sealed(info)
		} else {
			err = s.tail(info, state, meta)
		}
		if err != nil {
			return err
		}
	}
	// A file that raft-wal opens again, rather than makes, it takes for one
	// whose name is durable.
	if err := syncDir(dir); err != nil {
		return wrap("make the log's directory durable", err)
	}
	return chain.check()
}

// checkSegmentList checks what the metadata says of the segments, and that no
// file is newer than the metadata: raft-wal would delete it as a leftover.
func checkSegmentList(dir string, state types.PersistentState) error {
	newest := uint64(0)
	for i, info := range state.Segments {
		isTail := i == len(state.Segments)-1
		switch {
		case info.SealTime.IsZero() != isTail, info.Codec != wal.CodecBinaryV1, info.SizeLimit == 0,
			info.BaseIndex == 0 || info.MinIndex < info.BaseIndex,
			i > 0 && (info.BaseIndex != state.Segments[i-1].MaxIndex+1 || info.ID <= newest),
			!isTail && info.MaxIndex < info.MinIndex,
			isTail && state.NextSegmentID != info.ID+1:
			return fmt.Errorf("%w: the log's metadata describes segment %s wrongly: %+v", ErrDamaged, segment.FileName(info), info)
		}
		newest = info.ID
	}
	names, err := filepath.Glob(filepath.Join(dir, "*.wal"))
	if err != nil {
		return wrap("list the segments of the log", err)
	}
	for _, name := range names {
		var file types.SegmentInfo
		_, err := fmt.Sscanf(filepath.Base(name), "%d-%x.wal", &file.BaseIndex, &file.ID)
		if err != nil || segment.FileName(file) != filepath.Base(name) {
			return fmt.Errorf("%w: %s is no name of a segment", ErrDamaged, name)
		}
		if len(state.Segments) == 0 || file.ID > newest {
			return fmt.Errorf("%w: segment %s is not in the log's metadata, which is older or lost", ErrDamaged, name)
		}
	}
	return nil
}

// sealed scans a segment that is full.
func (s *logScan) sealed(info types.SegmentInfo) (err error) {
	f, err := openSegment(s.dir, info)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: log entries %d to %d are missing: %w", ErrDamaged, info.MinIndex, info.MaxIndex, err)
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.close()) }()
	end, indexAt, err := s.batches(f)
	if err != nil {
		return err
	}
	next := info.BaseIndex + uint64(len(s.offsets))
	if indexAt == 0 {
		return f.damaged(end, next, "what was appended here is not what was written")
	}
	if uint64(indexAt) != info.IndexStart || next <= info.MaxIndex {
		return f.damaged(indexAt, next, fmt.Sprintf("the segment's index is here and ends here, the metadata says at offset %d, after entry %d", info.IndexStart, info.MaxIndex))
	}
	return nil
}

// tail scans the segment that is being written.
func (s *logScan) tail(info types.SegmentInfo, state types.PersistentState, meta types.MetaStore) (err error) {
	f, err := openSegment(s.dir, info)
	if errors.Is(err, fs.ErrNotExist) {
		// raft-wal makes it: the metadata is written before the file.
		s.logger.Warn("the log's last segment is not there: a crash came before it was made, or it was removed", "segment", segment.FileName(info))
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.close()) }()
	end, indexAt, err := s.batches(f)
	if err != nil {
		return err
	}
	next := info.BaseIndex + uint64(len(s.offsets))
	written, err := f.lastWritten(end)
	if err != nil {
		return err
	}
	if written > end {
		if err := s.cut(f, end, written, next); err != nil {
			return err
		}
	}
	// A process that was killed may have left what was read in the page cache.
	if err := f.file.Sync(); err != nil {
		return wrap("make the end of the log durable", err)
	}
	if indexAt != 0 {
		return finishRotation(state, next-1, uint64(indexAt), meta)
	}
	return nil
}

// batches feeds the entries of a segment's whole batches to the chain. It
// returns where they end and, if that is in an index, where the index is.
func (s *logScan) batches(f *segmentFile) (end, indexAt int64, err error) {
	s.offsets = s.offsets[:0]
	for indexAt == 0 {
		whole, err := f.readBatch(end)
		if err != nil {
			return 0, 0, err
		}
		if !whole {
			break
		}
		if end == 0 {
			if err := f.checkHeader(); err != nil {
				return 0, 0, err
			}
		}
		for _, entry := range f.batch.entries {
			if err := s.entry(f, entry); err != nil {
				return 0, 0, err
			}
		}
		end, indexAt = f.batch.end, f.batch.indexAt
	}
	if indexAt != 0 && !s.isIndex(f.batch.index) {
		return 0, 0, f.damaged(indexAt, f.info.BaseIndex, "the index does not say where the entries are")
	}
	return end, indexAt, nil
}

// entry checks one entry of a whole batch.
func (s *logScan) entry(f *segmentFile, entry foundEntry) error {
	index := f.info.BaseIndex + uint64(len(s.offsets))
	s.offsets = append(s.offsets, uint32(entry.offset))
	isCut := index < f.info.MinIndex || (f.info.MaxIndex != 0 && index > f.info.MaxIndex)
	err := entry.bad
	if err == nil && entry.index != index {
		err = fmt.Errorf("%w: log entry %d stands in the place of %d", ErrDamaged, entry.index, index)
	}
	if err == nil && !isCut {
		err = s.chain.next(index, entry.seal)
	}
	if err != nil {
		return fmt.Errorf("segment %s, offset %d, log entry %d: %w", f.name, entry.offset, index, err)
	}
	return nil
}

// isIndex tells whether an index frame's array is what was found.
func (s *logScan) isIndex(array []byte) bool {
	if len(array) != 4*len(s.offsets) {
		return false
	}
	for i, offset := range s.offsets {
		if binary.LittleEndian.Uint32(array[4*i:]) != offset {
			return false
		}
	}
	return true
}

// cut overwrites what follows the last whole batch, unless something in it shows
// that this had been durable. raft-wal would leave the bytes where they are and
// could take them for frames later.
func (s *logScan) cut(f *segmentFile, from, to int64, next uint64) error {
	later, err := f.laterAppend(from, to, next-1)
	if err != nil {
		return err
	}
	if later != 0 {
		return f.damaged(from, next, fmt.Sprintf("what was appended here is not what was written, though a later append follows at offset %d", later))
	}
	s.logger.Warn("the end of the log was cut: a crash interrupted the last append, whose callers got no answer; or that append was damaged later, which looks the same, and its batches are lost",
		"segment", f.name, "offset", from, "bytes", to-from, "entry", next)
	return f.zero(from, to)
}

// finishRotation does what raft-wal leaves undone when a crash comes between the
// append that fills a segment and the metadata: it would open the segment as
// its tail and refuse every append.
func finishRotation(state types.PersistentState, last, indexAt uint64, meta types.MetaStore) error {
	now := time.Now()
	full := &state.Segments[len(state.Segments)-1]
	full.SealTime, full.MaxIndex, full.IndexStart = now, last, indexAt
	next := types.SegmentInfo{
		ID: state.NextSegmentID, BaseIndex: last + 1, MinIndex: last + 1,
		Codec: full.Codec, SizeLimit: full.SizeLimit, CreateTime: now,
	}
	state.NextSegmentID++
	state.Segments = append(state.Segments, next)
	return wrap("begin the log's next segment", meta.CommitState(state))
}
