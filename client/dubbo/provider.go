package dubbo

import (
	"context"
	"fmt"

	"dubbo.apache.org/dubbo-go/v3/common/constant"
	"dubbo.apache.org/dubbo-go/v3/protocol/base"
	"dubbo.apache.org/dubbo-go/v3/protocol/result"
	"dubbo.apache.org/dubbo-go/v3/protocol/triple/triple_protocol"

	"github.com/qiao-tx/qiao/client/carry"
)

// providerFilter has no state of its own: dubbo-go shares it between calls.
type providerFilter struct{ policy carry.Policy }

// Invoke binds the transaction to the context, and only to it, so nothing is left
// behind on the goroutine.
func (f providerFilter) Invoke(ctx context.Context, next base.Invoker, inv base.Invocation) result.Result {
	var received carry.Received
	for key, value := range inv.Attachments() {
		if value == "" && next.GetURL().Protocol == constant.DubboProtocol {
			continue // dubbo-go makes it of Java's null
		}
		received.Add(key, value)
	}
	// The map is also the one that the handler's own calls forward, and that
	// dubbo-go sends back with the answer.
	removeTransaction(inv.Attachments())
	delete(inv.Attachments(), keyHeaderConvert)
	ctx, err := f.policy.Join(ctx, &received)
	if err != nil {
		return &result.RPCResult{Err: refusal(next, inv, err)}
	}
	return next.Invoke(ctx, inv)
}

// OnResponse implements filter.Filter.
func (providerFilter) OnResponse(_ context.Context, r result.Result, _ base.Invoker, _ base.Invocation) result.Result {
	return r
}

// refusal is the error that the caller sees.
func refusal(next base.Invoker, inv base.Invocation, err error) error {
	err = fmt.Errorf("call of %s refused: %w", inv.MethodName(), err)
	if next.GetURL().Protocol == constant.TriProtocol {
		return triple_protocol.NewError(triple_protocol.CodeInvalidArgument, err)
	}
	return err
}
