package load

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/rpc"
)

const (
	// txTimeoutMillis is how long the server keeps a transaction that the load
	// left behind.
	txTimeoutMillis = 60_000
	// hotRows are shared by the transactions that Options.Conflict chooses.
	hotRows = 8
	// errorPause keeps callers from flooding a server that refuses them.
	errorPause = 10 * time.Millisecond
)

// caller runs one transaction after the other.
type caller struct {
	o       Options
	conn    *rpc.Conn
	counts  *tally
	nextRow *atomic.Int64 // shared: gives every branch a row of its own
	random  *rand.Rand
	latency histogram
}

// run calls until the time is over. The error says that the connection is lost.
func (c *caller) run(ctx context.Context, until time.Time) error {
	for begin := time.Now(); begin.Before(until) && ctx.Err() == nil; begin = time.Now() {
		committed, err := c.transaction(ctx)
		switch {
		case committed:
			c.latency.add(time.Since(begin))
			c.counts.committed.Add(1)
		case err == nil:
			c.counts.conflicts.Add(1)
		case c.conn.Err() != nil:
			c.counts.fail(err)
			return fmt.Errorf("%s: %w", c.o.Target, c.conn.Err())
		default:
			c.counts.fail(err)
			pause(ctx, errorPause)
		}
	}
	return nil
}

// transaction is one begin, register..., commit. Neither committed nor an
// error means a lock conflict, rolled back.
func (c *caller) transaction(ctx context.Context) (committed bool, err error) {
	begun, err := ask[*protocol.GlobalBeginResult](ctx, c.conn, &protocol.GlobalBegin{TimeoutMillis: txTimeoutMillis, Name: "bench"})
	if err != nil {
		return false, err
	}
	if err := check(begun.TxResult); err != nil {
		return false, err
	}
	global := protocol.Global{XID: begun.XID}
	for i := range c.o.Branches {
		registered, err := ask[*protocol.BranchRegisterResult](ctx, c.conn, c.registration(begun.XID, i))
		if err != nil {
			return false, err
		}
		if registered.Exception == protocol.ExceptionLockKeyConflict || registered.Exception == protocol.ExceptionLockKeyConflictFailFast {
			return false, c.rollback(ctx, global, i)
		}
		if err := check(registered.TxResult); err != nil {
			return false, err
		}
		c.counts.registered.Add(1)
	}
	done, err := ask[*protocol.GlobalCommitResult](ctx, c.conn, &protocol.GlobalCommit{Global: global})
	if err != nil {
		return false, err
	}
	if err := check(done.TxResult); err != nil {
		return false, err
	}
	if done.Status != protocol.StatusCommitted && done.Status != protocol.StatusAsyncCommitting {
		return false, fmt.Errorf("commit answered %s", done.Status)
	}
	c.counts.expected.Add(uint64(c.o.Branches))
	return true, nil
}

func (c *caller) rollback(ctx context.Context, global protocol.Global, registered int) error {
	done, err := ask[*protocol.GlobalRollbackResult](ctx, c.conn, &protocol.GlobalRollback{Global: global})
	if err != nil {
		return err
	}
	c.counts.expected.Add(uint64(registered))
	return check(done.TxResult)
}

func (c *caller) registration(xid string, branch int) *protocol.BranchRegister {
	m := &protocol.BranchRegister{XID: xid, Type: c.o.branchType(), ResourceID: c.o.resourceID()}
	switch {
	case c.o.Mode == TCC:
		m.ApplicationData = `{"actionContext":{"action-start-time":0,"amount":1}}`
	case branch == 0 && c.o.Conflict > 0 && c.random.Float64() < c.o.Conflict:
		m.LockKey = "account:hot" + strconv.Itoa(c.random.IntN(hotRows))
	default:
		m.LockKey = "account:" + strconv.FormatInt(c.nextRow.Add(1), 10)
	}
	return m
}

// ask sends a request and wants an answer of the type R.
func ask[R protocol.Message](ctx context.Context, conn *rpc.Conn, m protocol.Message) (R, error) {
	var none R
	response, err := conn.Call(ctx, m, nil)
	if err != nil {
		return none, err
	}
	result, ok := response.Message.(R)
	if !ok {
		return none, fmt.Errorf("a request of type %d was answered with type %d", m.TypeCode(), response.Message.TypeCode())
	}
	return result, nil
}

func check(r protocol.TxResult) error {
	if r.Code != protocol.ResultSuccess {
		return fmt.Errorf("the server answers %s: %s", r.Exception, r.Message)
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
