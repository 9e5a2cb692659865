package dubbo

import (
	"context"
	"errors"

	"dubbo.apache.org/dubbo-go/v3/protocol/base"
	"dubbo.apache.org/dubbo-go/v3/protocol/result"
)

// keyAttempt is the invocation's attribute that holds its first attempt.
const keyAttempt = "qiao.attempt"

// attempt is the first sending of a call. dubbo-go's clusters send one invocation
// again, with the same attributes.
type attempt struct {
	// result is nil until there is one.
	result result.Result
}

type attemptKey struct{}

// once sends a call, and answers what a cluster would send again with what the
// first attempt brought.
func once(ctx context.Context, next base.Invoker, inv base.Invocation) result.Result {
	before, again := inv.GetAttribute(keyAttempt)
	if again && ctx.Value(attemptKey{}) != before { // not this filter named twice in one chain
		return before.(*attempt).final()
	}
	a := &attempt{}
	inv.SetAttribute(keyAttempt, a)
	a.result = next.Invoke(context.WithValue(ctx, attemptKey{}, a), inv)
	if neverSent(a.result.Error()) {
		delete(inv.Attributes(), keyAttempt)
	}
	return a.result
}

func (a *attempt) final() result.Result {
	if a.result == nil { // a cluster that calls several providers at once
		return &result.RPCResult{Err: errors.New("a call in a global transaction goes to one provider; " +
			"use the cluster failover or failfast, or set Config.AllowRetries if the call is idempotent")}
	}
	return a.result
}

// neverSent is true for errors that dubbo-go gives before it sends anything.
func neverSent(err error) bool {
	return errors.Is(err, base.ErrClientClosed) || errors.Is(err, base.ErrDestroyedInvoker)
}
