//go:build linux

package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/client"
	"github.com/qiao-tx/qiao/client/naming"
	"github.com/qiao-tx/qiao/client/naming/etcd"
	"github.com/qiao-tx/qiao/internal/testenv"
	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/xid"
	"github.com/qiao-tx/qiao/tm"
)

// startListedServer starts a server that lists itself in etcd.
func startListedServer(t *testing.T, e *testenv.EtcdServer, more ...string) *serverProcess {
	t.Helper()
	return startServerProcess(t, t.TempDir(), append([]string{
		"--advertise", "", "--disk-reserve-mib", "0", "--registry-type", "etcd3", "--registry-etcd3-server-addr", e.Endpoint(),
		"--registry-etcd3-lease-ttl", "2s",
	}, more...)...)
}

func etcdRegistry(t *testing.T, e *testenv.EtcdServer) *etcd.Registry {
	t.Helper()
	r, err := etcd.New(etcd.Config{Endpoints: []string{e.Endpoint()}, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, r.Close()) })
	return r
}

func awaitListing(t *testing.T, r *etcd.Registry, want ...string) {
	t.Helper()
	slices.Sort(want)
	require.Eventually(t, func() bool {
		got, _ := r.Resolve(t.Context())
		return slices.Equal(got, want)
	}, serverPatience, 5*time.Millisecond)
}

func TestServerLeavesTheListBeforeItStops(t *testing.T) {
	e := testenv.Etcd(t)
	r := etcdRegistry(t, e)
	p := startListedServer(t, e, "--registry-wait", "30s", "--registry-leave-wait", "1h", "--drain-timeout", "2h")
	awaitListing(t, r, p.address)
	c := p.client(testDatabase)
	p.signal(syscall.SIGTERM)
	awaitListing(t, r)
	require.Equal(t, protocol.ResultSuccess, call[*protocol.GlobalBeginResult](c, &protocol.GlobalBegin{TimeoutMillis: 60_000}).Code,
		"who has not heard of it yet is served")
	p.signal(syscall.SIGTERM)
	require.Equal(t, 0, p.exitCode(), "%s", p.stderr)
	require.Contains(t, p.stderr.String(), "no longer listed in the registry")
}

