package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func load(t *testing.T, yaml string, environ []string, flags map[string]string) (*Loaded, error) {
	t.Helper()
	src := Sources{Environ: environ, Flags: flags}
	if yaml != "" {
		src.File = filepath.Join(t.TempDir(), "qiao.yaml")
		require.NoError(t, os.WriteFile(src.File, []byte(yaml), 0o600))
	}
	return Load(src)
}

func TestPrecedence(t *testing.T) {
	file := "drain-timeout: 1s\nmax-requests: 11\nretention: 10s\n"
	env := []string{"QIAO_DRAIN_TIMEOUT=2s", "QIAO_MAX_REQUESTS=12", "PATH=/bin"}
	flags := map[string]string{"drain-timeout": "3s"}
	l, err := load(t, file, env, flags)
	require.NoError(t, err)
	require.Equal(t, 3*time.Second, l.DrainTimeout, "flag over environment")
	require.Equal(t, 12, l.MaxRequests, "environment over file")
	require.Equal(t, 10*time.Second, l.Retention, "file over default")
	require.Equal(t, Default().MaxConnections, l.MaxConnections)
	require.Empty(t, l.Warnings)
}

func TestFileNamedByEnvironment(t *testing.T) {
	path := filepath.Join(t.TempDir(), "qiao.yaml")
	require.NoError(t, os.WriteFile(path, []byte("max-requests: 9"), 0o600))
	l, err := Load(Sources{Environ: []string{"QIAO_CONFIG=" + path}})
	require.NoError(t, err)
	require.Equal(t, 9, l.MaxRequests)
}

//tidy:long a table
func TestSpellingsAndSeataNames(t *testing.T) {
	for _, test := range []struct {
		name, yaml string
		check      func(*testing.T, *Loaded)
	}{
		{"nested", "log:\n  format: json", func(t *testing.T, l *Loaded) { require.Equal(t, "json", l.LogFormat) }},
		{"dotted", "log.format: json", func(t *testing.T, l *Loaded) { require.Equal(t, "json", l.LogFormat) }},
		{"as the flag", "log-format: json", func(t *testing.T, l *Loaded) { require.Equal(t, "json", l.LogFormat) }},
		{"camel case", "logFormat: json", func(t *testing.T, l *Loaded) { require.Equal(t, "json", l.LogFormat) }},
		{"key without a value", "log:\n  format:\nmax-requests: 5", func(t *testing.T, l *Loaded) {
			require.Equal(t, "text", l.LogFormat)
			require.Equal(t, 5, l.MaxRequests)
		}},
		{"only a comment", "# nothing yet\n", func(t *testing.T, l *Loaded) { require.Equal(t, Default(), l.Config) }},
		{"seata application.yml", `
server:
  port: 7091
seata:
  server:
    undo:
      log-save-days: 3
      log-delete-period: 60000
  transport:
    rpc-tc-request-timeout: 5000
    enable-tc-server-batch-send-response: true
  store:
    mode: raft
    file:
      dir: sessionStore
`, func(t *testing.T, l *Loaded) {
			require.Equal(t, "127.0.0.1:7091", l.Listen)
			require.Equal(t, 3, l.UndoSaveDays)
			require.Equal(t, time.Minute, l.UndoDeletePeriod)
			require.Equal(t, 5*time.Second, l.AnswerTimeout)
			require.True(t, l.BatchResponses)
			require.Equal(t, "sessionStore", l.Data)
		}},
		{"seata without heartbeats", "transport.heartbeat: false", func(t *testing.T, l *Loaded) {
			require.Zero(t, l.ReadIdleTimeout)
		}},
		{"seata with heartbeats", "seata:\n  transport:\n    heartbeat: true", func(t *testing.T, l *Loaded) {
			require.Equal(t, 15*time.Second, l.ReadIdleTimeout)
		}},
		{"seata registry", `
seata:
  registry:
    type: etcd3
    etcd3:
      cluster: shop
      server-addr: http://etcd:2379
  transport:
    shutdown:
      wait: 5
`, func(t *testing.T, l *Loaded) {
			require.Equal(t, "etcd3", l.RegistryType)
			require.Equal(t, Etcd{ServerAddr: "http://etcd:2379", Cluster: "shop", LeaseTTL: 10 * time.Second}, l.Etcd)
			require.Equal(t, 5*time.Second, l.RegistryLeaveWait)
		}},
		{"seata registry in one line", "registry.etcd3.serverAddr: http://etcd:2379\nregistry.type: ETCD3", func(t *testing.T, l *Loaded) {
			require.Equal(t, "http://etcd:2379", l.Etcd.ServerAddr)
		}},
		{"seata on a database", `
seata:
  store:
    mode: db
    db:
      db-type: postgresql
      url: jdbc:postgresql://db/seata
      user: tc
      max-conn: 30
`, func(t *testing.T, l *Loaded) {
			require.Equal(t, "db", l.StoreMode)
			require.Equal(t, DB{
				Type: "postgresql", URL: "jdbc:postgresql://db/seata", User: "tc", Connections: 30, CreateTables: true, NodeLease: 6 * time.Second,
			}, l.DB)
		}},
		{"seata on Redis", `
seata:
  store:
    mode: redis
    redis:
      mode: sentinel
      database: 2
      single:
        host: r
        port: 6380
      sentinel:
        masterName: m
        sentinelHosts: a:26379, b:26379
`, func(t *testing.T, l *Loaded) {
			want := defaultRedis()
			want.Mode, want.Host, want.Port, want.Database = "sentinel", "r", 6380, 2
			want.MasterName, want.SentinelHosts = "m", "a:26379, b:26379"
			require.Equal(t, want, l.Redis)
			require.Equal(t, []string{"a:26379", "b:26379"}, Hosts(l.Redis.SentinelHosts))
		}},
		{"seata configuration centre", "transport.rpcTcRequestTimeout: 5000", func(t *testing.T, l *Loaded) {
			require.Equal(t, 5*time.Second, l.AnswerTimeout)
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			l, err := load(t, test.yaml, nil, nil)
			require.NoError(t, err)
			test.check(t, l)
		})
	}
}

