package sagaservice_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"dubbo.apache.org/dubbo-go/v3/client"
	_ "dubbo.apache.org/dubbo-go/v3/cluster/loadbalance/random"
	"dubbo.apache.org/dubbo-go/v3/common/constant"
	"dubbo.apache.org/dubbo-go/v3/common/extension"
	_ "dubbo.apache.org/dubbo-go/v3/filter/accesslog"
	_ "dubbo.apache.org/dubbo-go/v3/filter/echo"
	_ "dubbo.apache.org/dubbo-go/v3/filter/exec_limit"
	_ "dubbo.apache.org/dubbo-go/v3/filter/graceful_shutdown"
	_ "dubbo.apache.org/dubbo-go/v3/filter/token"
	_ "dubbo.apache.org/dubbo-go/v3/filter/tps"
	"dubbo.apache.org/dubbo-go/v3/global"
	"dubbo.apache.org/dubbo-go/v3/protocol"
	_ "dubbo.apache.org/dubbo-go/v3/protocol/dubbo"
	"dubbo.apache.org/dubbo-go/v3/protocol/dubbo/hessian2"
	_ "dubbo.apache.org/dubbo-go/v3/protocol/triple"
	_ "dubbo.apache.org/dubbo-go/v3/proxy/proxy_factory"
	"dubbo.apache.org/dubbo-go/v3/server"
	"github.com/dubbogo/gost/log/logger"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	qiao "github.com/qiao-tx/qiao/client"
	"github.com/qiao-tx/qiao/client/dubbo"
	"github.com/qiao-tx/qiao/client/dubbo/sagaservice"
	"github.com/qiao-tx/qiao/protocol/xid"
	"github.com/qiao-tx/qiao/saga"
	"github.com/qiao-tx/qiao/saga/sagalog"
	"github.com/qiao-tx/qiao/server/servertest"
)

func TestMain(m *testing.M) {
	logger.SetLoggerLevel("fatal")
	extension.GetProtocol(constant.DubboProtocol) // dubbo-go makes them at their first use, without a lock
	extension.GetProtocol(constant.TriProtocol)
	dubbo.Register(dubbo.Config{})
	m.Run()
}

// Order is a parameter that Java would have as a class.
type Order struct {
	Item  string
	Count int32
}

// call is what a provider saw.
type call struct{ method, xid, branchType, key, compensates string }

// Shop is a provider in Go that knows nothing of sagas.
type Shop struct {
	mu    sync.Mutex
	calls []call
	// end lets calls of Wait return.
	end chan struct{}
}

func (s *Shop) saw(ctx context.Context, method string) {
	attachments, _ := ctx.Value(constant.AttachmentKey).(map[string]any)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, call{method, xid.FromContext(ctx), xid.BranchType(ctx), text(attachments[sagaservice.AttachmentKey]), text(attachments[sagaservice.AttachmentCompensates])})
}

// text is an attachment, which triple has in a list.
func text(v any) string {
	if list, ok := v.([]string); ok && len(list) == 1 {
		return list[0]
	}
	if v == nil {
		return ""
	}
	return fmt.Sprint(v)
}

func (s *Shop) seen() []call {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]call(nil), s.calls...)
}

// Reserve answers with values of several kinds.
func (s *Shop) Reserve(ctx context.Context, o *Order, tags []string) (map[string]any, error) {
	s.saw(ctx, "reserve")
	return map[string]any{"item": o.Item, "left": 10 - o.Count, "shelves": []any{int32(1), "b"}, "tags": len(tags), "price": 2.5,
		"order": o}, nil
}

func (s *Shop) Release(ctx context.Context, item string) (bool, error) {
	s.saw(ctx, "release")
	return item == "hat", nil
}

// Pay fails with an exception of the business, or with an error of Go.
func (s *Shop) Pay(ctx context.Context, money int64) (bool, error) {
	s.saw(ctx, "pay")
	switch {
	case money > 100:
		return false, &hessian2.GenericException{ExceptionClass: "com.example.NoMoney", ExceptionMessage: "100 at most"}
	case money < 0:
		return false, errors.New("less than nothing")
	}
	return true, nil
}

func (s *Shop) Wait(ctx context.Context) (bool, error) {
	s.saw(ctx, "wait")
	<-s.end
	return true, nil
}

// protocols are those of dubbo-go that have generic calls.
func protocols() map[string]protocol.Option {
	return map[string]protocol.Option{constant.DubboProtocol: protocol.WithDubbo(), constant.TriProtocol: protocol.WithTriple()}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	return l.Addr().String()
}

