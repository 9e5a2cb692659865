package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/qiao-tx/qiao/client"
	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/rm"
	"github.com/qiao-tx/qiao/tm"
)

const (
	resource = "jdbc:mysql://failover:3306/db"
	// timeout is how long a transaction lasts that its caller lost sight of.
	timeout = 10 * time.Second
	// rollbackShare of the transactions are rolled back, in percent.
	rollbackShare = 10
)

// load is callers that begin transactions, register a branch with a lock, and decide.
type load struct {
	client *client.Client
	cancel context.CancelFunc
	all    sync.WaitGroup
	begun  chan time.Time // begins that succeeded, by when they were asked for
	last   atomic.Int64   // row that was locked last

	mu      sync.Mutex
	wanted  map[string]decision // by XID
	ordered map[string]decision
	failed  map[string]int // errors, by text
	mixed   []string       // XIDs with both orders
}

// decision is how a transaction is to end, and the orders of its branch.
type decision int

const (
	open decision = iota // unknown: an answer is missing
	committed
	rolledBack
)

// startLoad connects to all servers and starts the callers.
func startLoad(ctx context.Context, addresses []string, callers int) (*load, error) {
	l := &load{
		begun: make(chan time.Time, 1<<16), wanted: make(map[string]decision), ordered: make(map[string]decision), failed: make(map[string]int),
	}
	l.last.Store(time.Now().UnixNano())
	c, err := client.Open(ctx, client.Config{
		Addresses: addresses, ApplicationID: "failover", Logger: slog.New(slog.DiscardHandler), TMTimeout: 15 * time.Second, RMTimeout: 10 * time.Second,
	})
	if err != nil {
		return nil, err
	}
	l.client = c
	if err := c.RM().RegisterResource(ctx, table{l}); err != nil {
		return nil, errors.Join(err, l.stop())
	}
	running, cancel := context.WithCancel(ctx)
	l.cancel = cancel
	for range callers {
		l.all.Go(func() {
			for running.Err() == nil {
				l.transaction(context.WithoutCancel(running))
			}
		})
	}
	return l, nil
}

// end lets each caller finish its transaction.
func (l *load) end() {
	if l.cancel != nil {
		l.cancel()
	}
	l.all.Wait()
}

func (l *load) stop() error {
	l.end()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return l.client.Close(ctx)
}

// begunAfter waits for a begin that was asked for after a moment, and returns when
// its answer came.
func (l *load) begunAfter(ctx context.Context, moment time.Time) (time.Time, error) {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		select {
		case asked := <-l.begun:
			if asked.After(moment) {
				return time.Now(), nil
			}
		case <-timer.C:
			return time.Time{}, fmt.Errorf("nothing was begun for %v", patience)
		case <-ctx.Done():
			return time.Time{}, ctx.Err()
		}
	}
}

// transaction carries one out and notes how it is to end.
func (l *load) transaction(ctx context.Context) {
	asked := time.Now()
	t, err := l.client.TM().Begin(ctx, tm.Options{Name: "failover", Timeout: timeout})
	if err != nil {
		l.fail("begin", err)
		return
	}
	select {
	case l.begun <- asked:
	default:
	}
	l.want(t.XID(), open)
	row := l.last.Add(1)
	if _, err := l.client.RM().RegisterBranch(ctx, rm.Registration{
		XID: t.XID(), Type: protocol.TypeAT, ResourceID: resource, LockKey: fmt.Sprint("account:", row), RequestKey: t.XID(),
	}); err != nil {
		l.fail("register", err)
		return // the time-out ends it
	}
	goal, decide := committed, t.Commit
	if rand.IntN(100) < rollbackShare {
		goal, decide = rolledBack, t.Rollback
	}
	if err := decide(ctx); err != nil {
		l.fail("decide", err)
		return
	}
	l.want(t.XID(), goal)
}

func (l *load) want(xid string, d decision) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wanted[xid] = d
}

func (l *load) fail(step string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failed[step]++
	if len(l.failed) < 20 {
		l.failed[step+": "+err.Error()]++
	}
}

// table is the database of the branches: it remembers the orders.
type table struct{ load *load }

func (t table) ID() string                      { return resource }
func (t table) BranchType() protocol.BranchType { return protocol.TypeAT }

func (t table) Commit(_ context.Context, b rm.Branch) (protocol.BranchStatus, error) {
	t.order(b.XID, committed)
	return protocol.BranchPhaseTwoCommitted, nil
}

func (t table) Rollback(_ context.Context, b rm.Branch) (protocol.BranchStatus, error) {
	t.order(b.XID, rolledBack)
	return protocol.BranchPhaseTwoRollbacked, nil
}

func (t table) order(xid string, d decision) {
	t.load.mu.Lock()
	defer t.load.mu.Unlock()
	if before := t.load.ordered[xid]; before != open && before != d {
		t.load.mixed = append(t.load.mixed, xid)
	}
	t.load.ordered[xid] = d
}

// tallied is what became of the transactions.
type tallied struct {
	committed, rolledBack, unknown int
	failed                         map[string]int
}

func (t tallied) String() string {
	return fmt.Sprintf("%d committed, %d rolled back, %d ended by their time-out or without an answer; requests that failed: %d begin, %d register, %d decide",
		t.committed, t.rolledBack, t.unknown, t.failed["begin"], t.failed["register"], t.failed["decide"])
}

// check compares how transactions were to end with the orders that came. All have
// ended.
func (l *load) check(context.Context) (tallied, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := tallied{failed: l.failed}
	var errs []error
	for xid, want := range l.wanted {
		got := l.ordered[xid]
		switch want {
		case committed:
			t.committed++
		case rolledBack:
			t.rolledBack++
		default:
			t.unknown++
			continue
		}
		if got != want && len(errs) < 10 {
			errs = append(errs, fmt.Errorf("%s was answered as decided %d, its branch was ordered %d (1 is commit, 2 rollback)", xid, want, got))
		}
	}
	for _, xid := range l.mixed {
		errs = append(errs, fmt.Errorf("the branch of %s was ordered to commit and to roll back", xid))
	}
	if t.committed == 0 {
		errs = append(errs, errors.New("nothing was committed"))
	}
	return t, errors.Join(errs...)
}
