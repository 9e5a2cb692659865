//go:build linux

package redis

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/qiao-tx/qiao/internal/testenv"
	"github.com/qiao-tx/qiao/storage"
	"github.com/qiao-tx/qiao/storage/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// kinds are the ways to have Redis that the suites run on: a configuration, and the
// servers that hold the data.
var kinds = map[string]func(t testing.TB) (Config, []*testenv.RedisServer){
	"Single": func(t testing.TB) (Config, []*testenv.RedisServer) {
		s := testenv.Redis(t)
		return Config{Address: s.Addr()}, []*testenv.RedisServer{s}
	},
	"Sentinel": func(t testing.TB) (Config, []*testenv.RedisServer) {
		primary := testenv.Redis(t)
		testenv.RedisReplica(t, primary)
		return Config{
			Mode: Sentinel, MasterName: "main", Sentinels: []string{testenv.RedisSentinel(t, primary).Addr()}, WaitReplicas: 1,
		}, []*testenv.RedisServer{primary}
	},
	"Cluster": func(t testing.TB) (Config, []*testenv.RedisServer) {
		servers := testenv.RedisCluster(t, 3)
		return Config{Mode: Cluster, Nodes: []string{servers[0].Addr()}}, servers
	},
}

func TestConformance(t *testing.T) {
	for name, kind := range kinds {
		t.Run(name, func(t *testing.T) {
			cfg, servers := kind(t)
			storetest.Run(t, func(t *testing.T) storetest.Factory {
				for _, s := range servers {
					s.Do(t, "FLUSHALL")
				}
				return storetest.Factory{Durable: true, Open: func(t *testing.T) storage.Store { return open(t, cfg) }}
			})
		})
	}
}
