package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"
)

const (
	readyTimeout = 30 * time.Second
	stopTimeout  = 20 * time.Second
)

// child is one program of the demo, which may be killed and started again.
type child struct {
	name    string
	args    []string
	address string // host:port on which it serves HTTP
	health  string // path that answers when it is ready
	log     string // path of its log

	cmd    *exec.Cmd
	stdin  io.Closer
	exited chan struct{} // closed when the process has ended, with err
	err    error
}

// start runs the program and returns when it answers.
func (c *child) start(ctx context.Context) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	log, err := os.OpenFile(c.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	c.cmd = exec.Command(self, c.args...)
	c.cmd.Stdout, c.cmd.Stderr = log, log
	if c.stdin, err = c.cmd.StdinPipe(); err != nil {
		return err
	}
	if err := c.cmd.Start(); err != nil {
		return err
	}
	c.exited = make(chan struct{})
	go func() { // ends with the process; kill and stop wait for it
		defer close(c.exited)
		c.err = c.cmd.Wait()
	}()
	return c.await(ctx)
}

// await returns when the program answers.
func (c *child) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+c.address+c.health, nil)
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		timer := time.NewTimer(20 * time.Millisecond)
		select {
		case <-c.exited:
			timer.Stop()
			return fmt.Errorf("the %s process ended at once: %w\n%s", c.name, errors.Join(c.err, ctx.Err()), c.logTail())
		case <-ctx.Done():
			timer.Stop()
			return fmt.Errorf("the %s process does not answer: %w\n%s", c.name, ctx.Err(), c.logTail())
		case <-timer.C:
		}
	}
}

// kill ends the process as a crash would: it cannot notice.
func (c *child) kill() error {
	if err := c.cmd.Process.Kill(); err != nil {
		return err
	}
	<-c.exited
	return nil
}

// stop asks the process to end, which it does when its standard input has.
func (c *child) stop() error {
	if c.exited == nil {
		return nil // never started
	}
	_ = c.stdin.Close() // fails only when the process has ended
	timer := time.NewTimer(stopTimeout)
	defer timer.Stop()
	select {
	case <-c.exited:
		return nil
	case <-timer.C:
		return errors.Join(fmt.Errorf("the %s process does not end; killed", c.name), c.kill())
	}
}

func (c *child) logTail() []byte {
	const most = 2000
	text, err := os.ReadFile(c.log)
	if err != nil {
		return []byte(err.Error())
	}
	return bytes.TrimSpace(text[max(0, len(text)-most):])
}

// fleet is all programs of the demo.
type fleet struct {
	coordinator, order, stock, account *child
}

// newFleet describes the programs; none runs yet.
func newFleet(dir string, command []string, dsns map[string]string) (*fleet, error) {
	var addresses [4]string
	for i := range addresses {
		var err error
		if addresses[i], err = freeAddress(); err != nil {
			return nil, err
		}
	}
	coordinator := &child{
		name: "coordinator", address: addresses[0], health: "/health", log: filepath.Join(dir, "coordinator.log"),
		args: slices.Concat(command, []string{"server", "--listen", addresses[0], "--data", filepath.Join(dir, "coordinator")}),
	}
	service := func(name, address string) *child {
		return &child{
			name: name, address: address, health: "/health", log: filepath.Join(dir, name+".log"),
			args: slices.Concat(command, []string{
				"shop", "--service", name, "--coordinator", addresses[0], "--listen", address, "--dsn", dsns[name],
				"--stock", "http://" + addresses[2], "--account", "http://" + addresses[3],
			}),
		}
	}
	return &fleet{
		coordinator: coordinator, order: service("order", addresses[1]),
		stock: service("stock", addresses[2]), account: service("account", addresses[3]),
	}, nil
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

func (f *fleet) all() []*child { return []*child{f.coordinator, f.stock, f.account, f.order} }

func (f *fleet) start(ctx context.Context) error {
	for _, c := range f.all() {
		if err := c.start(ctx); err != nil {
			return err
		}
	}
	return nil
}

// stop ends the services before the coordinator that they talk to.
func (f *fleet) stop() error {
	return errors.Join(f.order.stop(), f.account.stop(), f.stock.stop(), f.coordinator.stop())
}
