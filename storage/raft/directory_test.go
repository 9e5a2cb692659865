package raft

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestSecondOpenIsRefused(t *testing.T) {
	dir := t.TempDir()
	s := open(t, small(dir))
	_, err := Open(small(dir))
	require.ErrorIs(t, err, ErrInUse)
	assert.ErrorContains(t, err, dir)
	assert.ErrorContains(t, err, fmt.Sprintf("process %d", os.Getpid()))
	require.NoError(t, s.Close())
	require.NoError(t, open(t, small(dir)).Close())
}

func TestForeignDirectoryIsLeftAlone(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "holiday.jpg"), nil, 0o600))
	_, err := Open(small(dir))
	require.ErrorIs(t, err, ErrForeign)
	assert.ErrorContains(t, err, "holiday.jpg")
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 1, "something was written into a foreign directory")
}

func TestDirectoryOfAnotherFormIsRefused(t *testing.T) {
	dir := written(t, 1, false)
	require.NoError(t, os.WriteFile(filepath.Join(dir, formatFile), []byte("qiao data directory 2\n"), 0o600))
	_, err := Open(small(dir))
	require.ErrorIs(t, err, ErrForeign)
	assert.ErrorContains(t, err, "directory 2")
}

func TestUnusableDirectories(t *testing.T) {
	_, err := Open(Config{})
	require.ErrorContains(t, err, "Dir")

	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	_, err = Open(small(file))
	require.ErrorContains(t, err, file)
	_, err = Open(small(filepath.Join(file, "below")))
	require.ErrorContains(t, err, file)

	public := t.TempDir()
	require.NoError(t, os.Chmod(public, 0o777))
	_, err = Open(small(public))
	require.ErrorContains(t, err, "chmod o-w")
}

func TestIdentityStaysAndEpochsCount(t *testing.T) {
	dir := t.TempDir()
	var first Identity
	for epoch := uint64(1); epoch <= 3; epoch++ {
		s := open(t, small(dir))
		id := s.Identity()
		require.NoError(t, s.Close())
		require.Equal(t, epoch, id.Epoch)
		if epoch == 1 {
			first = id
			require.Len(t, id.NodeID, 32)
			require.Less(t, id.WorkerID, workerIDs)
		}
		require.Equal(t, first.NodeID, id.NodeID)
		require.Equal(t, first.WorkerID, id.WorkerID)
	}
}

// While a child process starts it has a copy of every open file, the lock's too.
func TestClosedDirectoryIsFreeWhileAChildStarts(t *testing.T) {
	path := t.TempDir()
	d, err := openDirectory(path, nil)
	require.NoError(t, err)
	copied, err := syscall.Dup(int(d.lock.Fd()))
	require.NoError(t, err)
	defer func() { require.NoError(t, syscall.Close(copied)) }()
	require.NoError(t, d.close())
	again, err := openDirectory(path, nil)
	require.NoError(t, err)
	require.NoError(t, again.close())
}
