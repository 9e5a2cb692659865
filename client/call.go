package client

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/qiao-tx/qiao/client/naming"
	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/rpc"
	"github.com/qiao-tx/qiao/protocol/xid"
)

// errTooLong ends a request that has waited for its configured time.
var errTooLong = errors.New("no answer within the configured time")

// repetition says when a request that may have been carried out, with the
// answer lost, may be sent again. (One that was certainly not carried out always
// may.)
type repetition int

const (
	// always: it is idempotent, or an orphan ends by itself.
	always repetition = iota
	// byKey: only if the node and the one it is repeated to recognise its
	// request key.
	byKey
)

// request is one question to the coordinator.
type request struct {
	message protocol.Message
	// ours is what nodes that speak our extensions get instead, unless it is nil.
	ours protocol.Message
	// xid is the transaction it is about; its node is preferred. May be empty.
	xid string
	// key goes to nodes that understand it.
	key        string
	repetition repetition
}

// failure is why a request brought no answer. The caller turns it into the
// error type of its side.
type failure struct {
	// carriedOut: the request may have been.
	carriedOut bool
	// unsendable: the request itself is at fault, such as a text too long for
	// the wire.
	unsendable bool
	cause      error
}

// blame puts err before what went wrong earlier.
func (f *failure) blame(err error) {
	if f.cause != nil {
		err = fmt.Errorf("%w; before that: %w", err, f.cause)
	}
	f.cause = err
}

// ask sends r to a node that can take it, repeats it where that is safe, and
// returns the first answer that is not a call to try again. It ends with ctx or
// after timeout.
func (c *Client) ask(ctx context.Context, timeout time.Duration, r request) (rpc.Response, *failure) {
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, errTooLong)
	defer cancel()
	var failed failure
	var last *link
	for attempt := 0; ; attempt++ {
		l, err := c.pool.take(ctx, r.choose(last, failed.carriedOut))
		if err != nil {
			failed.blame(err)
			return rpc.Response{}, &failed
		}
		answer, err := l.conn.Call(ctx, r.on(l), r.head(l))
		if err == nil && (attempt >= maxRefusals || !c.worthAnother(answer.Message)) {
			return answer, nil
		}
		if err != nil {
			failed.cause = fmt.Errorf("%s: %w", l.address, err)
			failed.carriedOut = failed.carriedOut || !rpc.SafeToRetry(err)
			failed.unsendable = ctx.Err() == nil && !repairable(err)
			if failed.unsendable || failed.carriedOut && !r.repeatable(l) {
				return rpc.Response{}, &failed
			}
		}
		if ctx.Err() != nil {
			failed.blame(ended(ctx))
			return rpc.Response{}, &failed
		}
		last = l
		if !errors.Is(err, rpc.ErrClosed) { // else taking a link is wait enough
			sleep(ctx, delay(attempt)/2)
		}
	}
}

// maxRefusals is how many refusals that another attempt might mend are not told
// to the caller.
const maxRefusals = 4

// repairable tells whether another connection, or this one later, may do what
// err prevented.
func repairable(err error) bool {
	return errors.Is(err, rpc.ErrClosed) || errors.Is(err, rpc.ErrOverloaded)
}

// choose says which link to take: after a failure another than last.
func (r request) choose(last *link, carriedOut bool) choice {
	c := choice{not: last}
	if address, _, err := xid.Parse(r.xid); err == nil {
		c.address, _ = naming.FromSeata(address) // what is no address matches no node
	}
	if carriedOut && r.repetition == byKey {
		c.fits = func(l *link) bool { return l.extension > 0 }
	}
	return c
}

// repeatable tells whether r may be sent again after l may have carried it out.
func (r request) repeatable(l *link) bool {
	return r.repetition == always || r.repetition == byKey && r.key != "" && l.extension > 0
}

// on is the message of r on l.
func (r request) on(l *link) protocol.Message {
	if r.ours != nil && l.extension > 0 {
		return r.ours
	}
	return r.message
}

// head is the head map of r on l.
func (r request) head(l *link) map[string]string {
	if r.key == "" || l.extension == 0 {
		return nil
	}
	return map[string]string{headRequest: r.key}
}

// worthAnother tells whether an answer is a refusal that another node, or this
// one in a moment, may not repeat, of a request that may be repeated.
func (c *Client) worthAnother(m protocol.Message) bool {
	result, ok := resultOf(m)
	if !ok || result.Code == protocol.ResultSuccess {
		return false
	}
	switch result.Exception {
	case protocol.ExceptionNotRaftLeader, protocol.ExceptionFailedLockGlobalTransaction:
		return true // nothing was done
	case protocol.ExceptionGlobalTransactionNotExist, protocol.ExceptionTransactionTimeout:
		return false
	}
	switch m.(type) {
	case *protocol.GlobalCommitResult, *protocol.GlobalRollbackResult:
		return true // a decision is worth some insistence
	case *protocol.GlobalBeginResult:
		return c.pool.several() // one node may be shutting down
	}
	return false
}

// expect returns an answer as the type that belongs to the request.
func expect[A protocol.Message](m protocol.Message, op string, refused error) (A, error) {
	a, ok := m.(A)
	if !ok {
		return a, fmt.Errorf("%w: %w", refused, answeredOddly(m, op))
	}
	return a, nil
}

// resultOf returns the head of an answer about a transaction.
func resultOf(m protocol.Message) (protocol.TxResult, bool) {
	switch a := m.(type) {
	case *protocol.GlobalBeginResult:
		return a.TxResult, true
	case *protocol.GlobalCommitResult:
		return a.TxResult, true
	case *protocol.GlobalRollbackResult:
		return a.TxResult, true
	case *protocol.GlobalStatusResult:
		return a.TxResult, true
	case *protocol.GlobalReportResult:
		return a.TxResult, true
	case *protocol.BranchRegisterResult:
		return a.TxResult, true
	case *protocol.BranchReportResult:
		return a.TxResult, true
	case *protocol.GlobalLockQueryResult:
		return a.TxResult, true
	}
	return protocol.TxResult{}, false
}
