package lead

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/server/coordinator"
	"github.com/qiao-tx/qiao/storage"
	"github.com/qiao-tx/qiao/storage/memory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a router with an election that the test holds.
type world struct {
	t *testing.T
	*Router
	store *memory.Store

	mu      sync.Mutex
	leader  string
	term    *term
	changed chan struct{}
	sent    []protocol.Message
	// far answers forwarded requests.
	far func(m protocol.Message) (protocol.Message, map[string]string, error)
}

// term is a leadership over the world's store.
type term struct {
	storage.Store
	ended chan struct{}
}

var errOver = errors.New("over")

func (t *term) Ended() <-chan struct{} { return t.ended }

func (t *term) Check() error {
	select {
	case <-t.ended:
		return errors.Join(storage.ErrUnavailable, errOver)
	default:
		return nil
	}
}

func (t *term) Apply(ctx context.Context, b *storage.Batch) error {
	if err := t.Check(); err != nil {
		return err
	}
	return t.Store.Apply(ctx, b)
}

func (w *world) Leader() (string, <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.leader, w.changed
}

func (w *world) Lead(ctx context.Context) (Term, error) {
	for {
		w.mu.Lock()
		t, changed := w.term, w.changed
		w.mu.Unlock()
		if t != nil {
			return t, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// elect makes a node the leader: this one, another or none.
func (w *world) elect(node string) {
	w.mu.Lock()
	if w.term != nil {
		close(w.term.ended)
		w.term = nil
	}
	if node == "here:1" {
		w.term = &term{w.store, make(chan struct{})}
	}
	w.leader = node
	close(w.changed)
	w.changed = make(chan struct{})
	w.mu.Unlock()
	synctest.Wait()
}

type nobody struct{}

func (nobody) Send(_, _ string, _ bool, _ protocol.Message, _ time.Duration, done func(protocol.Message, error)) {
	done(nil, errors.New("nobody"))
}

var errUnsent, errBroke = errors.New("not sent"), errors.New("the link broke")

func inWorld(t *testing.T, test func(w *world)) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, store: memory.New(), changed: make(chan struct{})}
		w.Router = New(Config{
			Address: "here:1", Election: w, Logger: slog.New(slog.DiscardHandler),
			Coordinator: func(ctx context.Context, t Term) (*coordinator.Coordinator, error) {
				c, err := coordinator.New(ctx, coordinator.Config{Store: t, Dispatcher: Fenced(nobody{}, t), Address: "here:1", TellAgain: true})
				if err != nil {
					return nil, err
				}
				return c, c.Start(ctx)
			},
			Forward: func(node string, _ coordinator.Caller, m protocol.Message, _ map[string]string, done func(protocol.Message, map[string]string, error)) {
				w.mu.Lock()
				w.sent = append(w.sent, m)
				w.mu.Unlock()
				done(w.far(m))
			},
			Unsent: func(err error) bool { return errors.Is(err, errUnsent) },
		})
		ctx, cancel := context.WithCancel(context.Background())
		var running sync.WaitGroup
		running.Go(func() { w.Run(ctx) })
		test(w)
		cancel()
		running.Wait()
	})
}

// asked is a request's answers.
type asked struct {
	mu      sync.Mutex
	answers []protocol.Message
	head    map[string]string
}

func (w *world) ask(m protocol.Message, head map[string]string) *asked {
	a := &asked{}
	require.True(w.t, w.Handle(coordinator.Caller{ClientID: "app:1.2.3.4:5"}, m, head, func(m protocol.Message, head map[string]string) {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.answers, a.head = append(a.answers, m), head
	}))
	synctest.Wait()
	return a
}

func (w *world) one(a *asked) protocol.Message {
	w.t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	require.Len(w.t, a.answers, 1)
	require.NotContains(w.t, a.head, coordinator.HeadAgain, "it is for nodes only")
	return a.answers[0]
}

func begun(x string) func(protocol.Message) (protocol.Message, map[string]string, error) {
	return func(protocol.Message) (protocol.Message, map[string]string, error) {
		return &protocol.GlobalBeginResult{TxResult: protocol.OK(), XID: x}, nil, nil
	}
}

func failing(again string, err error) func(protocol.Message) (protocol.Message, map[string]string, error) {
	return func(m protocol.Message) (protocol.Message, map[string]string, error) {
		if err != nil {
			return nil, nil, err
		}
		return coordinator.Failed(m, "no"), map[string]string{coordinator.HeadAgain: again}, nil
	}
}

func TestTheLeaderDecides(t *testing.T) {
	inWorld(t, func(w *world) {
		require.False(t, w.Handle(coordinator.Caller{}, &protocol.RegisterTM{}, nil, nil))
		waiting := w.ask(&protocol.GlobalBegin{TimeoutMillis: 60_000}, nil)
		require.Empty(t, waiting.answers, "there is no leader yet")
		w.far = begun("far:1:7")
		w.elect("far:1")
		require.Equal(t, "far:1:7", w.one(waiting).(*protocol.GlobalBeginResult).XID)

		w.elect("here:1")
		x := w.one(w.ask(&protocol.GlobalBegin{TimeoutMillis: 60_000}, nil)).(*protocol.GlobalBeginResult).XID
		require.Contains(t, x, "here:1:")
		require.Len(t, w.sent, 1)
		require.EqualValues(t, 1, w.Stats().Begun)
		w.elect("far:1")
		w.elect("here:1")
		status := w.one(w.ask(&protocol.GlobalStatusRequest{Global: protocol.Global{XID: x}}, nil))
		require.Equal(t, protocol.StatusBegin, status.(*protocol.GlobalStatusResult).Status)
		require.EqualValues(t, 1, w.Stats().Begun, "of all leaderships")
	})
}

