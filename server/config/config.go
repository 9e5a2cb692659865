package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"
	"unicode"
)

// Config is the set-up of one server. Default gives the zero-effort values;
// Load fills it and validates it.
type Config struct {
	// Listen is the host:port of the one port that serves the Seata protocol
	// and HTTP. Port 0 takes a free one.
	Listen string
	// InsecureListen allows a Listen that is not loopback although nothing is
	// encrypted and nobody is authenticated.
	InsecureListen bool
	// Advertise is the host or host:port in XIDs and towards clients. Empty:
	// the listening host, or the first address of a network card when that is a
	// wildcard. Without a port it takes the listening one.
	Advertise string
	// PortFile, when set, receives the address actually listened on once the
	// server serves.
	PortFile string

	// Data is the directory of the durable store and of the node's identity.
	Data string
	// DiskReserveMiB is the free space of the disk, in MiB, below which nothing
	// new is begun; 0 is none.
	DiskReserveMiB int
	// StoreMode names the store: "raft" is the embedded log, "db" a database and "redis"
	// a Redis that several servers can share.
	StoreMode string
	// DB says which database, for StoreMode "db".
	DB DB
	// Cluster says which servers keep the log together, for StoreMode "raft".
	Cluster Cluster
	// Redis says which Redis, for StoreMode "redis".
	Redis Redis

	// LogFormat is "text" or "json", LogLevel "debug", "info", "warn" or "error".
	LogFormat, LogLevel string

	// MaxConnections bounds the open connections; further ones are closed.
	MaxConnections int
	// MaxRequests bounds the requests that are under way in the whole server;
	// further ones fail at once.
	MaxRequests int
	// FirstBytesTimeout is how long a new connection may take to show which
	// protocol it speaks.
	FirstBytesTimeout time.Duration
	// ReadIdleTimeout closes a Seata connection that was silent for so long;
	// 0 never does.
	ReadIdleTimeout time.Duration
	// DrainTimeout is how long a stopping server waits for what is under way.
	DrainTimeout time.Duration
	// BatchResponses lets clients from 1.5.0 and before 2.3.0 get the answers
	// to a merged request as one BatchResult instead of a MergeResult.
	BatchResponses bool

	// RegistryType is where the server lists itself for clients: "file", which is
	// nowhere, or "etcd3".
	RegistryType string
	// RegistryWait is how long a starting server may take to be listed before it
	// gives up; 0 serves at once and goes on trying.
	RegistryWait time.Duration
	// RegistryLeaveWait is how long a stopping server goes on as before after it has
	// left the list, so that clients have noticed.
	RegistryLeaveWait time.Duration
	// Namespace and NamingCluster are what transaction groups are mapped to on this server
	// (Seata's naming server).
	Namespace, NamingCluster string
	// Etcd says where etcd is, for RegistryType "etcd3".
	Etcd Etcd

	// AnswerTimeout is how long a resource manager has for a phase-two order.
	AnswerTimeout time.Duration
	// RetryAfter is the wait after the first failed round of phase two; it
	// doubles with every further one up to RetryMax.
	RetryAfter, RetryMax time.Duration
	// Retention is how long a finished transaction answers with its outcome.
	Retention time.Duration
	// ParallelBranches has the branches of different resources of a transaction
	// commit, and roll back, at once; those of one resource keep their order.
	ParallelBranches bool
	// XANotFoundGrace is how long after its time-out an XA branch unknown to
	// the database may still appear.
	XANotFoundGrace time.Duration

	// UndoSaveDays is how old, in days, an undo log must be for the periodic
	// clean-up on the clients' databases; UndoDeletePeriod is the period.
	UndoSaveDays     int
	UndoDeletePeriod time.Duration
}

// Etcd is the registry of type etcd3.
type Etcd struct {
	// ServerAddr are the members, as http://host:port or https://host:port, with
	// commas between.
	ServerAddr string
	// Cluster is the name of the cluster of coordinators to be listed in.
	Cluster string
	// Username and the content of PasswordFile are for an etcd with authentication.
	Username, PasswordFile string
	// CAFile holds the authorities that etcd's certificate may be of, in PEM; empty
	// is the system's. CertFile and KeyFile are the server's own.
	CAFile, CertFile, KeyFile string
	// LeaseTTL is how long the server stays listed when it has died.
	LeaseTTL time.Duration
}

