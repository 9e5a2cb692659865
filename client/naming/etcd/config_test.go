package etcd_test

import (
	"crypto/tls"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/client/naming/etcd"
	"github.com/qiao-tx/qiao/client/naming/file"
)

func TestConfigIsChecked(t *testing.T) {
	for want, breakIt := range map[string]func(*etcd.Config){
		"no endpoint is given":         func(cfg *etcd.Config) { cfg.Endpoints = nil },
		"want http://host:port":        func(cfg *etcd.Config) { cfg.Endpoints = []string{"ftp://h:1"} },
		"bad coordinator address":      func(cfg *etcd.Config) { cfg.Endpoints = []string{"http://h"} },
		"Username and Password":        func(cfg *etcd.Config) { cfg.Endpoints = []string{"http://u:secret@h:1"} },
		"would not be encrypted":       func(cfg *etcd.Config) { cfg.TLS = &tls.Config{} },
		"without blanks":               func(cfg *etcd.Config) { cfg.Cluster = "a b" },
		"a username and a password":    func(cfg *etcd.Config) { cfg.Username = "u" },
		"lease of 1s: want whole":      func(cfg *etcd.Config) { cfg.LeaseTTL = time.Second },
		"lease of 2.5s: want whole":    func(cfg *etcd.Config) { cfg.LeaseTTL = 2500 * time.Millisecond },
		"lease of -1h0m0s: want whole": func(cfg *etcd.Config) { cfg.LeaseTTL = -time.Hour },
	} {
		cfg := etcd.Config{Endpoints: []string{"http://127.0.0.1:2379"}}
		breakIt(&cfg)
		_, err := etcd.New(cfg)
		assert.ErrorContains(t, err, want)
		assert.NotContains(t, err.Error(), "secret")
	}
	for _, endpoint := range []string{"127.0.0.1:2379", "http://etcd.internal:2379", "https://[::1]:2379"} {
		r, err := etcd.New(etcd.Config{Endpoints: []string{endpoint}})
		require.NoError(t, err)
		require.NoError(t, r.Close())
	}
}

func TestEndpoints(t *testing.T) {
	assert.Equal(t, []string{"http://a:1", "https://b:2", "c:3"}, etcd.Endpoints(" http://a:1/, https://b:2 ,,c:3"))
	assert.Empty(t, etcd.Endpoints(" , "))
}

func TestTheFilesOfJavaAreUnderstood(t *testing.T) {
	const registry = `registry { type = "etcd3", etcd3 { serverAddr = "http://e1:2379,http://e2:2379", cluster = "ignored by clients" } }
config { type = "file", file { name = "file.conf" } }`
	write := func(t *testing.T, registry, file string) string {
		dir := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(dir, "registry.conf"), []byte(registry), 0o600))
		require.NoError(t, os.WriteFile(filepath.Join(dir, "file.conf"), []byte(file), 0o600))
		return filepath.Join(dir, "registry.conf")
	}
	cfg, err := etcd.FromFile(write(t, registry, "service.vgroupMapping.default_tx_group = far"), "")
	require.NoError(t, err)
	assert.Equal(t, etcd.Config{Endpoints: []string{"http://e1:2379", "http://e2:2379"}, Cluster: "far"}, cfg)

	for want, path := range map[string]string{
		`registry.type is "file"`:        write(t, "registry.type = file", ""),
		"serverAddr is missing":          write(t, "registry.type = etcd3", ""),
		"vgroupMapping.default_tx_group": write(t, registry, ""),
		"no such file":                   filepath.Join(t.TempDir(), "gone.conf"),
	} {
		_, err := etcd.FromFile(path, "")
		assert.ErrorIs(t, err, file.ErrConfig)
		assert.ErrorContains(t, err, want)
	}
}
