package load

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/rpc"
)

const (
	applicationID = "qiao-bench"
	group         = "default_tx_group"
	// heartbeat is what Seata's clients do; the server gives up a connection
	// after three times as long in silence.
	heartbeat = 5 * time.Second
)

// tally counts what all connections and callers of a run do.
type tally struct {
	committed, conflicts, errors atomic.Uint64
	registered, callbacks        atomic.Uint64
	// expected orders: the branches of decided transactions.
	expected atomic.Uint64
	// firstError is why the first of the errors was one.
	firstError atomic.Pointer[error]
}

// fail counts a request without a proper answer.
func (n *tally) fail(err error) {
	n.errors.Add(1)
	n.firstError.CompareAndSwap(nil, &err)
}

// backlog is how many orders are still to come. Some come before the answer to
// the commit that makes them expected.
func (n *tally) backlog() int64 { return max(0, int64(n.expected.Load())-int64(n.callbacks.Load())) }

// connect opens a connection that is a transaction manager and a resource
// manager at once.
func connect(ctx context.Context, o Options, target string, counts *tally) (*rpc.Conn, error) {
	nc, err := new(net.Dialer).DialContext(ctx, "tcp", target)
	if err != nil {
		return nil, fmt.Errorf("connect: %w; is a server running there?", err)
	}
	conn := rpc.New(nc, rpc.Options{WriteIdle: heartbeat, Handler: counts.handle})
	if err := register(ctx, conn, o, target); err != nil {
		disconnect(conn)
		return nil, err
	}
	return conn, nil
}

func disconnect(conn *rpc.Conn) {
	conn.Close(nil)
	conn.Wait()
}

func register(ctx context.Context, conn *rpc.Conn, o Options, target string) error {
	identity := protocol.Identity{Version: protocol.SeataVersion, ApplicationID: applicationID, Group: group}
	tm, err := conn.Call(ctx, &protocol.RegisterTM{Identity: identity}, nil)
	if err != nil {
		return fmt.Errorf("register at %s: %w", target, err)
	}
	rm, err := conn.Call(ctx, &protocol.RegisterRM{Identity: identity, ResourceIDs: o.resourceID()}, nil)
	if err != nil {
		return fmt.Errorf("register at %s: %w", target, err)
	}
	tmResult, tmOK := tm.Message.(*protocol.RegisterTMResult)
	rmResult, rmOK := rm.Message.(*protocol.RegisterRMResult)
	if !tmOK || !rmOK || !tmResult.Identified || !rmResult.Identified {
		return fmt.Errorf("register at %s: %w", target, errRefused)
	}
	return nil
}

var errRefused = errors.New("the server refused the registration; its log says why")

// handle answers the server's orders at once: a branch of the load has nothing
// to do in phase two.
func (n *tally) handle(conn *rpc.Conn, r rpc.Request) {
	var answer protocol.Message
	switch m := r.Message.(type) {
	case *protocol.BranchCommit:
		answer = &protocol.BranchCommitResult{BranchOutcome: outcome(m.BranchOrder, protocol.BranchPhaseTwoCommitted)}
	case *protocol.BranchRollback:
		answer = &protocol.BranchRollbackResult{BranchOutcome: outcome(m.BranchOrder, protocol.BranchPhaseTwoRollbacked)}
	default: // the daily UndoLogDelete
		return
	}
	n.callbacks.Add(1)
	if err := conn.Reply(r, answer, nil); err != nil {
		n.errors.Add(1)
	}
}

func outcome(o protocol.BranchOrder, status protocol.BranchStatus) protocol.BranchOutcome {
	return protocol.BranchOutcome{TxResult: protocol.OK(), XID: o.XID, BranchID: o.BranchID, Status: status}
}
