package raft

import (
	"fmt"
	"sync"

	"github.com/hashicorp/raft-wal/types"
)

// diskFaults fails one operation of the log's files or metadata, and only that
// one: a disk that comes back must not be believed.
type diskFaults struct {
	mu        sync.Mutex
	operation string // which to fail, or "" for none
	countdown int    // how many of these pass before
	err       error
	half      bool // a failing write writes half
	seen      map[string]int
}

// under puts the faults under a store's log.
func (d *diskFaults) under(config *Config) {
	d.seen = make(map[string]int)
	config.wrapFiles = func(files types.VFS) types.VFS { return faultyFiles{files, d} }
	config.wrapMeta = func(meta types.MetaStore) types.MetaStore { return faultyMeta{meta, d} }
}

func (d *diskFaults) failOnce(operation string, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.operation, d.err = operation, err
}

// before returns the error of an operation, or nil.
func (d *diskFaults) before(operation string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.seen[operation]++
	if d.operation != operation {
		return nil
	}
	if d.countdown > 0 {
		d.countdown--
		return nil
	}
	d.operation = ""
	return fmt.Errorf("%s: %w", operation, d.err)
}

type faultyFiles struct {
	types.VFS
	faults *diskFaults
}

func (f faultyFiles) Create(dir, name string, size uint64) (types.WritableFile, error) {
	if err := f.faults.before("create"); err != nil {
		return nil, err
	}
	return f.writable(f.VFS.Create(dir, name, size))
}

func (f faultyFiles) OpenWriter(dir, name string) (types.WritableFile, error) {
	return f.writable(f.VFS.OpenWriter(dir, name))
}

func (f faultyFiles) writable(file types.WritableFile, err error) (types.WritableFile, error) {
	if err != nil {
		return nil, err
	}
	return faultyFile{file, f.faults}, nil
}

type faultyFile struct {
	types.WritableFile
	faults *diskFaults
}

func (f faultyFile) WriteAt(p []byte, offset int64) (int, error) {
	if err := f.faults.before("write"); err != nil {
		n := 0
		if f.faults.half {
			n, _ = f.WritableFile.WriteAt(p[:len(p)/2], offset)
		}
		return n, err
	}
	return f.WritableFile.WriteAt(p, offset)
}

func (f faultyFile) Sync() error {
	if err := f.faults.before("sync"); err != nil {
		return err
	}
	return f.WritableFile.Sync()
}

func (f faultyFile) ReadAt(p []byte, offset int64) (int, error) {
	if err := f.faults.before("read"); err != nil {
		return 0, err
	}
	return f.WritableFile.ReadAt(p, offset)
}

type faultyMeta struct {
	types.MetaStore
	faults *diskFaults
}

func (m faultyMeta) CommitState(state types.PersistentState) error {
	if err := m.faults.before("commit"); err != nil {
		return err
	}
	return m.MetaStore.CommitState(state)
}

func (m faultyMeta) SetStable(key, value []byte) error {
	if err := m.faults.before("set"); err != nil {
		return err
	}
	return m.MetaStore.SetStable(key, value)
}
