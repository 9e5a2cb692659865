package memory

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/storage"
)

// Snapshot is the store as it was at one moment. Batches go on meanwhile: a
// shard's list of states is copied before the first batch changes it, or when
// the snapshot is written, whichever comes first.
type Snapshot struct {
	store  *Store
	parts  [shardCount][]*storage.State
	kept   [shardCount]bool
	graves []*grave
	lastID int64
	clock  int64
}

// ErrSnapshotTaken reports a snapshot taken while another is not released.
var ErrSnapshotTaken = errors.New("a snapshot is under way")

// Snapshot captures the store in a time that does not grow with the number of
// transactions. The caller must call Release.
func (s *Store) Snapshot() (*Snapshot, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.snapshot != nil {
		return nil, ErrSnapshotTaken
	}
	s.snapshot = &Snapshot{store: s, graves: s.tombstones.share(), lastID: s.lastID, clock: s.clock}
	return s.snapshot, nil
}

// keepForSnapshot is called before shard i changes.
func (s *Store) keepForSnapshot(i int) {
	if s.snapshot != nil && !s.snapshot.kept[i] {
		s.snapshot.keep(i)
	}
}

func (n *Snapshot) keep(i int) {
	states := make([]*storage.State, 0, len(n.store.live[i]))
	for _, t := range n.store.live[i] {
		states = append(states, t.state)
	}
	n.parts[i], n.kept[i] = states, true
}

// take returns shard i as it was, and forgets it.
func (n *Snapshot) take(i int) []*storage.State {
	n.store.mu.Lock()
	defer n.store.mu.Unlock()
	if !n.kept[i] {
		n.keep(i)
	}
	states := n.parts[i]
	n.parts[i] = nil
	return states
}

// Release lets the store forget the snapshot. It may be called again.
func (n *Snapshot) Release() {
	n.store.mu.Lock()
	defer n.store.mu.Unlock()
	if n.store.snapshot == n {
		n.store.snapshot = nil
	}
}

// The form of a snapshot: the version, then varints and states as written by
// Write. Lists end with a zero. Equal stores have equal snapshots.
const snapshotVersion = 1

// Write writes the snapshot, once. Damage is for the caller to detect: the form
// has no checksum of its own.
func (n *Snapshot) Write(w io.Writer) error {
	out := bufio.NewWriterSize(w, 1<<16)
	buf := []byte{snapshotVersion}
	buf = binary.AppendVarint(buf, n.clock)
	buf = binary.AppendUvarint(buf, uint64(n.lastID))
	if _, err := out.Write(buf); err != nil {
		return err
	}
	for i := range n.parts {
		states := n.take(i)
		sortByID(states)
		for _, state := range states {
			encoded := storage.AppendState(buf[:0], state)
			out.Write(binary.AppendUvarint(out.AvailableBuffer(), uint64(len(encoded)))) // errors stick until Flush
			if _, err := out.Write(encoded); err != nil {
				return err
			}
			buf = encoded
		}
	}
	out.WriteByte(0)
	for _, g := range n.graves {
		if err := g.write(out); err != nil {
			return err
		}
	}
	out.WriteByte(0)
	return out.Flush()
}

func (g *grave) write(out *bufio.Writer) error {
	buf := binary.AppendUvarint(out.AvailableBuffer(), uint64(g.count))
	if _, err := out.Write(binary.AppendVarint(buf, g.expiresAt)); err != nil {
		return err
	}
	for i, id := range g.ids {
		if id == 0 {
			continue
		}
		buf := binary.AppendUvarint(out.AvailableBuffer(), uint64(id))
		if _, err := out.Write(append(buf, byte(g.outcomes[i]))); err != nil {
			return err
		}
	}
	return nil
}

// ErrBadSnapshot reports bytes that Write cannot have written.
var ErrBadSnapshot = errors.New("bad snapshot")

