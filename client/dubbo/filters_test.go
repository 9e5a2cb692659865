package dubbo_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"dubbo.apache.org/dubbo-go/v3/client"
	"dubbo.apache.org/dubbo-go/v3/common/constant"
	"dubbo.apache.org/dubbo-go/v3/common/extension"
	"dubbo.apache.org/dubbo-go/v3/filter"
	"dubbo.apache.org/dubbo-go/v3/protocol/base"
	"dubbo.apache.org/dubbo-go/v3/protocol/result"
	"dubbo.apache.org/dubbo-go/v3/protocol/triple/triple_protocol"
	"dubbo.apache.org/dubbo-go/v3/server"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/client/carry"
	"github.com/qiao-tx/qiao/client/dubbo"
	"github.com/qiao-tx/qiao/protocol/xid"
)

const (
	theXID = "10.0.0.7:8091:42"
	other  = "10.0.0.8:8091:43"
)

// seen is what the handlers tell of their context.
func seen(ctx context.Context) string { return xid.FromContext(ctx) + " " + xid.BranchType(ctx) }

// Echo answers with the transaction that its context carries.
type Echo struct{ calls atomic.Int32 }

func (e *Echo) Where(ctx context.Context, name string) (string, error) {
	e.calls.Add(1)
	switch name {
	case "fail":
		return "", errors.New("no stock")
	case "panic":
		panic("a bug")
	}
	return name + ": " + seen(ctx), nil
}

func (r remote) where(ctx context.Context, name string) (answer string, err error) {
	err = r.call(ctx, &answer, "Where", name)
	return answer, err
}

func TestTheTransactionTravels(t *testing.T) {
	onEachTransport(t, func(t *testing.T, p transport) {
		echo := p.dial(t, p.serve(t, &Echo{}, nil))
		in := xid.NewContext(t.Context(), theXID)
		for want, ctx := range map[string]context.Context{
			"x:  ":                  t.Context(),
			"x: " + theXID + " AT":  in,
			"x: " + theXID + " TCC": xid.WithBranchType(in, xid.TypeTCC),
			"x: " + other + " AT":   xid.NewContext(in, other),
		} {
			got, err := echo.where(ctx, "x")
			require.NoError(t, err)
			assert.Equal(t, want, got)
		}
	})
}

// Calls of many transactions, and of none, share connections and the framework's
// goroutines: none sees another's.
func TestCallsDoNotSeeEachOther(t *testing.T) {
	onEachTransport(t, func(t *testing.T, p transport) {
		echo := p.dial(t, p.serve(t, &Echo{}, nil))
		var callers sync.WaitGroup
		for i := range 32 {
			callers.Go(func() {
				for j := range 8 {
					name := fmt.Sprintf("%d.%d", i, j)
					ctx, want := t.Context(), name+":  "
					if (i+j)%2 == 0 {
						x := xid.New("tc:1", int64(i*100+j+1))
						ctx, want = xid.NewContext(ctx, x), name+": "+x+" AT"
					}
					got, err := echo.where(ctx, name)
					if !assert.NoError(t, err) || !assert.Equal(t, want, got) {
						return
					}
				}
			})
		}
		callers.Wait()
	})
}

// Raw answers with the attachments that it received, as Java would see them.
type Raw struct{}

func (*Raw) Where(ctx context.Context, _ string) (string, error) {
	attachments, _ := ctx.Value(constant.AttachmentKey).(map[string]any)
	text, err := json.Marshal(attachments)
	return string(text), err
}

// What Java reads: plain strings under Seata's keys, over triple in lower case with
// a header that tells the case.
func TestWhatIsSent(t *testing.T) {
	ctx := xid.WithBranchType(xid.NewContext(t.Context(), theXID), xid.TypeTCC)
	onEachTransport(t, func(t *testing.T, p transport) {
		raw := p.dial(t, p.serve(t, &Raw{}, nil, server.WithFilter(constant.DefaultServiceFilters)))
		received := func(ctx context.Context) map[string]any {
			answer, err := raw.where(ctx, "")
			require.NoError(t, err)
			var attachments map[string]any
			require.NoError(t, json.Unmarshal([]byte(answer), &attachments))
			return attachments
		}
		got := received(ctx)
		if p.name == constant.DubboProtocol {
			assert.Equal(t, theXID, got["TX_XID"])
			assert.Equal(t, "TCC", got["TX_BRANCH_TYPE"])
			assert.NotContains(t, got, "tri-header-convert")
		} else {
			assert.Equal(t, []any{theXID}, got["tx_xid"])
			assert.Equal(t, []any{"TCC"}, got["tx_branch_type"])
			assert.JSONEq(t, `{"tx_xid":"TX_XID","tx_branch_type":"TX_BRANCH_TYPE"}`, unescaped(t, got))
		}

		mine := map[string]any{"tenant": "7", "tri-header-convert": url.QueryEscape(`{"user-id":"User-Id"}`)}
		got = received(context.WithValue(ctx, constant.AttachmentKey, mine))
		assert.Contains(t, fmt.Sprint(got["tenant"]), "7", "the caller's attachments stay")
		assert.Len(t, mine, 2, "and its map is not touched")
		if p.name == constant.TriProtocol {
			assert.JSONEq(t, `{"user-id":"User-Id","tx_xid":"TX_XID","tx_branch_type":"TX_BRANCH_TYPE"}`, unescaped(t, got))
		}

		for key := range received(t.Context()) {
			assert.False(t, carry.IsKey(key), "%s is sent outside of a transaction", key)
		}
	})
}

