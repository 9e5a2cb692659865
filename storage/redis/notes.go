package redis

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	goredis "github.com/redis/go-redis/v9"

	"github.com/qiao-tx/qiao/storage"
)

var _ storage.Movable = (*Store)(nil)

// noteSeparator stands between a note's kind and its key in our hash.
const noteSeparator = "\x00"

// PutNote implements storage.Movable. A transaction group is where Seata keeps it, and
// a Java coordinator finds it there; other notes are in a hash of ours.
func (s *Store) PutNote(ctx context.Context, n storage.Note) error {
	if err := errors.Join(s.open(ctx), s.node.fit()); err != nil {
		return err
	}
	args, err := s.noteArgs(n)
	if err != nil {
		return err
	}
	var reply any
	var short error
	err = s.server.try(ctx, func(c *goredis.Client) error {
		pipe := c.Pipeline()
		cmd := noteScript.call(ctx, s.keys.notes(), args)
		_ = pipe.Process(ctx, cmd) // only queues
		enough := s.awaitReplicas(ctx, pipe)
		_, _ = pipe.Exec(ctx) // each command has its own error
		reply, short = cmd.Val(), s.replicated(enough)
		return cmd.Err()
	})
	switch {
	case err != nil:
		err = meaning(err).storeError(err)
	case reply == int64(answerFenced):
		err = s.fenced()
	case reply != int64(answerDone):
		err = fmt.Errorf("%w: note.lua answered with %.100v", ErrDamaged, reply)
	default:
		err = short
	}
	if err != nil {
		return fmt.Errorf("write a note of kind %s: %w", n.Kind, err)
	}
	return nil
}

// noteArgs are what note.lua gets.
func (s *Store) noteArgs(n storage.Note) ([]string, error) {
	if n.Kind == "" || strings.Contains(n.Kind, noteSeparator) {
		return nil, fmt.Errorf("%w: kind %q", storage.ErrBadNote, n.Kind)
	}
	args := []string{s.planner.lease, s.planner.token, n.Kind + noteSeparator + n.Key, n.Value}
	if n.Kind != storage.NoteGroup {
		return append(args, ""), nil
	}
	g, err := storage.ParseGroup(n)
	if err != nil {
		return nil, err
	}
	args[2] = strings.TrimSuffix(args[2], g.Cluster)
	return append(args, s.keys.namespaces()+g.Namespace, g.Name, g.Cluster), nil
}

// applyNote carries out a Batch that is a note.
func (s *Store) applyNote(ctx context.Context, b *storage.Batch) error {
	if b.XID != "" || b.Global != nil || len(b.Add) > 0 || b.Finish != nil {
		return fmt.Errorf("%w: a note for %s", storage.ErrInvalidBatch, b.XID)
	}
	return s.PutNote(ctx, *b.Note)
}

// Notes implements storage.Movable. To list the transaction groups Redis walks through
// all of its keys, a page at a time: Seata has no list of its namespaces.
func (s *Store) Notes(ctx context.Context, kind string) ([]storage.Note, error) {
	if err := s.open(ctx); err != nil {
		return nil, err
	}
	reply, err := s.server.eval(ctx, notesScript, s.keys.notes())
	if err != nil {
		return nil, s.failedRead("read the notes of kind "+kind, err)
	}
	ours, err := pairs(reply)
	if err != nil {
		return nil, s.failedRead("read "+s.keys.notes(), err)
	}
	var notes []storage.Note
	if kind == storage.NoteGroup {
		if notes, err = s.groups(ctx); err != nil {
			return nil, s.failedRead("read the transaction groups", err)
		}
	}
	for field, value := range ours {
		if of, key, ok := strings.Cut(field, noteSeparator); ok && of == kind {
			notes = append(notes, storage.Note{Kind: kind, Key: key, Value: value})
		}
	}
	slices.SortFunc(notes, func(a, b storage.Note) int { return cmp.Compare(a.Key, b.Key) })
	return slices.Compact(notes), nil // the walk may meet a key twice
}

// groupsPage is how many keys Redis looks at in one go.
const groupsPage = 2000

// groups lists the transaction groups that are where Seata keeps them.
func (s *Store) groups(ctx context.Context) (groups []storage.Note, err error) {
	prefix := s.keys.namespaces()
	for cursor := "0"; ; {
		if err := s.open(ctx); err != nil {
			return nil, err
		}
		reply, err := s.server.eval(ctx, groupsScript, s.keys.notes(), cursor, globbed(prefix)+"*", strconv.Itoa(groupsPage))
		if err != nil {
			return nil, err
		}
		page, _ := reply.([]any)
		if len(page)%2 == 0 {
			return nil, fmt.Errorf("%w: groups.lua answered with %T", ErrDamaged, reply)
		}
		for i := 1; i < len(page); i += 2 {
			key, _ := page[i].(string)
			clusters, err := pairs(page[i+1])
			if err != nil {
				return nil, fmt.Errorf("%s: %w", key, err)
			}
			for name, cluster := range clusters {
				groups = append(groups, storage.Group{Name: name, Namespace: strings.TrimPrefix(key, prefix), Cluster: cluster}.Note())
			}
		}
		if cursor, _ = page[0].(string); cursor == "0" || cursor == "" {
			return groups, nil
		}
	}
}

// globbed is text as a pattern of Redis that only it matches.
func globbed(text string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`).Replace(text)
}

// Graves implements storage.Movable.
func (s *Store) Graves(ctx context.Context, f func(storage.Grave) bool) error {
	// A page begins at the score where the last one ended, after those of that score
	// which were in it.
	for from, seen := "-inf", int64(0); ; {
		if err := s.open(ctx); err != nil {
			return err
		}
		page, err := s.server.client.Load().ZRangeArgsWithScores(ctx, goredis.ZRangeArgs{
			Key: s.keys.tombstones(), ByScore: true, Start: from, Stop: "+inf", Offset: seen, Count: scanPage,
		}).Result()
		if err != nil {
			return s.failedRead("list the finished transactions", err)
		}
		for _, z := range page {
			g, err := graveOf(z)
			if err != nil {
				return fmt.Errorf("%s: %w", s.keys.tombstones(), err)
			}
			if !f(g) {
				return nil
			}
			score := strconv.FormatInt(int64(z.Score), 10)
			if score != from {
				from, seen = score, 0
			}
			seen++
		}
		if len(page) < scanPage {
			return nil
		}
	}
}

// graveOf reads a member of the tombstones.
func graveOf(z goredis.Z) (g storage.Grave, err error) {
	text, _ := z.Member.(string)
	if g.ID, err = strconv.ParseInt(text, 10, 64); err != nil {
		return g, fmt.Errorf("%w: %.40q is no transaction's id", ErrDamaged, text)
	}
	score := int64(z.Score)
	g.Outcome, g.ExpiresAt = graveOutcome(score), score>>graveBits
	return g, nil
}

// Others implements storage.Movable. A node that died is listed until its lease ends.
func (s *Store) Others(ctx context.Context) ([]storage.Node, error) {
	if err := s.open(ctx); err != nil {
		return nil, err
	}
	// With the lease renewed the node that has this one's worker id is this one.
	if err := s.node.keep(ctx); err != nil {
		return nil, s.failedRead("look for other nodes", err)
	}
	return slices.DeleteFunc(s.Nodes(), func(n storage.Node) bool { return n.Worker == s.node.worker }), nil
}
