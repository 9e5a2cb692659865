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
func (e *Engine) beginID(ctx context.Context, m *statelang.Machine) (string, error) {
	if e.cfg.Coordinator == nil || !m.Persist {
		return sagalog.NewID(time.Now()), nil
	}
	return e.cfg.Coordinator.Begin(ctx, namePrefix+m.Name, e.cfg.Timeout)
}

// abandonID ends the global transaction of a saga that did not begin. If that
// fails, its time-out ends it: the engine does not know the saga then.
func (e *Engine) abandonID(ctx context.Context, id string, m *statelang.Machine) {
	if e.cfg.Coordinator == nil || !m.Persist {
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

// branch returns the id of a new run: that of a branch under a coordinator.
func (d *driver) branch(ctx context.Context, r *machine.Row) (string, error) {
	if d.xid == "" || d.cfg.NoBranches {
		return d.rowID(), nil
	}
	id, err := d.cfg.Coordinator.RegisterBranch(ctx, rm.Registration{
		XID: d.xid, Type: protocol.TypeSaga, ResourceID: d.x.Machine().Name + "#" + r.Name,
		RequestKey: sagalog.NewID(time.Now()),
	})
	if err != nil {
		return "", err
	}
	return strconv.FormatInt(id, 10), nil
}

// tell reports what a written batch means to the coordinator. What it does not hear
// now it asks for: it orders the saga on, and gets the answer from the log.
func (d *driver) tell(ctx context.Context, b *machine.Batch) {
	if d.xid == "" {
		return
	}
	if !d.cfg.NoBranches {
		for _, r := range b.Done {
			d.reportBranch(ctx, r)
		}
	}
	if b.Finish == nil || b.Finish.ParentID != "" || time.Since(b.Finish.Updated) > d.cfg.Timeout {
		return
	}
	if _, err := d.cfg.Coordinator.Report(ctx, d.xid, globalStatus(b.Finish)); err != nil {
		d.cfg.Logger.Warn("saga: the coordinator was not told of the end; it will ask", "saga", d.xid, "error", err)
	}
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

func (d *driver) reportBranch(ctx context.Context, r *machine.Row) {
	origin := r
	if r.CompensatedFor != "" {
		for _, other := range d.x.Rows {
			if other.ID == r.CompensatedFor {
				origin = other
			}
		}
	}
	status := branchStatus(r, origin)
	if status == protocol.BranchPhaseTwoCommitted && !d.cfg.ReportSuccess && r.RetriedFor == "" {
		return
	}
	origin = d.x.Origin(origin)
	id, err := strconv.ParseInt(origin.ID, 10, 64)
	if err != nil { // it began without a coordinator
		return
	}
	err = d.cfg.Coordinator.ReportBranch(ctx, rm.Report{Status: status,
		Branch: rm.Branch{XID: d.xid, ID: id, Type: protocol.TypeSaga, ResourceID: d.x.Machine().Name + "#" + origin.Name}})
	if err != nil {
		d.cfg.Logger.Info("saga: a branch's status was not reported", "saga", d.xid, "state", r.Name, "error", err)
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
	x, err := r.e.reload(ctx, b.XID)
	if errors.Is(err, sagalog.ErrNotFound) {
		return protocol.BranchPhaseTwoRollbacked, nil
	}
	if err != nil {
		return protocol.BranchPhaseTwoRollbackFailedRetryable, err
	}
	timedOut := b.ApplicationData == protocol.StatusTimeoutRollbacking.String() ||
		b.ApplicationData == protocol.StatusTimeoutRollbackRetrying.String()
	if x.Machine().RecoverStrategy == statelang.Forward && timedOut {
		return protocol.BranchPhaseTwoCommitFailedRetryable, nil
	}
	saga, err := r.e.Compensate(ctx, b.XID, nil)
	if saga != nil && saga.Compensation == machine.Succeeded {
		return protocol.BranchPhaseTwoRollbacked, nil
	}
	return protocol.BranchPhaseTwoRollbackFailedRetryable, err
}