func application() *global.ApplicationConfig {
	return &global.ApplicationConfig{Name: "test", MetadataType: constant.RemoteMetadataStorageType}
}

// serve publishes the shop under a name and returns when it answers. dubbo-go's
// servers end with the process.
func serve(t *testing.T, name, iface, address string, shop *Shop) {
	t.Helper()
	_, port, err := net.SplitHostPort(address)
	require.NoError(t, err)
	number, err := strconv.Atoi(port)
	require.NoError(t, err)
	srv, err := server.NewServer(server.SetServerApplication(application()),
		server.WithServerProtocol(protocols()[name].(protocol.ServerOption), protocol.WithIp("127.0.0.1"), protocol.WithPort(number)))
	require.NoError(t, err)
	require.NoError(t, srv.RegisterService(shop, server.WithInterface(iface), server.WithFilter(dubbo.ProviderFilters),
		server.WithSerialization(constant.Hessian2Serialization)))
	go func() { _ = srv.Serve() }()
	require.Eventually(t, func() bool {
		conn, err := net.DialTimeout("tcp", address, time.Second)
		return err == nil && conn.Close() == nil
	}, 10*time.Second, 5*time.Millisecond)
}

var served atomic.Int64

// fresh is an interface's name for one run: dubbo-go keeps every interface it has
// served until the process ends.
func fresh(iface string) string { return fmt.Sprint(iface, ".", served.Add(1)) }

// invoker calls the service "shop" at an address.
func invoker(name, iface, address string) *sagaservice.Invoker {
	return sagaservice.New(sagaservice.Config{
		NewClient: func() (*client.Client, error) { return client.NewClient(client.SetClientApplication(application())) },
		Services: map[string][]client.ReferenceOption{"shop": {client.WithInterface(iface), client.WithURL(name + "://" + address),
			client.WithProtocol(name)}},
	})
}

const order = `{"Name": "order", "StartState": "Reserve", "Version": "1", "States": {
 "Reserve": {"Type": "ServiceTask", "ServiceType": "dubbo", "ServiceName": "shop", "ServiceMethod": "Reserve", "CompensateState": "Release",
  "ParameterTypes": ["com.example.Order", "java.lang.String[]"], "Input": [{"item": "$.[item]", "count": 3}, ["a", "b"]],
  "Output": {"left": "$.[left]", "shelf": "$.[shelves][1]", "tags": "$.[tags]", "price": "$.[price]", "count": "$.[order].count"},
  "Status": {"[left] == 7": "SU", "$Exception{java.lang.Throwable}": "UN"}, "Next": "Pay"},
 "Pay": {"Type": "ServiceTask", "ServiceType": "dubbo", "ServiceName": "shop", "ServiceMethod": "Pay", "Input": ["$.[money]"],
  "IsForUpdate": true, "Status": {"#root == true": "SU", "$Exception{com.example.NoMoney}": "FA", "$Exception{java.lang.Throwable}": "UN"},
  "Catch": [{"Exceptions": ["com.example.NoMoney"], "Next": "Undo"}], "Next": "End"},
 "Release": {"Type": "ServiceTask", "ServiceType": "dubbo", "ServiceName": "shop", "ServiceMethod": "Release",
  "ParameterTypes": ["java.lang.String"], "Input": ["$.[item]"], "Status": {"#root == true": "SU", "#root == false": "FA"}},
 "Undo": {"Type": "CompensationTrigger", "Next": "Refused"},
 "Refused": {"Type": "Fail", "ErrorCode": "NO_MONEY"}, "End": {"Type": "Succeed"}}}`

