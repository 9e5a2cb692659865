package coordinator

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/server/txn"
	"github.com/qiao-tx/qiao/storage"
	"github.com/qiao-tx/qiao/storage/memory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	java = Caller{ClientID: "app:10.0.0.9:5000", ApplicationID: "app", Group: "group"}
	ours = Caller{ClientID: "app:10.0.0.9:5001", ApplicationID: "app", Group: "group", Qiao: true}
)

// bench is a coordinator with a store and resource managers that the test
// controls. It lives in a synctest bubble, so its time is the test's.
type bench struct {
	t     *testing.T
	store *gate
	rms   *managers
	c     *Coordinator
	// submits: the coordinator sees a storage.Submitter.
	submits bool
}

// inBubble runs the test over both kinds of store, and with a coordinator that
// remembers because nobody else changes it.
func inBubble(t *testing.T, cfg Config, test func(t *testing.T, b *bench)) {
	withOthers(t, cfg, test)
	cfg.Sole = true
	inBubbles(t, cfg, test, map[string]bool{"sole": true})
}

// withOthers is inBubble for a store that others change as well.
func withOthers(t *testing.T, cfg Config, test func(t *testing.T, b *bench)) {
	inBubbles(t, cfg, test, map[string]bool{"Apply waits": false, "Submit does not": true})
}

func inBubbles(t *testing.T, cfg Config, test func(t *testing.T, b *bench), kinds map[string]bool) {
	for kind, submits := range kinds {
		t.Run(kind, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := &bench{t: t, store: &gate{Store: memory.New()}, rms: &managers{}, submits: submits}
				b.c = b.node(cfg)
				test(t, b)
				b.store.open()
				b.c.Close()
				synctest.Wait()
			})
		})
	}
}

// node starts a coordinator over the bench's store.
func (b *bench) node(cfg Config) *Coordinator {
	cfg.Store, cfg.Dispatcher = b.store, b.rms
	if b.submits {
		cfg.Store = submitter{b.store}
	}
	if cfg.Address == "" {
		cfg.Address = "10.0.0.1:8091"
	}
	c, err := New(context.Background(), cfg)
	require.NoError(b.t, err)
	require.NoError(b.t, c.Start(context.Background()))
	return c
}

// answer is what came back for a request.
type answer struct {
	mu       sync.Mutex
	answered protocol.Message
	with     map[string]string
	count    int
}

func (a *answer) take(m protocol.Message, head map[string]string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.answered, a.with = m, head
	a.count++
}

func (a *answer) message() protocol.Message {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.answered
}

func (a *answer) head() map[string]string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.with
}

func (a *answer) times() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.count
}

// ask hands a request over and lets everything run until nothing moves.
func (b *bench) ask(from Caller, m protocol.Message) *answer {
	a := b.post(b.c, from, m, nil)
	synctest.Wait()
	return a
}

// post hands a request over.
func (b *bench) post(c *Coordinator, from Caller, m protocol.Message, head map[string]string) *answer {
	a := &answer{}
	handled := c.Handle(from, m, head, a.take)
	require.True(b.t, handled)
	return a
}

func (b *bench) begin(timeout time.Duration) string {
	b.t.Helper()
	a := b.ask(java, &protocol.GlobalBegin{Name: "test", TimeoutMillis: int32(timeout.Milliseconds())})
	r, ok := a.message().(*protocol.GlobalBeginResult)
	require.True(b.t, ok)
	require.Equal(b.t, protocol.ResultSuccess, r.Code, r.Message)
	return r.XID
}

func (b *bench) register(xid string, typ protocol.BranchType, resource, locks string) int64 {
	b.t.Helper()
	a := b.ask(java, &protocol.BranchRegister{XID: xid, Type: typ, ResourceID: resource, LockKey: locks})
	r := a.message().(*protocol.BranchRegisterResult)
	require.Equal(b.t, protocol.ResultSuccess, r.Code, r.Message)
	return r.BranchID
}

func commitOf(xid string) protocol.Message {
	return &protocol.GlobalCommit{Global: protocol.Global{XID: xid}}
}

func rollbackOf(xid string) protocol.Message {
	return &protocol.GlobalRollback{Global: protocol.Global{XID: xid}}
}

func (b *bench) status(xid string) protocol.GlobalStatus {
	b.t.Helper()
	a := b.ask(java, &protocol.GlobalStatusRequest{Global: protocol.Global{XID: xid}})
	return a.message().(*protocol.GlobalStatusResult).Status
}

