package raft

import (
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"

	hraft "github.com/hashicorp/raft"
)

// maxUnwritten bounds the bytes of a snapshot that are on their way to the disk.
// The log's syncs share the disk, and wait behind them; and a goroutine that waits
// for the disk keeps its processor until the runtime takes it away, up to 10 ms.
const maxUnwritten = 1 << 18

// pacedSnapshots is Raft's snapshot store without its two long flushes: of the
// whole snapshot at its end, and of the old one that it replaces.
type pacedSnapshots struct {
	hraft.SnapshotStore
	path     string // the directory that has them
	remover  *remover
	writeOut func(*os.File) error
	// before is the index of the snapshot before the newest: a follower that has
	// all entries up to there needs no snapshot.
	before atomic.Uint64
}

func (s *pacedSnapshots) Create(version hraft.SnapshotVersion, index, term uint64, configuration hraft.Configuration,
	configurationIndex uint64, transport hraft.Transport) (hraft.SnapshotSink, error) {
	sink, err := s.SnapshotStore.Create(version, index, term, configuration, configurationIndex, transport)
	if err != nil {
		return nil, err
	}
	// Raft's own descriptor is out of reach; any other on the file will do.
	file, err := os.Open(filepath.Join(s.path, sink.ID()+unfinished, stateName))
	if err != nil {
		return nil, errors.Join(err, sink.Cancel())
	}
	return &pacedSink{SnapshotSink: sink, snapshots: s, file: file}, nil
}

// pacedSink writes out what it is given in small pieces, each before it takes the
// next. Making the snapshot durable remains for Close, which syncs the file.
type pacedSink struct {
	hraft.SnapshotSink
	snapshots *pacedSnapshots
	file      *os.File
	// out is how much was written out, taken how much was given.
	out, taken int64
}

func (s *pacedSink) Write(p []byte) (n int, err error) {
	for len(p) > 0 {
		piece := p[:min(int64(len(p)), s.out+maxUnwritten-s.taken)]
		written, err := s.SnapshotSink.Write(piece)
		n += written
		s.taken += int64(written)
		if err != nil {
			return n, err
		}
		if s.taken-s.out >= maxUnwritten {
			if err := s.snapshots.writeOut(s.file); err != nil {
				return n, err
			}
			s.out = s.taken
		}
		p = p[len(piece):]
	}
	return n, nil
}

// Close makes the snapshot durable and gives the oldest to the remover.
func (s *pacedSink) Close() error {
	err := errors.Join(s.file.Close(), s.SnapshotSink.Close())
	if err != nil {
		return err
	}
	return s.snapshots.dropOld()
}

func (s *pacedSink) Cancel() error { return errors.Join(s.file.Close(), s.SnapshotSink.Cancel()) }

// dropOld removes all snapshots but the newest. One that is not whole any more
// must not have the name of one that is, after a crash neither.
func (s *pacedSnapshots) dropOld() error {
	all, err := listSnapshots(s.path)
	if err == nil && len(all) > 1 {
		s.before.Store(all[1].index)
	}
	if err != nil || len(all) <= retainSnapshots {
		return err
	}
	var dropped []string
	for _, old := range all[retainSnapshots:] {
		path := filepath.Join(s.path, old.name)
		if err := os.Rename(path, path+unfinished); err != nil {
			return wrap("remove an old snapshot", err)
		}
		dropped = append(dropped, path+unfinished)
	}
	if err := syncDir(s.path); err != nil {
		return wrap("remove an old snapshot", err)
	}
	for _, path := range dropped {
		s.remover.add(path)
	}
	return nil
}
