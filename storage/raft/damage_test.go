package raft

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/protocol/xid"
)

// written fills a directory with transactions 1 to n and closes it; with a
// snapshot when asked for.
func written(t *testing.T, n int64, snapshot bool) string {
	config := small(t.TempDir())
	s, err := Open(config)
	require.NoError(t, err)
	for id := range n {
		require.NoError(t, s.Apply(context.Background(), begin(id+1)))
	}
	if snapshot {
		require.NoError(t, s.raft.Snapshot().Error())
	}
	require.NoError(t, s.Close())
	return config.Dir
}

func onlyFile(t *testing.T, pattern ...string) string {
	found, err := filepath.Glob(filepath.Join(pattern...))
	require.NoError(t, err)
	require.NotEmpty(t, found, pattern)
	return found[len(found)-1]
}

// flip changes the byte of a file that follows mark.
func flip(t *testing.T, path string, mark string) {
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	i := bytes.Index(content, []byte(mark))
	require.GreaterOrEqual(t, i, 0, "%q is not in %s", mark, path)
	content[i+len(mark)-1] ^= 0x01
	require.NoError(t, os.WriteFile(path, content, 0o600))
}

func requireDamaged(t *testing.T, dir, want string) {
	s, err := Open(small(dir))
	if err == nil {
		_ = s.Close()
	}
	require.ErrorIs(t, err, ErrDamaged)
	assert.ErrorContains(t, err, want)
}

func TestFlippedBitInTheLog(t *testing.T) {
	dir := written(t, 9, false)
	flip(t, onlyFile(t, dir, logDir, "*.wal"), xid.New("127.0.0.1:8091", 5))
	requireDamaged(t, dir, "log entry ")
}

func TestFlippedBitInTheSnapshot(t *testing.T) {
	dir := written(t, 9, true)
	flip(t, onlyFile(t, dir, "snapshots", "*", "state.bin"), xid.New("127.0.0.1:8091", 5))
	requireDamaged(t, dir, "snapshot ")
}

func TestDamagedSnapshotDescription(t *testing.T) {
	dir := written(t, 9, true)
	path := onlyFile(t, dir, "snapshots", "*", "meta.json")
	meta, err := os.ReadFile(path)
	require.NoError(t, err)
	for _, text := range []string{"{", "{}", strings.Replace(string(meta), `"Index":`, `"Index":1`, 1)} {
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		requireDamaged(t, dir, "meta.json")
	}
	require.NoError(t, os.Remove(path))
	requireDamaged(t, dir, "meta.json")
}

// A process killed while it wrote a snapshot or removed an old one leaves parts.
func TestPartsOfSnapshotsAreNoDamage(t *testing.T) {
	dir := written(t, 9, true)
	for _, name := range []string{"1-1-1795519798385", "2-999-1795519798385.tmp"} {
		require.NoError(t, os.Mkdir(filepath.Join(dir, "snapshots", name), 0o700))
	}
	s := open(t, small(dir))
	require.EqualValues(t, 9, s.Stats().Globals)
	require.NoError(t, s.Close())
}

func TestDamagedIdentity(t *testing.T) {
	dir := written(t, 1, false)
	for _, text := range []string{
		"{", "{}", `{"nodeId":"a","workerId":1024,"epoch":1}`, `{"nodeId":"a","workerId":1,"epoch":1}x`,
		`{"nodeId":"a","workerId":1,"epoch":1,"checksum":"00000000"}`, `{"nodeId":"a","workerId":1,"epoch":1,"checkrum":"00000000"}`,
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, identityFile), []byte(text), 0o600))
		requireDamaged(t, dir, identityFile)
	}
	require.NoError(t, os.Remove(filepath.Join(dir, identityFile)))
	_, err := Open(small(dir))
	require.ErrorIs(t, err, os.ErrNotExist, "a lost identity must not be made anew")
}

// A flipped bit is found, or changes nothing of what the file says.
func TestFlippedBitsInTheIdentity(t *testing.T) {
	path := filepath.Join(t.TempDir(), identityFile)
	want, err := nextIdentity(filepath.Dir(path), true, nil)
	require.NoError(t, err)
	whole, err := os.ReadFile(path)
	require.NoError(t, err)
	harmless := 0
	for i := range len(whole) * 8 {
		flipped := bytes.Clone(whole)
		flipped[i/8] ^= 1 << (i % 8)
		require.NoError(t, os.WriteFile(path, flipped, 0o600))
		id, err := readIdentity(path)
		if err != nil {
			require.ErrorIs(t, err, ErrDamaged)
			continue
		}
		harmless++
		require.Equal(t, want, id, "%s", flipped)
	}
	require.Less(t, harmless, len(whole), "of %d", 8*len(whole))
}

// A directory of before there was a checksum.
func TestIdentityWithoutChecksum(t *testing.T) {
	path := filepath.Join(t.TempDir(), identityFile)
	require.NoError(t, os.WriteFile(path, []byte(`{"nodeId": "a", "workerId": 7, "epoch": 3}`), 0o600))
	id, err := nextIdentity(filepath.Dir(path), false, nil)
	require.NoError(t, err)
	require.Equal(t, Identity{NodeID: "a", WorkerID: 7, Epoch: 4}, id)
	again, err := readIdentity(path)
	require.NoError(t, err)
	require.Equal(t, id, again)
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Contains(t, string(text), `"checksum"`)
}

// A crash while the directory is made leaves something that Open goes on from.
func TestHalfMadeDirectory(t *testing.T) {
	for name, files := range map[string][]string{
		"only a lock":             {lockFile},
		"a torn format file":      {lockFile, formatFile + ".new"},
		"a torn identity":         {lockFile, formatFile, identityFile + ".new"},
		"on a file system's root": {"lost+found"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for _, file := range files {
				content := ""
				if file == formatFile {
					content = formatText
				}
				require.NoError(t, os.WriteFile(filepath.Join(dir, file), []byte(content), 0o600))
			}
			require.NoError(t, open(t, small(dir)).Close())
		})
	}
}
