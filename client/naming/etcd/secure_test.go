//go:build linux

package etcd_test

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/qiao-tx/qiao/client/naming/etcd"
	"github.com/qiao-tx/qiao/internal/testenv"
)

// TestAuthentication: who has no permission is told so, and why.
func TestAuthentication(t *testing.T) {
	t.Parallel()
	s := testenv.Etcd(t)
	c := raw(t, s)
	for _, step := range []func() error{
		func() error { _, err := c.UserAdd(t.Context(), "root", "rootpassword"); return err },
		func() error { _, err := c.UserGrantRole(t.Context(), "root", "root"); return err },
		func() error { _, err := c.RoleAdd(t.Context(), "seata"); return err },
		func() error {
			_, err := c.RoleGrantPermission(t.Context(), "seata", "registry-seata-", clientv3.GetPrefixRangeEnd("registry-seata-"),
				clientv3.PermissionType(clientv3.PermReadWrite))
			return err
		},
		func() error { _, err := c.UserAdd(t.Context(), "qiao", "secret"); return err },
		func() error { _, err := c.UserGrantRole(t.Context(), "qiao", "seata"); return err },
		func() error { _, err := c.UserAdd(t.Context(), "other", "secret"); return err },
		func() error { _, err := c.AuthEnable(t.Context()); return err },
	} {
		require.NoError(t, step())
	}
	as := func(user, password string) func(*etcd.Config) {
		return func(cfg *etcd.Config) { cfg.Username, cfg.Password = user, password }
	}
	for _, test := range []struct{ user, password, want string }{
		{"", "", "user name is empty"},
		{"qiao", "wrong", "authentication failed"},
		{"other", "secret", "permission denied"},
	} {
		r := registry(t, s, as(test.user, test.password))
		_, err := r.Resolve(t.Context())
		assert.ErrorContains(t, err, test.want)
		n := announce(t, r, "10.0.0.1:8091")
		err = n.awaitTrouble()
		assert.ErrorContains(t, err, test.want)
		assert.NotContains(t, err.Error(), "secret")
		_ = n.stop()
	}
	r := registry(t, s, as("qiao", "secret"))
	n := announce(t, r, "10.0.0.1:8091")
	n.awaitListed()
	changes := watch(t, r)
	awaitChange(t, changes)
	assert.Equal(t, []string{"10.0.0.1:8091"}, found(t, r))

	s.Kill() // the tokens that it gave are gone with it
	s.Start()
	awaitFound(t, r, "10.0.0.1:8091")
	require.NoError(t, n.stop())
	awaitFound(t, r)
}

// TestTLS: both sides show a certificate; who has none, or trusts another
// authority, is refused.
func TestTLS(t *testing.T) {
	t.Parallel()
	a, stranger := testenv.NewAuthority(t), testenv.NewAuthority(t)
	a.Issue("server")
	a.Issue("client")
	s := testenv.Etcd(t, "--cert-file="+a.Path("server.crt"), "--key-file="+a.Path("server.key"),
		"--trusted-ca-file="+a.Path("ca.crt"), "--client-cert-auth")
	with := func(root *testenv.Authority, files ...string) func(*etcd.Config) {
		return func(cfg *etcd.Config) {
			pool := x509.NewCertPool()
			authorities, err := os.ReadFile(root.Path("ca.crt"))
			require.NoError(t, err)
			require.True(t, pool.AppendCertsFromPEM(authorities))
			cfg.TLS = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
			if len(files) > 0 {
				pair, err := tls.LoadX509KeyPair(a.Path(files[0]), a.Path(files[1]))
				require.NoError(t, err)
				cfg.TLS.Certificates = []tls.Certificate{pair}
			}
		}
	}
	for _, refused := range []func(*etcd.Config){
		with(stranger, "client.crt", "client.key"), with(a), func(*etcd.Config) {},
	} {
		_, err := registry(t, s, refused).Resolve(t.Context())
		require.Error(t, err)
		assert.NotContains(t, err.Error(), "no coordinator is listed")
	}
	r := registry(t, s, with(a, "client.crt", "client.key"))
	n := announce(t, r, "10.0.0.1:8091")
	n.awaitListed()
	awaitFound(t, r, "10.0.0.1:8091")
}
