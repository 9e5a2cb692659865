package main

import (
	"github.com/spf13/cobra"

	"github.com/qiao-tx/qiao/samples/shop/overgrpc"
	"github.com/qiao-tx/qiao/samples/shop/service"
)

// newServiceCommand runs one service in Go, until its standard input ends.
func newServiceCommand() *cobra.Command {
	return &cobra.Command{
		Use:                "service",
		Short:              "Run one service until standard input ends",
		Hidden:             true,
		DisableFlagParsing: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			return service.Main(cmd.Context(), args, cmd.InOrStdin(), map[string]service.Transport{
				"http": service.HTTP{}, "grpc": overgrpc.Transport{},
			})
		},
	}
}
