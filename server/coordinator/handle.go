package coordinator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/xid"
	"github.com/qiao-tx/qiao/server/txn"
	"github.com/qiao-tx/qiao/storage"
)

// Caller describes the channel a request came in on.
type Caller struct {
	// ClientID is "applicationId:ip:port".
	ClientID      string
	ApplicationID string
	Group         string
	// Qiao: the peer is one of ours and understands the head-map keys.
	Qiao bool
}

// Keys of the frame's head map that travel between our own peers only.
const (
	// HeadRequest names a branch registration, so that it can be repeated.
	HeadRequest = "qiao-request"
	// HeadHolder is the XID that holds the lock a registration wanted.
	HeadHolder = "qiao-holder"
	// HeadStatus is the true status, as a decimal number, where the message
	// body says what a Java transaction manager must read.
	HeadStatus = "qiao-status"
	// HeadAgain is on a failure only between nodes: Unwritten when nothing was done,
	// Unknown when it is not known whether it was.
	HeadAgain = "qiao-again"
)

// Values of HeadAgain.
const (
	Unwritten = "unwritten"
	Unknown   = "unknown"
)

// again is the head map of a failure that is worth asking again.
func (c *Coordinator) again(err error) map[string]string {
	if !c.cfg.TellAgain || err == nil {
		return nil
	}
	var held *storage.LockHeld
	switch {
	case errors.Is(err, storage.ErrUnavailable), errors.Is(err, storage.ErrClosed), errors.Is(err, errStopped):
		return map[string]string{HeadAgain: Unwritten}
	case errors.As(err, &held), errors.Is(err, storage.ErrFull), errors.Is(err, storage.ErrInvalidBatch), errors.Is(err, storage.ErrMoved):
		return nil
	default:
		return map[string]string{HeadAgain: Unknown}
	}
}

// Replier takes the one answer to a request. It must not block.
type Replier func(m protocol.Message, head map[string]string)

// Handle carries out one request of a transaction or resource manager. It does
// not block; reply is called once, from any goroutine, when what it tells is
// durable. It returns false, and calls nothing, for a message that is no such
// request.
func (c *Coordinator) Handle(from Caller, m protocol.Message, head map[string]string, reply Replier) bool {
	switch m := m.(type) {
	case *protocol.GlobalBegin:
		c.begin(from, m, reply)
	case *protocol.GlobalCommit:
		c.commit(from, m, reply)
	case *protocol.GlobalRollback:
		c.rollback(from, m, reply)
	case *protocol.GlobalReport:
		c.report(m, reply)
	case *protocol.GlobalStatusRequest:
		c.query(func(ctx context.Context) { c.globalStatus(ctx, m, reply) })
	case *protocol.BranchRegister:
		c.register(from, m, head[HeadRequest], reply)
	case *protocol.BranchReport:
		c.reportBranch(m, reply)
	case *protocol.GlobalLockQuery:
		c.query(func(ctx context.Context) { c.lockQuery(ctx, m, reply) })
	default:
		return false
	}
	return true
}

func (c *Coordinator) begin(from Caller, m *protocol.GlobalBegin, reply Replier) {
	if c.draining.Load() {
		reply(&protocol.GlobalBeginResult{TxResult: protocol.Failure(protocol.ExceptionBeginFailed,
			"this coordinator is shutting down and begins no transaction; another node does")}, c.again(errStopped))
		return
	}
	id := c.ids.next()
	x := xid.New(c.cfg.Address, id)
	e := txn.Begin{
		XID: x, ID: id, ApplicationID: from.ApplicationID, Group: from.Group,
		Name: m.Name, TimeoutMillis: m.TimeoutMillis,
	}
	c.submit(x, e, func(r txn.Reply, err error) {
		result := &protocol.GlobalBeginResult{TxResult: c.head(r, err, protocol.ExceptionBeginFailed)}
		if result.Code == protocol.ResultSuccess {
			c.stats.begun.Add(1)
			result.XID = x
		}
		reply(result, c.again(err))
	})
}

func (c *Coordinator) commit(from Caller, m *protocol.GlobalCommit, reply Replier) {
	qiao := from.Qiao // all that the closure needs
	c.submit(m.XID, txn.Commit{}, func(r txn.Reply, err error) {
		if err != nil {
			// Java's transaction manager takes the status for the answer and
			// never looks at the result code: this one makes it report an error.
			reply(&protocol.GlobalCommitResult{TxResult: c.head(r, err, protocol.ExceptionFailedStore), Status: protocol.StatusFinished}, c.again(err))
			return
		}
		reply(&protocol.GlobalCommitResult{TxResult: protocol.OK(), Status: txn.CommitAnswer(r.Status)}, trueStatus(qiao, r.Status))
	})
}

func (c *Coordinator) rollback(from Caller, m *protocol.GlobalRollback, reply Replier) {
	qiao := from.Qiao
	c.submit(m.XID, txn.Rollback{}, func(r txn.Reply, err error) {
		result := &protocol.GlobalRollbackResult{TxResult: c.head(r, err, protocol.ExceptionFailedStore), Status: r.Status}
		if err != nil {
			// UnKnown is the status Java neither reports as done nor as failed.
			result.Status = protocol.StatusUnKnown
			reply(result, c.again(err))
			return
		}
		reply(result, trueStatus(qiao, r.Status))
	})
}

