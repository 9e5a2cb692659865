package raft

import (
	"path/filepath"
	"sync/atomic"

	"github.com/hashicorp/raft-wal/types"
)

// dataFiles is raft-wal's file system with a cheaper Sync. raft-wal makes a
// segment at its full size, so an append changes nothing of the file but its
// data and its times; fsync makes the times durable too, which costs the file
// system a journal commit for each entry. Files are deleted in the background:
// raft-wal deletes them while appends wait.
type dataFiles struct {
	types.VFS
	remover *remover
}

func (v dataFiles) Delete(dir, name string) error {
	v.remover.add(filepath.Join(dir, name))
	return nil
}

func (v dataFiles) Create(dir, name string, size uint64) (types.WritableFile, error) {
	return cheaply(v.VFS.Create(dir, name, size))
}

func (v dataFiles) OpenWriter(dir, name string) (types.WritableFile, error) {
	return cheaply(v.VFS.OpenWriter(dir, name))
}

func cheaply(f types.WritableFile, err error) (types.WritableFile, error) {
	d, ok := f.(descriptor)
	if err != nil || !ok {
		return f, err
	}
	return &dataFile{descriptor: d}, nil
}

type descriptor interface {
	types.WritableFile
	Fd() uintptr
}

// dataFile syncs its data only, after a first Sync of everything: of the file's
// size and, by raft-wal, of its name in the directory.
type dataFile struct {
	descriptor
	synced atomic.Bool
}

func (f *dataFile) Sync() error {
	if f.synced.Load() {
		return syncData(f.Fd())
	}
	err := f.descriptor.Sync()
	f.synced.Store(err == nil)
	return err
}