// Restore replaces what the store holds by what Write wrote. After an error the
// store is not usable.
func (s *Store) Restore(r io.Reader) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.live {
		s.keepForSnapshot(i)
	}
	s.clear()
	in := &reader{in: bufio.NewReaderSize(r, 1<<16)}
	if v := in.byte(); in.err == nil && v != snapshotVersion {
		return fmt.Errorf("%w: version %d, want %d: written by another version of the program", ErrBadSnapshot, v, snapshotVersion)
	}
	s.clock = in.varint()
	s.lastID = int64(in.uvarint())
	for n := in.uvarint(); n > 0 && in.err == nil; n = in.uvarint() {
		state := in.state(n)
		if in.err != nil {
			break
		}
		if err := s.restore(state); err != nil {
			return err
		}
	}
	for n := in.uvarint(); n > 0 && in.err == nil; n = in.uvarint() {
		g := in.grave(n)
		s.tombstones.graves = append(s.tombstones.graves, g)
		s.tombstones.count += g.count
	}
	if in.err == nil {
		if _, err := in.in.ReadByte(); err != io.EOF {
			return fmt.Errorf("%w: bytes follow its end", ErrBadSnapshot)
		}
	}
	return in.err
}

// restore puts a live transaction and its locks in place.
func (s *Store) restore(state *storage.State) error {
	other, id := s.find(state.XID)
	if id == 0 || id != state.Global.ID || other != nil || state.Finished() || state.Revision == 0 {
		return fmt.Errorf("%w: %q with id %d at revision %d is no live transaction", ErrBadSnapshot, state.XID, state.Global.ID, state.Revision)
	}
	t := &txn{state: state}
	wanted, err := s.wanted(&storage.Batch{XID: state.XID, Add: state.Branches})
	if err != nil {
		return fmt.Errorf("%w: %w", ErrBadSnapshot, err)
	}
	for _, w := range wanted {
		s.locks.acquire(t, w)
	}
	s.live[shardOf(id)][id] = t
	s.globals++
	s.branches += int64(len(state.Branches))
	s.due.move(t, state.Global.DueAt)
	return nil
}

// reader reads a snapshot; after the first error it returns zeros.
type reader struct {
	in  *bufio.Reader
	buf []byte
	err error
}

func (r *reader) fail(err error) {
	if r.err == nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		r.err = fmt.Errorf("%w: %w", ErrBadSnapshot, err)
	}
}

func (r *reader) byte() byte {
	b, err := r.in.ReadByte()
	if err != nil {
		r.fail(err)
	}
	return b
}

func (r *reader) varint() int64 {
	v, err := binary.ReadVarint(r.in)
	if err != nil {
		r.fail(err)
		return 0
	}
	return v
}

func (r *reader) uvarint() uint64 {
	v, err := binary.ReadUvarint(r.in)
	if err != nil {
		r.fail(err)
		return 0
	}
	return v
}

// maxStateBytes is over what any transaction can take; a longer state is damage.
const maxStateBytes = 1 << 30

func (r *reader) state(n uint64) *storage.State {
	if n > maxStateBytes {
		r.fail(fmt.Errorf("a state of %d bytes", n))
		return nil
	}
	if uint64(cap(r.buf)) < n {
		r.buf = make([]byte, n)
	}
	r.buf = r.buf[:n]
	if _, err := io.ReadFull(r.in, r.buf); err != nil {
		r.fail(err)
		return nil
	}
	state, err := storage.DecodeState(r.buf)
	if err != nil {
		r.fail(err)
	}
	return state
}

func (r *reader) grave(n uint64) *grave {
	g := newGrave(r.varint())
	for ; n > 0 && r.err == nil; n-- {
		id, outcome := int64(r.uvarint()), protocol.GlobalStatus(r.byte())
		if r.err != nil {
			break
		}
		if id <= 0 || outcome == protocol.StatusUnKnown || g.find(id) != protocol.StatusUnKnown {
			r.fail(fmt.Errorf("a tombstone of transaction %d with outcome %d", id, outcome))
			break
		}
		g.add(id, outcome)
	}
	return g
}
