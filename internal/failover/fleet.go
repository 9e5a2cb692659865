package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/qiao-tx/qiao/internal/child"
	"github.com/qiao-tx/qiao/internal/promtext"
)

// patience bounds each wait.
const patience = 90 * time.Second

// fleet is three servers, the nodes of one cluster.
type fleet struct{ nodes []*node }

type node struct {
	name    string
	process *child.Process
}

// standing is what a node tells at /cluster.
type standing struct {
	Node, Leader string
	Applied      uint64
}

func startFleet(ctx context.Context, program, dir string) (*fleet, error) {
	f := &fleet{}
	var list []string
	for _, name := range []string{"a", "b", "c"} {
		address, err := child.FreeAddress("127.0.0.1")
		if err != nil {
			return nil, err
		}
		list = append(list, name+"="+address)
		f.nodes = append(f.nodes, &node{name, &child.Process{
			Name: name, Address: address, Health: "/health", Log: filepath.Join(dir, name+".log"), Signal: syscall.SIGTERM,
		}})
	}
	for _, n := range f.nodes {
		n.process.Command = []string{program, "server", "--cluster-nodes", strings.Join(list, ","), "--cluster-node", n.name,
			"--data", filepath.Join(dir, n.name), "--retry-after", "200ms", "--retry-max", "1s"}
		if err := n.process.Start(ctx); err != nil {
			return nil, errors.Join(err, f.stop())
		}
	}
	if _, err := f.leader(ctx); err != nil {
		return nil, errors.Join(err, f.stop())
	}
	return f, nil
}

func (f *fleet) addresses() []string {
	var all []string
	for _, n := range f.nodes {
		all = append(all, n.process.Address)
	}
	return all
}

func (f *fleet) stop() error {
	var errs []error
	for _, n := range f.nodes {
		errs = append(errs, n.process.Stop())
	}
	return errors.Join(errs...)
}

func (n *node) standing(ctx context.Context) (s standing, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+n.process.Address+"/cluster", nil)
	if err != nil {
		return s, err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return s, err
	}
	defer answer.Body.Close()
	return s, json.NewDecoder(answer.Body).Decode(&s)
}

// leader waits until a node says of itself that it leads.
func (f *fleet) leader(ctx context.Context) (*node, error) {
	var leads *node
	err := await(ctx, "no node leads", func() bool {
		for _, n := range f.nodes {
			if s, err := n.standing(ctx); err == nil && s.Leader == n.name {
				leads = n
			}
		}
		return leads != nil
	})
	return leads, err
}

// restart starts a node that was killed, and waits until it has caught up with what
// the leader has now.
func (f *fleet) restart(ctx context.Context, n *node) error {
	if err := n.process.Start(ctx); err != nil {
		return err
	}
	var goal uint64
	err := await(ctx, "no node leads", func() bool {
		for _, other := range f.nodes {
			if s, err := other.standing(ctx); err == nil && s.Leader == other.name {
				goal = s.Applied
			}
		}
		return goal > 0
	})
	if err != nil {
		return err
	}
	return await(ctx, "node "+n.name+" does not catch up", func() bool {
		s, err := n.standing(ctx)
		return err == nil && s.Applied >= goal
	})
}

// awaitEmpty waits until every node has forgotten every transaction and lock.
func (f *fleet) awaitEmpty(ctx context.Context) error {
	left := ""
	err := await(ctx, "transactions or locks are left", func() bool {
		left = ""
		for _, n := range f.nodes {
			values, err := promtext.Fetch(ctx, "http://"+n.process.Address+"/metrics")
			if err != nil || values["qiao_store_transactions"] > 0 || values["qiao_store_locks"] > 0 {
				left += fmt.Sprintf("; node %s: %v transactions, %v locks, error %v", n.name,
					values["qiao_store_transactions"], values["qiao_store_locks"], err)
			}
		}
		return left == ""
	})
	if err != nil {
		return fmt.Errorf("%w%s", err, left)
	}
	return nil
}

// await waits until done, or says what is missing.
func await(ctx context.Context, missing string, done func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for !done() {
		if err := sleep(ctx, 5*time.Millisecond); err != nil {
			return fmt.Errorf("%s: %w", missing, err)
		}
	}
	return nil
}
