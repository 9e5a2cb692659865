package grpc_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	gogrpc "google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/qiao-tx/qiao/client/carry"
	qiaogrpc "github.com/qiao-tx/qiao/client/grpc"
	"github.com/qiao-tx/qiao/protocol/xid"
)

const (
	theXID = "10.0.0.7:8091:42"
	other  = "10.0.0.8:8091:43"
)

// seen is what the echoing handlers tell of their context.
func seen(ctx context.Context) string { return xid.FromContext(ctx) + " " + xid.BranchType(ctx) }

var echo = handlers{
	ask: func(ctx context.Context, _ string) (string, error) { return seen(ctx), nil },
	talk: func(ctx context.Context, recv func() (string, error), send func(string) error) error {
		for {
			word, err := recv()
			if err != nil {
				return nil // the caller has said all
			}
			if err := send(word + ": " + seen(ctx)); err != nil {
				return err
			}
		}
	},
}

func TestTheTransactionTravels(t *testing.T) {
	conn := dial(t, serve(t, &echo, carry.Policy{}))
	in := xid.NewContext(t.Context(), theXID)
	for want, ctx := range map[string]context.Context{
		" ":             t.Context(),
		theXID + " AT":  in,
		theXID + " TCC": xid.WithBranchType(in, xid.TypeTCC),
		other + " AT":   xid.NewContext(in, other),
	} {
		got, err := ask(ctx, conn, "")
		require.NoError(t, err)
		assert.Equal(t, want, got)

		s, err := talk(ctx, conn)
		require.NoError(t, err)
		for range 3 { // every message of the stream
			got, err := s.say("hello")
			require.NoError(t, err)
			assert.Equal(t, "hello: "+want, got)
		}
		require.NoError(t, s.CloseSend())
		_, err = s.hear()
		require.ErrorIs(t, err, io.EOF)
	}
}

// Calls of many transactions, and of none, share a connection, and the server its
// goroutines: none sees another's.
func TestCallsDoNotSeeEachOther(t *testing.T) {
	conn := dial(t, serve(t, &echo, carry.Policy{}))
	var callers sync.WaitGroup
	for i := range 64 {
		callers.Go(func() {
			ctx, want := t.Context(), " "
			if i%2 == 0 {
				x := xid.New("tc:1", int64(i+1))
				ctx, want = xid.NewContext(ctx, x), x+" AT"
			}
			for range 20 {
				got, err := ask(ctx, conn, "")
				if !assert.NoError(t, err) || !assert.Equal(t, want, got) {
					return
				}
			}
		})
	}
	callers.Wait()
}

// recorded keeps the metadata that a server got.
func recorded(md *metadata.MD) *handlers {
	return &handlers{
		ask: func(ctx context.Context, _ string) (string, error) {
			*md, _ = metadata.FromIncomingContext(ctx)
			return "", nil
		},
	}
}

func TestTheCallersMetadataStay(t *testing.T) {
	var got metadata.MD
	conn := dial(t, serve(t, recorded(&got), carry.Policy{}))
	ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "secret", "many", "1", "many", "2", "raw-bin", "\x00\xff",
		"TX_XID", other, "Seata_Xid", other, "tx_branch_type", "TCC") // as a service does that forwards all it got
	sent := xid.NewContext(ctx, theXID)
	before, _ := metadata.FromOutgoingContext(sent)
	_, err := ask(sent, conn, "")
	require.NoError(t, err)
	after, _ := metadata.FromOutgoingContext(sent)
	assert.Equal(t, before, after, "the caller's context is not changed")
	assert.Equal(t, []string{"secret"}, got["authorization"])
	assert.Equal(t, []string{"1", "2"}, got["many"])
	assert.Equal(t, []string{"\x00\xff"}, got["raw-bin"])
	assert.Equal(t, []string{theXID}, got["tx_xid"])
	assert.Equal(t, []string{"AT"}, got["tx_branch_type"])
	assert.Empty(t, got["seata_xid"])

	_, err = ask(ctx, conn, "") // outside of a transaction what is forwarded is forwarded
	require.NoError(t, err)
	assert.Equal(t, []string{other}, got["tx_xid"])
}

// raw opens a connection without the interceptors, to send what they would not.
func raw(t *testing.T, target string) *gogrpc.ClientConn {
	return dial(t, target, gogrpc.WithUserAgent("raw"))
}

