package at_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/rm"
)

// coordinator is a small TC in memory: it knows resources, branches and locks.
type coordinator struct {
	t testing.TB

	mu        sync.Mutex
	resources map[string]rm.Resource
	locks     map[string]string // resource, table and key to XID
	branches  map[string][]rm.Branch
	keys      map[int64]string // branch to its lock key
	reports   []rm.Report
	asked     []rm.Registration // also those that were refused
	failFast  bool
	nextXID   int64
	nextID    int64
	// registering is called before each registration, outside of mu.
	registering func(context.Context, rm.Registration) error
	// registered is called after each.
	registered func()
}

func newCoordinator(t testing.TB) *coordinator {
	return &coordinator{t: t, resources: map[string]rm.Resource{}, locks: map[string]string{}, branches: map[string][]rm.Branch{}, keys: map[int64]string{}}
}

func (c *coordinator) RegisterResource(_ context.Context, r rm.Resource) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.resources[r.ID()] = r
	return nil
}

func (c *coordinator) RegisterBranch(ctx context.Context, r rm.Registration) (int64, error) {
	if c.registering != nil {
		if err := c.registering(ctx, r); err != nil {
			return 0, err
		}
	}
	if ctx.Err() != nil {
		return 0, ctx.Err()
	}
	if c.registered != nil {
		defer c.registered()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked = append(c.asked, r)
	if err := c.conflict(r.XID, r.ResourceID, r.LockKey); err != nil {
		return 0, err
	}
	for _, key := range split(r.ResourceID, r.LockKey) {
		c.locks[key] = r.XID
	}
	c.nextID++
	c.keys[c.nextID] = r.LockKey
	c.branches[r.XID] = append(c.branches[r.XID], rm.Branch{XID: r.XID, ID: c.nextID, Type: r.Type, ResourceID: r.ResourceID})
	return c.nextID, nil
}

func (c *coordinator) ReportBranch(_ context.Context, r rm.Report) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reports = append(c.reports, r)
	return nil
}

func (c *coordinator) CheckLocks(ctx context.Context, xid string, _ protocol.BranchType, resourceID, lockKey string) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.conflict(xid, resourceID, lockKey)
}

func (c *coordinator) conflict(xid, resourceID, lockKey string) error {
	for _, key := range split(resourceID, lockKey) {
		if holder := c.locks[key]; holder != "" && holder != xid {
			return &rm.LockConflict{Holder: holder, FailFast: c.failFast, Message: key}
		}
	}
	return nil
}

func split(resourceID, lockKey string) []string {
	var keys []string
	for group := range strings.SplitSeq(lockKey, ";") {
		table, pks, _ := strings.Cut(group, ":")
		for pk := range strings.SplitSeq(pks, ",") {
			keys = append(keys, resourceID+" "+table+":"+pk)
		}
	}
	return keys
}

// begin makes an XID; nothing else happens at the coordinator.
func (c *coordinator) begin() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.nextXID++
	return fmt.Sprintf("127.0.0.1:8091:%d", c.nextXID)
}

// hold locks rows for a transaction that has no branch here.
func (c *coordinator) hold(xid, resourceID, lockKey string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, key := range split(resourceID, lockKey) {
		c.locks[key] = xid
	}
}

func (c *coordinator) release(xid string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for key, holder := range c.locks {
		if holder == xid {
			delete(c.locks, key)
		}
	}
}

func (c *coordinator) branchesOf(xid string) []rm.Branch {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.branches[xid])
}

func (c *coordinator) lockKeys(xid string) []string {
	var keys []string
	for _, b := range c.branchesOf(xid) {
		c.mu.Lock()
		keys = append(keys, c.keys[b.ID])
		c.mu.Unlock()
	}
	return keys
}

// holdingLocks counts the registrations that told of local locks.
func (c *coordinator) holdingLocks() (n int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range c.asked {
		if r.HoldsLocks {
			n++
		}
	}
	return n
}

func (c *coordinator) reported() []rm.Report {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.reports)
}

func (c *coordinator) commit(xid string) {
	c.t.Helper()
	c.release(xid)
	for _, b := range c.branchesOf(xid) {
		status, err := c.resources[b.ResourceID].Commit(c.t.Context(), b)
		require.NoError(c.t, err)
		require.Equal(c.t, protocol.BranchPhaseTwoCommitted, status)
	}
}

// rollback undoes the branches, the last first, and keeps the locks of those
// that could not be.
func (c *coordinator) rollback(xid string) {
	c.t.Helper()
	branches := c.branchesOf(xid)
	slices.Reverse(branches)
	for _, b := range branches {
		status, err := c.resources[b.ResourceID].Rollback(c.t.Context(), b)
		require.NoError(c.t, err)
		require.Equal(c.t, protocol.BranchPhaseTwoRollbacked, status)
	}
	c.release(xid)
}