func unescaped(t *testing.T, attachments map[string]any) string {
	t.Helper()
	text, err := url.QueryUnescape(attachments["tri-header-convert"].([]any)[0].(string))
	require.NoError(t, err)
	return text
}

func TestADamagedHeaderOfTheCallersIsRefused(t *testing.T) {
	p := transports()[1]
	echo := p.dial(t, p.serve(t, &Echo{}, nil))
	for damaged, ok := range map[string]bool{"%zz": false, "[]": false, `{"a":1}`: false, "null": true, "": true} {
		ctx := context.WithValue(xid.NewContext(t.Context(), theXID), constant.AttachmentKey,
			map[string]any{"tri-header-convert": damaged})
		_, err := echo.where(ctx, "x")
		if ok {
			assert.NoError(t, err, damaged)
		} else {
			assert.ErrorContains(t, err, "tri-header-convert", damaged)
		}
	}
}

// foreign is a consumer without our filter, which sends attachments of its own.
func (p transport) foreign(t *testing.T, address string) func(attachments map[string]any) (string, error) {
	t.Helper()
	r := p.dial(t, address, client.WithFilter(constant.DefaultReferenceFilters))
	return func(attachments map[string]any) (string, error) {
		return r.where(context.WithValue(t.Context(), constant.AttachmentKey, attachments), "x")
	}
}

// What others send: in any letter case, and of the types that they get wrong.
func TestWhatIsReceived(t *testing.T) {
	onEachTransport(t, func(t *testing.T, p transport) {
		call := p.foreign(t, p.serve(t, &Echo{}, nil))
		for _, attachments := range []map[string]any{
			{"TX_XID": theXID}, {"tx_xid": theXID}, {"Tx_Xid": theXID}, {"SEATA_XID": theXID}, {"seata_xid": theXID},
			{"TX_XID": []string{theXID}},
			{"TX_XID": theXID, "SEATA_XID": theXID}, // seata-go
			{"TX_XID": theXID, "TX_BRANCH_TYPE": "AT"}, {"TX_XID": theXID, "tx_branch_type": "FUTURE"},
		} {
			got, err := call(attachments)
			require.NoError(t, err, attachments)
			assert.Equal(t, "x: "+theXID+" AT", got, attachments)
		}
		got, err := call(map[string]any{"tx_XID": theXID, "Tx_Branch_Type": "TCC"})
		require.NoError(t, err)
		assert.Equal(t, "x: "+theXID+" TCC", got)
		got, err = call(map[string]any{"tx_branch_type": "TCC", "xid": theXID})
		require.NoError(t, err)
		assert.Equal(t, "x:  ", got, "no transaction")
	})
}

// Only Hessian carries what is no string; dubbo-go reads Java's null as "".
func TestOddTypesOfJava(t *testing.T) {
	p := transports()[0]
	call := p.foreign(t, p.serve(t, &Echo{}, nil))
	for _, value := range []any{nil, "", []any{}, []any{nil}, []any{theXID}} {
		want := "x:  "
		if list, ok := value.([]any); ok && len(list) == 1 && list[0] != nil {
			want = "x: " + theXID + " AT"
		}
		got, err := call(map[string]any{"TX_XID": value})
		require.NoError(t, err, value)
		assert.Equal(t, want, got, value)
	}
	for _, value := range []any{int32(42), int64(42), 4.2, true, []byte(theXID), map[string]any{"a": "b"}, []any{int64(1)}, []any{[]any{theXID}}} {
		_, err := call(map[string]any{"TX_XID": value})
		require.ErrorContains(t, err, "TX_XID", "%T", value)
		require.ErrorContains(t, err, "send one string", "%T", value)
	}
}