// gate is a store whose Apply the test holds up or makes fail.
type gate struct {
	storage.Store
	mu sync.Mutex
	// shut, when not nil, is closed to let held Applies go on.
	shut chan struct{}
	// before runs ahead of an Apply; its error is the Apply's.
	before func(b *storage.Batch) error
	// after runs once, behind the next Apply and before its answer.
	after func(b *storage.Batch)
	loads int
}

func (g *gate) Load(ctx context.Context, xid string) (storage.State, error) {
	g.mu.Lock()
	g.loads++
	g.mu.Unlock()
	return g.Store.Load(ctx, xid)
}

// loaded counts the Loads since it was last called.
func (g *gate) loaded() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	n := g.loads
	g.loads = 0
	return n
}

func (g *gate) Apply(ctx context.Context, b *storage.Batch) error {
	g.mu.Lock()
	shut, before, after := g.shut, g.before, g.after
	g.after = nil
	g.mu.Unlock()
	if shut != nil {
		<-shut
	}
	if before != nil {
		if err := before(b); err != nil {
			return err
		}
	}
	err := g.Store.Apply(ctx, b)
	if after != nil {
		after(b)
	}
	return err
}

// submitter is the gate for who does not wait. Like the default store it refuses
// at once what it can.
type submitter struct{ *gate }

func (s submitter) Submit(b *storage.Batch, done func(error)) error {
	s.mu.Lock()
	open := s.shut == nil && s.before == nil
	s.mu.Unlock()
	if open {
		if err := s.Store.(*memory.Store).Check(b); err != nil {
			return err
		}
	}
	go func() { done(s.Apply(context.Background(), b)) }()
	return nil
}

func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut = make(chan struct{})
}

func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut != nil {
		close(g.shut)
		g.shut = nil
	}
}

func (g *gate) onApply(f func(b *storage.Batch) error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.before = f
}

// managers records the orders; obey, when set, answers each at once.
type managers struct {
	mu     sync.Mutex
	orders []*ordered
	obey   func(o *ordered)
}

type ordered struct {
	resource, client string
	message          protocol.Message
	answer           func(protocol.Message, error)
}

// Send implements Dispatcher.
func (r *managers) Send(resource, client string, _ bool, m protocol.Message, timeout time.Duration,
	done func(protocol.Message, error)) {
	var once sync.Once
	o := &ordered{resource: resource, client: client, message: m}
	o.answer = func(m protocol.Message, err error) { once.Do(func() { done(m, err) }) }
	time.AfterFunc(timeout, func() { o.answer(nil, context.DeadlineExceeded) })
	r.mu.Lock()
	r.orders = append(r.orders, o)
	obey := r.obey
	r.mu.Unlock()
	if obey != nil {
		go obey(o)
	}
}

// answerWith sets how each order is answered from now on.
func (r *managers) answerWith(obey func(o *ordered)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.obey = obey
}

// taken returns the orders since it was last called.
func (r *managers) taken() []*ordered {
	r.mu.Lock()
	defer r.mu.Unlock()
	taken := r.orders
	r.orders = nil
	return taken
}

// done answers the order as carried out.
func (o *ordered) done() { o.answer(o.result(protocol.BranchUnknown), nil) }

// result is the answer with the status, BranchUnknown standing for success.
func (o *ordered) result(s protocol.BranchStatus) protocol.Message {
	switch m := o.message.(type) {
	case *protocol.BranchCommit:
		if s == protocol.BranchUnknown {
			s = protocol.BranchPhaseTwoCommitted
		}
		return &protocol.BranchCommitResult{BranchOutcome: protocol.BranchOutcome{
			TxResult: protocol.OK(), XID: m.XID, BranchID: m.BranchID, Status: s}}
	case *protocol.BranchRollback:
		if s == protocol.BranchUnknown {
			s = protocol.BranchPhaseTwoRollbacked
		}
		return &protocol.BranchRollbackResult{BranchOutcome: protocol.BranchOutcome{
			TxResult: protocol.OK(), XID: m.XID, BranchID: m.BranchID, Status: s}}
	}
	return nil
}

// shortTimes make tests of waiting readable.
var shortTimes = Config{
	AnswerTimeout: 5 * time.Second, CallerTimeout: 3 * time.Second,
	Machine: txn.Machine{AnswerMillis: 8_000, RetryMillis: 1_000, RetryMaxMillis: 60_000},
}
