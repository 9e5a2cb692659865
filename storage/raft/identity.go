package raft

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Identity tells one node, and one start of it, from all others.
type Identity struct {
	// NodeID is random, made with the directory.
	NodeID string `json:"nodeId"`
	// WorkerID, from 0 to 1023 and random, is part of the ids that the node
	// gives to transactions.
	WorkerID int `json:"workerId"`
	// Epoch counts the starts on this directory, from 1.
	Epoch uint64 `json:"epoch"`
}

const (
	identityFile = "identity.json"
	workerIDs    = 1024
)

// nextIdentity reads the directory's identity, or makes one when the directory
// is new, and makes the next epoch durable before anyone uses it.
func nextIdentity(dir string, isNew bool) (Identity, error) {
	path := filepath.Join(dir, identityFile)
	id, err := readIdentity(path)
	if errors.Is(err, fs.ErrNotExist) && isNew {
		id, err = newIdentity(), nil
	}
	if err != nil {
		return id, err
	}
	id.Epoch++
	text, err := json.MarshalIndent(id, "", "  ")
	if err != nil {
		return id, err
	}
	return id, writeDurably(path, append(text, '\n'))
}

func newIdentity() Identity {
	var random [18]byte
	_, _ = rand.Read(random[:]) // never fails
	return Identity{
		NodeID:   hex.EncodeToString(random[:16]),
		WorkerID: int(binary.LittleEndian.Uint16(random[16:])) % workerIDs,
	}
}

func readIdentity(path string) (Identity, error) {
	var id Identity
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return id, fmt.Errorf("read the node's identity: %w; restore the file from a copy of the directory", err)
	}
	if err != nil {
		return id, wrap("read the node's identity", err)
	}
	if err := json.Unmarshal(text, &id); err != nil {
		return id, fmt.Errorf("%w: %s: %w", ErrDamaged, identityFile, err)
	}
	if id.NodeID == "" || id.WorkerID < 0 || id.WorkerID >= workerIDs || id.Epoch == 0 {
		return id, fmt.Errorf("%w: %s is incomplete: want nodeId, workerId from 0 to %d, epoch", ErrDamaged, identityFile, workerIDs-1)
	}
	return id, nil
}

// writeDurably replaces a file: after a crash it has the old content or the new.
func writeDurably(path string, content []byte) error {
	temporary := path + ".new"
	file, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(content)
	err = errors.Join(err, file.Sync(), file.Close())
	if err == nil {
		err = os.Rename(temporary, path)
	}
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	return wrap("write "+path, err)
}

// syncDir makes the names in a directory durable.
func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
