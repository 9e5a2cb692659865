package etcd

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/qiao-tx/qiao/client/naming"
)

// errLost reports a listing that etcd no longer has.
var errLost = errors.New("the lease has ended: the node is no longer listed")

// Announce implements naming.Announcer. The node is listed as long as its lease
// lives: when the process dies, or cannot reach etcd for so long, etcd forgets it.
// (Java's server never lists itself again once its lease has ended.)
func (r *Registry) Announce(ctx context.Context, address string, state func(error)) error {
	value, err := naming.ToSeata(address)
	if err != nil {
		return fmt.Errorf("etcd: the node's own address: %w", err)
	}
	l := &listing{registry: r, key: r.prefix + value, value: value}
	told := "never" // what state heard last
	tell := func(err error) {
		text := ""
		if err != nil {
			text = err.Error()
		}
		if text != told {
			told = text
			state(err)
		}
	}
	for attempt := 0; ctx.Err() == nil; attempt++ {
		err := l.keep(ctx, func() {
			attempt = 0
			tell(nil)
		})
		if ctx.Err() == nil {
			tell(err)
			sleep(ctx, attempt)
		}
	}
	return l.end(ctx)
}

// listing is one node's entry.
type listing struct {
	registry   *Registry
	key, value string
	lease      clientv3.LeaseID // 0 before the first
	warned     bool             // of another process under the address
}

// keep lists the node, calls listed, and keeps it listed until that fails or ctx
// ends.
func (l *listing) keep(ctx context.Context, listed func()) error {
	client, err := l.registry.connected()
	if err != nil {
		return err
	}
	if err := l.begin(ctx, client); err != nil {
		return l.registry.wrap("list "+l.key, err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	alive, err := client.KeepAlive(ctx, l.lease)
	if err != nil {
		l.registry.disconnect(client) // it keeps no lease any more
		return l.registry.wrap("keep "+l.key, err)
	}
	listed()
	ttl := l.registry.cfg.LeaseTTL
	check := time.NewTicker(ttl)
	defer check.Stop()
	for {
		select {
		case _, ok := <-alive:
			if !ok {
				return l.registry.wrap("keep "+l.key, errLost)
			}
		case <-check.C:
			if err := l.restore(ctx, client); err != nil {
				return l.registry.wrap("keep "+l.key, err)
			}
		}
	}
}

// begin lists the node under a new lease. The entry of the process that had the
// address before is replaced; its lease then ends without effect.
func (l *listing) begin(ctx context.Context, client *clientv3.Client) error {
	ctx, cancel := context.WithTimeout(ctx, requestWait)
	defer cancel()
	lease, err := client.Grant(ctx, int64(l.registry.cfg.LeaseTTL/time.Second))
	if err != nil {
		return err
	}
	l.lease = lease.ID
	_, err = client.Put(ctx, l.key, l.value, clientv3.WithLease(l.lease))
	return err
}

// restore writes the entry again if somebody has removed it, and tells of another
// process that has replaced it. An etcd that does not answer is left to the lease to
// notice.
func (l *listing) restore(ctx context.Context, client *clientv3.Client) error {
	ctx, cancel := context.WithTimeout(ctx, requestWait)
	defer cancel()
	missing := clientv3.Compare(clientv3.CreateRevision(l.key), "=", 0)
	answer, err := client.Txn(ctx).If(missing).
		Then(clientv3.OpPut(l.key, l.value, clientv3.WithLease(l.lease))).Else(clientv3.OpGet(l.key)).Commit()
	if errors.Is(err, rpctypes.ErrLeaseNotFound) {
		return errLost
	}
	if err == nil && !answer.Succeeded {
		l.noteTwin(answer)
	}
	return nil
}

// noteTwin warns once when the entry is another process's: one of the two would get
// what belongs to the other.
func (l *listing) noteTwin(answer *clientv3.TxnResponse) {
	for _, kv := range answer.Responses[0].GetResponseRange().GetKvs() {
		if kv.GetLease() != int64(l.lease) && !l.warned {
			l.warned = true
			l.registry.cfg.Logger.Warn("another process is listed in etcd under this node's address; advertise an address of its own for each", "key", l.key)
		}
	}
}

// end takes the node off the list at once.
func (l *listing) end(ctx context.Context) error {
	if l.lease == 0 {
		return nil // it was never listed
	}
	client, err := l.registry.connected()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), requestWait)
	defer cancel()
	if _, err := client.Revoke(ctx, l.lease); err != nil && !errors.Is(err, rpctypes.ErrLeaseNotFound) {
		return l.registry.wrap("take "+l.key+" off the list; it goes by itself when its lease ends", err)
	}
	return nil
}
