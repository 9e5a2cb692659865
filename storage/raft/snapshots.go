package raft

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hashicorp/go-hclog"
	hraft "github.com/hashicorp/raft"
)

// retainSnapshots keeps the one before the newest too, for a human to go back to.
const retainSnapshots = 2

func openSnapshots(dir string, logger hclog.Logger) (*hraft.FileSnapshotStore, error) {
	snapshots, err := hraft.NewFileSnapshotStoreWithLogger(dir, retainSnapshots, logger)
	return snapshots, wrap("open the snapshots", err)
}

// checkSnapshots checks what Raft would pass over in silence: it takes the
// newest snapshot that it can read, and an older one has transactions in it
// that have long ended. It returns the newest snapshot's index and mark; zero
// when there is none.
func checkSnapshots(dir string, snapshots hraft.SnapshotStore, nodeID string) (uint64, mark, error) {
	newest, err := newestSnapshot(filepath.Join(dir, "snapshots"))
	if err != nil || newest.name == "" {
		return 0, mark{}, err
	}
	list, err := snapshots.List()
	if err != nil {
		return 0, mark{}, wrap("list the snapshots", err)
	}
	if len(list) == 0 || !describes(list[0], newest, nodeID) {
		return 0, mark{}, fmt.Errorf("%w: meta.json of snapshot %s cannot be read or describes another", ErrDamaged, newest.name)
	}
	_, content, err := snapshots.Open(newest.name) // compares its checksum
	if err != nil {
		return 0, mark{}, fmt.Errorf("%w: snapshot %s: %w", ErrDamaged, newest.name, err)
	}
	defer content.Close()
	last, err := readSnapshotHead(content)
	if err != nil {
		return 0, mark{}, fmt.Errorf("%w: snapshot %s: %w", ErrDamaged, newest.name, err)
	}
	return newest.index, last, nil
}

// describes tells whether meta.json, which has no checksum, goes with the name
// and this node.
func describes(meta *hraft.SnapshotMeta, s snapshotName, nodeID string) bool {
	votes := func(server hraft.Server) bool {
		return server.ID == hraft.ServerID(nodeID) && server.Suffrage == hraft.Voter
	}
	return meta.ID == s.name && meta.Term == s.term && meta.Index == s.index &&
		meta.ConfigurationIndex > 0 && meta.ConfigurationIndex <= meta.Index && slices.ContainsFunc(meta.Configuration.Servers, votes)
}

// snapshotName is term, index and time, joined by dashes.
type snapshotName struct {
	name        string
	term, index uint64
}

// newestSnapshot goes by the names of the directories, which are given when a
// snapshot is complete. Older ones may be half removed.
func newestSnapshot(dir string) (newest snapshotName, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return newest, wrap("list the snapshots", err)
	}
	for _, entry := range entries {
		var millis int64
		s := snapshotName{name: entry.Name()}
		n, _ := fmt.Sscanf(s.name, "%d-%d-%d", &s.term, &s.index, &millis)
		if n != 3 || !entry.IsDir() || strings.HasSuffix(s.name, ".tmp") {
			continue
		}
		if s.term > newest.term || (s.term == newest.term && s.index >= newest.index) {
			newest = s
		}
	}
	return newest, nil
}
