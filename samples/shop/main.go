package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/qiao-tx/qiao/internal/child"
	"github.com/qiao-tx/qiao/samples/shop/play"
	"github.com/qiao-tx/qiao/samples/shop/service"
)

// Exit codes, as --help lists them.
const (
	exitFailed = 1
	exitUsage  = 2
)

// usageError is a mistake in the command line.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := newCommand().ExecuteContext(ctx)
	stop()
	if err == nil {
		return
	}
	fmt.Fprintf(os.Stderr, "shop: %v\n", err)
	if errors.As(err, new(usageError)) || errors.Is(err, play.ErrUsage) || errors.Is(err, service.ErrUsage) {
		os.Exit(exitUsage)
	}
	os.Exit(exitFailed)
}

func newCommand() *cobra.Command {
	cfg := play.Config{Mode: service.AT}
	var java []string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "shop",
		Short: "A shop of four services, in Go and in Java, and what its transactions do",
		Long: `shop starts a coordinator and the services order, stock, account and points, each
with a database of its own, and places a few orders: one that is placed, one that
the stock refuses, one that the account refuses, and two or three during which a
service is killed. For each it shows the path of the global transaction: which service, in
which language, which branch, what the first phase did and how the second ended.
At the end it checks the books. The last line is "consistent: yes"; or what
differs, "consistent: no" and exit code 1.

It needs the Go tools. Services in Java (Seata's own client, unmodified) need a JDK
and Maven, and a MySQL or MariaDB server, which is started if it is installed. With
Java over dubbo or triple everything runs in a network namespace of its own, since
Dubbo in Java does not listen on loopback addresses: this takes Linux, and root or
user namespaces.

In mode saga the order service is always in Go: it drives a state machine in Seata's
JSON language, samples/shop/service/saga.json. The others are in either language.

Exit codes: 0 consistent, 1 failed or inconsistent, 2 the command line is wrong.`,
		Example: `  go run ./samples/shop
  go run ./samples/shop --rpc http --mode tcc --java stock,account
  go run ./samples/shop --rpc triple --java stock,points
  go run ./samples/shop --mode saga --java stock,account,points
  go run ./samples/shop --rpc grpc --java order --json | jq .orders[0].transaction
  make shop SHOP='--java all'`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageError{fmt.Errorf("unexpected argument %q (see --help)", args[0])}
			}
			return nil
		},
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg.Java = named(java)
			return perform(cmd, cfg, asJSON)
		},
	}
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{fmt.Errorf("%w (see --help)", err)} })
	flags := cmd.Flags()
	flags.StringVar(&cfg.RPC, "rpc", "http", "what carries the calls between the services: "+strings.Join(play.RPCs, ", "))
	flags.StringVar((*string)(&cfg.Mode), "mode", string(service.AT), "how changes can be undone: "+fmt.Sprint(service.Modes))
	flags.StringSliceVar(&java, "java", nil, "the `services` that run in Java: some of "+strings.Join(service.Names, ",")+", or all")
	flags.StringVar(&cfg.MySQL, "mysql", "", "`DSN` of a MySQL or MariaDB server to make the databases on, user:password@tcp(host:port)/")
	flags.BoolVar(&cfg.NoKill, "no-kill", false, "leave out the orders during which a service is killed")
	flags.BoolVar(&asJSON, "json", false, "print one JSON object at the end, and the story to standard error")
	cmd.AddCommand(newServiceCommand())
	cmd.CompletionOptions.DisableDefaultCmd = true
	return cmd
}

func named(java []string) []string {
	if len(java) == 1 && java[0] == "all" {
		return service.Names
	}
	return java
}

// programsVariable hands what was built over to this program in a network
// namespace, in which nothing can be downloaded.
const programsVariable = "QIAO_SHOP_PROGRAMS"

// perform builds the programs and runs the story with them.
func perform(cmd *cobra.Command, cfg play.Config, asJSON bool) (err error) {
	if built := os.Getenv(programsVariable); built != "" {
		if err := json.Unmarshal([]byte(built), &cfg.Programs); err != nil {
			return fmt.Errorf("%s: %w", programsVariable, err)
		}
		cfg.Host = child.IsolatedAddress
		return show(cmd.Context(), cfg, asJSON, cmd.OutOrStdout(), cmd.ErrOrStderr())
	}
	if err := cfg.Check(); err != nil {
		return err
	}
	bin, err := os.MkdirTemp("", "qiao-shop-bin-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(bin)) }()
	fmt.Fprintln(cmd.ErrOrStderr(), "building the programs")
	if cfg.Programs, err = play.Build(cmd.Context(), bin, cfg); err != nil {
		return err
	}
	if cfg.NeedsIsolation() {
		return isolate(cmd, cfg)
	}
	return show(cmd.Context(), cfg, asJSON, cmd.OutOrStdout(), cmd.ErrOrStderr())
}

// isolate runs this program once more with the same command line, in a network
// namespace.
func isolate(cmd *cobra.Command, cfg play.Config) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	built, err := json.Marshal(cfg.Programs)
	if err != nil {
		return err
	}
	again := exec.CommandContext(cmd.Context(), self, os.Args[1:]...)
	again.Env = append(os.Environ(), programsVariable+"="+string(built))
	again.Stdout, again.Stderr = cmd.OutOrStdout(), cmd.ErrOrStderr()
	again.Cancel = func() error { return again.Process.Signal(os.Interrupt) }
	err = child.Isolated(again)
	if errors.Is(err, child.ErrNotIsolated) {
		return fmt.Errorf("--java over %s: %w", cfg.RPC, err)
	}
	return err
}

// show runs the story and prints it.
func show(ctx context.Context, cfg play.Config, asJSON bool, out, notes io.Writer) error {
	cfg.Out = out
	if asJSON {
		cfg.Out = notes
	}
	report, err := play.Run(ctx, cfg)
	if asJSON && (err == nil || errors.Is(err, play.ErrInconsistent)) {
		encoder := json.NewEncoder(out)
		encoder.SetIndent("", "  ")
		err = errors.Join(err, encoder.Encode(report))
	}
	return err
}
