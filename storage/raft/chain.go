package raft

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	hraft "github.com/hashicorp/raft"
)

// ErrDamaged reports that the log or a snapshot is not what was written. The
// message names the place. Retrying does not help: restore the directory from a
// copy, or start with an empty one, which forgets all transactions.
var ErrDamaged = errors.New("the stored data is damaged")

// seal is what each entry of the log carries in its Extensions: the checksum of
// its predecessor, and its own, which covers that one and the entry.
type seal struct {
	before, own uint32
}

const sealBytes = 8

func sealOf(before uint32, log *hraft.Log) seal {
	var head [21]byte
	binary.LittleEndian.PutUint32(head[:], before)
	binary.LittleEndian.PutUint64(head[4:], log.Index)
	binary.LittleEndian.PutUint64(head[12:], log.Term)
	head[20] = byte(log.Type)
	castagnoli := crc32.MakeTable(crc32.Castagnoli) // the package keeps it
	return seal{before: before, own: crc32.Update(crc32.Checksum(head[:], castagnoli), castagnoli, log.Data)}
}

func (s seal) bytes() []byte {
	return binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(nil, s.before), s.own)
}

// readSeal returns the seal of a log entry, if it is whole.
func readSeal(log *hraft.Log) (seal, error) {
	if len(log.Extensions) != sealBytes {
		return seal{}, fmt.Errorf("%w: log entry %d carries no checksum", ErrDamaged, log.Index)
	}
	s := seal{
		before: binary.LittleEndian.Uint32(log.Extensions),
		own:    binary.LittleEndian.Uint32(log.Extensions[4:]),
	}
	if want := sealOf(s.before, log); want != s {
		return seal{}, fmt.Errorf("%w: the checksum of log entry %d is %08x, its content has %08x", ErrDamaged, log.Index, s.own, want.own)
	}
	return s, nil
}

// sealedLogs seals entries as they are appended.
type sealedLogs struct {
	hraft.LogStore
	lastIndex uint64
	last      uint32 // the checksum of entry lastIndex
}

func (s *sealedLogs) StoreLog(log *hraft.Log) error { return s.StoreLogs([]*hraft.Log{log}) }

func (s *sealedLogs) StoreLogs(logs []*hraft.Log) error {
	if len(logs) == 0 {
		return nil
	}
	before, err := s.before(logs[0].Index)
	if err != nil {
		return err
	}
	for _, log := range logs {
		sealed := sealOf(before, log)
		log.Extensions = sealed.bytes()
		before = sealed.own
	}
	if err := s.LogStore.StoreLogs(logs); err != nil {
		return err
	}
	s.lastIndex, s.last = logs[len(logs)-1].Index, before
	return nil
}

// before is the checksum of the entry before index: 0 when the log starts there.
func (s *sealedLogs) before(index uint64) (uint32, error) {
	if index == s.lastIndex+1 {
		return s.last, nil
	}
	var log hraft.Log
	err := s.GetLog(index-1, &log)
	if errors.Is(err, hraft.ErrLogNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	sealed, err := readSeal(&log)
	return sealed.own, err
}

// IsMonotonic implements raft.MonotonicLogStore: raft-wal takes no gaps.
func (s *sealedLogs) IsMonotonic() bool { return true }

// mark is a place in the log: the last entry with batches that a snapshot holds.
type mark struct {
	index    uint64
	checksum uint32
}

// checkLog reads the whole log before Raft does, which panics on an entry that
// it cannot read. It refuses a broken chain, and a log that does not continue
// the newest snapshot, which was taken at snapshotIndex and holds the entry at
// last. It returns the place where the log ends.
//
// This reads entries as raft-wal gives them. What raft-wal's recovery cuts off
// or does not look at is for a scanner of the segment files to judge, which
// belongs here, before the log is opened.
func checkLog(logs hraft.LogStore, snapshotIndex uint64, last mark) (mark, error) {
	first, err := logs.FirstIndex()
	if err != nil {
		return mark{}, wrap("read where the log begins", err)
	}
	end, err := logs.LastIndex()
	if err != nil {
		return mark{}, wrap("read where the log ends", err)
	}
	if end < snapshotIndex {
		return mark{}, fmt.Errorf("%w: the log ends at entry %d, below the snapshot's %d", ErrDamaged, end, snapshotIndex)
	}
	if first > snapshotIndex+1 {
		return mark{}, fmt.Errorf("%w: log entries %d to %d are missing, between the snapshot and the log", ErrDamaged, snapshotIndex+1, first-1)
	}
	at := mark{}
	for index := first; index <= end && end > 0; index++ {
		var log hraft.Log
		if err := logs.GetLog(index, &log); err != nil {
			return mark{}, fmt.Errorf("%w: log entry %d cannot be read: %w", ErrDamaged, index, err)
		}
		if log.Index != index {
			return mark{}, fmt.Errorf("%w: log entry %d stands in the place of %d", ErrDamaged, log.Index, index)
		}
		sealed, err := readSeal(&log)
		if err != nil {
			return mark{}, err
		}
		if (index > first || first == 1) && sealed.before != at.checksum {
			return mark{}, fmt.Errorf("%w: log entry %d does not follow the one before it (checksum %08x, want %08x)", ErrDamaged, index, at.checksum, sealed.before)
		}
		at = mark{index: index, checksum: sealed.own}
		if index == last.index && sealed.own != last.checksum {
			return mark{}, fmt.Errorf("%w: log entry %d is not the one that the snapshot holds", ErrDamaged, index)
		}
	}
	return at, nil
}