func (c *Coordinator) report(m *protocol.GlobalReport, reply Replier) {
	c.submit(m.XID, txn.SagaReport{Status: m.Status}, func(r txn.Reply, err error) {
		reply(&protocol.GlobalReportResult{TxResult: c.head(r, err, protocol.ExceptionFailedStore), Status: r.Status}, c.again(err))
	})
}

func (c *Coordinator) register(from Caller, m *protocol.BranchRegister, requestKey string, reply Replier) {
	e := txn.Register{
		ID: c.ids.next(), Type: m.Type, ResourceID: m.ResourceID, ClientID: from.ClientID,
		LockKey: m.LockKey, ApplicationData: m.ApplicationData, RequestKey: requestKey,
	}
	qiao := from.Qiao
	c.submit(m.XID, e, func(r txn.Reply, err error) {
		var held *storage.LockHeld
		if errors.As(err, &held) {
			c.stats.conflicts.Add(1)
			reply(&protocol.BranchRegisterResult{TxResult: conflict(m, held)}, holder(qiao, held))
			return
		}
		result := &protocol.BranchRegisterResult{TxResult: c.head(r, err, protocol.ExceptionBranchRegisterFailed), BranchID: r.BranchID}
		if result.Code == protocol.ResultSuccess {
			c.stats.branches.Add(1)
		}
		reply(result, c.again(err))
	})
}

func (c *Coordinator) reportBranch(m *protocol.BranchReport, reply Replier) {
	e := txn.Report{BranchID: m.BranchID, Status: m.Status, ApplicationData: m.ApplicationData}
	c.submit(m.XID, e, func(r txn.Reply, err error) {
		reply(&protocol.BranchReportResult{TxResult: c.head(r, err, protocol.ExceptionBranchReportFailed)}, c.again(err))
	})
}

// query runs a request that only reads: off the caller's goroutine if it may
// have to wait. After Close the store answers for itself: it is open still, or
// says that it is not.
func (c *Coordinator) query(read func(context.Context)) {
	ctx := context.Background()
	if c.submitter != nil || !c.enter() {
		read(ctx)
		return
	}
	c.cfg.Spawn(func() {
		defer c.work.Done()
		read(ctx)
	})
}

func (c *Coordinator) globalStatus(ctx context.Context, m *protocol.GlobalStatusRequest, reply Replier) {
	s, err := c.cfg.Store.Load(ctx, m.XID)
	result := &protocol.GlobalStatusResult{TxResult: c.head(txn.Reply{}, err, protocol.ExceptionFailedStore)}
	if err == nil {
		result.Status = txn.Status(&s)
	}
	reply(result, c.again(err))
}

func (c *Coordinator) lockQuery(ctx context.Context, m *protocol.GlobalLockQuery, reply Replier) {
	rows, err := storage.RowKeys(m.ResourceID, m.LockKey)
	if err == nil {
		err = c.cfg.Store.CheckLocks(ctx, m.XID, rows)
	}
	var held *storage.LockHeld
	if errors.As(err, &held) {
		reply(&protocol.GlobalLockQueryResult{TxResult: protocol.OK(), Lockable: false}, nil)
		return
	}
	reply(&protocol.GlobalLockQueryResult{
		TxResult: c.head(txn.Reply{}, err, protocol.ExceptionLockableCheckFailed), Lockable: err == nil,
	}, c.again(err))
}

// head is the head of an answer: success, what the machine refused, or, with
// code, why nothing is known to be decided.
func (c *Coordinator) head(r txn.Reply, err error, code protocol.ExceptionCode) protocol.TxResult {
	if err == nil && r.Refused == nil {
		return protocol.OK()
	}
	c.stats.refused.Add(1)
	if err != nil {
		return protocol.Failure(code, err.Error())
	}
	return protocol.Failure(r.Refused.Code, r.Refused.Message)
}

// conflict is the answer to a registration that met another's lock. The text
// names the holder for peers that do not read the head map.
func conflict(m *protocol.BranchRegister, held *storage.LockHeld) protocol.TxResult {
	code := protocol.ExceptionLockKeyConflict
	if txn.RollingBack(held.Holder.Status) && failsFast(m.ApplicationData) {
		code = protocol.ExceptionLockKeyConflictFailFast
	}
	return protocol.Failure(code, fmt.Sprintf("global lock acquire failed, xid = %s: %v", m.XID, held))
}

// failsFast reads the hint of a client that keeps local locks while it waits:
// the holder's rollback may need them (org.apache.seata.server.transaction.at.ATCore).
func failsFast(applicationData string) bool {
	if !strings.Contains(applicationData, "autoCommit") {
		return false
	}
	var hint struct {
		AutoCommit *bool `json:"autoCommit"`
	}
	err := json.Unmarshal([]byte(applicationData), &hint)
	return err == nil && hint.AutoCommit != nil && !*hint.AutoCommit
}

func holder(qiao bool, held *storage.LockHeld) map[string]string {
	if !qiao {
		return nil
	}
	return map[string]string{HeadHolder: held.Holder.XID}
}

func trueStatus(qiao bool, s protocol.GlobalStatus) map[string]string {
	if !qiao {
		return nil
	}
	return map[string]string{HeadStatus: strconv.Itoa(int(s))}
}
