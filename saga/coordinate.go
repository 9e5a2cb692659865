package saga

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/rm"
	"github.com/qiao-tx/qiao/saga/machine"
	"github.com/qiao-tx/qiao/saga/sagalog"
	"github.com/qiao-tx/qiao/saga/statelang"
)

// namePrefix tells the coordinator that a transaction is a saga before it has a
// branch (org.apache.seata.common.Constants.SAGA_TRANS_NAME_PREFIX).
const namePrefix = "$Saga_"

// beginID returns the id of a new saga: its XID under a coordinator.
func (e *Engine) beginID(ctx context.Context, name string, known bool, timeout time.Duration) (string, error) {
	if e.cfg.Coordinator == nil || !known {
		return sagalog.NewID(time.Now()), nil
	}
	return e.cfg.Coordinator.Begin(ctx, namePrefix+name, timeout)
}

// abandonID ends the global transaction of a saga that did not begin. If that
// fails, its time-out ends it: the engine does not know the saga then.
func (e *Engine) abandonID(ctx context.Context, id string, known bool) {
	if e.cfg.Coordinator == nil || !known {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if _, err := e.cfg.Coordinator.Report(ctx, id, protocol.StatusFinished); err != nil {
		e.cfg.Logger.Info("saga: the transaction of a saga that did not begin ends by its time-out", "xid", id, "error", err)
	}
}

// rootID is the XID of an instance: its own id, or for one inside another the part
// of ParentID that names the outer one.
func rootID(i *machine.Instance) string {
	if i.ParentID == "" {
		return i.ID
	}
	return i.ParentID[:max(strings.LastIndexByte(i.ParentID, ':'), 0)]
}

// rowID is that of a run without a branch: a number, as an engine of Java that goes
// on with the saga may want to report it as a branch, and greater than those before.
// It is unique within its instance.
func (e *Engine) rowID() string {
	const counterBits = 21
	n := e.rows.Add(1) & (1<<counterBits - 1)
	return strconv.FormatUint(uint64(time.Now().UnixMilli())<<counterBits|n, 10)
}

// transaction is what the coordinator knows of an instance.
type transaction struct {
	*Engine
	// xid is the global transaction of the outermost saga, or empty.
	xid string
	// machine names the branches.
	machine string
}

// transactionOf returns that of an instance, whose log the coordinator may know.
func (e *Engine) transactionOf(i *machine.Instance, name string, known bool) transaction {
	t := transaction{Engine: e, machine: name}
	if e.cfg.Coordinator != nil && known {
		t.xid = rootID(i)
	}
	return t
}

// branch returns the id of a new run of a state: that of a branch under a
// coordinator.
func (t transaction) branch(ctx context.Context, state string) (string, error) {
	if t.xid == "" || t.cfg.NoBranches {
		return t.rowID(), nil
	}
	id, err := t.cfg.Coordinator.RegisterBranch(ctx, rm.Registration{
		XID: t.xid, Type: protocol.TypeSaga, ResourceID: t.machine + "#" + state,
		RequestKey: sagalog.NewID(time.Now()),
	})
	if err != nil {
		return "", err
	}
	return strconv.FormatInt(id, 10), nil
}

// tellEnd reports what a written end means to the coordinator. What it does not
// hear now it asks for: it orders the saga on, and gets the answer from the log.
func (t transaction) tellEnd(ctx context.Context, i *machine.Instance, timeout time.Duration) {
	if t.xid == "" || i == nil || i.ParentID != "" || time.Since(i.Updated) > timeout {
		return
	}
	if _, err := t.cfg.Coordinator.Report(ctx, t.xid, globalStatus(i)); err != nil {
		t.cfg.Logger.Warn("saga: the coordinator was not told of the end; it will ask", "saga", t.xid, "error", err)
	}
}

// tell reports what a written batch means to the coordinator.
func (d *driver) tell(ctx context.Context, b *machine.Batch) {
	if d.xid != "" && !d.cfg.NoBranches {
		for _, r := range b.Done {
			origin := r
			if r.CompensatedFor != "" {
				for _, other := range d.x.Rows {
					if other.ID == r.CompensatedFor {
						origin = other
					}
				}
			}
			d.reportBranch(ctx, r, origin, d.x.Origin(origin))
		}
	}
	d.tellEnd(ctx, b.Finish, d.cfg.Timeout)
}

// globalStatus is what a coordinator is told of an instance's end
// (DbAndReportTcStateLogStore.reportTransactionFinished).
func globalStatus(i *machine.Instance) protocol.GlobalStatus {
	switch {
	case i.Compensation == machine.Succeeded:
		return protocol.StatusRollbacked
	case i.Compensation == machine.Failed, i.Compensation == machine.Unknown:
		return protocol.StatusRollbackRetrying
	case i.Compensation != "":
		return protocol.StatusUnKnown
	case i.Status == machine.Succeeded:
		return protocol.StatusCommitted
	case i.Status == machine.Failed:
		return protocol.StatusFinished
	case i.Status == machine.Unknown:
		return protocol.StatusCommitRetrying
	}
	return protocol.StatusUnKnown
}

// reportBranch reports how a run r ended, which is that of origin or undoes it;
// first is the one that has the branch.
func (t transaction) reportBranch(ctx context.Context, r, origin, first *machine.Row) {
	status := branchStatus(r, origin)
	if status == protocol.BranchPhaseTwoCommitted && !t.cfg.ReportSuccess && r.RetriedFor == "" {
		return
	}
	id, err := strconv.ParseInt(first.ID, 10, 64)
	if err != nil { // it began without a coordinator
		return
	}
	err = t.cfg.Coordinator.ReportBranch(ctx, rm.Report{Status: status,
		Branch: rm.Branch{XID: t.xid, ID: id, Type: protocol.TypeSaga, ResourceID: t.machine + "#" + first.Name}})
	if err != nil {
		t.cfg.Logger.Info("saga: a branch's status was not reported", "saga", t.xid, "state", r.Name, "error", err)
	}
}

func branchStatus(r, origin *machine.Row) protocol.BranchStatus {
	switch {
	case r.CompensatedFor != "" && r.Status == machine.Succeeded:
		return protocol.BranchPhaseTwoRollbacked
	case r.CompensatedFor != "":
		return protocol.BranchPhaseTwoRollbackFailedRetryable
	case origin.Status == machine.Succeeded:
		return protocol.BranchPhaseTwoCommitted
	case origin.Status == machine.Failed, origin.Status == machine.Unknown:
		return protocol.BranchPhaseOneFailed
	}
	return protocol.BranchUnknown
}

// resource takes the coordinator's orders: commit means forward, rollback means
// compensate (org.apache.seata.saga.rm.SagaResourceManager).
type resource struct{ e *Engine }

func (r resource) ID() string {
	application, group := r.e.cfg.Coordinator.Identity()
	return application + "#" + group
}

func (r resource) BranchType() protocol.BranchType { return protocol.TypeSaga }

// Closed lets another engine of the process take the orders.
func (r resource) Closed() bool {
	r.e.mu.Lock()
	defer r.e.mu.Unlock()
	return r.e.closed
}

func (r resource) Commit(ctx context.Context, b rm.Branch) (protocol.BranchStatus, error) {
	saga, err := r.e.Forward(ctx, b.XID, nil)
	switch {
	case errors.Is(err, sagalog.ErrNotFound): // it never began
		return protocol.BranchPhaseTwoCommitted, nil
	case saga == nil:
		return protocol.BranchPhaseTwoCommitFailedRetryable, err
	case saga.Compensation == machine.Succeeded:
		return protocol.BranchPhaseTwoRollbacked, nil
	case saga.Compensation == machine.Failed, saga.Compensation == machine.Unknown:
		return protocol.BranchPhaseTwoRollbackFailedRetryable, nil
	case saga.Compensation != "":
		return protocol.BranchPhaseTwoCommitFailedRetryable, err
	case saga.Status == machine.Succeeded:
		return protocol.BranchPhaseTwoCommitted, nil
	case saga.Status == machine.Failed:
		return protocol.BranchPhaseOneFailed, nil
	}
	return protocol.BranchPhaseTwoCommitFailedRetryable, err
}

func (r resource) Rollback(ctx context.Context, b rm.Branch) (protocol.BranchStatus, error) {
	_, p, err := r.e.load(ctx, b.XID)
	if errors.Is(err, sagalog.ErrNotFound) {
		return protocol.BranchPhaseTwoRollbacked, nil
	}
	if err != nil {
		return protocol.BranchPhaseTwoRollbackFailedRetryable, err
	}
	timedOut := b.ApplicationData == protocol.StatusTimeoutRollbacking.String() ||
		b.ApplicationData == protocol.StatusTimeoutRollbackRetrying.String()
	if p.code == nil && p.Machine.RecoverStrategy == statelang.Forward && timedOut {
		return protocol.BranchPhaseTwoCommitFailedRetryable, nil
	}
	saga, err := r.e.Compensate(ctx, b.XID, nil)
	if saga != nil && saga.Compensation == machine.Succeeded {
		return protocol.BranchPhaseTwoRollbacked, nil
	}
	return protocol.BranchPhaseTwoRollbackFailedRetryable, err
}
