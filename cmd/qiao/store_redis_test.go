package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/internal/testenv"
	"github.com/qiao-tx/qiao/storage"
	"github.com/qiao-tx/qiao/storage/move"
	"github.com/qiao-tx/qiao/storage/raft"
)

// From the embedded log through a Redis of each kind and back: what arrives is what was
// there, in each of them.
func TestStoreCopyThroughRedis(t *testing.T) {
	const n = 2000
	dir := t.TempDir()
	first, last := filepath.Join(dir, "first"), filepath.Join(dir, "last")
	fillRaft(t, first, n)
	log, err := raft.Open(raft.Config{Dir: first, ReserveBytes: -1})
	require.NoError(t, err)
	for _, cluster := range []string{"east", "west"} {
		require.NoError(t, log.PutNote(t.Context(), storage.Group{Name: "orders", Namespace: "public", Cluster: cluster}.Note()))
	}
	require.NoError(t, log.Close())

	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte("store.mode: redis\n"+text), 0o600))
		return path
	}
	guarded := testenv.Redis(t)
	guarded.Do(t, "CONFIG SET requirepass secret")
	password := filepath.Join(dir, "password")
	require.NoError(t, os.WriteFile(password, []byte("secret\n"), 0o600))
	primary := testenv.Redis(t)
	testenv.RedisReplica(t, primary)
	sentinel := file("sentinel.yaml", "store.redis.mode: sentinel\nstore.redis.sentinel.master-name: main\nstore.redis.wait-replicas: 1\n"+
		"store.redis.wait-timeout: 20s\nstore.redis.sentinel.sentinel-hosts: "+testenv.RedisSentinel(t, primary).Addr()+"\n")
	cluster := file("cluster.yaml", "store.redis.mode: cluster\nstore.redis.cluster.nodes: "+testenv.RedisCluster(t, 3)[0].Addr()+"\n")

	var held move.Content
	for i, step := range [][]string{
		{"--from", "dir:" + first, "--dry-run"},
		{"--from", "dir:" + first, "--to", "redis://" + guarded.Addr(), "--to-password-file", password},
		{"--from", "redis://" + guarded.Addr() + "/0", "--from-password-file", password, "--to", sentinel},
		{"--from", sentinel, "--to", cluster},
		{"--from", cluster, "--to", "dir:" + last},
	} {
		text, err := storeCommand(t, append([]string{"copy", "--json"}, step...)...)
		require.NoError(t, err)
		var got movedReport
		require.NoError(t, json.Unmarshal([]byte(text), &got))
		t.Logf("%s to %s: %d transactions in %.1f s, %.0f/s", got.From, got.To, got.Transactions, got.Seconds, float64(got.Transactions)/got.Seconds)
		if i == 0 {
			held = got.Content
		}
		require.Equal(t, held, got.Content)
	}
	require.EqualValues(t, n, held.Transactions)
	require.EqualValues(t, n/10, held.Outcomes)
	require.EqualValues(t, 2, held.Groups)
	require.Equal(t, states(t, first), states(t, last))
	_, err = storeCommand(t, "copy", "--from", "dir:"+first, "--to", cluster)
	require.ErrorIs(t, err, move.ErrNotEmpty)
}

// A Redis has one name, however it is given.
func TestStorePlaceNamesARedis(t *testing.T) {
	dir := t.TempDir()
	for text, want := range map[string]string{
		"redis://db":         "redis://db:6379/0",
		"redis://db:7000/":   "redis://db:7000/0",
		"redis://[::1]:1/15": "redis://[::1]:1/15",
		"store.redis.single.host: db\nstore.redis.database: 3":                                                                  "redis://db:6379/3",
		"store.redis.mode: sentinel\nstore.redis.sentinel.master-name: main\nstore.redis.sentinel.sentinel-hosts: \"b:1, a:1\"": "redis-sentinel://a:1,b:1/0 (main)",
		"store.redis.mode: cluster\nstore.redis.cluster.nodes: \"b:1,a:1\"\nstore.redis.cluster.hash-tag: shop":                 "redis-cluster://a:1,b:1/{shop}",
	} {
		p := storePlace{text: text}
		if strings.HasPrefix(text, "store.") {
			p.text = filepath.Join(dir, "file.yaml")
			require.NoError(t, os.WriteFile(p.text, []byte("store.mode: Redis\n"+text), 0o600))
		}
		require.NoError(t, p.parse("--from"), text)
		require.Equal(t, want, p.name())
	}
}
