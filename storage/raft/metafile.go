package raft

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/hashicorp/raft-wal/types"
)

// metaFile keeps what raft-wal must know of its segments, and Raft's term and
// vote, in one small file that is replaced whole: a checksum, then JSON.
type metaFile struct {
	mu      sync.Mutex
	path    string
	content metaContent
}

type metaContent struct {
	Log    types.PersistentState
	Stable map[string][]byte
}

const metaName = "meta"

var _ types.MetaStore = (*metaFile)(nil)

// Load implements types.MetaStore. An absent file is an empty state.
func (m *metaFile) Load(dir string) (types.PersistentState, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.path = filepath.Join(dir, metaName)
	m.content = metaContent{Stable: make(map[string][]byte)}
	text, err := os.ReadFile(m.path)
	if errors.Is(err, fs.ErrNotExist) {
		return types.PersistentState{}, nil
	}
	if err != nil {
		return types.PersistentState{}, wrap("read the log's metadata", err)
	}
	checksum, content, _ := bytes.Cut(text, []byte("\n"))
	if string(checksum) != metaChecksum(content) {
		return types.PersistentState{}, fmt.Errorf("%w: the metadata of the log, %s, has checksum %s, its first line says %.20q", ErrDamaged, m.path, metaChecksum(content), checksum)
	}
	if err := json.Unmarshal(content, &m.content); err != nil {
		return types.PersistentState{}, fmt.Errorf("%w: the metadata of the log, %s: %w", ErrDamaged, m.path, err)
	}
	return m.content.Log, nil
}

func metaChecksum(content []byte) string {
	return fmt.Sprintf("%08x", crc32.Checksum(content, crc32.MakeTable(crc32.Castagnoli)))
}

// CommitState implements types.MetaStore.
func (m *metaFile) CommitState(state types.PersistentState) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.content.Log = state
	return m.write()
}

// GetStable implements types.MetaStore.
func (m *metaFile) GetStable(key []byte) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return bytes.Clone(m.content.Stable[string(key)]), nil
}

// SetStable implements types.MetaStore; nil removes the key.
func (m *metaFile) SetStable(key, value []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if value == nil {
		delete(m.content.Stable, string(key))
	} else {
		m.content.Stable[string(key)] = bytes.Clone(value)
	}
	return m.write()
}

func (m *metaFile) write() error {
	content, err := json.Marshal(m.content)
	if err != nil {
		return wrap("encode the log's metadata", err)
	}
	return writeDurably(m.path, fmt.Appendf(nil, "%s\n%s", metaChecksum(content), content))
}

// Close implements types.MetaStore. Nothing is open between calls.
func (m *metaFile) Close() error { return nil }
