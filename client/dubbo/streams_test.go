package dubbo_test

import (
	"context"
	"errors"
	"io"
	"testing"

	"dubbo.apache.org/dubbo-go/v3/client"
	"dubbo.apache.org/dubbo-go/v3/common"
	"dubbo.apache.org/dubbo-go/v3/common/constant"
	"dubbo.apache.org/dubbo-go/v3/protocol/triple/triple_protocol"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/qiao-tx/qiao/client/dubbo"
	"github.com/qiao-tx/qiao/protocol/xid"
)

type word = wrapperspb.StringValue

// Talker answers every word of a stream, of each of triple's kinds.
type Talker struct {
	answer func(ctx context.Context, w string) (string, error)
}

func (h *Talker) Gather(ctx context.Context, s *triple_protocol.ClientStream) (*triple_protocol.Response, error) {
	all := ""
	for w := new(word); s.Receive(w); {
		answer, err := h.answer(ctx, w.Value)
		if err != nil {
			return nil, err
		}
		all += answer + "\n"
	}
	return triple_protocol.NewResponse(wrapperspb.String(all)), s.Err()
}

func (h *Talker) Repeat(ctx context.Context, w *word, s *triple_protocol.ServerStream) error {
	for range 3 {
		answer, err := h.answer(ctx, w.Value)
		if err == nil {
			err = s.Send(wrapperspb.String(answer))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (h *Talker) Talk(ctx context.Context, s *triple_protocol.BidiStream) error {
	for {
		w := new(word)
		if err := s.Receive(w); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		answer, err := h.answer(ctx, w.Value)
		if err == nil {
			err = s.Send(wrapperspb.String(answer))
		}
		if err != nil {
			return err
		}
	}
}

// talkerInfo is what protoc-gen-go-triple would write for Talker.
func talkerInfo(iface string) *common.ServiceInfo {
	same := func(stream any) any { return stream }
	newWord := func() any { return new(word) }
	return &common.ServiceInfo{InterfaceName: iface, Methods: []common.MethodInfo{
		{Name: "Gather", Type: constant.CallClientStream, StreamInitFunc: same,
			MethodFunc: func(ctx context.Context, args []any, h any) (any, error) {
				return h.(*Talker).Gather(ctx, args[0].(*triple_protocol.ClientStream))
			}},
		{Name: "Repeat", Type: constant.CallServerStream, ReqInitFunc: newWord, StreamInitFunc: same,
			MethodFunc: func(ctx context.Context, args []any, h any) (any, error) {
				return nil, h.(*Talker).Repeat(ctx, args[0].(*word), args[1].(*triple_protocol.ServerStream))
			}},
		{Name: "Talk", Type: constant.CallBidiStream, StreamInitFunc: same,
			MethodFunc: func(ctx context.Context, args []any, h any) (any, error) {
				return nil, h.(*Talker).Talk(ctx, args[0].(*triple_protocol.BidiStream))
			}},
	}}
}

// talker serves h over triple and returns a connection to it.
func talker(t *testing.T, h *Talker, opts ...client.ReferenceOption) *client.Connection {
	t.Helper()
	p := transports()[1]
	address := p.serve(t, h, talkerInfo(p.iface(t)))
	cli, err := client.NewClient(client.SetClientApplication(application()))
	require.NoError(t, err)
	opts = append([]client.ReferenceOption{client.WithURL("tri://" + address), client.WithFilter(dubbo.ConsumerFilter)}, opts...)
	conn, err := cli.DialWithInfo(p.iface(t), &client.ClientInfo{InterfaceName: p.iface(t), MethodNames: []string{"Gather", "Repeat", "Talk"}}, opts...)
	require.NoError(t, err)
	return conn
}

// say sends a word over a stream and returns its answer.
func say(s *triple_protocol.BidiStreamForClient, w string) (string, error) {
	if err := s.Send(wrapperspb.String(w)); err != nil {
		return "", err
	}
	answer := new(word)
	err := s.Receive(answer)
	return answer.Value, err
}

func open(ctx context.Context, t *testing.T, conn *client.Connection) *triple_protocol.BidiStreamForClient {
	t.Helper()
	s, err := conn.CallBidiStream(ctx, "Talk")
	require.NoError(t, err)
	return s.(*triple_protocol.BidiStreamForClient)
}

func TestEveryMessageOfAStreamIsInItsTransaction(t *testing.T) {
	conn := talker(t, &Talker{func(ctx context.Context, w string) (string, error) { return w + ": " + seen(ctx), nil }})
	in := xid.NewContext(t.Context(), theXID)
	for want, ctx := range map[string]context.Context{
		"a:  ":                  t.Context(),
		"a: " + theXID + " AT":  in,
		"a: " + theXID + " TCC": xid.WithBranchType(in, xid.TypeTCC),
	} {
		talk := open(ctx, t, conn)
		for range 3 {
			got, err := say(talk, "a")
			require.NoError(t, err)
			assert.Equal(t, want, got)
		}
		require.NoError(t, talk.CloseRequest())
		require.ErrorIs(t, talk.Receive(new(word)), io.EOF)
		require.NoError(t, talk.CloseResponse())

		raw, err := conn.CallServerStream(ctx, wrapperspb.String("a"), "Repeat")
		require.NoError(t, err)
		repeated := raw.(*triple_protocol.ServerStreamForClient)
		n := 0
		for answer := new(word); repeated.Receive(answer); n++ {
			assert.Equal(t, want, answer.Value)
		}
		require.NoError(t, repeated.Err())
		require.NoError(t, repeated.Close())
		assert.Equal(t, 3, n)

		raw, err = conn.CallClientStream(ctx, "Gather")
		require.NoError(t, err)
		gather := raw.(*triple_protocol.ClientStreamForClient)
		require.NoError(t, gather.Send(wrapperspb.String("a")))
		require.NoError(t, gather.Send(wrapperspb.String("a")))
		all := new(word)
		require.NoError(t, gather.CloseAndReceive(triple_protocol.NewResponse(all)))
		assert.Equal(t, want+"\n"+want+"\n", all.Value)
	}
}

func TestAStreamOfAMalformedTransactionIsRefused(t *testing.T) {
	conn := talker(t, &Talker{func(context.Context, string) (string, error) {
		t.Error("the handler is called")
		return "", nil
	}}, client.WithFilter(constant.DefaultReferenceFilters))
	ctx := context.WithValue(t.Context(), constant.AttachmentKey, map[string]any{"TX_XID": "nonsense"})
	s := open(ctx, t, conn)
	_, err := say(s, "a")
	if errors.Is(err, io.EOF) { // refused before the first word was sent
		err = s.Receive(new(word))
	}
	require.ErrorContains(t, err, "TX_XID")
	assert.Equal(t, triple_protocol.CodeInvalidArgument, triple_protocol.CodeOf(err))
	_ = s.CloseRequest()
	_ = s.CloseResponse()
}
