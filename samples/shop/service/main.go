package service

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"slices"
)

// ErrUsage: an argument is wrong.
var ErrUsage = errors.New("wrong argument")

// Main runs the service that the arguments describe until ctx ends, or the input,
// if there is one: its other end is held by a parent, who may die. Transports are
// those to choose from by --rpc.
func Main(ctx context.Context, args []string, in io.Reader, transports map[string]Transport) error {
	var cfg Config
	flags := flag.NewFlagSet("service", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // the error says it
	flags.StringVar(&cfg.Name, "service", "", "order, stock, account or points")
	rpc := flags.String("rpc", "http", "what carries the calls")
	mode := flags.String("mode", string(AT), "how changes can be undone")
	flags.StringVar(&cfg.Coordinator, "coordinator", "127.0.0.1:8091", "the coordinator's host:port")
	flags.StringVar(&cfg.Listen, "listen", "", "the service's host:port")
	flags.StringVar(&cfg.DSN, "dsn", "", "the service's database")
	flags.StringVar(&cfg.Peers.Stock, "stock", "", "the stock service's host:port")
	flags.StringVar(&cfg.Peers.Account, "account", "", "the account service's host:port")
	flags.StringVar(&cfg.Peers.Points, "points", "", "the points service's host:port")
	if err := flags.Parse(args); err != nil {
		return fmt.Errorf("%w: %w", ErrUsage, err)
	}
	transport, ok := transports[*rpc]
	if !ok {
		return fmt.Errorf("%w: no --rpc %q here: want one of %v", ErrUsage, *rpc, slices.Sorted(maps.Keys(transports)))
	}
	var err error
	if cfg.Mode, err = ParseMode(*mode); err != nil {
		return fmt.Errorf("%w: --mode: %w", ErrUsage, err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if in != nil {
		go func() { // ends with the process
			_, _ = io.Copy(io.Discard, in)
			cancel()
		}()
	}
	return Run(ctx, cfg, transport)
}