// What was not written goes to the next leader; what may have been, if it may be
// asked again; and the rest fails at once.
func TestWhatIsAskedAgain(t *testing.T) {
	keyed := map[string]string{coordinator.HeadRequest: "k"}
	for _, test := range []struct {
		name  string
		m     protocol.Message
		head  map[string]string
		far   func(protocol.Message) (protocol.Message, map[string]string, error)
		again bool
	}{
		{"begin, not sent", &protocol.GlobalBegin{}, nil, failing("", errUnsent), true},
		{"register, not sent", &protocol.BranchRegister{}, nil, failing("", errUnsent), true},
		{"register, not written", &protocol.BranchRegister{}, nil, failing(coordinator.Unwritten, nil), true},
		{"register, link broke", &protocol.BranchRegister{}, nil, failing("", errBroke), false},
		{"register, unknown", &protocol.BranchRegister{}, nil, failing(coordinator.Unknown, nil), false},
		{"keyed register, link broke", &protocol.BranchRegister{}, keyed, failing("", errBroke), true},
		{"commit, link broke", &protocol.GlobalCommit{}, nil, failing("", errBroke), true},
		{"commit, unknown", &protocol.GlobalCommit{}, nil, failing(coordinator.Unknown, nil), true},
		{"commit, refused", &protocol.GlobalCommit{}, nil, failing("", nil), false},
	} {
		t.Run(test.name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.far = test.far
				w.elect("far:1")
				a := w.ask(test.m, test.head)
				if !test.again {
					w.one(a)
					require.Len(t, w.sent, 1)
					return
				}
				require.Empty(t, a.answers)
				w.mu.Lock()
				w.far = failing("", nil) // an answer
				w.mu.Unlock()
				w.elect("other:1")
				w.one(a)
			})
		})
	}
}

// A request waits so long, and then fails with the reason; nothing waits for a node
// that stops.
func TestPatienceEnds(t *testing.T) {
	inWorld(t, func(w *world) {
		a := w.ask(&protocol.GlobalCommit{}, nil)
		time.Sleep(w.cfg.Patience + time.Second)
		synctest.Wait()
		require.Contains(t, w.one(a).(*protocol.GlobalCommitResult).Message, "no node of the cluster leads")
		require.NoError(t, w.Drain(context.Background()))
		w.far = failing(coordinator.Unwritten, nil) // one that leads no more
		w.elect("far:1")
		b := w.ask(&protocol.BranchReport{}, nil)
		require.Empty(t, b.answers)
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		require.ErrorIs(t, w.Drain(ctx), context.DeadlineExceeded)
	})
}

// A node that stops begins nothing, and passes on what else its clients ask.
func TestDrainingBeginsNothing(t *testing.T) {
	inWorld(t, func(w *world) {
		w.far = failing("", nil)
		w.elect("far:1")
		require.NoError(t, w.Drain(context.Background()))
		refused := w.one(w.ask(&protocol.GlobalBegin{}, nil)).(*protocol.GlobalBeginResult)
		require.Contains(t, refused.Message, "shutting down")
		require.Empty(t, w.sent)
		w.one(w.ask(&protocol.GlobalCommit{}, nil))
		require.Len(t, w.sent, 1)
	})
}

// Another node's requests are carried out here or sent back, never sent on.
func TestForwardedRequestsAreNotForwarded(t *testing.T) {
	inWorld(t, func(w *world) {
		w.elect("far:1")
		var head map[string]string
		handle := func(m protocol.Message) bool {
			return w.Here().Handle(coordinator.Caller{}, m, nil, func(_ protocol.Message, h map[string]string) { head = h })
		}
		require.True(t, handle(&protocol.GlobalBegin{}))
		require.Equal(t, coordinator.Unwritten, head[coordinator.HeadAgain])
		require.False(t, handle(&protocol.RegisterTM{}))
		require.Empty(t, w.sent)
		w.elect("here:1")
		require.True(t, handle(&protocol.GlobalStatusRequest{}))
		synctest.Wait()
		require.Empty(t, head)
	})
}

// A leader that is one no more gives no orders.
func TestOrdersAreFenced(t *testing.T) {
	over := &term{ended: make(chan struct{})}
	var got error
	take := func(_ protocol.Message, err error) { got = err }
	Fenced(nobody{}, over).Send("", "", false, nil, 0, take)
	require.ErrorContains(t, got, "nobody")
	close(over.ended)
	Fenced(nobody{}, over).Send("", "", false, nil, 0, take)
	require.ErrorIs(t, got, errOver)
}
