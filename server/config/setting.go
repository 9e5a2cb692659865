package config

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Value is the text form of one field. It is what the pflag package wants of a
// flag's value.
type Value interface {
	// Set takes the text, or answers what is wrong with it.
	Set(text string) error
	// String is a text that Set takes back.
	String() string
	// Type names what the text must be.
	Type() string
}

// Setting is one key of the configuration, bound to a field of a Config.
type Setting struct {
	// Key is the name in the file; in a flag its dots are hyphens.
	Key string
	// Usage is one sentence for --help, the printed configuration and the
	// documentation.
	Usage string
	Value
	// seata holds the names of the same thing in Seata's own files.
	seata []seataKey
}

// seataKey is a name that Seata gives a setting. value, when set, takes texts
// of Seata's form in place of the setting's own.
type seataKey struct {
	name  string
	value Value
}

// Flag is the name of the setting's flag, without the hyphens before it.
func (s Setting) Flag() string { return strings.ReplaceAll(s.Key, ".", "-") }

// Env is the name of the setting's environment variable.
func (s Setting) Env() string {
	return envPrefix + strings.ToUpper(strings.NewReplacer(".", "_", "-", "_").Replace(s.Key))
}

const envPrefix = "QIAO_"

// Settings binds every key to the fields of c.
func Settings(c *Config) []Setting {
	seata := func(name string) []seataKey { return []seataKey{{name: name}} }
	return slices.Concat([]Setting{
		{"listen", "address to listen on for the Seata protocol, gRPC and HTTP; port 0 takes a free one", text(&c.Listen),
			[]seataKey{{"server.port", portOf(&c.Listen)}, {"server.service-port", portOf(&c.Listen)}}},
		{"insecure-listen", "allow a listening address that others can reach, without TLS and credentials", yesNo(&c.InsecureListen), nil},
		{"advertise", "host or host:port in XIDs, by which clients reach this server; default the listening host, or a network card's address", text(&c.Advertise), nil},
		{"port-file", "file that receives the address actually listened on", text(&c.PortFile), nil},
		{"data", "directory of the durable store", text(&c.Data), seata("store.file.dir")},
		{"disk-reserve-mib", "free space of the disk in MiB below which no transaction is begun and no branch added; 0 is none", number(&c.DiskReserveMiB), nil},
		{"cluster.nodes", "all nodes of the cluster, name=host:port with commas between, the same on each; empty is a server alone", text(&c.Cluster.Nodes), nil},
		{"cluster.node", "which of them this server is; default the one whose address is this machine's", text(&c.Cluster.Node), nil},
		{"cluster.name", "name of the cluster; nodes refuse those of another", text(&c.Cluster.Name), nil},
		{"cluster.election-timeout", "how long a node waits for word from the leader, at least, before it asks for votes; the same on each", period(&c.Cluster.ElectionTimeout), nil},
		{"store.mode", "the store: raft, the embedded log, or, for several servers, db, a database, or redis", text(&c.StoreMode), nil},
		{"store.db.type", "mysql, mariadb or postgresql", text(&c.DB.Type), seata("store.db.dbType")},
		{"store.db.url", "JDBC URL of the database, without user and password: jdbc:mysql://host:port/database", text(&c.DB.URL), nil},
		{"store.db.user", "user of the database", text(&c.DB.User), nil},
		{"store.db.password-file", "file with that user's password", text(&c.DB.PasswordFile), nil},
		{"store.db.connections", "connections to the database for reading at most; one more writes", number(&c.DB.Connections), seata("store.db.maxConn")},
		{"store.db.create-tables", "create the tables that are missing (script/server/db)", yesNo(&c.DB.CreateTables), nil},
		{"store.db.node-lease", "how long a server that is not heard of keeps its worker id and its share of the due work", period(&c.DB.NodeLease), nil},
	}, c.Redis.settings(), []Setting{
		{"log.format", "text or json", text(&c.LogFormat), nil},
		{"log.level", "debug, info, warn or error", text(&c.LogLevel), nil},
		{"max-connections", "open connections at most", number(&c.MaxConnections), nil},
		{"max-requests", "requests under way at most; more fail at once", number(&c.MaxRequests), nil},
		{"first-bytes-timeout", "how long a new connection may take to show its protocol", period(&c.FirstBytesTimeout), nil},
		{"read-idle-timeout", "close a Seata connection that was silent for so long; 0 never does", period(&c.ReadIdleTimeout),
			[]seataKey{{"transport.heartbeat", heartbeatOf(&c.ReadIdleTimeout)}}},
		{"drain-timeout", "how long a stopping server waits for what is under way", period(&c.DrainTimeout), nil},
		{"batch-responses", "answer merged requests of clients from 1.5.0 and before 2.3.0 with a BatchResult", yesNo(&c.BatchResponses), seata("transport.enableTcServerBatchSendResponse")},
		{"registry.type", "where this server lists itself for clients: file, which is nowhere, or etcd3", text(&c.RegistryType), nil},
		{"registry.wait", "how long a start may take to be listed before it fails; 0 serves at once and goes on trying", period(&c.RegistryWait), nil},
		{"registry.leave-wait", "how long a stopping server goes on as before when it has left the list, so that clients have noticed", period(&c.RegistryLeaveWait),
			[]seataKey{{"transport.shutdown.wait", secondsOf(&c.RegistryLeaveWait)}}},
		{"registry.namingserver.namespace", "namespace that transaction groups are mapped to by /vgroup/v1/addVGroup", text(&c.Namespace), nil},
		{"registry.namingserver.cluster", "cluster that they are mapped to", text(&c.NamingCluster), nil},
		{"registry.etcd3.server-addr", "members of etcd, each http://host:port or https://host:port, with commas between", text(&c.Etcd.ServerAddr), nil},
		{"registry.etcd3.cluster", "name of the cluster to be listed in", text(&c.Etcd.Cluster), nil},
		{"registry.etcd3.username", "user of an etcd with authentication", text(&c.Etcd.Username), nil},
		{"registry.etcd3.password-file", "file with that user's password", text(&c.Etcd.PasswordFile), nil},
		{"registry.etcd3.ca-file", "authorities of etcd's certificate, in PEM; default the system's", text(&c.Etcd.CAFile), nil},
		{"registry.etcd3.cert-file", "certificate to show to etcd, in PEM", text(&c.Etcd.CertFile), nil},
		{"registry.etcd3.key-file", "that certificate's key", text(&c.Etcd.KeyFile), nil},
		{"registry.etcd3.lease-ttl", "how long a server that has died stays listed; whole seconds", period(&c.Etcd.LeaseTTL), nil},
		{"answer-timeout", "how long a resource manager has to answer a phase-two order", period(&c.AnswerTimeout), seata("transport.rpcTcRequestTimeout")},
		{"retry-after", "wait after the first failed round of phase two; it doubles with each", period(&c.RetryAfter), nil},
		{"retry-max", "longest wait between rounds of phase two", period(&c.RetryMax), nil},
		{"retention", "how long a finished transaction answers with its outcome", period(&c.Retention), nil},
		{"xa-not-found-grace", "how long after its time-out an XA branch unknown to the database may still appear", period(&c.XANotFoundGrace), seata("server.xaerNotaRetryTimeout")},
		{"parallel-branches", "order the branches of different resources of a transaction at once, not one after the other", yesNo(&c.ParallelBranches), seata("server.enableParallelHandleBranch")},
		{"undo.save-days", "age in days from which resource managers are told to delete undo logs", number(&c.UndoSaveDays), seata("server.undo.logSaveDays")},
		{"undo.delete-period", "how often they are told", period(&c.UndoDeletePeriod), seata("server.undo.logDeletePeriod")},
	})
}

