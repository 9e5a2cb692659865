package main

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/qiao-tx/qiao/internal/demo"
	"github.com/qiao-tx/qiao/samples/shop/service"
)

const shopCommand = "shop"

func newDemoCommand() *cobra.Command {
	var cfg demo.Config
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Place orders over four services while processes are killed, and check the books",
		Long: `demo starts a coordinator and the four services of samples/shop as processes
of their own, each service with a database of its own, and places orders over
HTTP. Each order changes all four databases in one global transaction.
Meanwhile items run out, customers run out of money, and each service and the
coordinator are killed with kill -9 and started again.

At the end it compares every answer, account and shelf. The last line is
"consistent: yes"; or what differs, "consistent: no" and exit code 1.`,
		Example: `  qiao demo
  qiao demo --orders 20000 --concurrency 128
  qiao demo --mysql 'root:secret@tcp(127.0.0.1:3306)/'`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := positiveFlags(cmd, "orders", "concurrency"); err != nil {
				return err
			}
			cfg.Out = cmd.OutOrStdout()
			cfg.Command = []string{childCommand}
			return demo.Run(cmd.Context(), cfg)
		},
	}
	flags := cmd.Flags()
	flags.IntVar(&cfg.Orders, "orders", 3000, "orders to place")
	flags.IntVar(&cfg.Concurrency, "concurrency", 32, "customers who order at once")
	flags.StringVar(&cfg.MySQL, "mysql", "", "`DSN` of a MySQL or MariaDB server to make the databases on, user:password@tcp(host:port)/ (default: SQLite files)")
	return cmd
}

// newShopCommand runs one of the demo's services.
func newShopCommand() *cobra.Command {
	return &cobra.Command{
		Use:                shopCommand,
		Short:              "Run a service of samples/shop",
		Hidden:             true,
		DisableFlagParsing: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			err := service.Main(cmd.Context(), args, nil, map[string]service.Transport{"http": service.HTTP{}})
			if errors.Is(err, service.ErrUsage) {
				return usageError{err}
			}
			return err
		},
	}
}
