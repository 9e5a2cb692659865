package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/qiao-tx/qiao/samples/shop/overgrpc"
	"github.com/qiao-tx/qiao/samples/shop/service"
)

// newServiceCommand runs one service in Go, until its standard input ends.
func newServiceCommand() *cobra.Command {
	var cfg service.Config
	var mode, rpc string
	cmd := &cobra.Command{
		Use:    "service",
		Short:  "Run one service until standard input ends",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithCancel(cmd.Context())
			defer cancel()
			go func() { // ends with the process
				_, _ = io.Copy(io.Discard, cmd.InOrStdin())
				cancel()
			}()
			transport, err := transportOf(rpc)
			if err != nil {
				return usageError{err}
			}
			if cfg.Mode, err = service.ParseMode(mode); err != nil {
				return usageError{err}
			}
			err = service.Run(ctx, cfg, transport)
			if errors.Is(err, service.ErrNoService) {
				return usageError{err}
			}
			return err
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&cfg.Name, "service", "", "order, stock, account or points")
	flags.StringVar(&rpc, "rpc", "http", "what carries the calls")
	flags.StringVar(&mode, "mode", string(service.AT), "how changes can be undone")
	flags.StringVar(&cfg.Coordinator, "coordinator", "127.0.0.1:8091", "the coordinator's `host:port`")
	flags.StringVar(&cfg.Listen, "listen", "", "the service's `host:port`")
	flags.StringVar(&cfg.DSN, "dsn", "", "the service's database")
	flags.StringVar(&cfg.Peers.Stock, "stock", "", "the stock service's `host:port`")
	flags.StringVar(&cfg.Peers.Account, "account", "", "the account service's `host:port`")
	flags.StringVar(&cfg.Peers.Points, "points", "", "the points service's `host:port`")
	return cmd
}

func transportOf(rpc string) (service.Transport, error) {
	switch rpc {
	case "http":
		return service.HTTP{}, nil
	case "grpc":
		return overgrpc.Transport{}, nil
	}
	return nil, fmt.Errorf("no --rpc %q here: want http or grpc", rpc)
}
