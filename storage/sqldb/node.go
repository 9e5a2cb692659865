package sqldb

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/qiao-tx/qiao/storage"
)

// ErrLeaseLost: this coordinator was silent for so long that another one may have
// its worker id. It must not go on; started again it takes a new one.
var ErrLeaseLost = errors.New("this node's lease of its worker id ended")

// maxWorkers is how many worker ids there are (org.apache.seata.common.util.IdWorker).
const maxWorkers = 1024

// node is this coordinator among those on the database: it holds a worker id by a
// lease in qiao_node, and knows who else does.
type node struct {
	s       *Store
	worker  atomic.Int64
	token   string
	address string
	lease   time.Duration
	java    *java
	// renewing is held while the row of the lease changes.
	renewing sync.Mutex

	mu sync.Mutex
	// until is when the lease ends, by this process's clock, and so earlier than by
	// the database's.
	until time.Time
	// live are all nodes that hold a worker id, in ascending order of these.
	live []storage.Node
	err  error

	failed chan struct{}
}

// join takes a worker id that nobody uses, and holds it.
func (s *Store) join(ctx context.Context, address string, lease time.Duration) (*node, error) {
	n := &node{s: s, token: rand.Text(), address: address, lease: lease, failed: make(chan struct{})}
	n.java = newJava(n)
	if err := s.alone(ctx, address, lease); err != nil {
		return nil, err
	}
	worker, err := n.choose(ctx)
	if err != nil {
		return nil, err
	}
	n.worker.Store(worker)
	if err := n.look(ctx); err != nil {
		return nil, err
	}
	unsure, err := n.java.look(ctx, true)
	if unsure && err == nil {
		select {
		case <-time.After(javaPeriod):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		_, err = n.java.look(ctx, false)
	}
	return n, err
}

// choose takes a worker id that nobody uses, and the lease with it.
func (n *node) choose(ctx context.Context) (int64, error) {
	used, err := n.s.usedWorkers(ctx)
	if err != nil {
		return 0, err
	}
	for worker := range int64(maxWorkers) {
		if used[worker] {
			continue
		}
		asked := time.Now()
		taken, err := n.take(ctx, worker, n.address)
		if err != nil {
			return 0, fmt.Errorf("take a worker id: %w", err)
		}
		if taken {
			n.mu.Lock()
			n.until = asked.Add(n.lease)
			n.mu.Unlock()
			return worker, nil
		}
	}
	return 0, fmt.Errorf("%w: all %d worker ids are in use; see the tables qiao_node and global_table", ErrConfig, maxWorkers)
}

// alone waits until no other node has the address: two would take each other's
// transactions for their own. What a crashed process held ends with its lease.
func (s *Store) alone(ctx context.Context, address string, lease time.Duration) error {
	if address == "" {
		return nil
	}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for patience := time.Now().Add(lease + time.Second); ; {
		others := 0
		st := s.dialect.statement("SELECT COUNT(*) FROM qiao_node WHERE address=").param(address)
		err := query(ctx, s.db, st.add(" AND expires_at>="+s.dialect.clock), func(rows *sql.Rows) error { return rows.Scan(&others) })
		switch {
		case err != nil:
			return fmt.Errorf("look for other nodes: %w", err)
		case others == 0:
			return nil
		case time.Now().After(patience):
			return fmt.Errorf("%w: another coordinator with the address %s uses the database; give each an address of its own (advertise)", ErrConfig, address)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// usedWorkers lists the worker ids in the ids of live transactions: a Java
// coordinator tells nobody else which one it has.
func (s *Store) usedWorkers(ctx context.Context) (map[int64]bool, error) {
	used := make(map[int64]bool)
	st := s.dialect.statement(fmt.Sprintf("SELECT DISTINCT transaction_id >> %d FROM global_table WHERE transaction_id IS NOT NULL", storage.SequenceBits))
	err := query(ctx, s.db, st, func(rows *sql.Rows) error {
		var worker int64
		err := rows.Scan(&worker)
		used[worker] = true
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("find the worker ids in use: %w", err)
	}
	return used, nil
}

// take takes the worker id if nobody holds it.
func (n *node) take(ctx context.Context, worker int64, address string) (bool, error) {
	d := n.s.dialect
	free := d.statement("DELETE FROM qiao_node WHERE worker=").param(worker).add(" AND expires_at<" + d.clock)
	if _, err := free.exec(ctx, n.s.db); err != nil {
		return false, err
	}
	st := d.statement("INSERT INTO qiao_node (worker,token,address,expires_at) VALUES (")
	st.params(worker, n.token, address).add("," + d.clock + "+").param(n.lease.Milliseconds()).add(")")
	_, err := st.exec(ctx, n.s.db)
	if err != nil && d.failure(err) == raced {
		return false, nil // another node has it
	}
	return err == nil, err
}

// hold renews the lease until the store is closed. A lease that ended, or that
// could not be renewed before its end, fails the node for good.
func (n *node) hold() {
	tick := time.NewTicker(n.lease / 3)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-n.s.ending:
			return
		}
		ctx, cancel := n.s.context(time.Until(n.ends()))
		err := n.renew(ctx)
		if err == nil {
			err = n.look(ctx)
		}
		cancel()
		if errors.Is(err, ErrLeaseLost) || time.Now().After(n.ends()) {
			n.fail(errors.Join(ErrLeaseLost, err))
			return
		}
	}
}

func (n *node) ends() time.Time {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.until
}

// renew puts the end of the lease off.
func (n *node) renew(ctx context.Context) error {
	n.renewing.Lock()
	defer n.renewing.Unlock()
	d := n.s.dialect
	asked := time.Now()
	st := d.statement("UPDATE qiao_node SET expires_at=" + d.clock + "+").param(n.lease.Milliseconds())
	st.add(" WHERE worker=").param(n.workerID()).add(" AND token=").param(n.token)
	result, err := st.exec(ctx, n.s.db)
	if err != nil {
		return err
	}
	if changed, err := result.RowsAffected(); err != nil || changed == 0 {
		return errors.Join(ErrLeaseLost, err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.until = asked.Add(n.lease)
	return nil
}

// look finds out which nodes there are.
func (n *node) look(ctx context.Context) error {
	var live []storage.Node
	st := n.s.dialect.statement("SELECT worker,address FROM qiao_node WHERE expires_at>=" + n.s.dialect.clock + " ORDER BY worker")
	err := query(ctx, n.s.db, st, func(rows *sql.Rows) error {
		var other storage.Node
		err := rows.Scan(&other.Worker, &other.Address)
		live = append(live, other)
		return err
	})
	if err != nil {
		return fmt.Errorf("look for other nodes: %w", err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.live = live
	return nil
}

func (n *node) fail(err error) {
	n.mu.Lock()
	n.err = err
	n.mu.Unlock()
	close(n.failed)
}

// fit answers why this node may not write, or nil.
func (n *node) fit() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case n.err != nil:
		return fmt.Errorf("%w: %w", storage.ErrUnavailable, n.err)
	case time.Now().After(n.until):
		return fmt.Errorf("%w: the lease of worker id %d could not be renewed", storage.ErrUnavailable, n.workerID())
	}
	return nil
}

func (n *node) workerID() int { return int(n.worker.Load()) }

// mine tells whether this node looks after the transaction: each has one of the
// live nodes for its time-out and its retries.
func (n *node) mine(id int64) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.live) == 0 {
		return true
	}
	x := uint64(id) * 0x9E3779B97F4A7C15
	return n.live[x>>32%uint64(len(n.live))].Worker == n.workerID()
}

// Nodes implements storage.Shared. What it tells is as old as the last renewal of the
// lease, which comes three times in its length.
func (s *Store) Nodes() []storage.Node {
	s.node.mu.Lock()
	defer s.node.mu.Unlock()
	return slices.Clone(s.node.live)
}

// others is how many live nodes there are besides this one.
func (n *node) others() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return max(0, len(n.live)-1)
}

// leave gives the worker id back.
func (n *node) leave(ctx context.Context) error {
	given := n.java.giveAll(ctx)
	st := n.s.dialect.statement("DELETE FROM qiao_node WHERE worker=").param(n.workerID()).add(" AND token=").param(n.token)
	if _, err := st.exec(ctx, n.s.db); err != nil {
		return errors.Join(given, fmt.Errorf("give worker id %d back: %w", n.workerID(), err))
	}
	return given
}