// Every mistake is refused with its place and a remedy.
//
//tidy:long a table
func TestMistakes(t *testing.T) {
	for _, test := range []struct {
		name, yaml string
		env        []string
		flags      map[string]string
		want       []string
	}{
		{"unknown key with a near one", "data: x\nlissten: a:1", nil, nil, []string{":2:", `no setting "lissten"`, `did you mean "listen"?`}},
		{"unknown nested key", "log:\n  formt: json", nil, nil, []string{":2:", `"log.formt"`, `"log.format"`}},
		{"near a Seata name", "server:\n  undo:\n    logSaveDay: 7", nil, nil, []string{`"server.undo.logSaveDays"`}},
		{"unknown key near nothing", "colour: blue", nil, nil, []string{`no setting "colour"`, "--print-config"}},
		{"key of Seata without meaning here", "store:\n  db:\n    queryLimit: 100", nil, nil, []string{":3:", `no setting "store.db.queryLimit"`}},
		{"twice under two names", "answer-timeout: 1s\ntransport.rpcTcRequestTimeout: 2000", nil, nil, []string{":2:", "line 1 sets it already"}},
		{"no truth value", "transport.heartbeat: 5s", nil, nil, []string{"transport.heartbeat", "neither true nor false"}},
		{"no number", "max-requests: many", nil, nil, []string{":1:", "max-requests", "no whole number"}},
		{"no duration", "drain-timeout: soon", nil, nil, []string{"no duration such as 1m30s"}},
		{"duration without its unit", "answer-timeout: 5", nil, nil, []string{"answer-timeout 5ms", "without a unit is milliseconds"}},
		{"duration out of range", "drain-timeout: 99999999999999999", nil, nil, []string{"out of range"}},
		{"no bool", "insecure-listen: perhaps", nil, nil, []string{"neither true nor false"}},
		{"list", "listen:\n- a\n- b", nil, nil, []string{"line 2", "lists"}},
		{"bare value", "just text", nil, nil, []string{"line 1"}},
		{"alias", "a: &x {listen: b}\nlog: *x", nil, nil, []string{"aliases"}},
		{"two documents", "data: x\n---\ndata: y", nil, nil, []string{"more than one YAML document"}},
		{"no YAML", "listen: [", nil, nil, []string{"yaml"}},
		{"deep", strings.Repeat("{a: ", 40) + "b" + strings.Repeat("}", 40), nil, nil, []string{"nested"}},
		{"bad port", "server.port: 99999", nil, nil, []string{"no port"}},
		{"environment", "", []string{"QIAO_MAX_REQUESTS=x"}, nil, []string{"QIAO_MAX_REQUESTS", "no whole number"}},
		{"flag", "", nil, map[string]string{"max-requests": "x"}, []string{"--max-requests", "no whole number"}},
		{"not loopback", "listen: 0.0.0.0:8091", nil, nil, []string{"neither TLS nor credentials", "insecure-listen"}},
		{"wildcard", "listen: ':8091'", nil, nil, []string{"insecure-listen"}},
		{"listen without port", "listen: localhost", nil, nil, []string{"want host:port"}},
		{"store of another release", "store.mode: oracle", nil, nil, []string{`store.mode "oracle"`, "want raft, the embedded log, db or redis"}},
		{"Redis of another kind", "store.mode: redis\nstore.redis.mode: ring", nil, nil, []string{`store.redis.mode "ring"`, "want single, sentinel or cluster"}},
		{"sentinels without a name", "store.mode: redis\nstore.redis.mode: sentinel\nstore.redis.sentinel.sentinel-hosts: s:1", nil, nil, []string{"store.redis.sentinel.master-name is missing"}},
		{"sentinel without a port", "store.mode: redis\nstore.redis.mode: sentinel\nstore.redis.sentinel.master-name: m\nstore.redis.sentinel.sentinel-hosts: s:1,t", nil, nil, []string{"store.redis.sentinel.sentinel-hosts", `"t"`, "want host:port"}},
		{"cluster without nodes", "store.mode: redis\nstore.redis.mode: cluster", nil, nil, []string{"store.redis.cluster.nodes is missing"}},
		{"cluster with databases", "store.mode: redis\nstore.redis.mode: cluster\nstore.redis.cluster.nodes: a:1\nstore.redis.database: 3", nil, nil, []string{"a cluster has only 0"}},
		{"no time for replicas", "store.mode: redis\nstore.redis.wait-timeout: 0", nil, nil, []string{"store.redis.wait-timeout 0s", "at least 1ms"}},
		{"database without an address", "store.mode: db", nil, nil, []string{"store.db.url is missing", "jdbc:mysql://host:port/database"}},
		{"database that is not used", "store.db.url: jdbc:mysql://db/x", nil, nil, []string{"store.mode is raft", "write db"}},
		{"database of another kind", "store.mode: db\nstore.db.url: jdbc:oracle:x\nstore.db.type: oracle", nil, nil, []string{`store.db.type "oracle"`, "want mysql, mariadb or postgresql"}},
		{"node without nodes", "cluster.node: a", nil, nil, []string{"cluster.node is set, but cluster.nodes is not"}},
		{"nodes without names", "cluster.nodes: 10.0.0.1:8091", nil, nil, []string{"want name=host:port"}},
		{"cluster on a database", "store.mode: db\nstore.db.url: jdbc:mysql://db/x\ncluster.nodes: a=h:1,b=h:2,c=h:3", nil, nil, []string{"nodes of a cluster keep the log of store.mode raft"}},
		{"hasty elections", "cluster.nodes: a=h:1,b=h:2,c=h:3\ncluster.election-timeout: 10", nil, nil, []string{"cluster.election-timeout 10ms"}},
		{"short lease", "store.mode: db\nstore.db.url: jdbc:mysql://db/x\nstore.db.node-lease: 10ms", nil, nil, []string{"store.db.node-lease 10ms", "at least 1s"}},
		{"disk reserve", "disk-reserve-mib: -1", nil, nil, []string{"disk-reserve-mib"}},
		{"log level", "log.level: loud", nil, nil, []string{"want debug, info, warn or error"}},
		{"zero period", "retention: 0s", nil, nil, []string{"retention", "at least 1ms"}},
		{"idle below a heartbeat", "read-idle-timeout: 100ms", nil, nil, []string{"read-idle-timeout"}},
		{"retry bounds", "retry-after: 2s\nretry-max: 1s", nil, nil, []string{"below retry-after"}},
		{"registry of another release", "registry.type: nacos", nil, nil, []string{`registry.type "nacos"`, "want file or etcd3"}},
		{"registry without an address", "registry.type: etcd3", nil, nil, []string{"registry.etcd3.server-addr is missing", "http://host:port"}},
		{"registry that is not used", "registry.etcd3.server-addr: http://e:1", nil, nil, []string{"registry.type is file", "write etcd3"}},
		{"user without a password", "registry.type: etcd3\nregistry.etcd3.server-addr: http://e:1\nregistry.etcd3.username: u", nil, nil, []string{"password-file", "both or neither"}},
		{"certificate without a key", "registry.type: etcd3\nregistry.etcd3.server-addr: http://e:1\nregistry.etcd3.cert-file: u", nil, nil, []string{"key-file", "both or neither"}},
		{"password in the file", "registry.etcd3.password: secret", nil, nil, []string{":1:", `no setting "registry.etcd3.password"`, `"registry.etcd3.password-file"`}},
		{"negative wait", "registry.wait: -1s", nil, nil, []string{"registry.wait -1s", "0 or more"}},
		{"shutdown wait with a unit", "transport.shutdown.wait: 3s", nil, nil, []string{"transport.shutdown.wait", "number of seconds"}},
		{"undo days", "undo.save-days: 40000", nil, nil, []string{"1 to 32767"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := load(t, test.yaml, test.env, test.flags)
			require.Error(t, err)
			for _, want := range test.want {
				require.ErrorContains(t, err, want)
			}
		})
	}
	_, err := Load(Sources{File: filepath.Join(t.TempDir(), "missing.yaml")})
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestLoopbackNeedsNoPermission(t *testing.T) {
	for _, listen := range []string{"127.0.0.1:0", "127.8.8.8:1", "localhost:8091", "[::1]:8091"} {
		c := Default()
		c.Listen = listen
		require.NoError(t, c.Validate(), listen)
	}
	c := Default()
	c.Listen, c.InsecureListen = "0.0.0.0:8091", true
	require.NoError(t, c.Validate())
}

// An orchestrator that names a service "qiao" sets QIAO_PORT and the like.
func TestForeignEnvironmentIsOnlyWarnedOf(t *testing.T) {
	l, err := load(t, "", []string{"QIAO_PORT=tcp://10.0.0.1:8091", "QIAO_LISTN=127.0.0.1:1"}, nil)
	require.NoError(t, err)
	require.Len(t, l.Warnings, 2)
	require.Contains(t, l.Warnings[0], "QIAO_LISTN")
	require.Contains(t, l.Warnings[0], "did you mean QIAO_LISTEN?")
	require.Contains(t, l.Warnings[1], "QIAO_PORT")
}

func TestPrintReadsBack(t *testing.T) {
	l, err := load(t, "port-file: 'a\tb # c'", []string{"QIAO_LOG_LEVEL=debug"}, map[string]string{"retention": "90s"})
	require.NoError(t, err)
	var b strings.Builder
	require.NoError(t, l.Print(&b))
	require.Contains(t, b.String(), "(QIAO_LOG_LEVEL)")
	require.Contains(t, b.String(), "(--retention)")
	again, err := load(t, b.String(), nil, nil)
	require.NoError(t, err)
	require.Equal(t, l.Config, again.Config)
}

func TestNamesAreDistinct(t *testing.T) {
	c := Default()
	names := make(map[string]string)
	add := func(name string) {
		require.Empty(t, names[canonical(name)], "%s and %s are one name", name, names[canonical(name)])
		names[canonical(name)] = name
	}
	for _, s := range Settings(&c) {
		add(s.Key)
		for _, alias := range s.seata {
			add(alias.name)
		}
	}
}

func FuzzParseFile(f *testing.F) {
	f.Add([]byte("log:\n  format: json\nmax-requests: 5\n"))
	f.Add([]byte("a: &x {b: c}\nd: *x"))
	f.Add([]byte("- a\n- b"))
	f.Fuzz(func(_ *testing.T, content []byte) {
		l := &Loaded{Config: Default(), origin: make(map[string]string)}
		_ = l.takeFile("fuzzed", content, Settings(&l.Config))
	})
}
