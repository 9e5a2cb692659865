package raft

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
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
func checkSnapshots(dir string, snapshots hraft.SnapshotStore) (uint64, mark, error) {
	if err := checkSnapshotMeta(filepath.Join(dir, "snapshots")); err != nil {
		return 0, mark{}, err
	}
	list, err := snapshots.List()
	if err != nil {
		return 0, mark{}, wrap("list the snapshots", err)
	}
	if len(list) == 0 {
		return 0, mark{}, nil
	}
	newest := list[0]
	_, content, err := snapshots.Open(newest.ID) // compares its checksum
	if err != nil {
		return 0, mark{}, fmt.Errorf("%w: snapshot %s: %w", ErrDamaged, newest.ID, err)
	}
	defer content.Close()
	last, err := readSnapshotHead(content)
	if err != nil {
		return 0, mark{}, fmt.Errorf("%w: snapshot %s: %w", ErrDamaged, newest.ID, err)
	}
	return newest.Index, last, nil
}

// checkSnapshotMeta refuses a finished snapshot whose description is not
// readable or not its own.
func checkSnapshotMeta(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return wrap("list the snapshots", err)
	}
	for _, entry := range entries {
		name := entry.Name()
		if !entry.IsDir() || strings.HasSuffix(name, ".tmp") {
			continue
		}
		var meta hraft.SnapshotMeta
		text, err := os.ReadFile(filepath.Join(dir, name, "meta.json"))
		if err == nil {
			err = json.Unmarshal(text, &meta)
		}
		if err == nil && !strings.HasPrefix(name, fmt.Sprintf("%d-%d-", meta.Term, meta.Index)) {
			err = fmt.Errorf("it describes term %d, index %d", meta.Term, meta.Index)
		}
		if err != nil {
			return fmt.Errorf("%w: meta.json of snapshot %s: %w", ErrDamaged, name, err)
		}
	}
	return nil
}
