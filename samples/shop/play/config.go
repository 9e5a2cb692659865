package play

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/qiao-tx/qiao/samples/shop/service"
)

// RPCs are what may carry the calls between the services.
var RPCs = []string{"http", "grpc", "dubbo", "triple"}

// Config says which shop is wanted.
type Config struct {
	// RPC is one of RPCs.
	RPC string
	// Mode is one of service.Modes.
	Mode service.Mode
	// Java are the services that run in Java; the others run in Go.
	Java []string
	// MySQL is the DSN of a MySQL or MariaDB server on which the services'
	// databases are made, user:password@tcp(host:port)/. Empty: a MariaDB server of
	// this machine is started where Java takes part or the mode is XA, which files
	// cannot do; else the databases are files.
	MySQL string
	// NoKill leaves out the orders during which a service is killed.
	NoKill bool
	// Host is where the services listen. Default 127.0.0.1.
	Host string
	// Programs are what Build made.
	Programs Programs
	// Out receives the story as it goes on.
	Out io.Writer
}

// Check returns an error that names the flag, what is wrong and the remedy.
func (c Config) Check() error {
	if !slices.Contains(RPCs, c.RPC) {
		return fmt.Errorf("%w: --rpc %q: want one of %s", ErrUsage, c.RPC, strings.Join(RPCs, ", "))
	}
	if _, err := service.ParseMode(string(c.Mode)); err != nil {
		return fmt.Errorf("%w: --mode: %w", ErrUsage, err)
	}
	for i, name := range c.Java {
		if !slices.Contains(service.Names, name) {
			return fmt.Errorf("%w: --java %q: want some of %s, or all", ErrUsage, name, strings.Join(service.Names, ","))
		}
		if slices.Contains(c.Java[:i], name) {
			return fmt.Errorf("%w: --java: %s is there twice", ErrUsage, name)
		}
	}
	if c.Mode == service.Saga && c.language("order") == "java" {
		return fmt.Errorf("%w: --java: order cannot be in Java in mode saga: the engine that runs the saga is the Go SDK's here, as Seata's own is a Spring application's. Leave order out, as in --java stock,account,points", ErrUsage)
	}
	if c.NeedsIsolation() && c.MySQL != "" && c.Host == "" {
		return fmt.Errorf("%w: --mysql: a shop with Java over %s runs in a network of its own, from which that server cannot be reached: leave the flag out", ErrUsage, c.RPC)
	}
	return nil
}

// needsServer: files will not do.
func (c Config) needsServer() bool { return len(c.Java) > 0 || c.Mode == service.XA }

// overDubbo: the services in Go are those of samples/shop/overdubbo.
func (c Config) overDubbo() bool { return c.RPC == "dubbo" || c.RPC == "triple" }

// NeedsIsolation tells whether the shop runs only in a network namespace, with
// Host a child.IsolatedAddress: Dubbo in Java refuses to listen on a loopback
// address, and on any other one it would be open to the neighbourhood.
func (c Config) NeedsIsolation() bool { return c.overDubbo() && len(c.Java) > 0 }

func (c Config) language(name string) string {
	if slices.Contains(c.Java, name) {
		return "java"
	}
	return "go"
}
