package rm

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/qiao-tx/qiao/protocol"
)

// Manager knows the resources of this process and hands each phase-two order
// to the resource that it names. It may be used concurrently.
type Manager struct {
	log       *slog.Logger
	mu        sync.RWMutex
	resources map[resourceKey]Resource
}

// resourceKey: AT and XA give one database the same id.
type resourceKey struct {
	kind protocol.BranchType
	id   string
}

// NewManager returns a Manager without resources. It logs failed orders to log.
func NewManager(log *slog.Logger) *Manager {
	return &Manager{log: log, resources: make(map[resourceKey]Resource)}
}

// Add makes r the receiver of its orders. It fails when another resource of
// that type and id is known and not closed, since orders could not be told apart.
func (m *Manager) Add(r Resource) error {
	key := resourceKey{r.BranchType(), r.ID()}
	if key.id == "" {
		return fmt.Errorf("add %s resource: it has no id; name it in its configuration", key.kind)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if old, known := m.resources[key]; known && !closed(old) {
		return fmt.Errorf("add %s resource %q: already added; use one for the whole process, or close it first", key.kind, key.id)
	}
	m.resources[key] = r
	return nil
}

func closed(r Resource) bool {
	c, ok := r.(Closable)
	return ok && c.Closed()
}

// Remove forgets r; later orders for it are answered as retryable failures.
func (m *Manager) Remove(r Resource) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.resources, resourceKey{r.BranchType(), r.ID()})
}

// IDs returns the ids of all resources, sorted and without duplicates.
func (m *Manager) IDs() []string {
	m.mu.RLock()
	defer m.mu.RUnlock()
	ids := make([]string, 0, len(m.resources))
	for key := range m.resources {
		ids = append(ids, key.id)
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

func (m *Manager) find(kind protocol.BranchType, id string) (Resource, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	r, ok := m.resources[resourceKey{kind, id}]
	if !ok {
		return nil, fmt.Errorf("no %s resource %q in this process; register it before its branches end", kind, id)
	}
	return r, nil
}

// Handle carries out an order of the coordinator and returns the answer to
// send, or nil for an order that has none. A BranchCommit or BranchRollback is
// always answered, whatever the resource does: a coordinator that hears nothing
// waits for its time-out. A failure's text travels in the answer, as evidence.
func (m *Manager) Handle(ctx context.Context, order protocol.Message) protocol.Message {
	switch o := order.(type) {
	case *protocol.BranchCommit:
		return &protocol.BranchCommitResult{BranchOutcome: m.finish(ctx, commitPhase, o.BranchOrder)}
	case *protocol.BranchRollback:
		return &protocol.BranchRollbackResult{BranchOutcome: m.finish(ctx, rollbackPhase, o.BranchOrder)}
	case *protocol.UndoLogDelete:
		if err := m.deleteUndo(ctx, o); err != nil {
			m.log.Warn("undo logs not deleted", "resource", o.ResourceID, "error", err)
		}
	default:
		m.log.Warn("not an order for a resource manager", "type", int(order.TypeCode()))
	}
	return nil
}

// phase is one of the two ways in which phase two can go.
type phase struct {
	name                         string
	call                         func(Resource, context.Context, Branch) (protocol.BranchStatus, error)
	done, retryable, unretryable protocol.BranchStatus
	// notFound is retryable, too: the coordinator knows when to give up.
	notFound protocol.BranchStatus
	// The protocol has codes for a failed rollback only.
	retryableCode, unretryableCode protocol.ExceptionCode
}

var (
	commitPhase = phase{
		name: "commit", call: Resource.Commit,
		done:        protocol.BranchPhaseTwoCommitted,
		retryable:   protocol.BranchPhaseTwoCommitFailedRetryable,
		unretryable: protocol.BranchPhaseTwoCommitFailedUnretryable,
		notFound:    protocol.BranchPhaseTwoCommitFailedXAERNOTARetryable,
	}
	rollbackPhase = phase{
		name: "rollback", call: Resource.Rollback,
		done:            protocol.BranchPhaseTwoRollbacked,
		retryable:       protocol.BranchPhaseTwoRollbackFailedRetryable,
		unretryable:     protocol.BranchPhaseTwoRollbackFailedUnretryable,
		notFound:        protocol.BranchPhaseTwoRollbackFailedXAERNOTARetryable,
		retryableCode:   protocol.ExceptionBranchRollbackFailedRetriable,
		unretryableCode: protocol.ExceptionBranchRollbackFailedUnretriable,
	}
)

func (m *Manager) finish(ctx context.Context, p phase, o protocol.BranchOrder) protocol.BranchOutcome {
	answer := protocol.BranchOutcome{TxResult: protocol.OK(), XID: o.XID, BranchID: o.BranchID}
	status, err := m.call(ctx, p, o)
	switch {
	case err == nil && status == p.done, err == nil && o.Type == protocol.TypeSaga && status != protocol.BranchUnknown:
		answer.Status = status // a saga that is ordered forward may come back, and the reverse
		return answer
	case err == nil:
		err = fmt.Errorf("the resource answered %s to %s", status, p.name)
	}
	code := p.unretryableCode
	if status != p.unretryable {
		code = p.retryableCode
		drivenByClient := o.Type == protocol.TypeSaga && status != p.done && status != protocol.BranchUnknown
		if status != p.notFound && !drivenByClient {
			status = p.retryable
		}
	}
	m.log.Warn("branch "+p.name+" failed", "xid", o.XID, "branch", o.BranchID,
		"resource", o.ResourceID, "status", status, "error", err)
	answer.TxResult = protocol.Failure(code, err.Error())
	answer.Status = status
	return answer
}

// call runs the resource's code. A panic there must not end the process, which
// serves other transactions: it counts as a retryable failure.
func (m *Manager) call(ctx context.Context, p phase, o protocol.BranchOrder) (status protocol.BranchStatus, err error) {
	r, err := m.find(o.Type, o.ResourceID)
	if err != nil {
		return p.retryable, err
	}
	defer func() {
		if v := recover(); v != nil {
			m.log.Error("resource panicked", "phase", p.name, "xid", o.XID, "branch", o.BranchID,
				"resource", o.ResourceID, "panic", v, "stack", string(debug.Stack()))
			status, err = p.retryable, fmt.Errorf("%s of resource %q panicked: %v", p.name, o.ResourceID, v)
		}
	}()
	return p.call(r, ctx, Branch{
		XID: o.XID, ID: o.BranchID, Type: o.Type, ResourceID: o.ResourceID, ApplicationData: o.ApplicationData,
	})
}

// deleteUndo ignores an order for what has no undo logs here: Seata's coordinator
// gives it for TCC actions too, and for resources of other processes of the
// application (org.apache.seata.server.coordinator.DefaultCoordinator,
// org.apache.seata.core.rpc.netty.ChannelManager).
func (m *Manager) deleteUndo(ctx context.Context, o *protocol.UndoLogDelete) (err error) {
	r, err := m.find(o.Type, o.ResourceID)
	cleaner, ok := r.(UndoCleaner)
	if err != nil || !ok || o.SaveDays < 0 {
		return nil
	}
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic: %v\n%s", v, debug.Stack())
		}
	}()
	return cleaner.DeleteUndo(ctx, time.Duration(o.SaveDays)*24*time.Hour)
}