func TestMalformed(t *testing.T) {
	onEachTransport(t, func(t *testing.T, p transport) {
		handler := &Echo{}
		call := p.foreign(t, p.serve(t, handler, nil))
		for _, attachments := range []map[string]any{
			{"TX_XID": "nonsense"}, {"tx_xid": "h:1:-5"}, {"TX_XID": " "}, {"TX_XID": strings.Repeat("9", 1<<16)},
			{"TX_XID": []string{theXID, other}}, {"TX_XID": theXID, "SEATA_XID": other},
			{"TX_XID": theXID, "TX_BRANCH_TYPE": []string{"AT", "TCC"}},
		} {
			_, err := call(attachments)
			require.Error(t, err, attachments)
			assert.Contains(t, err.Error(), "send", "the remedy")
			assert.Contains(t, err.Error(), "TX_", "the key")
			assert.Less(t, len(err.Error()), 500)
			if p.name == constant.TriProtocol {
				assert.Equal(t, triple_protocol.CodeInvalidArgument, triple_protocol.CodeOf(err))
			}
		}
		assert.Zero(t, handler.calls.Load(), "the handler is not called")

		with(t, dubbo.Config{Policy: carry.Policy{Coordinators: []string{"10.0.0.7:8091"}}}, func() {
			t.Run("foreign", func(t *testing.T) {
				call := p.foreign(t, p.serve(t, handler, nil))
				_, err := call(map[string]any{"TX_XID": other})
				require.ErrorContains(t, err, "foreign")
				_, err = call(map[string]any{"TX_XID": theXID})
				require.NoError(t, err)
			})
		})
		with(t, dubbo.Config{Policy: carry.Policy{IgnoreMalformed: true}}, func() {
			t.Run("ignored", func(t *testing.T) {
				call := p.foreign(t, p.serve(t, handler, nil))
				got, err := call(map[string]any{"TX_XID": "nonsense"})
				require.NoError(t, err)
				assert.Equal(t, "x:  ", got)
			})
		})
	})
}

// capture keeps the attachments of answers, which dubbo-go fills with those of the
// request.
type capture struct{ got map[string]any }

func (c *capture) Invoke(ctx context.Context, next base.Invoker, inv base.Invocation) result.Result {
	r := next.Invoke(ctx, inv)
	c.got = r.Attachments()
	return r
}

func (c *capture) OnResponse(_ context.Context, r result.Result, _ base.Invoker, _ base.Invocation) result.Result {
	return r
}

func TestNothingOfOursIsEchoed(t *testing.T) {
	captured := &capture{}
	extension.SetFilter("capture", func() filter.Filter { return captured })
	ctx := context.WithValue(xid.NewContext(t.Context(), theXID), constant.AttachmentKey, map[string]any{"tenant": "7"})
	onEachTransport(t, func(t *testing.T, p transport) {
		echo := p.dial(t, p.serve(t, &Echo{}, nil), client.WithFilter("capture,"+dubbo.ConsumerFilter))
		var answer string
		var headers, trailers http.Header
		require.NoError(t, echo.conn.CallUnary(ctx, []any{"x"}, &answer, "Where",
			client.WithCallRequestTimeout(callTimeout), client.WithResponseHeader(&headers), client.WithResponseTrailer(&trailers)))
		assert.Equal(t, "x: "+theXID+" AT", answer)
		echoed := map[string]any{}
		for key, value := range captured.got {
			echoed[strings.ToLower(key)] = value
		}
		for _, sent := range []http.Header{headers, trailers} {
			for key, value := range sent {
				echoed[strings.ToLower(key)] = value
			}
		}
		for key, value := range echoed {
			assert.False(t, carry.IsKey(key) || key == "tri-header-convert", "%s", key)
			assert.NotContains(t, fmt.Sprint(value), theXID)
		}
		assert.Contains(t, echoed, "tenant", "dubbo-go echoes still: else this test shows nothing")
	})
}

// Middle calls another service with the context of its own call.
type Middle struct {
	next  remote
	alter func(context.Context) context.Context
}

func (m *Middle) Where(ctx context.Context, name string) (string, error) {
	return m.next.where(m.alter(ctx), name)
}

