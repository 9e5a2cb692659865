//go:build linux

package etcd_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

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

// authority issues certificates.
type authority struct {
	t           *testing.T
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	dir         string
}

func newAuthority(t *testing.T) *authority {
	a := &authority{t: t, dir: t.TempDir()}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	a.certificate, a.key = a.issue("ca", template, template, nil)
	return a
}

// issue writes NAME.crt and NAME.key.
func (a *authority) issue(name string, template, parent *x509.Certificate, signer *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(a.t, err)
	if signer == nil {
		signer = key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	require.NoError(a.t, err)
	certificate, err := x509.ParseCertificate(der)
	require.NoError(a.t, err)
	secret, err := x509.MarshalECPrivateKey(key)
	require.NoError(a.t, err)
	for suffix, block := range map[string]*pem.Block{
		".crt": {Type: "CERTIFICATE", Bytes: der}, ".key": {Type: "EC PRIVATE KEY", Bytes: secret},
	} {
		require.NoError(a.t, os.WriteFile(a.path(name+suffix), pem.EncodeToMemory(block), 0o600))
	}
	return certificate, key
}

func (a *authority) path(name string) string { return filepath.Join(a.dir, name) }

func (a *authority) pair(name string) {
	a.issue(name, &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, a.certificate, a.key)
}

// TestTLS: both sides show a certificate; who has none, or trusts another
// authority, is refused.
func TestTLS(t *testing.T) {
	t.Parallel()
	a, stranger := newAuthority(t), newAuthority(t)
	a.pair("server")
	a.pair("client")
	s := testenv.Etcd(t, "--cert-file="+a.path("server.crt"), "--key-file="+a.path("server.key"),
		"--trusted-ca-file="+a.path("ca.crt"), "--client-cert-auth")
	with := func(root *authority, files ...string) func(*etcd.Config) {
		return func(cfg *etcd.Config) {
			pool := x509.NewCertPool()
			pool.AddCert(root.certificate)
			cfg.TLS = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
			if len(files) > 0 {
				pair, err := tls.LoadX509KeyPair(a.path(files[0]), a.path(files[1]))
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
