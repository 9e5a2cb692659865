package raft

import (
	"errors"
	"io"
	"sync"

	hraft "github.com/hashicorp/raft"
	"github.com/hashicorp/raft-wal/types"
)

// latch keeps the first storage error. After it nothing more is written: what
// the disk holds is no longer known, and trying again may report a success that
// the failed write took back.
type latch struct {
	once   sync.Once
	failed chan struct{}
	cause  error // set before failed is closed
	// ended is closed when the store shuts down.
	ended   chan struct{}
	endOnce sync.Once
}

func newLatch() *latch {
	return &latch{failed: make(chan struct{}), ended: make(chan struct{})}
}

// fail keeps err if it is the first, and returns the first.
func (l *latch) fail(err error) error {
	l.once.Do(func() {
		l.cause = err
		close(l.failed)
	})
	<-l.failed
	return l.cause
}

// end lets go whoever waits for the store to shut down. It may be called again.
func (l *latch) end() { l.endOnce.Do(func() { close(l.ended) }) }

// err returns the first storage error, or nil.
func (l *latch) err() error {
	select {
	case <-l.failed:
		return l.cause
	default:
		return nil
	}
}

// write runs one storage operation, unless one has failed before.
func (l *latch) write(operation func() error) error {
	if err := l.err(); err != nil {
		return err
	}
	if err := operation(); err != nil {
		return l.fail(err)
	}
	return nil
}

// latchedLogs is a log store behind the latch. Reads go on after a failure, so
// that what was acknowledged can still be applied.
type latchedLogs struct {
	hraft.LogStore
	latch *latch
}

func (s latchedLogs) StoreLog(log *hraft.Log) error { return s.StoreLogs([]*hraft.Log{log}) }

func (s latchedLogs) StoreLogs(logs []*hraft.Log) error {
	return s.latch.write(func() error { return wrap("append to the log", s.LogStore.StoreLogs(logs)) })
}

func (s latchedLogs) DeleteRange(from, to uint64) error {
	return s.latch.write(func() error { return wrap("cut the log", s.LogStore.DeleteRange(from, to)) })
}

func (s latchedLogs) GetLog(index uint64, log *hraft.Log) error {
	err := s.LogStore.GetLog(index, log)
	if err == nil || errors.Is(err, hraft.ErrLogNotFound) {
		return err
	}
	_ = s.latch.fail(wrap("read the log", err))
	// Raft panics when a read fails. So it waits here until the store shuts down,
	// and then gets an entry that does nothing.
	<-s.latch.ended
	*log = hraft.Log{Index: index, Type: hraft.LogNoop}
	return nil
}

// IsMonotonic implements raft.MonotonicLogStore: raft-wal takes no gaps.
func (s latchedLogs) IsMonotonic() bool { return true }

// latchedSegments and latchedMeta latch what raft-wal does in the background
// when a segment is full, which it only logs.
type latchedSegments struct {
	types.SegmentFiler
	latch *latch
}

func (s latchedSegments) Create(info types.SegmentInfo) (writer types.SegmentWriter, err error) {
	err = s.latch.write(func() error {
		writer, err = s.SegmentFiler.Create(info)
		return wrap("begin a segment of the log", err)
	})
	return writer, err
}

type latchedMeta struct {
	types.MetaStore
	latch *latch
}

func (s latchedMeta) CommitState(state types.PersistentState) error {
	return s.latch.write(func() error { return wrap("write the log's metadata", s.MetaStore.CommitState(state)) })
}

// latchedStable is a stable store behind the latch. Raft panics when its term
// cannot be written. So after a failure a write waits until the store shuts
// down, which leaves Raft's main loop standing still, and then answers nothing
// of interest: Raft looks at its shutdown next.
type latchedStable struct {
	hraft.StableStore
	latch *latch
}

func (s latchedStable) Set(key, value []byte) error {
	return s.write(func() error { return s.StableStore.Set(key, value) })
}

func (s latchedStable) SetUint64(key []byte, value uint64) error {
	return s.write(func() error { return s.StableStore.SetUint64(key, value) })
}

func (s latchedStable) write(operation func() error) error {
	if err := s.latch.write(func() error { return wrap("write the term or vote", operation()) }); err != nil {
		<-s.latch.ended
	}
	return nil
}

// latchedSnapshots is a snapshot store behind the latch.
type latchedSnapshots struct {
	hraft.SnapshotStore
	latch *latch
}

func (s latchedSnapshots) Create(version hraft.SnapshotVersion, index, term uint64, configuration hraft.Configuration,
	configurationIndex uint64, transport hraft.Transport) (sink hraft.SnapshotSink, err error) {
	err = s.latch.write(func() error {
		sink, err = s.SnapshotStore.Create(version, index, term, configuration, configurationIndex, transport)
		return wrap("create a snapshot", err)
	})
	return latchedSink{sink, s.latch}, err
}

func (s latchedSnapshots) Open(id string) (*hraft.SnapshotMeta, io.ReadCloser, error) {
	meta, content, err := s.SnapshotStore.Open(id)
	if err != nil {
		return nil, nil, s.latch.fail(wrap("open snapshot "+id, err))
	}
	return meta, content, nil
}

type latchedSink struct {
	hraft.SnapshotSink
	latch *latch
}

func (s latchedSink) Write(p []byte) (n int, err error) {
	err = s.latch.write(func() error {
		n, err = s.SnapshotSink.Write(p)
		return wrap("write a snapshot", err)
	})
	return n, err
}

func (s latchedSink) Close() error {
	return s.latch.write(func() error { return wrap("finish a snapshot", s.SnapshotSink.Close()) })
}
