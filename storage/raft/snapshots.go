package raft

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hashicorp/go-hclog"
	hraft "github.com/hashicorp/raft"
)

// retainSnapshots keeps the one before the newest too, for a human to go back to.
const retainSnapshots = 2

// Names that Raft's snapshot store gives.
const (
	snapshotsDir = "snapshots"
	unfinished   = ".tmp" // ends the name of a directory that is no snapshot yet, or no more
	stateName    = "state.bin"
)

// openSnapshots opens the snapshots, without what a crash left of others.
func openSnapshots(dir string, logger hclog.Logger) (*hraft.FileSnapshotStore, error) {
	parts, err := filepath.Glob(filepath.Join(dir, snapshotsDir, "*"+unfinished))
	for _, part := range parts {
		err = errors.Join(err, os.RemoveAll(part))
	}
	if err != nil {
		return nil, wrap("remove the parts of a snapshot", err)
	}
	snapshots, err := hraft.NewFileSnapshotStoreWithLogger(dir, math.MaxInt, logger) // pacedSnapshots removes old ones
	return snapshots, wrap("open the snapshots", err)
}

// checkSnapshots checks what Raft would pass over in silence: it takes the
// newest snapshot that it can read, and an older one has transactions in it
// that have long ended. It returns the newest snapshot's index and mark; zero
// when there is none.
func checkSnapshots(dir string, snapshots hraft.SnapshotStore, nodeID string) (uint64, mark, error) {
	names, err := listSnapshots(filepath.Join(dir, snapshotsDir))
	if err != nil || len(names) == 0 {
		return 0, mark{}, err
	}
	newest := names[0]
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
	millis      int64
}

// listSnapshots lists the snapshots, the newest first. It goes by the names of the
// directories, which are given when a snapshot is complete.
func listSnapshots(dir string) ([]snapshotName, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, wrap("list the snapshots", err)
	}
	var names []snapshotName
	for _, entry := range entries {
		s := snapshotName{name: entry.Name()}
		n, _ := fmt.Sscanf(s.name, "%d-%d-%d", &s.term, &s.index, &s.millis)
		if n == 3 && entry.IsDir() && !strings.HasSuffix(s.name, unfinished) {
			names = append(names, s)
		}
	}
	slices.SortFunc(names, func(a, b snapshotName) int {
		return cmp.Or(cmp.Compare(b.term, a.term), cmp.Compare(b.index, a.index), cmp.Compare(b.millis, a.millis))
	})
	return names, nil
}
