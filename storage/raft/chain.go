package raft

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"sync/atomic"

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

// parseSeal returns the seal of a log entry as it stands there.
func parseSeal(log *hraft.Log) (seal, error) {
	if len(log.Extensions) != sealBytes {
		return seal{}, fmt.Errorf("%w: log entry %d carries no checksum", ErrDamaged, log.Index)
	}
	return seal{
		before: binary.LittleEndian.Uint32(log.Extensions),
		own:    binary.LittleEndian.Uint32(log.Extensions[4:]),
	}, nil
}

// readSeal returns the seal of a log entry, if it is whole.
func readSeal(log *hraft.Log) (seal, error) {
	s, err := parseSeal(log)
	if err != nil {
		return s, err
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
	// cut: entries were deleted, lastIndex perhaps among them. Snapshots cut the log
	// while entries are appended.
	cut atomic.Bool
	// verify has the seal of each entry compared that is read: it may be for
	// another node.
	verify bool
}

func (s *sealedLogs) GetLog(index uint64, log *hraft.Log) error {
	err := s.LogStore.GetLog(index, log)
	if err == nil && s.verify {
		_, err = readSeal(log)
	}
	return err
}

func (s *sealedLogs) DeleteRange(from, to uint64) error {
	s.cut.Store(true)
	return s.LogStore.DeleteRange(from, to)
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
		// One from another node comes with that node's seal, whose chain may be
		// another: after a snapshot a chain begins anew.
		if len(log.Extensions) > 0 {
			if _, err := readSeal(log); err != nil {
				return fmt.Errorf("as it came from the leader: %w", err)
			}
		}
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
	if s.cut.Swap(false) {
		s.lastIndex = 0
	}
	if s.lastIndex > 0 && index == s.lastIndex+1 {
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

// chain checks that the entries of the log follow one another, and the newest
// snapshot.
type chain struct {
	// snapshotIndex is where the snapshot was taken, and held is its mark; zero
	// without one.
	snapshotIndex uint64
	held          mark
	// installed is the index of the last snapshot that came from a leader; the log
	// begins anew after it.
	installed uint64

	first uint64
	end   mark
}

// next checks the next entry, whose own seal is good.
func (c *chain) next(index uint64, s seal) error {
	if c.first == 0 {
		c.first = index
	} else if index != c.end.index+1 {
		return fmt.Errorf("%w: log entry %d is missing", ErrDamaged, c.end.index+1)
	}
	if (index > c.first || c.first == 1) && s.before != c.end.checksum {
		return fmt.Errorf("%w: log entry %d does not follow the one before it (checksum %08x, want %08x)", ErrDamaged, index, c.end.checksum, s.before)
	}
	if index == c.held.index && s.own != c.held.checksum {
		return fmt.Errorf("%w: log entry %d is not the one that the snapshot holds", ErrDamaged, index)
	}
	c.end = mark{index: index, checksum: s.own}
	return nil
}

// check checks that the log, read to its end, continues the snapshot.
func (c *chain) check() error {
	begins := c.first == 0 && c.installed == c.snapshotIndex // after the snapshot
	if c.end.index < c.snapshotIndex && !begins {
		return fmt.Errorf("%w: the log ends at entry %d, below the snapshot's %d", ErrDamaged, c.end.index, c.snapshotIndex)
	}
	if c.first > c.snapshotIndex+1 {
		return fmt.Errorf("%w: log entries %d to %d are missing, between the snapshot and the log", ErrDamaged, c.snapshotIndex+1, c.first-1)
	}
	return nil
}
