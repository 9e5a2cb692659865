package redis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/qiao-tx/qiao/storage"
)

var _ storage.Movable = (*Store)(nil)

// PutNote implements storage.Movable.
func (s *Store) PutNote(ctx context.Context, n storage.Note) error {
	if err := errors.Join(s.open(ctx), s.node.fit()); err != nil {
		return err
	}
	c, key := s.server.client.Load(), s.keys.notes(n.Kind)
	var err error
	if n.Value == "" {
		err = c.HDel(ctx, key, n.Key).Err()
	} else {
		err = c.HSet(ctx, key, n.Key, n.Value).Err()
	}
	if err != nil {
		return s.failedRead("write a note of kind "+n.Kind, err)
	}
	return nil
}

// Notes implements storage.Movable.
func (s *Store) Notes(ctx context.Context, kind string) ([]storage.Note, error) {
	if err := s.open(ctx); err != nil {
		return nil, err
	}
	values, err := s.server.client.Load().HGetAll(ctx, s.keys.notes(kind)).Result()
	if err != nil {
		return nil, s.failedRead("read the notes of kind "+kind, err)
	}
	var notes []storage.Note
	for key, value := range values {
		notes = append(notes, storage.Note{Kind: kind, Key: key, Value: value})
	}
	slices.SortFunc(notes, func(a, b storage.Note) int {
		if a.Key < b.Key {
			return -1
		}
		return 1
	})
	return notes, nil
}

// Graves implements storage.Movable.
func (s *Store) Graves(ctx context.Context, f func(storage.Grave) bool) error {
	for first := int64(0); ; first += scanPage {
		if err := s.open(ctx); err != nil {
			return err
		}
		page, err := s.server.client.Load().ZRangeWithScores(ctx, s.keys.tombstones(), first, first+scanPage-1).Result()
		if err != nil {
			return s.failedRead("list the finished transactions", err)
		}
		for _, z := range page {
			text, _ := z.Member.(string)
			id, err := strconv.ParseInt(text, 10, 64)
			if err != nil {
				return fmt.Errorf("%w: %q in %s", ErrDamaged, text, s.keys.tombstones())
			}
			score := int64(z.Score)
			if !f(storage.Grave{ID: id, Tombstone: storage.Tombstone{Outcome: graveOutcome(score), ExpiresAt: score >> graveBits}}) {
				return nil
			}
		}
		if len(page) < scanPage {
			return nil
		}
	}
}

// Others implements storage.Movable. A node that died is listed until its lease ends.
func (s *Store) Others(ctx context.Context) ([]storage.Node, error) {
	if err := s.open(ctx); err != nil {
		return nil, err
	}
	if err := s.node.discover(ctx); err != nil {
		return nil, s.failedRead("look for other nodes", err)
	}
	return slices.DeleteFunc(s.node.nodes(), func(n storage.Node) bool { return n.Worker == s.node.worker }), nil
}