// dubbo-go forwards the attachments of a handler's call to the services that it
// calls, also when those calls are made in another transaction, or in none.
func TestAHandlersCallsGoWhereItsContextSays(t *testing.T) {
	onEachTransport(t, func(t *testing.T, p transport) {
		for want, alter := range map[string]func(context.Context) context.Context{
			"x: " + theXID + " TCC": func(ctx context.Context) context.Context { return ctx },
			"x: " + other + " AT":   func(ctx context.Context) context.Context { return xid.NewContext(ctx, other) },
			"x:  ":                  func(ctx context.Context) context.Context { return xid.NewContext(ctx, "") },
		} {
			for _, filters := range []string{dubbo.ProviderFilters, constant.DefaultServiceFilters} {
				t.Run(fmt.Sprintf("%d", len(want)+len(filters)), func(t *testing.T) {
					last := p.dial(t, p.serve(t, &Echo{}, nil))
					t.Run("middle", func(t *testing.T) {
						middle := p.dial(t, p.serve(t, &Middle{last, alter}, nil, server.WithFilter(filters)))
						got, err := middle.where(xid.WithBranchType(xid.NewContext(t.Context(), theXID), xid.TypeTCC), "x")
						require.NoError(t, err)
						if filters == constant.DefaultServiceFilters && strings.Contains(want, "TCC") {
							want = "x:  " // the middle one does not take part, so its callee does not either
						}
						assert.Equal(t, want, got)
					})
				})
			}
		}
	})
}

func TestHeadersOfTheContextAreNotSent(t *testing.T) {
	p := transports()[1]
	echo := p.dial(t, p.serve(t, &Echo{}, nil))
	headers := http.Header{"Tx_xid": {other}, "Tenant": {"7"}}
	ctx := triple_protocol.NewOutgoingContext(t.Context(), headers)
	got, err := echo.where(ctx, "x")
	require.NoError(t, err)
	assert.Equal(t, "x:  ", got)
	got, err = echo.where(xid.NewContext(ctx, theXID), "x")
	require.NoError(t, err)
	assert.Equal(t, "x: "+theXID+" AT", got)
	assert.Len(t, triple_protocol.ExtractFromOutgoingContext(ctx), 2, "the caller's context stays as it is")
}

// dubbo-go's default cluster sends a call again: over dubbo after any error, also
// one of the business. In a transaction the work would be done twice.
func TestACallInATransactionIsSentOnce(t *testing.T) {
	onEachTransport(t, func(t *testing.T, p transport) {
		handler := &Echo{}
		address := p.serve(t, handler, nil)
		sent := func(ctx context.Context, echo remote) int32 {
			handler.calls.Store(0)
			_, err := echo.where(ctx, "fail")
			require.ErrorContains(t, err, "no stock", "the first attempt's error")
			return handler.calls.Load()
		}
		echo := p.dial(t, address)
		outside := sent(t.Context(), echo)
		if p.name == constant.DubboProtocol {
			require.EqualValues(t, 3, outside, "dubbo-go has stopped repeating: say so in docs/dubbo.md")
		}
		in := xid.NewContext(t.Context(), theXID)
		assert.EqualValues(t, 1, sent(in, echo))
		assert.EqualValues(t, 1, sent(in, echo), "each call has attempts of its own")

		twice := p.dial(t, address, client.WithFilter(dubbo.ConsumerFilter+","+dubbo.ConsumerFilter))
		got, err := twice.where(in, "x")
		require.NoError(t, err, "the filter named twice")
		assert.Equal(t, "x: "+theXID+" AT", got)

		with(t, dubbo.Config{AllowRetries: true}, func() {
			assert.Equal(t, outside, sent(in, p.dial(t, address)))
		})
	})
}

// A handler that panics fails its call, and the consumer hears of it at once.
func TestAPanicFailsTheCall(t *testing.T) {
	onEachTransport(t, func(t *testing.T, p transport) {
		echo := p.dial(t, p.serve(t, &Echo{}, nil))
		_, err := echo.where(xid.NewContext(t.Context(), theXID), "panic")
		require.Error(t, err)
		got, err := echo.where(t.Context(), "after")
		require.NoError(t, err)
		assert.Equal(t, "after:  ", got)
	})
}

// A service's own filters replace those of its server, and with them ours.
func TestWhereTheProviderFilterIsNamed(t *testing.T) {
	onEachTransport(t, func(t *testing.T, p transport) {
		address := freeAddress(t)
		srv := p.newServer(t, address, server.WithServerFilter(dubbo.ProviderFilters), server.WithServerSerialization(constant.Hessian2Serialization))
		require.NoError(t, srv.RegisterService(&Echo{}, server.WithInterface(p.iface(t))))
		require.NoError(t, srv.RegisterService(&Own{}, server.WithInterface(p.iface(t)+"Own"), server.WithFilter(constant.DefaultServiceFilters)))
		start(t, srv, address)
		ctx := xid.NewContext(t.Context(), theXID)
		got, err := p.dial(t, address).where(ctx, "x")
		require.NoError(t, err)
		assert.Equal(t, "x: "+theXID+" AT", got)
		got, err = p.dial(t, address, client.WithInterface(p.iface(t)+"Own")).where(ctx, "x")
		require.NoError(t, err)
		assert.Equal(t, "x:  ", got)
	})
}

// Own is another Echo: dubbo-go knows handlers by their type.
type Own struct{ Echo }