// Machines call a provider, whose exceptions lead them; the provider is in the saga's
// transaction, and compensations tell what they undo.
func TestMachines(t *testing.T) {
	for name := range protocols() {
		t.Run(name, func(t *testing.T) {
			shop, iface, address := &Shop{}, fresh("test.saga."+name), freeAddress(t)
			serve(t, name, iface, address, shop)
			app, err := qiao.Open(t.Context(), qiao.Config{Addresses: []string{servertest.Start(t)}, ApplicationID: "orders"})
			require.NoError(t, err)
			e, err := saga.Open(t.Context(), saga.Config{Store: sagalog.NewMemory(), Coordinator: app.Saga(),
				Invokers: map[string]saga.Invoker{"dubbo": invoker(name, iface, address)}})
			require.NoError(t, err)
			t.Cleanup(func() {
				ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
				defer cancel()
				require.NoError(t, e.Close(ctx))
				require.NoError(t, app.Close(ctx))
			})
			_, err = e.Define(t.Context(), []byte(order))
			require.NoError(t, err)

			s, err := e.Start(t.Context(), "order", map[string]any{"item": "hat", "money": 50}, saga.StartOptions{})
			require.NoError(t, err)
			require.Equal(t, "SU", string(s.Status), "%+v", s.Failure)
			assert.Equal(t, []any{int64(7), "b", int64(2), 2.5, int64(3)},
				[]any{s.Variables["left"], s.Variables["shelf"], s.Variables["tags"], s.Variables["price"], s.Variables["count"]})
			seen := shop.seen()
			require.Len(t, seen, 2)
			assert.Equal(t, []string{s.ID, s.ID}, []string{seen[0].xid, seen[1].xid})
			assert.Equal(t, xid.TypeSaga, seen[0].branchType, "AT keeps out of it")
			assert.NotEmpty(t, seen[0].key)

			s, err = e.Start(t.Context(), "order", map[string]any{"item": "hat", "money": 500}, saga.StartOptions{})
			require.NoError(t, err)
			assert.Equal(t, "UN SU", string(s.Status)+" "+string(s.Compensation), "%+v", s.Failure)
			require.NotNil(t, s.Failure)
			assert.Equal(t, "com.example.NoMoney", s.Failure.Class)
			seen = shop.seen()[2:]
			require.Len(t, seen, 3)
			assert.Equal(t, []string{"reserve", "pay", "release"}, []string{seen[0].method, seen[1].method, seen[2].method})
			assert.Equal(t, []string{s.ID, seen[0].key}, []string{seen[2].xid, seen[2].compensates})
		})
	}
}

// Errors have the class that machines name, say whether the provider was reached,
// and end no later than the context.
func TestErrors(t *testing.T) {
	for name := range protocols() {
		t.Run(name, func(t *testing.T) {
			shop, iface, address := &Shop{end: make(chan struct{})}, fresh("test.errors."+name), freeAddress(t)
			i := invoker(name, iface, address)
			invoke := func(ctx context.Context, service, method string, input ...any) *saga.Exception {
				_, err := i.Invoke(ctx, saga.Request{Service: service, Method: method, Input: input, Call: saga.Call{Key: "k", State: "Größe"}})
				var e *saga.Exception
				if err != nil {
					require.ErrorAs(t, err, &e)
				}
				return e
			}
			e := invoke(t.Context(), "shop", "Pay", 1)
			require.NotNil(t, e)
			assert.True(t, e.NotSent, "before the provider is there: %+v", e)

			serve(t, name, iface, address, shop)
			require.Nil(t, invoke(t.Context(), "shop", "Pay", 1), "once the provider is there")

			e = invoke(t.Context(), "shop", "Pay", 500)
			require.NotNil(t, e)
			assert.Equal(t, "com.example.NoMoney", e.Class, e.Message)
			assert.Contains(t, e.Message, "100 at most")
			e = invoke(t.Context(), "shop", "Pay", -1)
			require.NotNil(t, e)
			assert.Contains(t, e.Message, "less than nothing")
			assert.False(t, e.NotSent || e.NoAnswer, "%+v", e)
			assert.Equal(t, map[string]string{constant.DubboProtocol: "java.lang.RuntimeException", constant.TriProtocol: "gRPC Unknown"}[name], e.Class)
			e = invoke(t.Context(), "shop", "Sing", 1)
			require.NotNil(t, e)
			assert.False(t, e.NotSent, "%+v", e)
			assert.Contains(t, e.Message, "not found")
			before := len(shop.seen())

			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			e = invoke(ctx, "shop", "Wait")
			// Last of all: over dubbo the late answer breaks the connection, and dubbo-go's
			// calls race with its making another.
			defer close(shop.end)
			require.NotNil(t, e)
			assert.True(t, e.NoAnswer, "%+v", e)
			assert.Contains(t, e.Also, "java.net.SocketTimeoutException", "%+v", e)
			assert.Len(t, shop.seen(), before+1, "a call is sent once")

			e = invoke(t.Context(), "shops", "Pay", 1)
			require.NotNil(t, e)
			assert.Equal(t, "java.lang.IllegalArgumentException", e.Class)
			_, err := i.Invoke(t.Context(), saga.Request{Service: "shop", Method: "Pay", ParameterTypes: []string{"long", "long"}, Input: []any{1}})
			assert.ErrorContains(t, err, "2 ParameterTypes for 1 inputs")
		})
	}
}
