package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/qiao-tx/qiao/storage"
)

var _ storage.Movable = (*Store)(nil)

// PutNote implements storage.Movable. The groups are in Seata's table for them,
// where a Java coordinator finds them too; other notes have one of ours.
func (s *Store) PutNote(ctx context.Context, n storage.Note) error {
	if err := errors.Join(s.open(ctx), s.node.fit()); err != nil {
		return err
	}
	st, err := s.noteStatement(n)
	if err != nil {
		return err
	}
	if _, err := st.exec(ctx, s.db); err != nil {
		return s.failed("write a note of kind "+n.Kind, err)
	}
	return nil
}

func (s *Store) noteStatement(n storage.Note) (*statement, error) {
	if n.Kind != storage.NoteGroup {
		if err := errors.Join(s.widths.fits("qiao_note.kind", n.Kind), s.widths.fits("qiao_note.note_key", n.Key)); err != nil {
			return nil, err
		}
		if n.Value == "" {
			return s.dialect.statement("DELETE FROM qiao_note WHERE kind=").param(n.Kind).add(" AND note_key=").param(n.Key), nil
		}
		st := s.dialect.statement("INSERT INTO qiao_note (kind,note_key,value) VALUES ")
		return st.tuple(n.Kind, n.Key, n.Value).add(s.dialect.upsert("kind,note_key", []string{"value"})), nil
	}
	g, err := storage.ParseGroup(n)
	if err != nil {
		return nil, err
	}
	err = errors.Join(s.widths.fits("vgroup_table.vgroup", g.Name), s.widths.fits("vgroup_table.namespace", g.Namespace),
		s.widths.fits("vgroup_table.cluster", g.Cluster))
	if err != nil {
		return nil, err
	}
	if n.Value == "" {
		st := s.dialect.statement("DELETE FROM vgroup_table WHERE vGroup=").param(g.Name)
		return st.add(" AND namespace=").param(g.Namespace).add(" AND cluster=").param(g.Cluster), nil
	}
	st := s.dialect.statement("INSERT INTO vgroup_table (vGroup,namespace,cluster) VALUES ")
	return st.tuple(g.Name, g.Namespace, g.Cluster).add(s.dialect.upsert("vGroup,namespace,cluster", []string{"cluster"})), nil
}

// Notes implements storage.Movable.
func (s *Store) Notes(ctx context.Context, kind string) ([]storage.Note, error) {
	if err := s.open(ctx); err != nil {
		return nil, err
	}
	var notes []storage.Note
	st := s.dialect.statement("SELECT note_key, value FROM qiao_note WHERE kind=").param(kind).add(" ORDER BY note_key")
	row := func(rows *sql.Rows) error {
		n := storage.Note{Kind: kind}
		err := rows.Scan(&n.Key, &n.Value)
		notes = append(notes, n)
		return err
	}
	if kind == storage.NoteGroup {
		st = s.dialect.statement(`SELECT vGroup, COALESCE(namespace,''), COALESCE(cluster,'') FROM vgroup_table
			WHERE vGroup IS NOT NULL ORDER BY vGroup, namespace, cluster`)
		row = func(rows *sql.Rows) error {
			var g storage.Group
			err := rows.Scan(&g.Name, &g.Namespace, &g.Cluster)
			notes = append(notes, g.Note())
			return err
		}
	}
	if err := query(ctx, s.db, st, row); err != nil {
		return nil, s.failed("read the notes of kind "+kind, err)
	}
	return notes, nil
}

// Graves implements storage.Movable.
func (s *Store) Graves(ctx context.Context, f func(storage.Grave) bool) error {
	for after := int64(0); ; {
		if err := s.open(ctx); err != nil {
			return err
		}
		var page []storage.Grave
		st := s.dialect.statement("SELECT transaction_id, outcome, expires_at FROM qiao_tombstone WHERE transaction_id>").param(after)
		err := query(ctx, s.db, st.add(" ORDER BY transaction_id LIMIT ").param(scanPage), func(rows *sql.Rows) error {
			var g storage.Grave
			err := rows.Scan(&g.ID, &g.Outcome, &g.ExpiresAt)
			page = append(page, g)
			return err
		})
		if err != nil {
			return s.failed("list the finished transactions", err)
		}
		if len(page) == 0 {
			return nil
		}
		after = page[len(page)-1].ID
		for _, g := range page {
			if !f(g) {
				return nil
			}
		}
	}
}

// Others implements storage.Movable. A node that died is listed until its lease ends.
func (s *Store) Others(ctx context.Context) ([]storage.Node, error) {
	if err := s.open(ctx); err != nil {
		return nil, err
	}
	var others []storage.Node
	st := s.dialect.statement("SELECT worker, address FROM qiao_node WHERE token<>").param(s.node.token)
	err := query(ctx, s.db, st.add(" AND expires_at>="+s.dialect.clock+" ORDER BY worker"), func(rows *sql.Rows) error {
		var n storage.Node
		err := rows.Scan(&n.Worker, &n.Address)
		others = append(others, n)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("look for other nodes: %w", s.failed("read qiao_node", err))
	}
	return others, nil
}
