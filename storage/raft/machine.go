package raft

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"sync/atomic"

	hraft "github.com/hashicorp/raft"

	"github.com/qiao-tx/qiao/storage"
	"github.com/qiao-tx/qiao/storage/memory"
)

// machine is Raft's state machine over the memory store. Raft calls it from one
// goroutine.
type machine struct {
	state    *memory.Store
	latch    *latch
	underWay *underWay
	// applied is the last entry with batches.
	applied mark
	damaged error
	batches []*storage.Batch

	// grown counts the bytes of the log since the last snapshot; snapshotDue
	// gets a token when they reach snapshotBytes.
	grown         atomic.Int64
	snapshotBytes int64
	snapshotDue   chan struct{}
}

// entryOverhead is about what the log adds to an entry.
const entryOverhead = 64

// Apply applies the batches of an entry and returns their errors as []error; nil
// when all succeeded; an error when the entry could not be read.
func (m *machine) Apply(log *hraft.Log) any {
	if m.damaged != nil {
		return m.damaged
	}
	sealed, err := m.read(log)
	if err != nil {
		m.damaged = m.latch.fail(fmt.Errorf("apply log entry %d: %w", log.Index, err))
		return m.damaged
	}
	errs := make([]error, len(m.batches))
	m.state.ApplyAll(m.batches, errs)
	clear(m.batches)
	m.applied = mark{index: log.Index, checksum: sealed.own}
	if m.grown.Add(int64(len(log.Data)+entryOverhead)) >= m.snapshotBytes {
		select {
		case m.snapshotDue <- struct{}{}:
		default:
		}
	}
	return errs
}

// read puts the batches of an entry into m.batches. Those of the entry that this
// process has just sealed and written are at hand.
func (m *machine) read(log *hraft.Log) (seal, error) {
	var own bool
	if m.batches, own = m.underWay.batches(m.batches[:0], log.Data); own {
		return parseSeal(log)
	}
	sealed, err := readSeal(log)
	if err != nil {
		return sealed, err
	}
	m.batches, err = decodeEntry(m.batches[:0], log.Data)
	return sealed, err
}

// Snapshot implements raft.FSM.
func (m *machine) Snapshot() (hraft.FSMSnapshot, error) {
	content, err := m.state.Snapshot()
	if err != nil {
		return nil, err
	}
	m.grown.Store(0)
	return &snapshot{content: content, applied: m.applied}, nil
}

// Restore implements raft.FSM.
func (m *machine) Restore(content io.ReadCloser) error {
	defer content.Close()
	in := bufio.NewReader(content)
	applied, err := readSnapshotHead(in)
	if err == nil {
		err = m.state.Restore(in)
	}
	if err != nil {
		return m.latch.fail(fmt.Errorf("%w: restore a snapshot: %w", ErrDamaged, err))
	}
	m.applied, m.damaged = applied, nil
	return nil
}

// snapshot writes the memory store after the mark of the last entry in it.
type snapshot struct {
	content *memory.Snapshot
	applied mark
}

const snapshotMagic = "qiao snapshot 1\n"

// Persist implements raft.FSMSnapshot.
func (s *snapshot) Persist(sink hraft.SnapshotSink) error {
	head := binary.LittleEndian.AppendUint64([]byte(snapshotMagic), s.applied.index)
	head = binary.LittleEndian.AppendUint32(head, s.applied.checksum)
	if _, err := sink.Write(head); err != nil {
		return err
	}
	return s.content.Write(sink)
}

// Release implements raft.FSMSnapshot.
func (s *snapshot) Release() { s.content.Release() }

func readSnapshotHead(in io.Reader) (mark, error) {
	var head [len(snapshotMagic) + 12]byte
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return mark{}, wrap("read the head of a snapshot", err)
	}
	if string(head[:len(snapshotMagic)]) != snapshotMagic {
		return mark{}, fmt.Errorf("the snapshot does not begin with %q: written by another version of the program", snapshotMagic)
	}
	numbers := head[len(snapshotMagic):]
	return mark{index: binary.LittleEndian.Uint64(numbers), checksum: binary.LittleEndian.Uint32(numbers[8:])}, nil
}