type textValue struct{ p *string }

func text(p *string) Value { return textValue{p} }

func (v textValue) Set(s string) error { *v.p = s; return nil }
func (v textValue) String() string     { return *v.p }
func (v textValue) Type() string       { return "string" }

type boolValue struct{ p *bool }

func yesNo(p *bool) Value { return boolValue{p} }

func (v boolValue) Set(s string) error {
	switch strings.ToLower(s) {
	case "true":
		*v.p = true
	case "false":
		*v.p = false
	default:
		return fmt.Errorf("%q is neither true nor false", s)
	}
	return nil
}
func (v boolValue) String() string { return strconv.FormatBool(*v.p) }
func (v boolValue) Type() string   { return "bool" }

type intValue struct{ p *int }

func number(p *int) Value { return intValue{p} }

func (v intValue) Set(s string) error {
	n, err := strconv.Atoi(s)
	if err != nil {
		return fmt.Errorf("%q is no whole number", s)
	}
	*v.p = n
	return nil
}
func (v intValue) String() string { return strconv.Itoa(*v.p) }
func (v intValue) Type() string   { return "int" }

type durationValue struct{ p *time.Duration }

// period takes "1m30s", or a bare number of milliseconds as Seata writes it.
func period(p *time.Duration) Value { return durationValue{p} }

func (v durationValue) Set(s string) error {
	if millis, err := strconv.ParseInt(s, 10, 64); err == nil {
		const most = int64(1<<63-1) / int64(time.Millisecond)
		if millis > most || millis < -most {
			return fmt.Errorf("%q milliseconds are out of range", s)
		}
		*v.p = time.Duration(millis) * time.Millisecond
		return nil
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		return fmt.Errorf("%q is no duration such as 1m30s, nor a number of milliseconds", s)
	}
	*v.p = d
	return nil
}
func (v durationValue) String() string { return v.p.String() }
func (v durationValue) Type() string   { return "duration" }

type secondsValue struct{ p *time.Duration }

// secondsOf takes a number of seconds.
func secondsOf(p *time.Duration) Value { return secondsValue{p} }

func (v secondsValue) Set(s string) error {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil {
		return fmt.Errorf("%q is no number of seconds up to 65535", s)
	}
	*v.p = time.Duration(n) * time.Second
	return nil
}
func (v secondsValue) String() string { return strconv.Itoa(int(v.p.Seconds())) }
func (v secondsValue) Type() string   { return "int" }

type heartbeatValue struct{ p *time.Duration }

// heartbeatOf takes whether clients send heartbeats: without them, silence means
// nothing.
func heartbeatOf(p *time.Duration) Value { return heartbeatValue{p} }

func (v heartbeatValue) Set(s string) error {
	var beats bool
	if err := yesNo(&beats).Set(s); err != nil {
		return err
	}
	if *v.p = 0; beats {
		*v.p = Default().ReadIdleTimeout
	}
	return nil
}
func (v heartbeatValue) String() string { return strconv.FormatBool(*v.p > 0) }
func (v heartbeatValue) Type() string   { return "bool" }

type portValue struct{ p *string }

// portOf takes a port and leaves the host of the address as it is.
func portOf(p *string) Value { return portValue{p} }

func (v portValue) Set(s string) error {
	port, err := strconv.ParseUint(s, 10, 16)
	if err != nil {
		return fmt.Errorf("%q is no port", s)
	}
	host, _, err := net.SplitHostPort(*v.p)
	if err != nil {
		return err
	}
	*v.p = net.JoinHostPort(host, strconv.FormatUint(port, 10))
	return nil
}
func (v portValue) String() string { return *v.p }
func (v portValue) Type() string   { return "port" }
