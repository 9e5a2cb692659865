package memory

import (
	"bufio"
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"

	"github.com/qiao-tx/qiao/storage"
)

// note is where a note is kept.
type note struct{ kind, key string }

// keepNote carries out a Batch that is a note.
func (c *content) keepNote(b *storage.Batch) error {
	if b.XID != "" || b.Global != nil || len(b.Add) > 0 || b.Finish != nil {
		return fmt.Errorf("%w: a note for %s", storage.ErrInvalidBatch, b.XID)
	}
	// A snapshot may hold the map: it is replaced, as it is small.
	notes := maps.Clone(c.notes)
	if notes == nil {
		notes = make(map[note]string)
	}
	at := note{b.Note.Kind, b.Note.Key}
	if notes[at] = b.Note.Value; b.Note.Value == "" {
		delete(notes, at)
	}
	c.notes = notes
	return nil
}

// PutNote implements storage.Movable.
func (s *Store) PutNote(ctx context.Context, n storage.Note) error {
	return s.Apply(ctx, &storage.Batch{Note: &n})
}

// Notes implements storage.Movable.
func (s *Store) Notes(ctx context.Context, kind string) ([]storage.Note, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if err := s.open(ctx); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(sortedNotes(s.notes), func(n storage.Note) bool { return n.Kind != kind }), nil
}

func sortedNotes(notes map[note]string) []storage.Note {
	list := make([]storage.Note, 0, len(notes))
	for at, value := range notes {
		list = append(list, storage.Note{Kind: at.kind, Key: at.key, Value: value})
	}
	slices.SortFunc(list, func(a, b storage.Note) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Key, b.Key))
	})
	return list
}

// writeNotes ends a snapshot that has notes.
func writeNotes(out *bufio.Writer, notes map[note]string) {
	for _, n := range sortedNotes(notes) {
		for _, text := range []string{n.Kind, n.Key, n.Value} {
			out.Write(binary.AppendUvarint(out.AvailableBuffer(), uint64(len(text)))) // errors stick until Flush
			out.WriteString(text)
		}
	}
	out.WriteByte(0)
}

// notes reads what writeNotes wrote. No kind is empty.
func (r *reader) notes() map[note]string {
	notes := make(map[note]string)
	for kind := r.text(); kind != "" && r.err == nil; kind = r.text() {
		key, value := r.text(), r.text()
		notes[note{kind, key}] = value
	}
	return notes
}

// Others implements storage.Movable.
func (s *Store) Others(ctx context.Context) ([]storage.Node, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return nil, s.open(ctx)
}

// Graves implements storage.Movable. f may call the store.
func (s *Store) Graves(ctx context.Context, f func(storage.Grave) bool) error {
	s.mu.Lock()
	if err := s.open(ctx); err != nil {
		s.mu.Unlock()
		return err
	}
	graves := s.tombstones.share()
	s.mu.Unlock()
	for _, g := range graves {
		for i, id := range g.ids {
			if id == 0 {
				continue
			}
			stone := storage.Tombstone{Outcome: g.outcomes[i], ExpiresAt: g.expiresAt}
			if !f(storage.Grave{ID: id, Tombstone: stone}) {
				return nil
			}
		}
	}
	return nil
}
