package connect_test

import (
	"context"
	"errors"
	"io"
	nethttp "net/http"
	"net/http/httptest"
	"testing"

	goconnect "connectrpc.com/connect"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/qiao-tx/qiao/client/carry"
	qiaoconnect "github.com/qiao-tx/qiao/client/connect"
	"github.com/qiao-tx/qiao/protocol/xid"
)

const theXID = "10.0.0.7:8091:42"

type text = wrapperspb.StringValue

func seen(ctx context.Context) *text {
	return wrapperspb.String(xid.FromContext(ctx) + " " + xid.BranchType(ctx))
}

// serve runs a service of one unary method and one stream both ways.
func serve(t *testing.T, p carry.Policy) *httptest.Server {
	t.Helper()
	with := goconnect.WithInterceptors(qiaoconnect.Interceptor(p))
	mux := nethttp.NewServeMux()
	mux.Handle("/qiao.Test/Ask", goconnect.NewUnaryHandler("/qiao.Test/Ask",
		func(ctx context.Context, r *goconnect.Request[text]) (*goconnect.Response[text], error) {
			answer := goconnect.NewResponse(seen(ctx))
			answer.Header()["Seen"] = r.Header()["X-Many"]
			return answer, nil
		}, with))
	mux.Handle("/qiao.Test/Talk", goconnect.NewBidiStreamHandler("/qiao.Test/Talk",
		func(ctx context.Context, s *goconnect.BidiStream[text, text]) error {
			for {
				if _, err := s.Receive(); errors.Is(err, io.EOF) {
					return nil
				} else if err != nil {
					return err
				}
				if err := s.Send(seen(ctx)); err != nil {
					return err
				}
			}
		}, with))
	server := httptest.NewUnstartedServer(mux)
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	return server
}

// protocols are those that a Connect client speaks.
var protocols = map[string]goconnect.ClientOption{
	"Connect": goconnect.WithClientOptions(), "gRPC": goconnect.WithGRPC(), "gRPC-Web": goconnect.WithGRPCWeb(),
}

func TestTheTransactionTravels(t *testing.T) {
	server := serve(t, carry.Policy{})
	with := goconnect.WithInterceptors(qiaoconnect.Interceptor(carry.Policy{}))
	in := xid.NewContext(t.Context(), theXID)
	for name, protocol := range protocols {
		ask := goconnect.NewClient[text, text](server.Client(), server.URL+"/qiao.Test/Ask", with, protocol)
		talk := goconnect.NewClient[text, text](server.Client(), server.URL+"/qiao.Test/Talk", with, protocol)
		for want, ctx := range map[string]context.Context{
			" ": t.Context(), theXID + " AT": in, theXID + " TCC": xid.WithBranchType(in, xid.TypeTCC),
		} {
			request := goconnect.NewRequest(&text{})
			request.Header()["X-Many"] = []string{"1", "2"}
			if want != " " {
				request.Header().Set("tx_xid", "10.0.0.9:8091:1") // forwarded from elsewhere
			}
			answer, err := ask.CallUnary(ctx, request)
			require.NoError(t, err, name)
			assert.Equal(t, want, answer.Msg.GetValue(), name)
			assert.Equal(t, []string{"1", "2"}, answer.Header()["Seen"], name)

			s := talk.CallBidiStream(ctx)
			for range 3 {
				require.NoError(t, s.Send(&text{}))
				word, err := s.Receive()
				require.NoError(t, err, name)
				assert.Equal(t, want, word.GetValue(), name)
			}
			require.NoError(t, s.CloseRequest())
			_, err = s.Receive()
			require.ErrorIs(t, err, io.EOF)
			require.NoError(t, s.CloseResponse())
		}
	}
}

func TestWhatCannotBeJoined(t *testing.T) {
	allowed := []string{"10.0.0.7:8091"}
	strict := serve(t, carry.Policy{Coordinators: allowed})
	lenient := serve(t, carry.Policy{Coordinators: allowed, IgnoreMalformed: true})
	for name, protocol := range protocols {
		for _, values := range [][]string{{"nonsense"}, {""}, {theXID, "10.0.0.7:8091:1"}, {"10.0.0.9:8091:1"}} {
			call := func(server *httptest.Server) (string, error) {
				request := goconnect.NewRequest(&text{})
				request.Header()["Tx_xid"] = values
				answer, err := goconnect.NewClient[text, text](server.Client(), server.URL+"/qiao.Test/Ask", protocol).CallUnary(t.Context(), request)
				if err != nil {
					return "", err
				}
				return answer.Msg.GetValue(), nil
			}
			_, err := call(strict)
			assert.Equal(t, goconnect.CodeInvalidArgument, goconnect.CodeOf(err), name)
			assert.ErrorContains(t, err, "TX_XID")
			got, err := call(lenient)
			require.NoError(t, err)
			assert.Equal(t, " ", got)
		}
		s := goconnect.NewClient[text, text](strict.Client(), strict.URL+"/qiao.Test/Talk", protocol).CallBidiStream(t.Context())
		s.RequestHeader().Set("TX_XID", "nonsense")
		_ = s.Send(&text{}) // may fail with io.EOF: the reason comes with the receive
		_, err := s.Receive()
		assert.Equal(t, goconnect.CodeInvalidArgument, goconnect.CodeOf(err), name)
		require.NoError(t, s.CloseRequest())
		_ = s.CloseResponse()
	}
}
