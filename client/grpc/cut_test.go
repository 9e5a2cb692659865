package grpc_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/qiao-tx/qiao/client/carry"
	"github.com/qiao-tx/qiao/protocol/xid"
	"github.com/qiao-tx/qiao/server/servertest"
	"github.com/qiao-tx/qiao/tm"
)

// A stream breaks after the first of its two changes: the function's error rolls
// the transaction back, and with it what the handler had done.
func TestACutStreamIsRolledBack(t *testing.T) {
	s := startGo(t, servertest.Start(t))
	err := s.app.TM().Run(t.Context(), tm.Options{Name: "cut"}, func(ctx context.Context) error {
		calls, cut := context.WithCancel(ctx)
		talking, err := talk(calls, dial(t, s.target))
		require.NoError(t, err)
		_, err = talking.say(add)
		require.NoError(t, err)
		assert.Equal(t, 1, s.balance(t))
		cut()
		_, err = talking.hear()
		return err
	})
	require.Equal(t, codes.Canceled, status.Code(err))
	assert.Equal(t, 0, s.balance(t))
}

// The server dies, or the network, with it: the same.
func TestAServerThatGoesIsRolledBack(t *testing.T) {
	s := startGo(t, servertest.Start(t))
	began, release := make(chan struct{}), make(chan struct{})
	target, stop := serveUntil(t, &handlers{talk: func(ctx context.Context, recv func() (string, error), send func(string) error) error {
		word, err := recv()
		if err != nil {
			return err
		}
		if _, err := s.execute(ctx, word); err != nil {
			return err
		}
		close(began)
		<-release
		return ctx.Err()
	}}, carry.Policy{})
	err := s.app.TM().Run(t.Context(), tm.Options{Name: "cut"}, func(ctx context.Context) error {
		talking, err := talk(ctx, dial(t, target))
		require.NoError(t, err)
		require.NoError(t, talking.SendMsg(message(add)))
		<-began
		go stop() // cuts connections, then waits for handlers
		_, err = talking.hear()
		close(release)
		return err
	})
	require.Equal(t, codes.Unavailable, status.Code(err), "%v", err)
	assert.Equal(t, 0, s.balance(t))
}

// A handler that goes on after the transaction has ended changes nothing: its
// branch is refused, and its local transaction with it.
func TestAHandlerThatIsTooLate(t *testing.T) {
	s := startGo(t, servertest.Start(t))
	began, release, late := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	target := serve(t, &handlers{talk: func(ctx context.Context, recv func() (string, error), _ func(string) error) error {
		word, err := recv()
		if err != nil {
			return err
		}
		close(began)
		<-release
		_, err = s.execute(context.WithoutCancel(ctx), word) // a handler that ignores that its stream is cut
		late <- err
		return err
	}}, carry.Policy{})
	err := s.app.TM().Run(t.Context(), tm.Options{Name: "late"}, func(ctx context.Context) error {
		calls, cut := context.WithCancel(ctx)
		defer cut()
		talking, err := talk(calls, dial(t, target))
		require.NoError(t, err)
		require.NoError(t, talking.SendMsg(message(add)))
		<-began
		return assert.AnError
	})
	require.ErrorIs(t, err, assert.AnError)
	close(release)
	require.Error(t, <-late)
	assert.Equal(t, 0, s.balance(t))
}

// An XID that is well formed but that no coordinator knows: the first branch is
// refused, and its local transaction with it.
func TestAnUnknownTransaction(t *testing.T) {
	s := startGo(t, servertest.Start(t))
	_, err := ask(xid.NewContext(t.Context(), xid.New("127.0.0.1:1", 42)), dial(t, s.target), add)
	require.ErrorContains(t, err, "127.0.0.1:1:42")
	assert.Equal(t, 0, s.balance(t))
}
