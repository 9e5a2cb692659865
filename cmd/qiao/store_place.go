package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"github.com/qiao-tx/qiao/server/config"
	"github.com/qiao-tx/qiao/storage"
	"github.com/qiao-tx/qiao/storage/raft"
	"github.com/qiao-tx/qiao/storage/redis"
)

// storePlace is a store on the command line.
type storePlace struct {
	text, user, passwordFile string
	cfg                      config.Config
}

// storeForms are the ways to name a store without a configuration file.
var storeForms = []struct {
	prefix, example, about string
	// configure sets what a server's configuration would say.
	configure func(cfg *config.Config, p *storePlace) error
}{
	{"dir:", "dir:/var/lib/qiao", "the data directory of a server with the embedded log", func(cfg *config.Config, p *storePlace) error {
		cfg.StoreMode, cfg.Data = "raft", strings.TrimPrefix(p.text, "dir:")
		return p.noUser()
	}},
	{"jdbc:mysql:", "jdbc:mysql://host:3306/seata", "MySQL", onDatabaseOf("mysql")},
	{"jdbc:mariadb:", "jdbc:mariadb://host:3306/seata", "MariaDB", onDatabaseOf("mariadb")},
	{"jdbc:postgresql:", "jdbc:postgresql://host:5432/seata", "PostgreSQL", onDatabaseOf("postgresql")},
	{"redis:", "redis://host:6379/0", "a Redis alone, and its database", onRedisAt},
}

// onRedisAt reads redis://host:port/database. Sentinels and clusters have a
// configuration file.
func onRedisAt(cfg *config.Config, p *storePlace) error {
	wrong := errors.New("want redis://host:port/database, such as redis://127.0.0.1:6379/0, with user and password as flags")
	u, err := url.Parse(p.text)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return wrong // what is there may be a password
	}
	r := &cfg.Redis
	port, database := cmp.Or(u.Port(), strconv.Itoa(r.Port)), cmp.Or(strings.Trim(u.Path, "/"), strconv.Itoa(r.Database))
	var err1, err2 error
	r.Port, err1 = strconv.Atoi(port)
	r.Database, err2 = strconv.Atoi(database)
	if err1 != nil || err2 != nil {
		return wrong
	}
	cfg.StoreMode, r.Host = "redis", u.Hostname()
	r.User, r.PasswordFile = p.user, p.passwordFile
	return nil
}

func onDatabaseOf(kind string) func(cfg *config.Config, p *storePlace) error {
	return func(cfg *config.Config, p *storePlace) error {
		cfg.StoreMode, cfg.DB.Type, cfg.DB.URL = "db", kind, p.text
		cfg.DB.User, cfg.DB.PasswordFile = p.user, p.passwordFile
		return nil
	}
}

func storeFormsHelp() string {
	var b strings.Builder
	for _, f := range storeForms {
		fmt.Fprintf(&b, "  %-34s %s\n", f.example, f.about)
	}
	return strings.TrimRight(b.String(), "\n")
}

func (p *storePlace) flags(flags *pflag.FlagSet, name, usage string) {
	flags.StringVar(&p.text, name, "", usage)
	flags.StringVar(&p.user, name+"-user", "", "user of that database or Redis")
	flags.StringVar(&p.passwordFile, name+"-password-file", "", "file with that user's password")
}

// noUser refuses a user where there is none.
func (p *storePlace) noUser() error {
	if p.user != "" || p.passwordFile != "" {
		return fmt.Errorf("%s takes no user and no password here", p.text)
	}
	return nil
}

// parse reads the flag's text, or the file that it names.
func (p *storePlace) parse(flag string) error {
	if p.text == "" {
		return fmt.Errorf("%s is missing: name a store, such as %s, or a server's configuration file", flag, storeForms[0].example)
	}
	for _, f := range storeForms {
		if strings.HasPrefix(p.text, f.prefix) {
			p.cfg = config.Default()
			if err := f.configure(&p.cfg, p); err != nil {
				return fmt.Errorf("%s: %w", flag, err)
			}
			return wrapFlag(flag, p.cfg.Validate())
		}
	}
	loaded, err := config.Load(config.Sources{File: p.text})
	if err != nil {
		return fmt.Errorf("%s: %q is taken for a configuration file, as it begins with none of %s: %w", flag, p.text, storePrefixes(), err)
	}
	p.cfg = loaded.Config
	if p.cfg.Cluster.Nodes != "" {
		return fmt.Errorf("%s: %s makes a node of a cluster (cluster.nodes), whose log no node has alone: it can be neither copied nor copied into yet; "+
			"let its transactions end instead", flag, p.text)
	}
	return wrapFlag(flag, p.noUser())
}

func wrapFlag(flag string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", flag, err)
}

func storePrefixes() string {
	var all []string
	for _, f := range storeForms {
		all = append(all, f.prefix)
	}
	return strings.Join(all, " ")
}

// embedded tells whether the store is a directory.
func (p *storePlace) embedded() bool { return strings.EqualFold(p.cfg.StoreMode, "raft") }

// name is the same for the same store, however it is named.
func (p *storePlace) name() string {
	switch strings.ToLower(p.cfg.StoreMode) {
	case "db":
		return p.cfg.DB.URL
	case "redis":
		return redisName(&p.cfg.Redis)
	}
	path, err := filepath.Abs(p.cfg.Data)
	if err != nil {
		path = p.cfg.Data
	}
	return "dir:" + path
}

func redisName(r *config.Redis) string {
	places := func(list string) string {
		hosts := config.Hosts(list)
		slices.Sort(hosts)
		return strings.Join(hosts, ",")
	}
	switch strings.ToLower(r.Mode) {
	case redis.Sentinel:
		return fmt.Sprintf("redis-sentinel://%s/%d (%s)", places(r.SentinelHosts), r.Database, r.MasterName)
	case redis.Cluster:
		return fmt.Sprintf("redis-cluster://%s/{%s}", places(r.ClusterNodes), r.HashTag)
	}
	return fmt.Sprintf("redis://%s/%d", net.JoinHostPort(r.Host, strconv.Itoa(r.Port)), r.Database)
}

// openSource opens a store that must be there.
func (p *storePlace) openSource(ctx context.Context) (storage.Movable, error) {
	if p.embedded() && !raft.Exists(p.cfg.Data) {
		return nil, fmt.Errorf("there is no store in the directory %s; name the data directory of a server", p.cfg.Data)
	}
	return p.open(ctx)
}

// open opens the store, even one that a copy has left unfinished.
func (p *storePlace) open(ctx context.Context) (storage.Movable, error) {
	opened, err := openStoreOf(ctx, &p.cfg, "", quietLogger())
	if err != nil {
		return nil, err
	}
	m, ok := opened.store.(storage.Movable)
	if !ok {
		return nil, errors.Join(fmt.Errorf("a store of mode %s cannot be copied", p.cfg.StoreMode), opened.store.Close())
	}
	return m, nil
}
