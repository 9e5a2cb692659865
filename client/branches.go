package client

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/rpc"
	"github.com/qiao-tx/qiao/rm"
	"github.com/qiao-tx/qiao/tm"
)

// ruleOutWait bounds the attempt to roll back a transaction whose commit must
// be ruled out in another process.
const ruleOutWait = 5 * time.Second

// holdsLocks is Seata's way to say that the caller holds local locks. Our own
// coordinator alone is told. On one of Seata 1.8.0 with its file store, a
// registration that says so and meets a conflict leaves locks behind that nobody
// holds, on the rows listed after the one in conflict, until the coordinator is
// restarted (io.seata.server.storage.file.lock.FileLocker).
const holdsLocks = `{"autoCommit":false}`

// branches is the Client as a rm.Coordinator.
type branches struct{ c *Client }

// RegisterResource tells all connected nodes; the others learn it when they
// connect.
func (b branches) RegisterResource(ctx context.Context, r rm.Resource) error {
	const op = "register resource"
	c := b.c
	if ctx.Err() != nil {
		return &rm.Unavailable{Op: op, SafeToRetry: true, Cause: ended(ctx)}
	}
	if strings.Contains(r.ID(), ",") {
		return fmt.Errorf("%s %q: a resource id must not contain a comma, which separates ids on the wire", op, r.ID())
	}
	if err := c.resources.Add(r); err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, c.cfg.RMTimeout, errTooLong)
	defer cancel()
	generation, links := c.pool.nextGeneration()
	told := make(chan struct{}, len(links))
	for _, l := range links {
		spawned := c.spawn(func() {
			b.tell(ctx, l, r.ID(), generation)
			told <- struct{}{}
		})
		if !spawned {
			told <- struct{}{}
		}
	}
	for range links {
		select {
		case <-told:
		case <-ctx.Done(): // take says why
		}
	}
	_, err := c.pool.take(ctx, choice{fits: func(l *link) bool { return l.resources >= generation }})
	if err != nil {
		c.resources.Remove(r)
		return &rm.Unavailable{Op: op, SafeToRetry: true, Cause: err}
	}
	return nil
}

// tell makes a resource known to a connected node. It goes on when ctx has ended:
// a caller that gives up must not leave a node half informed.
func (b branches) tell(ctx context.Context, l *link, id string, generation int) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), b.c.cfg.ConnectTimeout)
	defer cancel()
	if err := b.c.tellResources(ctx, l, []string{id}); err != nil {
		// The connection is of no use without the resource. The next one begins
		// with all of them.
		l.conn.Close(fmt.Errorf("register resource %q: %w", id, err))
		return
	}
	b.c.pool.learned(l, generation)
}

// RegisterBranch may be repeated for AT, whose branch does nothing before its
// local transaction has committed. For the other modes a branch registered twice
// would be confirmed twice: it is repeated only by its key, and else commit is
// ruled out.
func (b branches) RegisterBranch(ctx context.Context, r rm.Registration) (int64, error) {
	message := protocol.BranchRegister{
		XID: r.XID, Type: r.Type, ResourceID: r.ResourceID,
		LockKey: r.LockKey, ApplicationData: r.ApplicationData,
	}
	question := request{message: &message, xid: r.XID, key: r.RequestKey, repetition: byKey}
	if r.Type == protocol.TypeAT {
		question.repetition = always
	}
	if r.HoldsLocks && r.ApplicationData == "" {
		hinted := message
		hinted.ApplicationData = holdsLocks
		question.ours = &hinted
	}
	answer, err := b.ask(ctx, "register branch", question)
	var lost *rm.Unavailable
	if errors.As(err, &lost) && !lost.SafeToRetry && r.Type != protocol.TypeAT {
		b.ruleOutCommit(ctx, r.XID, err)
	}
	if err != nil {
		return 0, err
	}
	result, err := expect[*protocol.BranchRegisterResult](answer.Message, "register branch", rm.ErrRefused)
	if err != nil {
		return 0, err
	}
	return result.BranchID, nil
}

// ruleOutCommit sees to it that a transaction with a branch that may or may not
// be registered is not committed: by a mark where this process began it, else by
// rolling it back. If that fails, what is left is the error that the caller gets.
func (b branches) ruleOutCommit(ctx context.Context, x string, cause error) {
	if tm.SetRollbackOnly(ctx, cause) {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), ruleOutWait)
	defer cancel()
	if _, err := transactions(b).Rollback(ctx, x); err != nil {
		b.c.log.Warn("a transaction that must not commit could not be rolled back; its time-out will do so",
			"xid", x, "cause", cause, "error", err)
	}
}

func (b branches) ReportBranch(ctx context.Context, r rm.Report) error {
	answer, err := b.ask(ctx, "report branch", request{
		message: &protocol.BranchReport{
			XID: r.XID, BranchID: r.ID, Status: r.Status, ResourceID: r.ResourceID,
			ApplicationData: r.ApplicationData, Type: r.Type,
		},
		xid: r.XID,
	})
	if err == nil {
		_, err = expect[*protocol.BranchReportResult](answer.Message, "report branch", rm.ErrRefused)
	}
	return err
}

func (b branches) CheckLocks(ctx context.Context, x string, t protocol.BranchType, resourceID, lockKey string) error {
	answer, err := b.ask(ctx, "check locks", request{
		message: &protocol.GlobalLockQuery{XID: x, Type: t, ResourceID: resourceID, LockKey: lockKey},
		xid:     x,
	})
	if err != nil {
		return err
	}
	result, err := expect[*protocol.GlobalLockQueryResult](answer.Message, "check locks", rm.ErrRefused)
	switch {
	case err != nil:
		return err
	case !result.Lockable:
		return &rm.LockConflict{Holder: answer.Head[headHolder], Message: result.Message}
	}
	return nil
}

func (b branches) ask(ctx context.Context, op string, r request) (rpc.Response, error) {
	answer, failed := b.c.ask(ctx, b.c.cfg.RMTimeout, r)
	if failed != nil && failed.unsendable {
		return answer, fmt.Errorf("%s: the request cannot be sent: %w", op, failed.cause)
	}
	if failed != nil {
		return answer, &rm.Unavailable{Op: op, SafeToRetry: !failed.carriedOut, Cause: failed.cause}
	}
	result, ok := resultOf(answer.Message)
	if !ok || result.Code == protocol.ResultSuccess {
		return answer, nil
	}
	kind := rm.ErrRefused
	switch result.Exception {
	case protocol.ExceptionLockKeyConflict, protocol.ExceptionLockKeyConflictFailFast:
		return answer, &rm.LockConflict{
			Holder:   answer.Head[headHolder],
			FailFast: result.Exception == protocol.ExceptionLockKeyConflictFailFast,
			Message:  result.Message,
		}
	case protocol.ExceptionGlobalTransactionNotExist, protocol.ExceptionGlobalTransactionNotActive,
		protocol.ExceptionGlobalTransactionStatusInvalid, protocol.ExceptionTransactionTimeout:
		kind = rm.ErrNotActive
	}
	return answer, fmt.Errorf("%s: %w: %s (%s)", op, kind, result.Message, result.Exception)
}
