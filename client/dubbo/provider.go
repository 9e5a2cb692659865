package dubbo

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"dubbo.apache.org/dubbo-go/v3/common/constant"
	"dubbo.apache.org/dubbo-go/v3/protocol/base"
	"dubbo.apache.org/dubbo-go/v3/protocol/dubbo/hessian2"
	"dubbo.apache.org/dubbo-go/v3/protocol/result"
	"dubbo.apache.org/dubbo-go/v3/protocol/triple/triple_protocol"
	"github.com/apache/dubbo-go-hessian2/java_exception"

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
	sent := slices.Collect(maps.Keys(inv.Attachments()))
	answer := next.Invoke(ctx, inv)
	if answer.Error() != nil {
		tellJava(next, answer, sent)
	}
	return answer
}

// tellJava keeps a handler's error from being lost on its way to Dubbo Java, which
// does not take it as dubbo-go sends it: over dubbo as a java.lang.Throwable, a
// class that Java 3.3 refuses to read; over triple with the request's own headers
// as trailers, at which Java breaks the stream off.
func tellJava(next base.Invoker, answer result.Result, sent []string) {
	if next.GetURL().Protocol == constant.TriProtocol {
		own := maps.Clone(answer.Attachments()) // others may read the request's
		for _, key := range sent {
			delete(own, key)
		}
		answer.SetAttachments(own)
		return
	}
	answer.SetError(javaException(answer.Error()))
}

func javaException(err error) error {
	switch err.(type) {
	case java_exception.Throwabler, *hessian2.GenericException, hessian2.GenericException:
		return err
	}
	return java_exception.NewRuntimeException(err.Error())
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
	return javaException(err)
}