func TestWhatCannotBeJoined(t *testing.T) {
	strict := raw(t, serve(t, &echo, carry.Policy{Coordinators: []string{"10.0.0.7:8091"}}))
	lenient := raw(t, serve(t, &echo, carry.Policy{Coordinators: []string{"10.0.0.7:8091"}, IgnoreMalformed: true}))
	for _, bad := range []struct {
		pairs []string
		says  string
	}{
		{[]string{"TX_XID", "nonsense"}, `TX_XID: malformed XID "nonsense"`},
		{[]string{"TX_XID", ""}, "malformed"},
		{[]string{"tx_xid", theXID, "tx_xid", "10.0.0.7:8091:1"}, "more than one transaction"},
		{[]string{"tx_xid", theXID, "seata_xid", "10.0.0.7:8091:1"}, "more than one transaction"},
		{[]string{"tx_xid", strings.Repeat("x", 1000)}, "1000 bytes, at most 64"},
		{[]string{"tx_xid", other}, "foreign coordinator"},
	} {
		ctx := metadata.AppendToOutgoingContext(t.Context(), bad.pairs...)
		_, err := ask(ctx, strict, "")
		assert.Equal(t, codes.InvalidArgument, status.Code(err), bad.pairs)
		assert.ErrorContains(t, err, bad.says)
		s, err := talk(ctx, strict)
		require.NoError(t, err)
		_, err = s.say("hello")
		assert.Equal(t, codes.InvalidArgument, status.Code(err), bad.pairs)
		assert.ErrorContains(t, err, bad.says)

		got, err := ask(ctx, lenient, "")
		require.NoError(t, err)
		assert.Equal(t, " ", got)
		s, err = talk(ctx, lenient)
		require.NoError(t, err)
		got, err = s.say("hello")
		require.NoError(t, err)
		assert.Equal(t, "hello:  ", got)
		require.NoError(t, s.CloseSend())
		_, err = s.hear()
		require.ErrorIs(t, err, io.EOF)
	}
	ctx := metadata.AppendToOutgoingContext(t.Context(), "tx_xid", theXID, "TX_XID", theXID)
	got, err := ask(ctx, strict, "")
	require.NoError(t, err)
	assert.Equal(t, theXID+" AT", got, "the same one twice is one")
}

// The interceptors of the application keep their place and their context.
func TestInChainWithOthers(t *testing.T) {
	type key struct{}
	target := serve(t, &echo, carry.Policy{})
	var order []string
	outer := gogrpc.WithChainUnaryInterceptor(func(ctx context.Context, method string, req, reply any, c *gogrpc.ClientConn, invoke gogrpc.UnaryInvoker, opts ...gogrpc.CallOption) error {
		order = append(order, "outer")
		return invoke(context.WithValue(ctx, key{}, 7), method, req, reply, c, opts...)
	})
	inner := gogrpc.WithChainUnaryInterceptor(func(ctx context.Context, method string, req, reply any, c *gogrpc.ClientConn, invoke gogrpc.UnaryInvoker, opts ...gogrpc.CallOption) error {
		md, _ := metadata.FromOutgoingContext(ctx)
		order = append(order, fmt.Sprint("inner ", ctx.Value(key{}), md["tx_xid"]))
		return invoke(ctx, method, req, reply, c, opts...)
	})
	conn := dial(t, target, append(append([]gogrpc.DialOption{outer}, qiaogrpc.DialOptions()...), inner)...)
	got, err := ask(xid.NewContext(t.Context(), theXID), conn, "")
	require.NoError(t, err)
	assert.Equal(t, theXID+" AT", got)
	assert.Equal(t, []string{"outer", "inner 7 [" + theXID + "]"}, order)
}

// A stream that is cut ends the handler's context, which stays in its transaction
// to the end.
func TestACutStream(t *testing.T) {
	ended := make(chan string, 1)
	h := handlers{talk: func(ctx context.Context, recv func() (string, error), send func(string) error) error {
		if _, err := recv(); err != nil {
			return err
		}
		if err := send("yes"); err != nil {
			return err
		}
		_, err := recv()
		<-ctx.Done()
		ended <- fmt.Sprint(status.Code(err), " ", ctx.Err(), " ", seen(ctx))
		return err
	}}
	conn := dial(t, serve(t, &h, carry.Policy{}))
	ctx, cut := context.WithCancel(xid.NewContext(t.Context(), theXID))
	s, err := talk(ctx, conn)
	require.NoError(t, err)
	_, err = s.say("hello")
	require.NoError(t, err)
	cut()
	_, err = s.hear()
	assert.Equal(t, codes.Canceled, status.Code(err))
	assert.Equal(t, "Canceled context canceled "+theXID+" AT", <-ended)
}

// What a handler answers is what the caller gets.
func TestErrorsComeThrough(t *testing.T) {
	want := status.Error(codes.FailedPrecondition, "no stock")
	h := handlers{
		ask: func(context.Context, string) (string, error) { return "", want },
		talk: func(_ context.Context, recv func() (string, error), _ func(string) error) error {
			_, err := recv()
			return errors.Join(want, err)
		},
	}
	conn := dial(t, serve(t, &h, carry.Policy{}))
	ctx := xid.NewContext(t.Context(), theXID)
	_, err := ask(ctx, conn, "")
	assert.Equal(t, want.Error(), err.Error())
	s, err := talk(ctx, conn)
	require.NoError(t, err)
	_, err = s.say("hello")
	assert.ErrorContains(t, err, "no stock")
}
