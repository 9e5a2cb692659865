package file

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/qiao-tx/qiao/client/naming"
)

// ErrConfig reports a file that does not say where the coordinator is. The error
// names the file, the key and what to do.
var ErrConfig = errors.New("configuration of Seata")

// maxSize caps the size of a file, in bytes.
const maxSize = 1 << 20

// Resolver finds the nodes of one transaction service group in a file.
type Resolver struct{ path, group string }

// New returns a Resolver for a transaction service group, the same as
// client.Config.Group ("" is "default_tx_group"), on a file in one of the forms
// that Java Seata reads: by its name *.conf (file.conf, or a registry.conf of type
// file, which names the other), *.properties, or *.yml and *.yaml. The file is
// read at once, so that a mistake shows at the start, and again at each Resolve.
func New(path, group string) (*Resolver, error) {
	if group == "" {
		group = "default_tx_group"
	}
	r := &Resolver{path: path, group: group}
	_, err := r.Resolve(context.Background())
	if err != nil {
		return nil, err
	}
	return r, nil
}

// Resolve reads the file. The error wraps ErrConfig or is one of the file system.
func (r *Resolver) Resolve(context.Context) ([]string, error) {
	s, err := Read(r.path)
	if err != nil {
		return nil, err
	}
	if kind := s.RegistryType(); !strings.EqualFold(kind, "file") {
		return nil, fmt.Errorf("%w %s: registry.type is %q, so the nodes are not in a file; use the package for that registry", ErrConfig, r.path, kind)
	}
	cluster, err := s.Cluster(r.group)
	if err != nil {
		return nil, err
	}
	return s.nodes(cluster)
}

// Settings are the settings in a file and in the file that it names.
type Settings struct {
	path   string
	values map[string]string
}

// Read reads a file in one of the forms of New. If it is a registry.conf whose
// config.type is file, what the file config.file.name says is added.
func Read(path string) (*Settings, error) {
	values, err := parseFile(path)
	if err != nil {
		return nil, err
	}
	s := &Settings{path: path, values: values}
	next := s.Get("config.file.name")
	if next == "" || !strings.EqualFold(s.Get("config.type"), "file") {
		return s, nil
	}
	next = filepath.FromSlash(strings.TrimPrefix(next, "file:"))
	if !filepath.IsAbs(next) {
		next = filepath.Join(filepath.Dir(path), next)
	}
	if next == filepath.Clean(path) {
		return s, nil
	}
	more, err := parseFile(next)
	if err != nil {
		return nil, fmt.Errorf("%w %s: config.file.name: %w", ErrConfig, path, err)
	}
	for key, value := range more {
		if s.values[key] == "" {
			s.values[key] = value
		}
	}
	s.path = next
	return s, nil
}

// Get returns the value of a key as Seata writes it, such as
// "registry.etcd3.serverAddr", or "". It finds the forms server-addr and
// server_addr and those under "seata.", too.
func (s *Settings) Get(key string) string {
	if value, ok := s.values[key]; ok {
		return value
	}
	for _, found := range sortedKeys(s.values) {
		if strings.EqualFold(relaxed(found), relaxed(key)) {
			return s.values[found]
		}
	}
	return ""
}

// RegistryType is what registry.type says, or "file".
func (s *Settings) RegistryType() string {
	if kind := s.Get("registry.type"); kind != "" {
		return kind
	}
	return "file"
}

// Cluster returns the name of the cluster that serves a transaction service group.
func (s *Settings) Cluster(group string) (string, error) {
	for _, key := range []string{"vgroupMapping", "vgroup-mapping", "vgroup_mapping"} {
		for _, prefix := range []string{"service.", "seata.service."} {
			if cluster := s.values[prefix+key+"."+group]; cluster != "" {
				return cluster, s.check(prefix+key+"."+group, cluster)
			}
		}
	}
	return "", fmt.Errorf("%w %s: service.vgroupMapping.%s is missing: it names the cluster that serves the transaction service group %q",
		ErrConfig, s.path, group, group)
}

// nodes returns the addresses of a cluster.
func (s *Settings) nodes(cluster string) ([]string, error) {
	for _, key := range []string{"service." + cluster + ".grouplist", "service.grouplist." + cluster} {
		for _, name := range []string{key, "seata." + key} {
			if list := s.values[name]; list != "" {
				return s.addresses(name, list)
			}
		}
	}
	return nil, fmt.Errorf("%w %s: service.%s.grouplist is missing: it lists the coordinators of the cluster, as host:port;host:port",
		ErrConfig, s.path, cluster)
}

func (s *Settings) addresses(key, list string) (addresses []string, err error) {
	if err := s.check(key, list); err != nil {
		return nil, err
	}
	for _, text := range strings.Split(strings.TrimRight(list, "; \t"), ";") {
		address, err := naming.FromSeata(text)
		if err != nil {
			return nil, fmt.Errorf("%w %s: %s is %q: want host:port;host:port: %w", ErrConfig, s.path, key, list, err)
		}
		if !slices.Contains(addresses, address) {
			addresses = append(addresses, address)
		}
	}
	return addresses, nil
}

// check refuses a value that Java would replace by another.
func (s *Settings) check(key, value string) error {
	if strings.Contains(value, "${") {
		return fmt.Errorf("%w %s: %s is %q: placeholders are not replaced here; write the value itself", ErrConfig, s.path, key, value)
	}
	return nil
}

// relaxed is a key without what its spellings differ in, except for letter case.
func relaxed(key string) string {
	return strings.NewReplacer("-", "", "_", "").Replace(strings.TrimPrefix(key, "seata."))
}

// parseFile reads one file into the values by their dotted keys.
func parseFile(path string) (map[string]string, error) {
	parse := map[string]func(string) (map[string]string, error){
		".conf": parseConf, ".properties": parseProperties, ".yml": parseYAML, ".yaml": parseYAML,
	}[strings.ToLower(filepath.Ext(path))]
	if parse == nil {
		return nil, fmt.Errorf("%w %s: its name must end in .conf, .properties, .yml or .yaml, which tells its form", ErrConfig, path)
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	if info.Size() > maxSize || !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%w %s: want a file of at most %d bytes", ErrConfig, path, maxSize)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	values, err := parse(strings.TrimPrefix(string(text), "\ufeff"))
	if err != nil {
		return nil, fmt.Errorf("%w %s: %w", ErrConfig, path, err)
	}
	return values, nil
}
