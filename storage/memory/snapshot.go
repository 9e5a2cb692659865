package memory

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/storage"
)

// Snapshot is the store as it was at one moment. Batches go on meanwhile: until
// a shard is written, the first batch that changes a transaction of it leaves
// the state it found.
type Snapshot struct {
	store   *Store
	content *content
	graves  []*grave
	notes   map[note]string
	lastID  int64
	clock   int64
	// found are, in each shard not yet written, the transactions that changed,
	// as they were; nil when there was none.
	found   [shardCount]map[int64]*storage.State
	written [shardCount]bool
	listed  []*storage.State // for use again
	between func()           // lets others run
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
	n := &Snapshot{store: s, content: s.content, graves: s.tombstones.share(), notes: s.notes, lastID: s.lastID, clock: s.clock, between: runtime.Gosched}
	s.snapshot = n
	return n, nil
}

// keep is called before transaction id changes; t is nil before it begins.
func (n *Snapshot) keep(id int64, t *txn) {
	i := shardOf(id)
	if n.written[i] {
		return
	}
	if _, kept := n.found[i][id]; kept {
		return
	}
	if n.found[i] == nil {
		n.found[i] = make(map[int64]*storage.State)
	}
	if t == nil {
		n.found[i][id] = nil
	} else {
		n.found[i][id] = t.state
	}
}

// take returns shard i as it was, by id, and forgets it. The list is good until
// the next.
func (n *Snapshot) take(i int) []*storage.State {
	states, found := n.list(i)
	for _, state := range found {
		if state != nil {
			states = append(states, state)
		}
	}
	sortByID(states)
	n.listed = states
	// What changed after it was listed has been found too, the same as listed.
	return slices.Compact(states)
}

// listChunk is how many transactions are listed under one hold of the store's
// lock, however many a shard has.
const listChunk = 512

// list returns the transactions of shard i that had not changed when it came to
// them, and those that were found.
func (n *Snapshot) list(i int) (states []*storage.State, found map[int64]*storage.State) {
	mu := &n.store.mu
	states = n.listed[:0]
	seen := 0
	mu.RLock()
	for id, t := range n.content.live[i] { // which may change between two steps
		if seen++; seen > listChunk {
			mu.RUnlock()
			n.between()
			mu.RLock()
			seen = 1
		}
		if _, changed := n.found[i][id]; !changed {
			states = append(states, t.state)
		}
	}
	mu.RUnlock()
	mu.Lock()
	defer mu.Unlock()
	n.written[i] = true
	found, n.found[i] = n.found[i], nil
	return states, found
}

// Release lets the store forget the snapshot. It may be called again.
func (n *Snapshot) Release() {
	n.store.mu.Lock()
	defer n.store.mu.Unlock()
	if n.content.snapshot == n {
		n.content.snapshot = nil
	}
}

// The form of a snapshot: the version, then varints and states as written by
// Write. Lists end with a zero. Equal stores have equal snapshots. Only a store
// with notes has a snapshot that older versions of the program do not read.
const (
	snapshotVersion          = 1
	snapshotVersionWithNotes = 2
)

// How many states and tombstones are encoded in one go. A goroutine that works on
// keeps a processor for 10 ms, and a batch passes through several goroutines.
const (
	statesAtOnce     = 64
	tombstonesAtOnce = 2048
)

// Write writes the snapshot, once. Damage is for the caller to detect: the form
// has no checksum of its own.
func (n *Snapshot) Write(w io.Writer) error {
	out := bufio.NewWriterSize(w, 1<<16)
	buf := []byte{snapshotVersion}
	if len(n.notes) > 0 {
		buf[0] = snapshotVersionWithNotes
	}
	buf = binary.AppendVarint(buf, n.clock)
	buf = binary.AppendUvarint(buf, uint64(n.lastID))
	if _, err := out.Write(buf); err != nil {
		return err
	}
	for i := range shardCount {
		for j, state := range n.take(i) {
			if j%statesAtOnce == 0 {
				n.between()
			}
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
		if err := g.write(out, n.between); err != nil {
			return err
		}
	}
	out.WriteByte(0)
	if len(n.notes) > 0 {
		writeNotes(out, n.notes)
	}
	return out.Flush()
}

func (g *grave) write(out *bufio.Writer, between func()) error {
	buf := binary.AppendUvarint(out.AvailableBuffer(), uint64(g.count))
	if _, err := out.Write(binary.AppendVarint(buf, g.expiresAt)); err != nil {
		return err
	}
	for i, id := range g.ids {
		if i%tombstonesAtOnce == 0 {
			between()
		}
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

// Restore replaces what the store holds by what Write wrote. After an error it
// holds what it held before. The error wraps ErrBadSnapshot.
func (s *Store) Restore(r io.Reader) error {
	c, err := readContent(r)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.content = c
	return nil
}

func readContent(r io.Reader) (*content, error) {
	c := newContent()
	in := &reader{in: bufio.NewReaderSize(r, 1<<16)}
	version := in.byte()
	if in.err == nil && version != snapshotVersion && version != snapshotVersionWithNotes {
		return nil, fmt.Errorf("%w: version %d, want %d or %d: written by another version of the program",
			ErrBadSnapshot, version, snapshotVersion, snapshotVersionWithNotes)
	}
	c.clock = in.varint()
	c.lastID = int64(in.uvarint())
	for n := in.uvarint(); n > 0 && in.err == nil; n = in.uvarint() {
		state := in.state(n)
		if in.err != nil {
			break
		}
		if err := c.restore(state); err != nil {
			return nil, err
		}
	}
	for n := in.uvarint(); n > 0 && in.err == nil; n = in.uvarint() {
		g := in.grave(n)
		c.tombstones.graves = append(c.tombstones.graves, g)
		c.tombstones.count += g.count
	}
	if version == snapshotVersionWithNotes {
		c.notes = in.notes()
	}
	if in.err == nil {
		if _, err := in.in.ReadByte(); err != io.EOF {
			return nil, fmt.Errorf("%w: bytes follow its end", ErrBadSnapshot)
		}
	}
	return c, in.err
}

// restore puts a live transaction and its locks in place.
func (c *content) restore(state *storage.State) error {
	other, id := c.find(state.XID)
	if id == 0 || id != state.Global.ID || other != nil || state.Finished() || state.Revision == 0 {
		return fmt.Errorf("%w: %q with id %d at revision %d is no live transaction", ErrBadSnapshot, state.XID, state.Global.ID, state.Revision)
	}
	t := &txn{state: state}
	wanted, err := c.wanted(&storage.Batch{XID: state.XID, Add: state.Branches})
	if err != nil {
		return fmt.Errorf("%w: %w", ErrBadSnapshot, err)
	}
	for _, w := range wanted {
		c.locks.acquire(t, w)
	}
	c.live[shardOf(id)][id] = t
	c.globals++
	c.branches += int64(len(state.Branches))
	c.due.move(t, state.Global.DueAt)
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

// fill reads n bytes into buf.
func (r *reader) fill(n uint64) bool {
	if n > maxStateBytes {
		r.fail(fmt.Errorf("%d bytes in one piece", n))
		return false
	}
	if uint64(cap(r.buf)) < n {
		r.buf = make([]byte, n)
	}
	r.buf = r.buf[:n]
	if _, err := io.ReadFull(r.in, r.buf); err != nil {
		r.fail(err)
		return false
	}
	return true
}

func (r *reader) text() string {
	if r.err != nil || !r.fill(r.uvarint()) {
		return ""
	}
	return string(r.buf)
}

func (r *reader) state(n uint64) *storage.State {
	if !r.fill(n) {
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
