package raft

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	hraft "github.com/hashicorp/raft"
	walfs "github.com/hashicorp/raft-wal/fs"
	"github.com/hashicorp/raft-wal/segment"
	"github.com/hashicorp/raft-wal/types"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func createSnapshot(t *testing.T, snapshots hraft.SnapshotStore, index uint64) hraft.SnapshotSink {
	_, transport := hraft.NewInmemTransport("a")
	sink, err := snapshots.Create(1, index, 1, hraft.Configuration{}, 1, transport)
	require.NoError(t, err)
	return sink
}

func openPaced(t *testing.T, dir string, r *remover, writeOut func(*os.File) error) *pacedSnapshots {
	snapshots, err := openSnapshots(dir, hclogAdapter{to: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	return &pacedSnapshots{SnapshotStore: snapshots, path: filepath.Join(dir, snapshotsDir), remover: r, writeOut: writeOut}
}

// However a snapshot is written, and however large it is, only so many bytes of
// it wait to be written to the disk at any time, its end included.
func TestSnapshotIsWrittenOutInPieces(t *testing.T) {
	const buffered = 4096 // by Raft's sink
	dir := t.TempDir()
	sizes := []int64{0} // of the file, when it was written out
	paced := openPaced(t, dir, newRemover(newLatch()), func(file *os.File) error {
		info, err := file.Stat()
		require.NoError(t, err)
		sizes = append(sizes, info.Size())
		return writeOut(file)
	})
	content := make([]byte, 11*maxUnwritten+12345)
	for i := range content {
		content[i] = byte(i ^ i>>11)
	}
	sink := createSnapshot(t, paced, 1)
	for rest, n := content, 1; len(rest) > 0; n = n*3 + 1 { // from a byte to all of it at once
		n = min(n, len(rest))
		wrote, err := sink.Write(rest[:n])
		require.NoError(t, err)
		require.Equal(t, n, wrote)
		rest = rest[n:]
	}
	require.NoError(t, sink.Close())

	for i, size := range append(sizes[1:], int64(len(content))) {
		assert.LessOrEqual(t, size-sizes[i], int64(maxUnwritten+buffered))
	}
	_, written, err := paced.Open(sink.ID())
	require.NoError(t, err)
	defer written.Close()
	read, err := io.ReadAll(written)
	require.NoError(t, err)
	require.True(t, bytes.Equal(content, read))
}

func TestSnapshotThatCannotBeWrittenOut(t *testing.T) {
	dir := t.TempDir()
	paced := openPaced(t, dir, newRemover(newLatch()), func(*os.File) error { return errDisk })
	sink := createSnapshot(t, paced, 1)
	_, err := sink.Write(make([]byte, 2*maxUnwritten))
	require.ErrorIs(t, err, errDisk)
	require.NoError(t, sink.Cancel())
	left, err := os.ReadDir(filepath.Join(dir, snapshotsDir))
	require.NoError(t, err)
	require.Empty(t, left)
}

// Old snapshots lose their names at once and their bytes later, and the newest
// two stay.
func TestOldSnapshotsAreDropped(t *testing.T) {
	dir := t.TempDir()
	r := newRemover(newLatch()) // not started
	paced := openPaced(t, dir, r, writeOut)
	var ids []string
	for index := uint64(8); index <= 11; index++ { // one digit, and two
		sink := createSnapshot(t, paced, index)
		_, err := sink.Write([]byte("state"))
		require.NoError(t, err)
		require.NoError(t, sink.Close())
		ids = append(ids, sink.ID())
	}
	names, err := listSnapshots(paced.path)
	require.NoError(t, err)
	require.Len(t, names, retainSnapshots)
	assert.Equal(t, ids[3], names[0].name)
	assert.Equal(t, ids[2], names[1].name)
	require.FileExists(t, filepath.Join(paced.path, ids[0]+unfinished, stateName))

	r.start()
	r.close()
	require.NoError(t, r.latch.err())
	left, err := os.ReadDir(paced.path)
	require.NoError(t, err)
	require.Len(t, left, retainSnapshots)

	// What a crash leaves of one goes when the store opens.
	require.NoError(t, os.Rename(filepath.Join(paced.path, ids[2]), filepath.Join(paced.path, ids[2]+unfinished)))
	openPaced(t, dir, r, writeOut)
	require.NoDirExists(t, filepath.Join(paced.path, ids[2]+unfinished))
}

// At no time is more than a step of a file given back but not on the disk.
func TestFilesAreRemovedInPieces(t *testing.T) {
	const size = 5*removeStep + 7
	path := filepath.Join(t.TempDir(), "00000000000000000001-0000000000000000.wal")
	require.NoError(t, os.WriteFile(path, make([]byte, size), 0o600))
	r := newRemover(newLatch())
	sizes := []int64{size}
	r.sync = func(file *os.File) error {
		info, err := file.Stat()
		require.NoError(t, err)
		sizes = append(sizes, info.Size())
		return file.Sync()
	}
	require.NoError(t, r.remove(path))
	require.NoFileExists(t, path)
	for i, size := range append(sizes[1:], 0) {
		assert.LessOrEqual(t, sizes[i]-size, int64(removeStep))
	}
	require.NoError(t, r.remove(path), "a file that is gone is no error")
}

func TestFailedRemovalIsLatched(t *testing.T) {
	dir := t.TempDir()
	var paths []string
	for _, name := range []string{"a", "b"} {
		paths = append(paths, filepath.Join(dir, name))
		require.NoError(t, os.WriteFile(paths[len(paths)-1], make([]byte, 2*removeStep), 0o600))
	}
	r := newRemover(newLatch())
	r.sync = func(*os.File) error { return errDisk }
	r.add(paths[0])
	r.start()
	<-r.latch.failed
	require.ErrorIs(t, r.latch.err(), errDisk)
	require.ErrorContains(t, r.latch.err(), paths[0])
	r.add(paths[1])
	r.close()
	require.FileExists(t, paths[1], "the disk was written to after its first error")
}

// While the log is cut appends wait, so raft-wal's files are removed later: here
// not before the remover starts.
func TestSegmentsAreDeletedInTheBackground(t *testing.T) {
	dir := t.TempDir()
	r := newRemover(newLatch())
	filer := segment.NewFiler(dir, dataFiles{walfs.New(), r})
	info := types.SegmentInfo{ID: 1, BaseIndex: 1, MinIndex: 1, SizeLimit: 1 << 20}
	writer, err := filer.Create(info)
	require.NoError(t, err)
	require.NoError(t, writer.Close())
	require.NoError(t, filer.Delete(info.BaseIndex, info.ID))
	path := filepath.Join(dir, segment.FileName(info))
	require.FileExists(t, path)
	r.start()
	r.close()
	require.NoFileExists(t, path)
}

func TestClosedStoreHasNoOldFiles(t *testing.T) {
	config := small(t.TempDir())
	config.segmentBytes = 4 << 10
	s := open(t, config)
	files := func(pattern ...string) int {
		names, err := filepath.Glob(filepath.Join(append([]string{config.Dir}, pattern...)...))
		require.NoError(t, err)
		return len(names)
	}
	for round := range int64(4) {
		for id := range int64(200) {
			require.NoError(t, s.Apply(context.Background(), begin(1+200*round+id)))
		}
		require.Greater(t, files(logDir, "*.wal"), 5)
		require.NoError(t, s.raft.Snapshot().Error())
	}
	require.NoError(t, s.Close())
	require.LessOrEqual(t, files(logDir, "*.wal"), 2+trailingLogs*200/config.segmentBytes)
	require.Equal(t, retainSnapshots, files(snapshotsDir, "*"))
}
