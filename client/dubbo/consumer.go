package dubbo

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"

	"dubbo.apache.org/dubbo-go/v3/common/constant"
	"dubbo.apache.org/dubbo-go/v3/protocol/base"
	"dubbo.apache.org/dubbo-go/v3/protocol/result"
	"dubbo.apache.org/dubbo-go/v3/protocol/triple/triple_protocol"

	"github.com/qiao-tx/qiao/client/carry"
	"github.com/qiao-tx/qiao/protocol/xid"
)

// keyHeaderConvert is the header in which Dubbo Java tells the letter case of
// attachments, which triple's HTTP/2 headers do not keep.
const keyHeaderConvert = "tri-header-convert"

// consumerFilter has no state of its own: dubbo-go shares it between calls.
type consumerFilter struct{ cfg Config }

// Invoke sends the transaction of ctx along, and no other one: dubbo-go forwards
// what a handler's context received, whatever transaction its calls are made in.
func (f consumerFilter) Invoke(ctx context.Context, next base.Invoker, inv base.Invocation) result.Result {
	removeTransaction(inv.Attachments())
	ctx = withoutHeaders(ctx)
	call, ok := carry.From(ctx)
	if !ok {
		return next.Invoke(ctx, inv)
	}
	if err := write(call, next, inv); err != nil {
		return &result.RPCResult{Err: fmt.Errorf("call of %s: %w", inv.MethodName(), err)}
	}
	if f.cfg.AllowRetries {
		return next.Invoke(ctx, inv)
	}
	return once(ctx, next, inv)
}

// OnResponse implements filter.Filter.
func (consumerFilter) OnResponse(_ context.Context, r result.Result, _ base.Invoker, _ base.Invocation) result.Result {
	return r
}

// write sets the attachments as plain strings: Java casts them to String.
func write(call carry.Call, next base.Invoker, inv base.Invocation) error {
	inv.SetAttachment(xid.Key, call.XID)
	inv.SetAttachment(xid.KeyBranchType, call.BranchType)
	if next.GetURL().Protocol != constant.TriProtocol {
		return nil
	}
	convert, err := headerConvert(inv)
	if err != nil {
		return err
	}
	inv.SetAttachment(keyHeaderConvert, convert)
	return nil
}

// headerConvert tells Dubbo Java the case of our keys, which arrive in lower case,
// and keeps what the caller says there of others. The filters of older Seata
// versions read upper case only.
func headerConvert(inv base.Invocation) (string, error) {
	var convert map[string]string
	if raw, ok := inv.GetAttachment(keyHeaderConvert); ok && raw != "" {
		text, err := url.QueryUnescape(raw)
		if err == nil {
			err = json.Unmarshal([]byte(text), &convert)
		}
		if err != nil {
			return "", fmt.Errorf("attachment %s: want an escaped JSON object of strings: %w", keyHeaderConvert, err)
		}
	}
	if convert == nil {
		convert = make(map[string]string, 2)
	}
	for _, key := range []string{xid.Key, xid.KeyBranchType} {
		convert[strings.ToLower(key)] = key
	}
	text, err := json.Marshal(convert)
	return url.QueryEscape(string(text)), err
}

// removeTransaction takes what belongs to the transaction out of attachments or
// headers.
func removeTransaction[V any, M ~map[string]V](attachments M) {
	for key := range attachments {
		if carry.IsKey(key) {
			delete(attachments, key)
		}
	}
}

// withoutHeaders takes our keys out of the headers that triple would send.
func withoutHeaders(ctx context.Context) context.Context {
	headers := triple_protocol.ExtractFromOutgoingContext(ctx)
	for key := range headers {
		if carry.IsKey(key) {
			headers = headers.Clone() // the context's may be read at the same time
			removeTransaction(headers)
			return triple_protocol.NewOutgoingContext(ctx, headers)
		}
	}
	return ctx
}
