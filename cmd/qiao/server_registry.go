package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/qiao-tx/qiao/client/naming"
	"github.com/qiao-tx/qiao/client/naming/etcd"
	"github.com/qiao-tx/qiao/server/config"
)

// registry lists a server and knows the others that are listed.
type registry interface {
	naming.Announcer
	naming.Resolver
	Close() error
}

// openRegistry makes the registry of the configuration, or nil. It does not
// connect yet.
func openRegistry(cfg *config.Config, logger *slog.Logger) (registry, error) {
	if !strings.EqualFold(cfg.RegistryType, "etcd3") {
		return nil, nil
	}
	e := cfg.Etcd
	options := etcd.Config{
		Endpoints: etcd.Endpoints(e.ServerAddr), Cluster: e.Cluster, Username: e.Username, LeaseTTL: e.LeaseTTL, Logger: logger,
	}
	if e.PasswordFile != "" {
		password, err := os.ReadFile(e.PasswordFile)
		if err != nil {
			return nil, fmt.Errorf("registry.etcd3.password-file: %w", err)
		}
		if options.Password = strings.TrimRight(string(password), "\r\n"); options.Password == "" {
			return nil, fmt.Errorf("registry.etcd3.password-file: %s is empty", e.PasswordFile)
		}
	}
	var err error
	if options.TLS, err = etcdTLS(&e); err != nil {
		return nil, err
	}
	r, err := etcd.New(options)
	if err != nil {
		return nil, fmt.Errorf("registry.etcd3: %w", err)
	}
	return r, nil
}

// etcdTLS is the configuration that the files make, or nil without any.
func etcdTLS(e *config.Etcd) (*tls.Config, error) {
	if e.CAFile == "" && e.CertFile == "" {
		return nil, nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if e.CAFile != "" {
		authorities, err := os.ReadFile(e.CAFile)
		if err != nil {
			return nil, fmt.Errorf("registry.etcd3.ca-file: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(authorities) {
			return nil, fmt.Errorf("registry.etcd3.ca-file: %s holds no certificate in PEM", e.CAFile)
		}
	}
	if e.CertFile != "" {
		pair, err := tls.LoadX509KeyPair(e.CertFile, e.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("registry.etcd3.cert-file and key-file: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

// announcement keeps a server listed.
type announcement struct {
	registry registry
	logger   *slog.Logger
	address  string
	sole     bool // no other server uses this one's store
	cancel   context.CancelFunc
	states   chan error // what the registry says, the newest only
	listed   bool       // the newest; to be read when ended has been
	ended    chan error
}

// announce begins to list the server at address. sole: no other server uses its
// store.
func announce(ctx context.Context, r registry, address string, sole bool, logger *slog.Logger) *announcement {
	a := &announcement{registry: r, logger: logger, address: address, sole: sole, states: make(chan error, 1), ended: make(chan error, 1)}
	if onThisMachine(address) {
		logger.Warn("the registry lists this server under an address that only this machine can reach; name another with --advertise", "address", address)
	}
	ctx, a.cancel = context.WithCancel(context.WithoutCancel(ctx))
	go func() { a.ended <- r.Announce(ctx, address, func(err error) { a.note(ctx, err) }) }() // withdraw waits for it
	return a
}

// note logs how the listing stands and tells awaitListed.
func (a *announcement) note(ctx context.Context, err error) {
	if err == nil {
		a.logger.Info("listed in the registry", "address", a.address)
		a.warnOfOthers(ctx)
	} else {
		a.logger.Warn("not listed in the registry; trying again", "address", a.address, "error", err)
	}
	a.listed = err == nil
	select {
	case <-a.states:
	default:
	}
	a.states <- err
}

// warnOfOthers: a server with a store of its own cannot go on with what another
// began.
func (a *announcement) warnOfOthers(ctx context.Context) {
	all, err := a.registry.Resolve(ctx)
	others := slices.DeleteFunc(all, func(address string) bool { return address == a.address })
	if err == nil && len(others) > 0 && a.sole {
		a.logger.Warn("the cluster lists other coordinators, too; each finishes only the transactions that it began, "+
			"unless all keep them in one database (store.mode db)", "others", others)
	}
}

// awaitListed returns when the server is listed, or after wait why it is not.
func (a *announcement) awaitListed(ctx context.Context, wait time.Duration) error {
	timeout := time.NewTimer(wait)
	defer timeout.Stop()
	var why error
	for {
		select {
		case why = <-a.states:
			if why == nil {
				return nil
			}
		case <-ctx.Done():
			return nil // it is to stop, which is no failure
		case <-timeout.C:
			if why == nil {
				why = errors.New("the registry has not answered")
			}
			return fmt.Errorf("not listed in the registry within %v: %w; repair that, or leave registry.wait out to serve all the same", wait, why)
		}
	}
}

// lastWord is how long a server that must stop at once tries to leave the list.
const lastWord = time.Second

// withdraw takes the server off the list and then waits for as long as clients need
// to notice, but not longer than ctx.
func (a *announcement) withdraw(ctx context.Context, leaveWait time.Duration) {
	a.cancel()
	err := a.awaitEnd(ctx)
	if closeErr := a.registry.Close(); err == nil {
		err = closeErr
	}
	switch {
	case err != nil:
		a.logger.Warn("still listed in the registry; its lease will end", "address", a.address, "error", err)
		return
	case !a.listed:
		return
	}
	a.logger.Info("no longer listed in the registry", "address", a.address)
	pause := time.NewTimer(leaveWait)
	defer pause.Stop()
	select {
	case <-pause.C:
	case <-ctx.Done():
	}
}

func (a *announcement) awaitEnd(ctx context.Context) error {
	select {
	case err := <-a.ended:
		return err
	case <-ctx.Done():
	}
	impatient := time.AfterFunc(lastWord, func() { _ = a.registry.Close() }) // what waits for etcd then fails
	defer impatient.Stop()
	return <-a.ended
}

// onThisMachine tells whether only this machine can reach the address.
func onThisMachine(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback() || host == "localhost"
}
