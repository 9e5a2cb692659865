package client

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/rpc"
	"github.com/qiao-tx/qiao/protocol/xid"
	"github.com/qiao-tx/qiao/tm"
)

// transactions is the Client as a tm.Coordinator.
type transactions struct{ c *Client }

// unnamed is Seata's name for a transaction that has none. Its coordinator with a
// store in a database fails to begin one without (a NullPointerException in 1.8.0).
const unnamed = "default"

// Begin may be repeated: a transaction that nobody knows of ends by its time-out.
func (t transactions) Begin(ctx context.Context, name string, timeout time.Duration) (string, error) {
	answer, err := t.ask(ctx, "begin", request{
		message: &protocol.GlobalBegin{TimeoutMillis: int32(timeout.Milliseconds()), Name: cmp.Or(name, unnamed)},
	})
	if err != nil {
		return "", err
	}
	result, err := expect[*protocol.GlobalBeginResult](answer.Message, "begin", tm.ErrRefused)
	if err != nil {
		return "", err
	}
	if _, _, err := xid.Parse(result.XID); err != nil {
		return "", fmt.Errorf("%w: it answered begin with a %w", tm.ErrRefused, err)
	}
	return result.XID, nil
}

func (t transactions) Commit(ctx context.Context, x string) (protocol.GlobalStatus, error) {
	answer, err := t.ask(ctx, "commit", request{message: &protocol.GlobalCommit{Global: protocol.Global{XID: x}}, xid: x})
	if err != nil {
		return protocol.StatusUnKnown, err
	}
	result, err := expect[*protocol.GlobalCommitResult](answer.Message, "commit", tm.ErrRefused)
	if err != nil {
		return protocol.StatusUnKnown, err
	}
	if result.Status == protocol.StatusTimeoutRollbacking && !ours(answer.Head) {
		return t.afterTimeout(ctx, x)
	}
	return trueStatus(answer.Head, result.Status), nil
}

// afterTimeout returns the status of a transaction whose commit Seata's
// coordinator answered with TimeoutRollbacking. It says so to any commit that it
// hears after the time-out, without a look at what was decided: to one that is
// repeated because its answer was lost, too
// (org.apache.seata.server.coordinator.DefaultCore).
func (t transactions) afterTimeout(ctx context.Context, x string) (protocol.GlobalStatus, error) {
	status, err := t.Status(ctx, x)
	switch {
	case err != nil:
		return protocol.StatusUnKnown, &tm.Unavailable{Op: "commit", Cause: fmt.Errorf(
			"the coordinator told only that the time-out has passed; ask for the status: %w", err)}
	case status == protocol.StatusBegin:
		return protocol.StatusTimeoutRollbacking, nil // nobody can commit it any more
	}
	return status, nil
}

func (t transactions) Rollback(ctx context.Context, x string) (protocol.GlobalStatus, error) {
	answer, err := t.ask(ctx, "rollback", request{message: &protocol.GlobalRollback{Global: protocol.Global{XID: x}}, xid: x})
	if err != nil {
		return protocol.StatusUnKnown, err
	}
	result, err := expect[*protocol.GlobalRollbackResult](answer.Message, "rollback", tm.ErrRefused)
	if err != nil {
		return protocol.StatusUnKnown, err
	}
	return trueStatus(answer.Head, result.Status), nil
}

func (t transactions) Status(ctx context.Context, x string) (protocol.GlobalStatus, error) {
	answer, err := t.ask(ctx, "status", request{message: &protocol.GlobalStatusRequest{Global: protocol.Global{XID: x}}, xid: x})
	if err != nil {
		return protocol.StatusUnKnown, err
	}
	result, err := expect[*protocol.GlobalStatusResult](answer.Message, "status", tm.ErrRefused)
	if err != nil {
		return protocol.StatusUnKnown, err
	}
	return result.Status, nil
}

// ours tells whether our own coordinator gave an answer to a decision.
func ours(head map[string]string) bool { return head[headStatus] != "" }

// trueStatus is the status in the head map, where our own coordinator tells it;
// the message has one that makes a Java client do the right thing.
func trueStatus(head map[string]string, status protocol.GlobalStatus) protocol.GlobalStatus {
	if n, err := strconv.ParseInt(head[headStatus], 10, 8); err == nil {
		return protocol.GlobalStatus(n)
	}
	return status
}

func (t transactions) ask(ctx context.Context, op string, r request) (rpc.Response, error) {
	answer, failed := t.c.ask(ctx, t.c.cfg.TMTimeout, r)
	if failed != nil && failed.unsendable {
		return answer, fmt.Errorf("%s: the request cannot be sent: %w", op, failed.cause)
	}
	if failed != nil {
		return answer, &tm.Unavailable{Op: op, SafeToRetry: !failed.carriedOut, Cause: failed.cause}
	}
	result, ok := resultOf(answer.Message)
	if !ok || result.Code == protocol.ResultSuccess {
		return answer, nil
	}
	kind := tm.ErrRefused
	switch result.Exception {
	case protocol.ExceptionGlobalTransactionNotExist:
		kind = tm.ErrNotFound
	case protocol.ExceptionTransactionTimeout:
		kind = tm.ErrTimedOut
	}
	return answer, fmt.Errorf("%s: %w: %s (%s)", op, kind, result.Message, result.Exception)
}