// DB is a store in a database.
type DB struct {
	// Type is "mysql", "mariadb" or "postgresql".
	Type string
	// URL is a JDBC URL without user and password: jdbc:mysql://host:port/database.
	URL string
	// User and the content of PasswordFile are the database's.
	User, PasswordFile string
	// Connections bounds those for reading; one more writes.
	Connections int
	// CreateTables has missing tables created at the start.
	CreateTables bool
	// NodeLease is how long a server that is not heard of keeps its worker id and its
	// share of the due work.
	NodeLease time.Duration
}

// Default returns the configuration of a server that is told nothing.
func Default() Config {
	return Config{
		Listen:            "127.0.0.1:8091",
		Data:              "qiao-data",
		DiskReserveMiB:    256,
		StoreMode:         "raft",
		DB:                DB{Type: "mysql", Connections: 8, CreateTables: true, NodeLease: 6 * time.Second},
		Cluster:           Cluster{Name: "qiao", ElectionTimeout: time.Second},
		Redis:             defaultRedis(),
		LogFormat:         "text",
		LogLevel:          "info",
		MaxConnections:    10_000,
		MaxRequests:       65_536,
		FirstBytesTimeout: 10 * time.Second,
		ReadIdleTimeout:   15 * time.Second,
		DrainTimeout:      30 * time.Second,
		RegistryType:      "file",
		Namespace:         "public",
		NamingCluster:     "default",
		RegistryLeaveWait: 3 * time.Second,
		Etcd:              Etcd{Cluster: "default", LeaseTTL: 10 * time.Second},
		AnswerTimeout:     15 * time.Second,
		RetryAfter:        500 * time.Millisecond,
		RetryMax:          30 * time.Second,
		Retention:         3 * time.Minute,
		XANotFoundGrace:   time.Minute,
		UndoSaveDays:      7,
		UndoDeletePeriod:  24 * time.Hour,
	}
}

