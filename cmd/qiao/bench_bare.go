package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/spf13/cobra"

	"github.com/qiao-tx/qiao/internal/load"
)

const responderCommand = "bench-responder"

// responderAddresses is what a responder prints when it is ready.
type responderAddresses struct{ Target, Metrics string }

// runBare measures a responder that runs in a process of its own, so that its
// CPU time can be told from the load's.
func (f *benchFlags) runBare(ctx context.Context, o load.Options, progress func(load.Progress)) (report *load.Report, err error) {
	branches := o.Branches
	if o.Mode == load.Empty {
		branches = 0
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	child := exec.Command(self, childCommand, responderCommand, "--branches", strconv.Itoa(branches), "--dir", f.dir)
	child.Stderr = os.Stderr
	stdin, err := child.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := child.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := child.Start(); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, stdin.Close(), child.Wait()) }()
	var at responderAddresses
	if err := json.NewDecoder(stdout).Decode(&at); err != nil {
		return nil, fmt.Errorf("the responder did not start: %w", err)
	}
	o.Target, o.Metrics = at.Target, at.Metrics
	return load.Run(ctx, o, progress)
}

func newBenchResponderCommand() *cobra.Command {
	var branches int
	var dir string
	cmd := &cobra.Command{
		Use:    responderCommand,
		Short:  "The other end of bench --bare",
		Hidden: true,
		Args:   noArguments,
		RunE:   func(cmd *cobra.Command, _ []string) error { return respond(cmd, branches, dir) },
	}
	cmd.Flags().IntVar(&branches, "branches", 2, "orders of phase two for each transaction")
	cmd.Flags().StringVar(&dir, "dir", "", "where to write (default: the temporary directory)")
	return cmd
}

// respond serves until the command's context ends.
func respond(cmd *cobra.Command, branches int, dir string) (err error) {
	file, err := os.CreateTemp(dir, "qiao-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close(), os.Remove(file.Name())) }()
	responder, err := load.NewResponder(file, branches)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	metrics, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	server := &http.Server{Handler: responderMetrics(responder)}
	go func() { _ = server.Serve(metrics) }() // ends with Close
	defer server.Close()
	if err := json.NewEncoder(cmd.OutOrStdout()).Encode(responderAddresses{
		Target: listener.Addr().String(), Metrics: "http://" + metrics.Addr().String(),
	}); err != nil {
		return errors.Join(err, listener.Close())
	}
	return responder.Serve(cmd.Context(), listener)
}

func responderMetrics(r *load.Responder) http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "qiao_batches_total", Help: "Records written."},
			func() float64 { return float64(r.Records()) }),
	)
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{})
}
