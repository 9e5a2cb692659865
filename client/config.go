package client

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/qiao-tx/qiao/client/naming"
	"github.com/qiao-tx/qiao/protocol/compress"
	"github.com/qiao-tx/qiao/protocol/rpc"
	"github.com/qiao-tx/qiao/tm"
)

// Config describes a Client. Only an address and the ApplicationID are required.
type Config struct {
	// Addresses are the coordinator's nodes, each host:port. Exactly one of
	// Addresses and Resolver must be given.
	Addresses []string
	// Resolver finds the coordinator's nodes: see client/naming and the packages
	// below it. One that has to be closed is closed after the Client.
	Resolver naming.Resolver
	// ResolveEvery is the time between two questions to the Resolver; one that is a
	// naming.Watcher is asked at once when something changes, too. Default 30 s.
	ResolveEvery time.Duration

	// ApplicationID names the application, alike in all its processes: a
	// coordinator lets any of them finish the branches of another. Required.
	ApplicationID string
	// Group is the transaction service group, which a coordinator may map to a
	// cluster. Default "default_tx_group".
	Group string

	// Codec is how messages are written: "seata", the smallest and fastest,
	// "protobuf" or "hessian", in any letter case. The coordinator answers in kind.
	// A Java coordinator must have it among its seata.transport.serialization, and
	// for protobuf the module seata-serializer-protobuf, whose format cannot carry
	// lock keys that are not UTF-8 nor, at Java's end, XA branches. Default "seata".
	Codec string
	// Compressor packs the bodies of messages: "none", "gzip", "zip", "bzip2",
	// "lz4", "deflater" or "zstd", in any letter case. The coordinator answers in
	// kind. Most bodies are short, and packing one costs more than it saves.
	// Default "none".
	Compressor string

	// TMTimeout bounds requests about whole transactions (begin, commit,
	// rollback, status), with the waiting for a connection and all repetitions.
	// A shorter context wins. Default 30 s.
	TMTimeout time.Duration
	// RMTimeout does the same for requests about branches. Default 15 s.
	RMTimeout time.Duration
	// ConnectTimeout bounds one attempt to connect to and register with a node.
	// Default 5 s.
	ConnectTimeout time.Duration

	// TM says what the transaction manager does beside beginning and deciding:
	// hooks, the failure handler, protection, the degrade check. Its Logger is
	// this one's where it has none. The zero value adds nothing.
	TM tm.Config

	// DoNotWait makes Open return before any node is connected. Requests then
	// wait for a connection.
	DoNotWait bool

	// OrderConcurrency is how many phase-two orders run at once for each
	// resource. Default 16.
	OrderConcurrency int
	// OrderTimeout bounds one phase-two order: the resource's context ends then.
	// The coordinator repeats an order that failed. Default 60 s.
	OrderTimeout time.Duration

	// Logger hears of connections found and lost, and of failed orders, but sees
	// no message body. Nil means slog.Default.
	Logger *slog.Logger

	codec, compressor byte // the ids of Codec and Compressor
}

// withDefaults returns a checked copy of cfg without zero values.
func (cfg Config) withDefaults() (Config, error) {
	if (len(cfg.Addresses) == 0) == (cfg.Resolver == nil) {
		return cfg, errors.New("give either Addresses or a Resolver: they say where the coordinator is")
	}
	if cfg.Resolver == nil {
		static, err := naming.NewStatic(cfg.Addresses...)
		if err != nil {
			return cfg, err
		}
		cfg.Resolver = static
	}
	if cfg.ApplicationID == "" {
		return cfg, errors.New("ApplicationID is missing: name the application, alike in all its processes")
	}
	if strings.ContainsAny(cfg.ApplicationID, ":\n") {
		return cfg, fmt.Errorf("ApplicationID %q: must not contain a colon or newline, which Seata uses as separators",
			cfg.ApplicationID)
	}
	if cfg.Group == "" {
		cfg.Group = "default_tx_group"
	}
	cfg, err := cfg.withEncoding()
	if err != nil {
		return cfg, err
	}
	for _, d := range []struct {
		name  string
		value *time.Duration
		zero  time.Duration
	}{
		{"TMTimeout", &cfg.TMTimeout, 30 * time.Second},
		{"RMTimeout", &cfg.RMTimeout, 15 * time.Second},
		{"ResolveEvery", &cfg.ResolveEvery, 30 * time.Second},
		{"ConnectTimeout", &cfg.ConnectTimeout, 5 * time.Second},
		{"OrderTimeout", &cfg.OrderTimeout, 60 * time.Second},
	} {
		if *d.value < 0 {
			return cfg, fmt.Errorf("%s is %v: must not be negative", d.name, *d.value)
		}
		if *d.value == 0 {
			*d.value = d.zero
		}
	}
	if cfg.OrderConcurrency < 0 {
		return cfg, fmt.Errorf("OrderConcurrency is %d: must not be negative", cfg.OrderConcurrency)
	}
	if cfg.OrderConcurrency == 0 {
		cfg.OrderConcurrency = 16
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.TM.Logger == nil {
		cfg.TM.Logger = cfg.Logger
	}
	return cfg, nil
}

// withEncoding checks Codec and Compressor and fills in their ids.
func (cfg Config) withEncoding() (Config, error) {
	if cfg.Codec == "" {
		cfg.Codec = "seata"
	}
	if cfg.Compressor == "" {
		cfg.Compressor = "none"
	}
	var err error
	if cfg.codec, err = rpc.CodecByName(cfg.Codec); err != nil {
		return cfg, fmt.Errorf("codec of the Config: %w", err)
	}
	if cfg.compressor, err = compress.ByName(cfg.Compressor); err != nil {
		return cfg, fmt.Errorf("compressor of the Config: %w", err)
	}
	return cfg, nil
}
