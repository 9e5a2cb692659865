package main

import (
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/qiao-tx/qiao/server/config"
)

func newServerCommand() *cobra.Command {
	var file string
	var printConfig bool
	cmd := &cobra.Command{
		Use:   "server",
		Short: "Run a transaction coordinator",
		Long: `Run a transaction coordinator (TC).

One port serves Seata's protocol, over TCP and over gRPC, and HTTP (/health,
/version, /metrics). All state is in the data directory; a server that is
started on it again goes on where the last one stopped, however that ended.

Each setting is a flag, a key of a YAML file (--config) and an environment
variable. A flag beats the environment, the environment beats the file. Keys of
Seata's own configuration are understood where they mean something here; see
docs/configuration.md.

SIGTERM or an interrupt stops the server once what is under way is done; a
second one stops it at once. Neither loses an acknowledged step.`,
		Example: `  # for services on this machine
  qiao server --data /var/lib/qiao

  # for services on other machines, on a network that is trusted
  qiao server --data /var/lib/qiao --listen 0.0.0.0:8091 --insecure-listen --advertise tc.internal

  # listed in etcd, where services of Go and Java find it (docs/discovery.md)
  qiao server --data /var/lib/qiao --listen 0.0.0.0:8091 --insecure-listen \
    --registry-type etcd3 --registry-etcd3-server-addr http://etcd.internal:2379

  # what is in force, and who set it
  qiao server --config /etc/qiao.yaml --print-config`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			loaded, err := config.Load(config.Sources{File: file, Environ: os.Environ(), Flags: givenFlags(cmd.Flags())})
			if err != nil {
				return err
			}
			if printConfig {
				return loaded.Print(cmd.OutOrStdout())
			}
			logger, err := newServerLogger(&loaded.Config)
			if err != nil {
				return err
			}
			for _, warning := range loaded.Warnings {
				logger.Warn(warning)
			}
			return runServer(cmd.Context(), loaded.Config, logger, openStore)
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	defaults := config.Default()
	for _, s := range config.Settings(&defaults) {
		flag := flags.VarPF(s.Value, s.Flag(), "", s.Usage)
		if s.Type() == "bool" {
			flag.NoOptDefVal = "true"
		}
	}
	flags.StringVar(&file, "config", "", "YAML file with settings (default $"+config.FileEnv+")")
	flags.BoolVar(&printConfig, "print-config", false, "print what is in force and who set it, as a YAML file, and exit")
	return cmd
}

// givenFlags are the texts of the flags on the command line.
func givenFlags(flags *pflag.FlagSet) map[string]string {
	given := make(map[string]string)
	flags.Visit(func(f *pflag.Flag) { given[f.Name] = f.Value.String() })
	return given
}

func newServerLogger(cfg *config.Config) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(cfg.LogLevel)); err != nil {
		return nil, fmt.Errorf("log.level: %w", err)
	}
	options := &slog.HandlerOptions{Level: level}
	if cfg.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(os.Stderr, options)), nil
	}
	return slog.New(slog.NewTextHandler(os.Stderr, options)), nil
}

// buildVersion is the version that the Go tool stamped into the binary.
func buildVersion() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}
