package config

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"
)

// Redis is a store in Redis.
type Redis struct {
	// Mode is "single", "sentinel" or "cluster".
	Mode string
	// Host and Port are Redis's, for Mode "single".
	Host string
	Port int
	// MasterName is what the sentinels call the primary; SentinelHosts are they, each
	// host:port, with commas between. SentinelUser and the content of
	// SentinelPasswordFile are for sentinels with authentication.
	MasterName, SentinelHosts          string
	SentinelUser, SentinelPasswordFile string
	// ClusterNodes are some of the cluster's, each host:port, with commas between;
	// HashTag is the part of every key there that decides on the shard.
	ClusterNodes, HashTag string
	// Database is the number of the database, 0 in a cluster.
	Database int
	// User and the content of PasswordFile are Redis's.
	User, PasswordFile string
	// Connections is how many write at once.
	Connections int
	// WaitReplicas is how many replicas must have a step before it is acknowledged,
	// WaitTimeout how long they may take.
	WaitReplicas int
	WaitTimeout  time.Duration
	// NodeLease is how long a server that is not heard of keeps its worker id and its
	// share of the due work.
	NodeLease time.Duration
}

func defaultRedis() Redis {
	return Redis{
		Mode: "single", Host: "127.0.0.1", Port: 6379, HashTag: "qiao", Connections: 4,
		WaitTimeout: time.Second, NodeLease: 6 * time.Second,
	}
}

// settings binds the keys of the store in Redis.
func (r *Redis) settings() []Setting {
	seata := func(names ...string) []seataKey {
		var keys []seataKey
		for _, name := range names {
			keys = append(keys, seataKey{name: name})
		}
		return keys
	}
	return []Setting{
		{"store.redis.mode", "how to come by Redis: single, sentinel or cluster", text(&r.Mode), nil},
		{"store.redis.single.host", "host of Redis, for single", text(&r.Host), seata("store.redis.host")},
		{"store.redis.single.port", "port of Redis, for single", number(&r.Port), seata("store.redis.port")},
		{"store.redis.sentinel.master-name", "what the sentinels call the primary", text(&r.MasterName), nil},
		{"store.redis.sentinel.sentinel-hosts", "the sentinels, each host:port, with commas between", text(&r.SentinelHosts), nil},
		{"store.redis.sentinel.user", "user of sentinels with authentication", text(&r.SentinelUser), nil},
		{"store.redis.sentinel.password-file", "file with that user's password", text(&r.SentinelPasswordFile), nil},
		{"store.redis.cluster.nodes", "some nodes of the cluster, each host:port, with commas between", text(&r.ClusterNodes), nil},
		{"store.redis.cluster.hash-tag", "part of every key in a cluster; all are in the shard that it names", text(&r.HashTag), nil},
		{"store.redis.database", "number of the database, 0 in a cluster", number(&r.Database), nil},
		{"store.redis.user", "user of Redis; without one it is Redis's default user", text(&r.User), nil},
		{"store.redis.password-file", "file with that user's password", text(&r.PasswordFile), nil},
		{"store.redis.connections", "connections that write at once; up to 16 more read", number(&r.Connections), nil},
		{"store.redis.wait-replicas", "how many replicas must have a step before it is acknowledged; 0 asks none", number(&r.WaitReplicas), nil},
		{"store.redis.wait-timeout", "how long they may take; then the step's outcome is unknown, which is an error", period(&r.WaitTimeout), nil},
		{"store.redis.node-lease", "how long a server that is not heard of keeps its worker id and its share of the due work", period(&r.NodeLease), nil},
	}
}

func (r *Redis) validate() error {
	hosts := func(key, list string) error {
		for _, address := range Hosts(list) {
			host, port, err := net.SplitHostPort(address)
			if _, bad := strconv.ParseUint(port, 10, 16); err != nil || bad != nil || host == "" {
				return fmt.Errorf("%s: %q: want host:port", key, address)
			}
		}
		if list == "" {
			return fmt.Errorf("%s is missing: want host:port, with commas between several", key)
		}
		return nil
	}
	switch mode := strings.ToLower(r.Mode); {
	case !oneOf(mode, "single", "sentinel", "cluster"):
		return fmt.Errorf("store.redis.mode %q: want single, sentinel or cluster", r.Mode)
	case mode == "single" && (r.Host == "" || r.Port < 1 || r.Port > 65535):
		return fmt.Errorf("store.redis.single.host %q and store.redis.single.port %d: want a host, and a port of 1 to 65535", r.Host, r.Port)
	case mode == "sentinel" && r.MasterName == "":
		return errors.New("store.redis.sentinel.master-name is missing: it is the name that the sentinels give the primary")
	case mode == "sentinel":
		if err := hosts("store.redis.sentinel.sentinel-hosts", r.SentinelHosts); err != nil {
			return err
		}
	case mode == "cluster" && r.Database != 0:
		return fmt.Errorf("store.redis.database %d: a cluster has only 0", r.Database)
	case mode == "cluster" && (r.HashTag == "" || strings.ContainsAny(r.HashTag, "{}")):
		return fmt.Errorf("store.redis.cluster.hash-tag %q: want a word without braces", r.HashTag)
	case mode == "cluster":
		if err := hosts("store.redis.cluster.nodes", r.ClusterNodes); err != nil {
			return err
		}
	}
	switch {
	case r.Database < 0:
		return fmt.Errorf("store.redis.database %d: want 0 or more", r.Database)
	case r.Connections < 1 || r.Connections > 100:
		return fmt.Errorf("store.redis.connections %d: want 1 to 100", r.Connections)
	case r.WaitReplicas < 0:
		return fmt.Errorf("store.redis.wait-replicas %d: want 0 or more", r.WaitReplicas)
	case r.WaitTimeout < time.Millisecond:
		return fmt.Errorf("store.redis.wait-timeout %v: want at least 1ms", r.WaitTimeout)
	case r.NodeLease < time.Second:
		return fmt.Errorf("store.redis.node-lease %v: want at least 1s", r.NodeLease)
	}
	return nil
}

// Hosts splits addresses with commas between them.
func Hosts(list string) []string {
	var hosts []string
	for host := range strings.SplitSeq(list, ",") {
		if host = strings.TrimSpace(host); host != "" {
			hosts = append(hosts, host)
		}
	}
	return hosts
}
