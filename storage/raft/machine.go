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
	// applied is the last entry with batches, and appliedIndex its index, for others.
	applied      mark
	appliedIndex atomic.Uint64
	damaged      error
	batches      []*storage.Batch

	// grown counts the bytes of the log since the last snapshot; snapshotDue
	// gets a token when they reach snapshotBytes.
	grown         atomic.Int64
	snapshotBytes int64
	snapshotDue   chan struct{}
}

// entryOverhead is about what the log adds to an entry.
const entryOverhead = 64

// otherTerm answers an entry that was for another term than it got into; nothing
// of it was applied, on no node.
type otherTerm struct{}

// Apply applies the batches of an entry and returns their errors as []error; an
// error when the entry could not be read, and otherTerm.
func (m *machine) Apply(log *hraft.Log) any {
	if m.damaged != nil {
		return m.damaged
	}
	sealed, term, err := m.read(log)
	if err != nil {
		m.damaged = m.latch.fail(fmt.Errorf("apply log entry %d: %w", log.Index, err))
		return m.damaged
	}
	var result any = otherTerm{}
	if term == 0 || term == log.Term {
		errs := make([]error, len(m.batches))
		m.state.ApplyAll(m.batches, errs)
		result = errs
	}
	clear(m.batches)
	m.applied = mark{index: log.Index, checksum: sealed.own}
	m.appliedIndex.Store(log.Index)
	if m.grown.Add(int64(len(log.Data)+entryOverhead)) >= m.snapshotBytes {
		select {
		case m.snapshotDue <- struct{}{}:
		default:
		}
	}
	return result
}

// read puts the batches of an entry into m.batches, and tells the term that they
// are for. Those of the entry that this process has just sealed and written are at
// hand.
func (m *machine) read(log *hraft.Log) (seal, uint64, error) {
	term, encoded, err := entryTerm(log.Data)
	if err != nil {
		return seal{}, 0, err
	}
	var own bool
	if m.batches, own = m.underWay.batches(m.batches[:0], log.Data); own {
		sealed, err := parseSeal(log)
		return sealed, term, err
	}
	sealed, err := readSeal(log)
	if err != nil {
		return sealed, 0, err
	}
	m.batches, err = decodeBatches(m.batches[:0], encoded)
	return sealed, term, err
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
	m.appliedIndex.Store(applied.index)
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
	if own, ok := sink.(ownSink); ok {
		own.takenHere()
	}
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
