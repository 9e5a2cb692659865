package etcd

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/qiao-tx/qiao/client/naming"
	"github.com/qiao-tx/qiao/client/naming/file"
)

// DefaultLeaseTTL is what Java uses.
const DefaultLeaseTTL = 10 * time.Second

const (
	shortestTTL = 2 * time.Second // etcd's own, with its default timing
	longestTTL  = time.Hour
)

// Config says where etcd is and which nodes are meant. Only Endpoints is required.
type Config struct {
	// Endpoints are the members of etcd, each http://host:port, https://host:port or
	// host:port, which is encrypted if TLS is set.
	Endpoints []string
	// Cluster is the name under which the coordinator's nodes are listed. Clients of
	// Java find it by their transaction service group. Default "default".
	Cluster string
	// Username and Password are for an etcd with authentication.
	Username, Password string
	// TLS is for an etcd with TLS. Nil with https uses the system's authorities.
	TLS *tls.Config
	// LeaseTTL is how long a node stays listed that has died without a word. It
	// matters to Announce only. From 2 s to 1 h, in whole seconds; default 10 s, as
	// in Java.
	LeaseTTL time.Duration
	// Logger hears of entries that make no sense, and of another process that is
	// listed under a node's address. Nil means slog.Default.
	Logger *slog.Logger
}

// FromFile returns the Config that Seata's own configuration files give the
// clients of a transaction service group ("" is "default_tx_group"): the endpoints
// of registry.etcd3.serverAddr, and the cluster of service.vgroupMapping. See
// package file for the forms of files.
func FromFile(path, group string) (Config, error) {
	if group == "" {
		group = "default_tx_group"
	}
	s, err := file.Read(path)
	if err != nil {
		return Config{}, err
	}
	if kind := s.RegistryType(); !strings.EqualFold(kind, "etcd3") {
		return Config{}, fmt.Errorf("%w %s: registry.type is %q, not etcd3", file.ErrConfig, path, kind)
	}
	endpoints := s.Get("registry.etcd3.serverAddr")
	if endpoints == "" {
		return Config{}, fmt.Errorf("%w %s: registry.etcd3.serverAddr is missing: it says where etcd is, as http://host:port", file.ErrConfig, path)
	}
	cluster, err := s.Cluster(group)
	if err != nil {
		return Config{}, err
	}
	return Config{Endpoints: Endpoints(endpoints), Cluster: cluster}, nil
}

// Endpoints splits a list at its commas.
func Endpoints(list string) (endpoints []string) {
	for _, e := range strings.Split(list, ",") {
		if e = strings.TrimSpace(e); e != "" {
			endpoints = append(endpoints, strings.TrimSuffix(e, "/"))
		}
	}
	return endpoints
}

// withDefaults returns a checked copy of cfg without zero values.
func (cfg Config) withDefaults() (Config, error) {
	if len(cfg.Endpoints) == 0 {
		return cfg, errors.New("etcd: no endpoint is given; name one such as http://127.0.0.1:2379")
	}
	for _, e := range cfg.Endpoints {
		if err := cfg.checkEndpoint(e); err != nil {
			return cfg, err
		}
	}
	if cfg.Cluster == "" {
		cfg.Cluster = "default"
	}
	if strings.ContainsFunc(cfg.Cluster, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return cfg, fmt.Errorf("etcd: cluster %q: want a name without blanks and control characters", cfg.Cluster)
	}
	if (cfg.Username == "") != (cfg.Password == "") {
		return cfg, errors.New("etcd: give a username and a password, or neither")
	}
	if cfg.LeaseTTL == 0 {
		cfg.LeaseTTL = DefaultLeaseTTL
	}
	if cfg.LeaseTTL < shortestTTL || cfg.LeaseTTL > longestTTL || cfg.LeaseTTL%time.Second != 0 {
		return cfg, fmt.Errorf("etcd: lease of %v: want whole seconds from %v to %v", cfg.LeaseTTL, shortestTTL, longestTTL)
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	return cfg, nil
}

func (cfg Config) checkEndpoint(endpoint string) error {
	scheme, rest, found := strings.Cut(endpoint, "://")
	if !found {
		scheme, rest = "", endpoint
	}
	switch {
	case strings.Contains(rest, "@"):
		return errors.New("etcd: an endpoint holds credentials; give them as Username and Password")
	case scheme != "" && scheme != "http" && scheme != "https":
		return fmt.Errorf("etcd: endpoint %q: want http://host:port or https://host:port", endpoint)
	case scheme == "http" && cfg.TLS != nil:
		return fmt.Errorf("etcd: endpoint %q: it would not be encrypted although TLS is configured; write https", endpoint)
	}
	if err := naming.Check(rest); err != nil {
		return fmt.Errorf("etcd: endpoint %q: %w", endpoint, err)
	}
	return nil
}
