//go:build linux

package redis

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/internal/testenv"
	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/storage"
)

// groupsOf lists the transaction groups that the store keeps.
func groupsOf(t *testing.T, s *Store) (list []string) {
	t.Helper()
	notes, err := s.Notes(t.Context(), storage.NoteGroup)
	require.NoError(t, err)
	for _, n := range notes {
		g, err := storage.ParseGroup(n)
		require.NoError(t, err)
		require.Equal(t, g.Note(), n)
		list = append(list, g.Name+" "+g.Namespace+" "+g.Cluster)
	}
	return list
}

// Groups are where Seata keeps them, whoever wrote them; what Seata has no room for, a
// second cluster of a group, is not lost.
func TestGroupsAreWhereSeataKeepsThem(t *testing.T) {
	for name, cfg := range map[string]Config{"single": {}, "cluster": {Mode: Cluster, HashTag: `q[a-z]*\?`}} {
		t.Run(name, func(t *testing.T) {
			var server *testenv.RedisServer
			if cfg.Mode == Cluster {
				server = testenv.RedisCluster(t, 1)[0]
				cfg.Nodes = []string{server.Addr()}
			} else {
				server = testenv.Redis(t)
				cfg.Address = server.Addr()
			}
			s := open(t, cfg)
			put := func(n storage.Note) { require.NoError(t, s.PutNote(t.Context(), n)) }
			client := s.server.client.Load()
			seata := func(namespace string) map[string]string {
				clusters, err := client.HGetAll(t.Context(), s.keys.prefix+"SEATA_NAMINGSERVER_NAMESPACE_"+namespace).Result()
				require.NoError(t, err)
				return clusters
			}
			west := storage.Group{Name: "orders", Namespace: "public", Cluster: "west"}
			east := storage.Group{Name: "orders", Namespace: "public", Cluster: "east"}
			for range 2 {
				put(west.Note())
				require.Equal(t, map[string]string{"orders": "west"}, seata("public"))
			}
			put(east.Note())
			require.Equal(t, map[string]string{"orders": "east"}, seata("public"), "the latest, as Java does")
			require.Equal(t, []string{"orders public east", "orders public west"}, groupsOf(t, s))
			put(west.Gone())
			require.Equal(t, []string{"orders public east"}, groupsOf(t, s))
			put(west.Gone())
			require.Equal(t, map[string]string{"orders": "east"}, seata("public"), "what is another cluster's stays")

			for i := range 5000 { // so that there is more than one page to walk
				require.NoError(t, client.HSet(t.Context(), fmt.Sprint(s.keys.prefix, "other:", i), "orders", "x").Err())
			}
			java := s.keys.prefix + "SEATA_NAMINGSERVER_NAMESPACE_test"
			require.NoError(t, client.HSet(t.Context(), java, "stock", "default", "orders", "north").Err())
			require.Equal(t, []string{"orders public east", "orders test north", "stock test default"}, groupsOf(t, s))
			put(storage.Group{Name: "stock", Namespace: "test", Cluster: "default"}.Gone())
			put(storage.Group{Name: "orders", Namespace: "test", Cluster: "north"}.Gone())
			put(east.Gone())
			require.Empty(t, groupsOf(t, s))
			require.Zero(t, client.Exists(t.Context(), java, s.keys.notes()).Val())
		})
	}
}

// A note is written by a node with its lease only, and only if it is one.
func TestNotesThatAreRefused(t *testing.T) {
	s, server := onOne(t)
	n := storage.Note{Kind: storage.NoteMove, Key: "dir:/old", Value: "begun"}
	for _, bad := range []storage.Note{{Key: "k"}, {Kind: "a\x00b", Key: "k"}, {Kind: storage.NoteGroup, Key: "orders"}} {
		require.ErrorIs(t, s.PutNote(t.Context(), bad), storage.ErrBadNote)
	}
	require.ErrorIs(t, s.Apply(t.Context(), &storage.Batch{XID: "x", Note: &n}), storage.ErrInvalidBatch)
	require.NoError(t, s.Apply(t.Context(), &storage.Batch{Note: &n}))
	server.Do(t, "SET QIAO_LEASE_0 another")
	server.Do(t, "HSET QIAO_WORKERS 0 another")
	require.ErrorIs(t, s.PutNote(t.Context(), storage.Note{Kind: n.Kind, Key: n.Key}), storage.ErrUnavailable)
	_, err := s.Others(t.Context())
	require.ErrorIs(t, err, ErrLeaseLost, "not: nobody else")
	notes, err := s.Notes(t.Context(), n.Kind)
	require.NoError(t, err)
	require.Equal(t, []storage.Note{n}, notes)
}

// A note that too few replicas have is not told to be there.
func TestNotesWaitForReplicas(t *testing.T) {
	s := open(t, Config{Address: testenv.Redis(t).Addr(), WaitReplicas: 1, WaitTimeout: time.Millisecond})
	require.ErrorIs(t, s.PutNote(t.Context(), storage.Group{Name: "orders"}.Note()), errUnknown)
}

// The other coordinators are told, not this one.
func TestOthers(t *testing.T) {
	cfg := Config{Address: testenv.Redis(t).Addr(), Node: "one:1"}
	one := open(t, cfg)
	cfg.Node = ""
	two := open(t, cfg)
	others, err := two.Others(t.Context())
	require.NoError(t, err)
	require.Equal(t, []storage.Node{{Worker: 0, Address: "one:1"}}, others)
	others, err = one.Others(t.Context())
	require.NoError(t, err)
	require.Equal(t, []storage.Node{{Worker: 1}}, others)
	require.NoError(t, one.Close())
	others, err = two.Others(t.Context())
	require.NoError(t, err)
	require.Empty(t, others)
}

// Each finished transaction is listed once, although many expire at one moment.
func TestManyGraves(t *testing.T) {
	s, _ := onOne(t)
	want := make(map[int64]storage.Tombstone)
	for i := range int64(5*scanPage + 7) {
		g := storage.Grave{ID: 1000 + i, Tombstone: storage.Tombstone{Outcome: protocol.StatusCommitted, ExpiresAt: 1<<40 + i/(2*scanPage)}}
		want[g.ID] = g.Tombstone
		require.NoError(t, s.Apply(t.Context(), g.Whole()))
	}
	got := make(map[int64]storage.Tombstone)
	require.NoError(t, s.Graves(t.Context(), func(g storage.Grave) bool {
		require.NotContains(t, got, g.ID)
		got[g.ID] = g.Tombstone
		return true
	}))
	require.Equal(t, want, got)
}