// Validate answers every mistake that the values show by themselves, joined.
func (c *Config) Validate() error {
	var errs []error
	bad := func(when bool, format string, args ...any) {
		if when {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	errs = append(errs, c.validateListen())
	bad(c.Data == "", "data: the directory of the store must be named")
	bad(c.DiskReserveMiB < 0 || c.DiskReserveMiB > 1<<30, "disk-reserve-mib %d: want 0 to 2^30", c.DiskReserveMiB)
	errs = append(errs, c.validateStore(), c.validateCluster())
	bad(!oneOf(c.LogFormat, "text", "json"), "log.format %q: want text or json", c.LogFormat)
	bad(!oneOf(c.LogLevel, "debug", "info", "warn", "error"), "log.level %q: want debug, info, warn or error", c.LogLevel)
	bad(c.MaxConnections < 1, "max-connections %d: want at least 1", c.MaxConnections)
	bad(c.MaxRequests < 1, "max-requests %d: want at least 1", c.MaxRequests)
	bad(c.ReadIdleTimeout != 0 && c.ReadIdleTimeout < time.Second,
		"read-idle-timeout %v: want at least 1s, or 0 for never; clients send a heartbeat every 5 to 10 seconds", c.ReadIdleTimeout)
	bad(c.UndoSaveDays < 1 || c.UndoSaveDays > 32767, "undo.save-days %d: want 1 to 32767", c.UndoSaveDays)
	errs = append(errs, c.validateRegistry(), c.validateGroups())
	for _, d := range []struct {
		key   string
		value time.Duration
	}{
		{"first-bytes-timeout", c.FirstBytesTimeout},
		{"drain-timeout", c.DrainTimeout},
		{"answer-timeout", c.AnswerTimeout},
		{"retry-after", c.RetryAfter},
		{"retry-max", c.RetryMax},
		{"retention", c.Retention},
		{"xa-not-found-grace", c.XANotFoundGrace},
		{"undo.delete-period", c.UndoDeletePeriod},
	} {
		bad(d.value < time.Millisecond, "%s %v: want at least 1ms", d.key, d.value)
	}
	const shortest = 100 * time.Millisecond
	bad(c.AnswerTimeout >= time.Millisecond && c.AnswerTimeout < shortest,
		"answer-timeout %v: want at least %v; a number without a unit is milliseconds", c.AnswerTimeout, shortest)
	bad(c.RetryMax < c.RetryAfter, "retry-max %v is below retry-after %v", c.RetryMax, c.RetryAfter)
	return errors.Join(errs...)
}

// validateRegistry leaves the form of addresses to the registry itself.
func (c *Config) validateRegistry() error {
	if c.RegistryWait < 0 || c.RegistryLeaveWait < 0 {
		return fmt.Errorf("registry.wait %v and registry.leave-wait %v: want 0 or more", c.RegistryWait, c.RegistryLeaveWait)
	}
	e := c.Etcd
	switch {
	case strings.EqualFold(c.RegistryType, "file"):
		if e.ServerAddr != "" {
			return errors.New("registry.etcd3.server-addr is set, but registry.type is file; write etcd3 to be listed there")
		}
		return nil
	case !strings.EqualFold(c.RegistryType, "etcd3"):
		return fmt.Errorf("registry.type %q: want file or etcd3; this release knows no other registry", c.RegistryType)
	case e.ServerAddr == "":
		return errors.New("registry.etcd3.server-addr is missing: it says where etcd is, as http://host:port")
	case (e.Username == "") != (e.PasswordFile == ""):
		return errors.New("registry.etcd3.username and registry.etcd3.password-file: give both or neither")
	case (e.CertFile == "") != (e.KeyFile == ""):
		return errors.New("registry.etcd3.cert-file and registry.etcd3.key-file: give both or neither")
	}
	return nil
}

// validateStore leaves the form of the URL to the store itself.
func (c *Config) validateStore() error {
	switch db := c.DB; {
	case strings.EqualFold(c.StoreMode, "redis"):
		return c.Redis.validate()
	case strings.EqualFold(c.StoreMode, "raft"):
		if db.URL != "" {
			return errors.New("store.db.url is set, but store.mode is raft; write db to keep transactions in the database")
		}
	case !strings.EqualFold(c.StoreMode, "db"):
		return fmt.Errorf("store.mode %q: want raft, the embedded log, db or redis; this release knows no other store", c.StoreMode)
	case !oneOf(strings.ToLower(db.Type), "mysql", "mariadb", "postgresql"):
		return fmt.Errorf("store.db.type %q: want mysql, mariadb or postgresql", db.Type)
	case db.URL == "":
		return errors.New("store.db.url is missing: it says where the database is, as jdbc:mysql://host:port/database")
	case db.Connections < 1 || db.Connections > 1000:
		return fmt.Errorf("store.db.connections %d: want 1 to 1000", db.Connections)
	case db.NodeLease < time.Second:
		return fmt.Errorf("store.db.node-lease %v: want at least 1s", db.NodeLease)
	}
	return nil
}

func (c *Config) validateListen() error {
	host, _, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return fmt.Errorf("listen %q: want host:port, such as 127.0.0.1:8091", c.Listen)
	}
	if isLoopback(host) || c.InsecureListen {
		return nil
	}
	return fmt.Errorf("listen %s: whoever reaches this address could decide transactions, as this release has neither TLS nor credentials; "+
		"listen on a loopback address, or say insecure-listen where the network itself is trusted", c.Listen)
}

func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

// validateGroups checks what transaction groups are mapped to, as it stands in rows
// of Seata's vgroup_table.
func (c *Config) validateGroups() error {
	for key, value := range map[string]string{"registry.namingserver.namespace": c.Namespace, "registry.namingserver.cluster": c.NamingCluster} {
		if value == "" || len(value) > 255 || strings.ContainsFunc(value, unicode.IsControl) {
			return fmt.Errorf("%s %q: want a name of at most 255 characters", key, value)
		}
	}
	return nil
}

func oneOf(value string, allowed ...string) bool {
	for _, a := range allowed {
		if value == a {
			return true
		}
	}
	return false
}
