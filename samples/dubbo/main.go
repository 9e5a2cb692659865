// Command dubbo is the smallest example of transactions over dubbo-go: an order is
// written, its pieces leave the stock (AT) and its points are reserved (TCC), in
// three databases behind two Dubbo services; all of it or nothing.
//
// Job: show where the transaction is wired: dubbo.go names the filters, order.go
// begins, stock.go and points.go take part.
// Owner: readers. The shop in samples/shop is the large example.
// It must not know: more of dubbo-go than two services without a registry need.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

const usage = `An order over two Dubbo services, one under AT and one a TCC action.

Usage:
  go -C samples/dubbo run . [--rpc dubbo|triple] [--coordinator host:port]

Example, on Java's protocol and with a coordinator that runs already:
  go -C samples/dubbo run . --rpc dubbo --coordinator 127.0.0.1:8091

Flags:
`

func main() {
	flags := flag.NewFlagSet("dubbo", flag.ExitOnError)
	rpc := flags.String("rpc", "triple", "the protocol between the services: dubbo or triple")
	coordinator := flags.String("coordinator", "", "a running coordinator; without one, the sample starts its own")
	flags.Usage = func() {
		fmt.Fprint(flags.Output(), usage)
		flags.PrintDefaults()
	}
	_ = flags.Parse(os.Args[1:]) // ExitOnError
	quiet()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := start(ctx, os.Stdout, *rpc, *coordinator); err != nil {
		stop()
		fmt.Fprintln(os.Stderr, "dubbo:", err)
		os.Exit(1)
	}
}

// start runs the sample in a directory of its own, which it removes.
func start(ctx context.Context, out io.Writer, rpc, coordinator string) (err error) {
	dir, err := os.MkdirTemp("", "qiao-dubbo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if coordinator == "" {
		fmt.Fprintln(out, "starting a coordinator: go run ./cmd/qiao server")
		var stop func() error
		if coordinator, stop, err = startCoordinator(ctx, dir); err != nil {
			return fmt.Errorf("start a coordinator: %w; or run qiao server and give its address with --coordinator", err)
		}
		defer func() { err = errors.Join(err, stop()) }()
	}
	return run(ctx, out, rpc, coordinator, dir)
}

// startCoordinator builds and runs qiao server from this checkout.
func startCoordinator(ctx context.Context, dir string) (address string, stop func() error, err error) {
	_, here, _, _ := runtime.Caller(0)
	binary, portFile := filepath.Join(dir, "qiao"), filepath.Join(dir, "address")
	build := exec.CommandContext(ctx, "go", "build", "-o", binary, "./cmd/qiao")
	build.Dir = filepath.Join(filepath.Dir(here), "..", "..")
	if text, err := build.CombinedOutput(); err != nil {
		return "", nil, fmt.Errorf("%w: %s", err, text)
	}
	server := exec.Command(binary, "server", "--listen", "127.0.0.1:0", "--port-file", portFile,
		"--data", filepath.Join(dir, "data"), "--log-level", "error")
	server.Stderr = os.Stderr
	if err := server.Start(); err != nil {
		return "", nil, err
	}
	exited := make(chan error, 1)
	go func() { exited <- server.Wait() }()
	stop = func() error {
		if err := server.Process.Signal(syscall.SIGTERM); err != nil {
			return err
		}
		return <-exited
	}
	for {
		if text, err := os.ReadFile(portFile); err == nil && len(text) > 0 {
			return strings.TrimSpace(string(text)), stop, nil
		}
		select {
		case err := <-exited:
			return "", nil, fmt.Errorf("the server ended: %w", err)
		case <-ctx.Done():
			return "", nil, errors.Join(ctx.Err(), stop())
		case <-time.After(10 * time.Millisecond):
		}
	}
}
