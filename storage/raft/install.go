package raft

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"

	hraft "github.com/hashicorp/raft"
	"github.com/hashicorp/raft-wal/types"
)

// Keys under which a node's notes about itself stand beside Raft's term and vote.
var (
	// installedKey has the index of the last snapshot that came from a leader. It is
	// written before the snapshot counts, which then replaces the whole log.
	installedKey = []byte("qiao-installed")
	// joinedKey is there once guard.joined is.
	joinedKey = []byte("qiao-joined")
)

// ownSink is told that its snapshot was taken here. One that Raft fills by itself
// comes from a leader.
type ownSink interface{ takenHere() }

// installs is the snapshot store of a node in a cluster. It makes a note of each
// snapshot that comes from a leader, by which a start can tell what a crash left.
type installs struct {
	hraft.SnapshotStore
	raft      *atomic.Pointer[hraft.Raft]
	note      func(index uint64) error // makes the index durable under installedKey
	installed atomic.Uint64
}

func (s *installs) Create(version hraft.SnapshotVersion, index, term uint64, configuration hraft.Configuration,
	configurationIndex uint64, transport hraft.Transport) (hraft.SnapshotSink, error) {
	sink, err := s.SnapshotStore.Create(version, index, term, configuration, configurationIndex, transport)
	if err != nil {
		return nil, err
	}
	return &installSink{SnapshotSink: sink, of: s, index: index}, nil
}

type installSink struct {
	hraft.SnapshotSink
	of    *installs
	index uint64
	own   bool
}

func (s *installSink) takenHere() { s.own = true }

// Errors with which a snapshot is dropped. Nothing is wrong then.
var (
	errSuperseded = errors.New("a newer snapshot has come from the leader meanwhile")
	errBehind     = errors.New("the leader's snapshot is older than what this node knows to be committed")
)

func (s *installSink) Close() error {
	if s.own {
		if s.of.installed.Load() >= s.index {
			return errors.Join(errSuperseded, s.Cancel())
		}
		return s.SnapshotSink.Close()
	}
	// Raft would go back to it, and drop entries that it has acknowledged.
	if raft := s.of.raft.Load(); raft != nil && raft.CommitIndex() > s.index {
		return errors.Join(errBehind, s.Cancel())
	}
	if err := s.of.note(s.index); err != nil {
		return errors.Join(err, s.Cancel())
	}
	s.of.installed.Store(s.index)
	return s.SnapshotSink.Close()
}

// dropReplaced does what a crash kept Raft from doing after a snapshot had come from
// a leader: it drops the log that the snapshot replaced. That log may end before the
// snapshot or contradict it, which would be damage otherwise.
func dropReplaced(dir string, state types.PersistentState, meta types.MetaStore, chain *chain, logger *slog.Logger) (types.PersistentState, error) {
	text, err := meta.GetStable(installedKey)
	if err != nil {
		return state, wrap("read the log's metadata", err)
	}
	if len(text) == 8 {
		chain.installed = binary.LittleEndian.Uint64(text)
	}
	if chain.installed == 0 || chain.installed != chain.snapshotIndex ||
		len(state.Segments) == 0 || state.Segments[0].MinIndex > chain.snapshotIndex {
		return state, nil
	}
	logger.Info("a crash came after a snapshot of the leader; dropping the log that it replaces", "snapshot", chain.snapshotIndex)
	names, err := filepath.Glob(filepath.Join(dir, "*.wal"))
	for _, name := range names {
		err = errors.Join(err, os.Remove(name))
	}
	// The files go for good before the metadata that names them.
	if err = errors.Join(err, syncDir(dir)); err != nil {
		return state, wrap("drop the log before the leader's snapshot", err)
	}
	state.Segments = nil
	return state, wrap("drop the log before the leader's snapshot", meta.CommitState(state))
}

// trailing is a member's log. A snapshot leaves of it what came since the one
// before, for followers that come back.
type trailing struct {
	hraft.LogStore
	keepFrom *atomic.Uint64 // the index of the snapshot before the newest
}

// DeleteRange cuts off less than asked for, unless all goes or the end.
func (t trailing) DeleteRange(from, to uint64) error {
	first, err := t.FirstIndex()
	if err != nil {
		return err
	}
	last, err := t.LastIndex()
	if err != nil {
		return err
	}
	if from <= first && to < last {
		if to = min(to, t.keepFrom.Load()); to < from {
			return nil
		}
	}
	return t.LogStore.DeleteRange(from, to)
}

// IsMonotonic implements raft.MonotonicLogStore: raft-wal takes no gaps.
func (t trailing) IsMonotonic() bool { return true }

func noteIndex(stable hraft.StableStore, key []byte, index uint64) error {
	if err := stable.Set(key, binary.LittleEndian.AppendUint64(nil, index)); err != nil {
		return fmt.Errorf("note %s: %w", key, err)
	}
	return nil
}
