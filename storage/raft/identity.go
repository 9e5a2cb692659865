package raft

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Identity tells one node, and one start of it, from all others.
type Identity struct {
	// NodeID is random, made with the directory.
	NodeID string `json:"nodeId"`
	// WorkerID, from 0 to 1023, is part of the ids that the node gives to
	// transactions. It is random, and in a cluster the node's place among the others.
	WorkerID int `json:"workerId"`
	// Epoch counts the starts on this directory, from 1.
	Epoch uint64 `json:"epoch"`
	// Cluster and Node are the names of a node of a cluster.
	Cluster string `json:"cluster,omitempty"`
	Node    string `json:"node,omitempty"`
}

// identityRecord is how identity.json has it. The first form had no checksum.
type identityRecord struct {
	Identity
	Checksum string `json:"checksum,omitempty"`
}

func (id Identity) checksum() string {
	text := fmt.Sprintf("%s %d %d", id.NodeID, id.WorkerID, id.Epoch)
	if id.Node != "" {
		text += " " + id.Cluster + " " + id.Node
	}
	return fmt.Sprintf("%08x", crc32.Checksum([]byte(text), crc32.MakeTable(crc32.Castagnoli)))
}

const (
	identityFile = "identity.json"
	workerIDs    = 1024
)

// nextIdentity reads the directory's identity, or makes one when the directory
// is new, and makes the next epoch durable before anyone uses it. cluster is nil for
// a node alone.
func nextIdentity(dir string, isNew bool, cluster *Cluster) (Identity, error) {
	path := filepath.Join(dir, identityFile)
	id, err := readIdentity(path)
	if errors.Is(err, fs.ErrNotExist) && isNew {
		id, err = newIdentity(cluster), nil
	}
	if err == nil {
		err = id.check(cluster)
	}
	if err != nil {
		return id, err
	}
	id.Epoch++
	text, err := json.MarshalIndent(identityRecord{id, id.checksum()}, "", "  ")
	if err != nil {
		return id, err
	}
	return id, writeDurably(path, append(text, '\n'))
}

func newIdentity(cluster *Cluster) Identity {
	var random [18]byte
	_, _ = rand.Read(random[:]) // never fails
	id := Identity{
		NodeID:   hex.EncodeToString(random[:16]),
		WorkerID: int(binary.LittleEndian.Uint16(random[16:])) % workerIDs,
	}
	if cluster != nil {
		id.Cluster, id.Node, id.WorkerID = cluster.Name, cluster.Self, cluster.index(cluster.Self)
	}
	return id
}

func readIdentity(path string) (Identity, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Identity{}, fmt.Errorf("read the node's identity: %w; restore the file from a copy of the directory", err)
	}
	if err != nil {
		return Identity{}, wrap("read the node's identity", err)
	}
	var record identityRecord
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields() // a damaged name
	err = decoder.Decode(&record)
	if _, end := decoder.Token(); err == nil && end != io.EOF {
		err = errors.New("something follows the identity")
	}
	if err != nil {
		return Identity{}, fmt.Errorf("%w: %s: %w", ErrDamaged, identityFile, err)
	}
	id := record.Identity
	if id.NodeID == "" || id.WorkerID < 0 || id.WorkerID >= workerIDs || id.Epoch == 0 {
		return Identity{}, fmt.Errorf("%w: %s is incomplete: want nodeId, workerId from 0 to %d, epoch", ErrDamaged, identityFile, workerIDs-1)
	}
	if want := id.checksum(); record.Checksum != "" && record.Checksum != want {
		return Identity{}, fmt.Errorf("%w: the checksum in %s is %s, its content has %s", ErrDamaged, identityFile, record.Checksum, want)
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
