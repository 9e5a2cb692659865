package play

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"sync"

	"github.com/qiao-tx/qiao/internal/child"
	"github.com/qiao-tx/qiao/internal/wiretap"
	"github.com/qiao-tx/qiao/samples/shop/service"
)

const loopback = "127.0.0.1"

// fleet is the coordinator and the services. Each service reaches the
// coordinator through a proxy of its own, where a watch sees what they say.
type fleet struct {
	coordinator *child.Process
	services    map[string]*child.Process
	hangUp      func() // ends the proxies
}

// startFleet starts everything and returns when all answer.
func startFleet(ctx context.Context, cfg Config, dir string, d *databases, w *watch) (f *fleet, err error) {
	f = &fleet{services: map[string]*child.Process{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.stop())
		}
	}()
	at := map[string]string{} // addresses
	if at["coordinator"], err = child.FreeAddress(loopback); err != nil {
		return f, err
	}
	for _, name := range service.Names {
		if at[name], err = child.FreeAddress(cmp.Or(cfg.Host, loopback)); err != nil {
			return f, err
		}
	}
	proxies, err := f.startProxies(ctx, at["coordinator"], w)
	if err != nil {
		return f, err
	}
	f.coordinator = &child.Process{
		Name: "coordinator", Address: at["coordinator"], Health: "/health", Log: filepath.Join(dir, "coordinator.log"),
		Command: slices.Concat(cfg.Programs.Coordinator, []string{"--listen", at["coordinator"], "--data", filepath.Join(dir, "coordinator")}),
	}
	if err := f.coordinator.Start(ctx); err != nil {
		return f, err
	}
	for _, name := range service.Names {
		program, dsn := cfg.Programs.Go, d.forGo[name]
		if cfg.overDubbo() {
			program = cfg.Programs.GoOverDubbo
		}
		if cfg.language(name) == "java" {
			program, dsn = cfg.Programs.Java, d.forJava[name]
		}
		f.services[name] = &child.Process{
			Name: name, Address: at[name], Log: filepath.Join(dir, name+".log"),
			Command: slices.Concat(program, []string{
				"--service", name, "--rpc", cfg.RPC, "--mode", string(cfg.Mode), "--dsn", dsn,
				"--coordinator", proxies[name], "--listen", at[name],
				"--stock", at["stock"], "--account", at["account"], "--points", at["points"],
			}),
		}
	}
	if err := f.startTogether(ctx, "stock", "account", "points"); err != nil {
		return f, err
	}
	// Last the one that calls them: Dubbo in Java is slow to try again what was not there.
	return f, f.startTogether(ctx, "order")
}

// startTogether starts services at the same time: a JVM takes seconds.
func (f *fleet) startTogether(ctx context.Context, names ...string) error {
	for _, name := range names {
		if err := f.services[name].Launch(); err != nil {
			return fmt.Errorf("start the %s service: %w", name, err)
		}
	}
	for _, name := range names {
		if err := f.services[name].Await(ctx); err != nil {
			return err
		}
	}
	return nil
}

// startProxies opens a way to the coordinator for each service.
func (f *fleet) startProxies(ctx context.Context, coordinator string, w *watch) (addresses map[string]string, err error) {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	f.hangUp = func() { cancel(); running.Wait() }
	addresses = map[string]string{}
	for _, name := range service.Names {
		listener, err := net.Listen("tcp", loopback+":0")
		if err != nil {
			return nil, err
		}
		addresses[name] = listener.Addr().String()
		proxy := &wiretap.Proxy{Target: coordinator, Show: w.of(name), ShowFirst: true}
		running.Go(func() { w.failed(proxy.Serve(ctx, listener)) })
	}
	return addresses, nil
}

// stop ends the services before the coordinator that they talk to.
func (f *fleet) stop() error {
	var errs []error
	for _, s := range f.services {
		errs = append(errs, s.Stop())
	}
	if f.coordinator != nil {
		errs = append(errs, f.coordinator.Stop())
	}
	if f.hangUp != nil {
		f.hangUp()
	}
	return errors.Join(errs...)
}