// TestClientsFollowServersInEtcd: nothing fails while a server comes and another
// leaves; one that is killed costs its own transactions until its lease ends.
func TestClientsFollowServersInEtcd(t *testing.T) {
	e := testenv.Etcd(t)
	r := etcdRegistry(t, e)
	leaving, staying := startListedServer(t, e, "--registry-leave-wait", "1s"), startListedServer(t, e)
	awaitListing(t, r, leaving.address, staying.address)
	c, err := client.Open(t.Context(), client.Config{
		Resolver: r, ResolveEvery: time.Second, ApplicationID: "order", Logger: slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	defer func() { assert.NoError(t, c.Close(context.Background())) }()

	home := func() string {
		var address string
		require.NoError(t, c.TM().Run(t.Context(), tm.Options{}, func(ctx context.Context) error {
			address, _, _ = xid.Parse(xid.FromContext(ctx))
			return nil
		}))
		return address
	}
	awaitHome := func(want string) {
		require.Eventually(t, func() bool { return home() == want }, serverPatience, time.Millisecond)
	}
	awaitHome(leaving.address)
	awaitHome(staying.address)
	leaving.signal(syscall.SIGTERM)
	for !leaving.hasExited() {
		home()
	}
	require.Equal(t, 0, leaving.exitCode())
	coming := startListedServer(t, e)
	awaitHome(coming.address)

	staying.kill()
	assert.Contains(t, staying.stderr.String()+leaving.stderr.String(), "each finishes only the transactions that it began")
	for range 20 {
		assert.Equal(t, coming.address, home())
	}
	awaitListing(t, r, coming.address)

	// Clients live on with what they know when etcd is away.
	e.Kill()
	for range 20 {
		home()
	}
	e.Forget()
	e.Start()
	awaitListing(t, r, coming.address)
	last := startListedServer(t, e)
	awaitHome(last.address)
}

func TestServerStartsWithoutItsRegistry(t *testing.T) {
	e := testenv.ReserveEtcd(t)
	p := startListedServer(t, e)
	require.Contains(t, p.client(testDatabase).begin(time.Minute), p.address, "it serves")
	r := etcdRegistry(t, e)
	memory := filepath.Join(t.TempDir(), "coordinators")
	run := func(cfg client.Config) error {
		cfg.ApplicationID, cfg.Logger = "order", slog.New(slog.DiscardHandler)
		c, err := client.Open(t.Context(), cfg)
		if err != nil {
			return err
		}
		return errors.Join(c.TM().Run(t.Context(), tm.Options{}, func(context.Context) error { return nil }), c.Close(context.Background()))
	}
	err := run(client.Config{Resolver: naming.Remember(r, memory), TMTimeout: time.Second})
	require.ErrorIs(t, err, tm.ErrUnavailable)
	require.ErrorContains(t, err, e.Endpoint())
	require.ErrorContains(t, err, "refused")
	e.Start()
	awaitListing(t, r, p.address)
	require.NoError(t, run(client.Config{Resolver: naming.Remember(r, memory)}))
	e.Kill()
	require.NoError(t, run(client.Config{Resolver: naming.Remember(etcdRegistry(t, e), memory)}), "it remembers")
	p.signal(syscall.SIGINT)
	p.signal(syscall.SIGINT)
	require.Equal(t, 0, p.exitCode())
	for _, want := range []string{"not listed in the registry; trying again", e.Endpoint(), "only this machine can reach"} {
		require.Contains(t, p.stderr.String(), want)
	}
}

// TestServerShowsItsCertificateToEtcd, which lets nobody in without.
func TestServerShowsItsCertificateToEtcd(t *testing.T) {
	a := testenv.NewAuthority(t)
	a.Issue("etcd")
	a.Issue("qiao")
	e := testenv.Etcd(t, "--cert-file="+a.Path("etcd.crt"), "--key-file="+a.Path("etcd.key"), "--trusted-ca-file="+a.Path("ca.crt"), "--client-cert-auth")
	p := startListedServer(t, e, "--registry-wait", "30s", "--registry-leave-wait", "0", "--registry-etcd3-ca-file", a.Path("ca.crt"),
		"--registry-etcd3-cert-file", a.Path("qiao.crt"), "--registry-etcd3-key-file", a.Path("qiao.key"))
	p.signal(syscall.SIGTERM)
	require.Equal(t, 0, p.exitCode())
	for _, want := range []string{"listed in the registry", "no longer listed in the registry"} {
		require.Contains(t, p.stderr.String(), want)
	}
}

// TestServerIsConfiguredToNeedItsRegistry, and what is wrong with its settings is
// said in one line.
func TestServerIsConfiguredToNeedItsRegistry(t *testing.T) {
	away := testenv.ReserveEtcd(t).Endpoint()
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, []byte("\n"), 0o600))
	for _, test := range []struct {
		args []string
		want []string
	}{
		{[]string{"--registry-wait", "300ms"}, []string{"not listed in the registry within 300ms", away, "refused"}},
		{[]string{"--registry-etcd3-server-addr", "nonsense"}, []string{"registry.etcd3", `"nonsense"`, "want host:port"}},
		{[]string{"--registry-etcd3-cluster", "a b"}, []string{`cluster "a b"`}},
		{[]string{"--registry-etcd3-lease-ttl", "1s"}, []string{"lease of 1s"}},
		{[]string{"--registry-etcd3-username", "u", "--registry-etcd3-password-file", file + "s"}, []string{"password-file", "no such file"}},
		{[]string{"--registry-etcd3-username", "u", "--registry-etcd3-password-file", file}, []string{"is empty"}},
		{[]string{"--registry-etcd3-ca-file", file}, []string{"ca-file", "no certificate in PEM"}},
		{[]string{"--registry-etcd3-cert-file", file, "--registry-etcd3-key-file", file}, []string{"cert-file"}},
	} {
		args := append([]string{"server", "--listen", "127.0.0.1:0", "--disk-reserve-mib", "0", "--log-level", "error", "--data", filepath.Join(t.TempDir(), "data"),
			"--registry-type", "etcd3", "--registry-etcd3-server-addr", away}, test.args...)
		ctx, cancel := context.WithTimeout(t.Context(), serverPatience)
		out, err := exec.CommandContext(ctx, os.Args[0], args...).CombinedOutput()
		cancel()
		var exit *exec.ExitError
		require.ErrorAs(t, err, &exit, "%s", out)
		require.Equal(t, exitFailed, exit.ExitCode(), "%s", out)
		require.Equal(t, 1, strings.Count(string(out), "\n"), "one line: %s", out)
		for _, want := range test.want {
			require.Contains(t, string(out), want)
		}
	}
}
