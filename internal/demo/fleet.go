package demo

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"

	"github.com/qiao-tx/qiao/internal/child"
)

// fleet is all programs of the demo.
type fleet struct {
	coordinator, order, stock, account, points *child.Process
}

// newFleet describes the programs; none runs yet.
func newFleet(dir string, command []string, dsns map[string]string) (*fleet, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	var addresses [5]string
	for i := range addresses {
		if addresses[i], err = child.FreeAddress("127.0.0.1"); err != nil {
			return nil, err
		}
	}
	program := func(name, address string, args ...string) *child.Process {
		return &child.Process{
			Name: name, Address: address, Log: filepath.Join(dir, name+".log"),
			Command: slices.Concat([]string{self}, command, args),
		}
	}
	coordinator := program("coordinator", addresses[0], "server", "--listen", addresses[0], "--data", filepath.Join(dir, "coordinator"))
	coordinator.Health = "/health"
	service := func(name, address string) *child.Process {
		return program(name, address, "shop", "--service", name, "--coordinator", addresses[0], "--listen", address, "--dsn", dsns[name],
			"--stock", addresses[2], "--account", addresses[3], "--points", addresses[4])
	}
	return &fleet{
		coordinator: coordinator, order: service("order", addresses[1]), stock: service("stock", addresses[2]),
		account: service("account", addresses[3]), points: service("points", addresses[4]),
	}, nil
}

func (f *fleet) all() []*child.Process {
	return []*child.Process{f.coordinator, f.stock, f.account, f.points, f.order}
}

func (f *fleet) start(ctx context.Context) error {
	for _, c := range f.all() {
		if err := c.Start(ctx); err != nil {
			return err
		}
	}
	return nil
}

// stop ends the services before the coordinator that they talk to.
func (f *fleet) stop() error {
	return errors.Join(f.order.Stop(), f.points.Stop(), f.account.Stop(), f.stock.Stop(), f.coordinator.Stop())
}
