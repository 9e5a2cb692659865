package remote_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"
	_ "modernc.org/sqlite"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/xid"
	"github.com/qiao-tx/qiao/rm"
	"github.com/qiao-tx/qiao/rm/tcc"
	"github.com/qiao-tx/qiao/rm/tcc/barrier"
	"github.com/qiao-tx/qiao/rm/tcc/fence"
	"github.com/qiao-tx/qiao/rm/tcc/remote"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// registry is a Coordinator that keeps what it was told.
type registry struct {
	rm.Coordinator
	resource rm.Resource
	branches []rm.Registration
}

func (r *registry) RegisterResource(_ context.Context, res rm.Resource) error {
	r.resource = res
	return nil
}

func (r *registry) RegisterBranch(_ context.Context, reg rm.Registration) (int64, error) {
	r.branches = append(r.branches, reg)
	return int64(len(r.branches)), nil
}

// last is the order for the branch that was registered last.
func (r *registry) last() rm.Branch {
	reg := r.branches[len(r.branches)-1]
	return rm.Branch{XID: reg.XID, ID: int64(len(r.branches)), Type: reg.Type, ResourceID: reg.ResourceID, ApplicationData: reg.ApplicationData}
}

// stock is a participant that knows no coordinator: a database with a fence
// table, served over HTTP and gRPC.
type stock struct {
	db    *sql.DB
	fence *fence.Fence
	// web and rpc are where it is served; down makes it answer nothing useful.
	web, rpc string
	down     atomic.Bool
}

func newStock(t *testing.T) *stock {
	s := &stock{}
	var err error
	s.db, err = sql.Open("sqlite", "file:"+filepath.Join(t.TempDir(), "stock.db")+"?_pragma=busy_timeout(20000)&_pragma=journal_mode(WAL)")
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, s.db.Close()) })
	ddl, err := os.ReadFile("../../../script/client/tcc/db/sqlite.sql")
	require.NoError(t, err)
	_, err = s.db.Exec(string(ddl) + "; CREATE TABLE stock (free INT, reserved INT, sold INT); INSERT INTO stock VALUES (10, 0, 0)")
	require.NoError(t, err)
	s.fence, err = fence.New(s.db, "")
	require.NoError(t, err)
	s.serveHTTP(t)
	s.serveGRPC(t)
	return s
}

func (s *stock) serveHTTP(t *testing.T) {
	handler := barrier.Handler(s.fence, func(tx *sql.Tx, b barrier.Barrier, r *http.Request) error {
		var want struct{ Count int }
		if err := json.NewDecoder(r.Body).Decode(&want); err != nil {
			return barrier.Refuse(err)
		}
		return move(tx, b.Op, want.Count)
	})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.down.Load() {
			http.Error(w, "out of order", http.StatusBadGateway)
			return
		}
		handler.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	s.web = server.URL
}

// move is the business of all three operations.
func move(tx *sql.Tx, op barrier.Op, n int) error {
	statement := map[barrier.Op]string{
		barrier.Try:     "UPDATE stock SET free = free - ?1, reserved = reserved + ?1 WHERE free >= ?1",
		barrier.Confirm: "UPDATE stock SET reserved = reserved - ?1, sold = sold + ?1",
		barrier.Cancel:  "UPDATE stock SET reserved = reserved - ?1, free = free + ?1",
	}[op]
	result, err := tx.Exec(statement, n)
	if err != nil {
		return err
	}
	if changed, err := result.RowsAffected(); err != nil || changed == 0 {
		return errors.Join(err, barrier.Refuse(errors.New("not enough in stock: só poucas")))
	}
	return nil
}

func (s *stock) serveGRPC(t *testing.T) {
	method := func(op barrier.Op) grpc.MethodDesc {
		return grpc.MethodDesc{MethodName: string(op), Handler: func(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			var want wrapperspb.Int64Value
			if err := decode(&want); err != nil {
				return nil, err
			}
			if s.down.Load() {
				return nil, status.Error(codes.Unavailable, "out of order")
			}
			if _, bounded := ctx.Deadline(); op != barrier.Try && !bounded {
				return nil, status.Error(codes.Internal, "the caller's time-out did not come along")
			}
			md, _ := metadata.FromIncomingContext(ctx)
			b, err := barrier.FromMetadata(md)
			if err != nil {
				return nil, status.Error(codes.InvalidArgument, err.Error())
			}
			err = b.Do(ctx, s.fence, func(tx *sql.Tx) error { return move(tx, b.Op, int(want.Value)) })
			switch {
			case err == nil:
				return wrapperspb.String(b.XID + " " + b.Action), nil
			case barrier.Never(err):
				return nil, status.Error(codes.Aborted, err.Error())
			}
			return nil, err
		}}
	}
	server := grpc.NewServer()
	server.RegisterService(&grpc.ServiceDesc{ServiceName: "shop.Stock", HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{method(barrier.Try), method(barrier.Confirm), method(barrier.Cancel)}}, nil)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		assert.NoError(t, <-done)
	})
	s.rpc = listener.Addr().String()
}

func (s *stock) numbers(t *testing.T) (numbers [3]int) {
	t.Helper()
	require.NoError(t, s.db.QueryRow("SELECT free, reserved, sold FROM stock").Scan(&numbers[0], &numbers[1], &numbers[2]))
	return numbers
}

func overHTTP(s *stock, n int) remote.Call {
	return remote.Call{Try: s.web + "/try", Confirm: s.web + "/confirm", Cancel: s.web + "/cancel", Body: fmt.Appendf(nil, `{"count":%d}`, n)}
}

func overGRPC(s *stock, n int) remote.Call {
	body, err := proto.Marshal(wrapperspb.Int64(int64(n)))
	if err != nil {
		panic(err)
	}
	base := "grpc://" + s.rpc + "/shop.Stock/"
	return remote.Call{Try: base + "try", Confirm: base + "confirm", Cancel: base + "cancel", Body: body}
}

const theXID = "tc:8091:42"

// A service that is only HTTP or gRPC goes through every order of calls that
// a coordinator may make of them.
func TestParticipantsWithoutAClient(t *testing.T) {
	for name, call := range map[string]func(*stock, int) remote.Call{"HTTP": overHTTP, "gRPC": overGRPC} {
		t.Run(name, func(t *testing.T) {
			s, reg := newStock(t), &registry{}
			p, err := remote.Register(t.Context(), reg, remote.Config{Name: "orders"})
			require.NoError(t, err)
			defer p.Close()
			ctx := xid.NewContext(t.Context(), theXID)
			commit := func() (protocol.BranchStatus, error) { return reg.resource.Commit(t.Context(), reg.last()) }
			rollback := func() (protocol.BranchStatus, error) { return reg.resource.Rollback(t.Context(), reg.last()) }

			answer, err := p.Call(ctx, call(s, 3))
			require.NoError(t, err)
			if name == "gRPC" {
				var text wrapperspb.StringValue
				require.NoError(t, proto.Unmarshal(answer, &text))
				assert.Equal(t, theXID+" orders", text.Value)
			}
			assert.Equal(t, [3]int{7, 3, 0}, s.numbers(t))
			for range 2 { // the order comes twice
				status, err := commit()
				require.NoError(t, err)
				assert.Equal(t, protocol.BranchPhaseTwoCommitted, status)
			}
			assert.Equal(t, [3]int{7, 0, 3}, s.numbers(t))
			status, err := rollback()
			assert.Equal(t, protocol.BranchPhaseTwoRollbackFailedUnretryable, status, "it was confirmed")
			assert.ErrorIs(t, err, remote.ErrRefused)
			assert.ErrorContains(t, err, "the other way")

			_, err = p.Call(ctx, call(s, 2))
			require.NoError(t, err)
			s.down.Store(true)
			status, err = rollback()
			assert.Equal(t, protocol.BranchPhaseTwoRollbackFailedRetryable, status)
			assert.ErrorContains(t, err, "out of order")
			s.down.Store(false)
			for range 2 {
				status, err = rollback()
				require.NoError(t, err)
				assert.Equal(t, protocol.BranchPhaseTwoRollbacked, status)
			}
			assert.Equal(t, [3]int{7, 0, 3}, s.numbers(t))

			_, err = p.Call(ctx, call(s, 8))
			assert.ErrorIs(t, err, remote.ErrRefused)
			assert.ErrorContains(t, err, "not enough in stock: só poucas")
			status, err = rollback() // a cancel without a try
			require.NoError(t, err)
			assert.Equal(t, protocol.BranchPhaseTwoRollbacked, status)
			assert.Equal(t, [3]int{7, 0, 3}, s.numbers(t))
		})
	}
}

func TestATryThatComesLateIsRefused(t *testing.T) {
	s, reg := newStock(t), &registry{}
	held, arrived := make(chan struct{}), make(chan struct{}, 3)
	slow := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { // a network that holds the try back
		body, _ := io.ReadAll(r.Body)
		if r.Header.Get(barrier.HeaderOp) == "try" {
			arrived <- struct{}{}
			<-held
		}
		onward, _ := http.NewRequest(http.MethodPost, s.web+r.URL.Path, strings.NewReader(string(body)))
		onward.Header = r.Header
		response, err := http.DefaultClient.Do(onward)
		if err == nil {
			w.WriteHeader(response.StatusCode)
			_ = response.Body.Close()
		}
	}))
	defer slow.Close()
	defer http.DefaultClient.CloseIdleConnections()
	p, err := remote.Register(t.Context(), reg, remote.Config{Name: "orders"})
	require.NoError(t, err)
	defer p.Close()
	call := overHTTP(s, 3)
	call.Try, call.Cancel = slow.URL+"/try", slow.URL+"/cancel"
	failed := make(chan error, 1)
	go func() {
		_, err := p.Call(xid.NewContext(context.Background(), theXID), call)
		failed <- err
	}()
	<-arrived
	status, err := reg.resource.Rollback(t.Context(), reg.last())
	require.NoError(t, err)
	assert.Equal(t, protocol.BranchPhaseTwoRollbacked, status)
	close(held)
	assert.ErrorIs(t, <-failed, remote.ErrRefused, "suspended")
	assert.Equal(t, [3]int{10, 0, 0}, s.numbers(t))
}

func TestRepetitionTimeAndPermission(t *testing.T) {
	var calls atomic.Int64
	flaky := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/moved":
			http.Redirect(w, r, "/elsewhere", http.StatusFound)
		case calls.Add(1)%3 != 0:
			<-r.Context().Done() // hangs until the caller gives up
		}
	}))
	defer flaky.Close()
	reg := &registry{}
	p, err := remote.Register(t.Context(), reg, remote.Config{
		Name: "orders", Client: flaky.Client(), Timeout: 50 * time.Millisecond, TryTimeout: 50 * time.Millisecond,
		Retry: tcc.Retry{Attempts: 3, Wait: time.Millisecond},
		Allow: func(u *url.URL) error {
			if u.Path == "/forbidden" {
				return errors.New("not ours")
			}
			return nil
		},
	})
	require.NoError(t, err)
	defer p.Close()
	ctx := xid.NewContext(t.Context(), theXID)
	call := remote.Call{Try: flaky.URL, Confirm: flaky.URL, Cancel: flaky.URL + "/forbidden"}
	_, err = p.Call(ctx, call)
	assert.ErrorIs(t, err, context.DeadlineExceeded, "a try is made once")
	calls.Store(0)
	status, err := reg.resource.Commit(t.Context(), reg.last())
	require.NoError(t, err)
	assert.Equal(t, protocol.BranchPhaseTwoCommitted, status)
	assert.EqualValues(t, 3, calls.Load())
	_, err = reg.resource.Rollback(t.Context(), reg.last())
	assert.ErrorContains(t, err, "not ours")

	call.Try = flaky.URL + "/moved"
	_, err = p.Call(ctx, call)
	assert.ErrorContains(t, err, "302", "a redirect is no yes, and is not followed")
}

func TestWhatIsMalformedIsRefused(t *testing.T) {
	reg := &registry{}
	_, err := remote.Register(t.Context(), reg, remote.Config{Name: strings.Repeat("x", 65)})
	assert.ErrorContains(t, err, "64")
	_, err = remote.Register(t.Context(), reg, remote.Config{})
	assert.ErrorContains(t, err, "Name")
	p, err := remote.Register(t.Context(), reg, remote.Config{Name: "orders"})
	require.NoError(t, err)
	defer p.Close()
	good := remote.Call{Try: "http://a", Confirm: "http://a", Cancel: "grpc://a/b.C/D"}
	for want, spoil := range map[string]func(*remote.Call){
		"Try":     func(c *remote.Call) { c.Try = "" },
		"scheme":  func(c *remote.Call) { c.Confirm = "file:///etc/passwd" },
		"no host": func(c *remote.Call) { c.Cancel = "https:///x" },
	} {
		call := good
		spoil(&call)
		_, err := p.Call(xid.NewContext(t.Context(), theXID), call)
		assert.ErrorContains(t, err, want)
	}
	assert.Empty(t, reg.branches)
	_, err = p.Call(t.Context(), good)
	assert.ErrorIs(t, err, tcc.ErrNoTransaction)
}

// What answers instead of a gRPC server is told apart from one.
func TestAnswersThatAreNotGRPC(t *testing.T) {
	for want, answer := range map[string]func(w http.ResponseWriter){
		"404":             func(w http.ResponseWriter) { w.WriteHeader(http.StatusNotFound) },
		"without a gRPC":  func(w http.ResponseWriter) {},
		"no gRPC message": func(w http.ResponseWriter) { w.Header().Set("Grpc-Status", "0") },
		"compressed":      func(w http.ResponseWriter) { w.Header().Set("Grpc-Status", "0"); _, _ = w.Write([]byte{1, 0, 0, 0, 0}) },
		"else than one": func(w http.ResponseWriter) {
			w.Header().Set("Grpc-Status", "0")
			_, _ = w.Write([]byte{0, 0, 0, 0, 9, 1})
		},
		"status 7: a%zzdb": func(w http.ResponseWriter) {
			w.Header().Set("Grpc-Status", "7")
			w.Header().Set("Grpc-Message", "a%zzdb")
		},
		"more than 4194304": func(w http.ResponseWriter) { _, _ = w.Write(make([]byte, 4<<20+1)) },
		"status 5: not found": func(w http.ResponseWriter) {
			w.Header().Set("Grpc-Status", "5")
			w.Header().Set("Grpc-Message", "not%20found")
		},
	} {
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { answer(w) }))
		server.Config.Protocols = new(http.Protocols)
		server.Config.Protocols.SetUnencryptedHTTP2(true)
		server.Start()
		p, err := remote.Register(t.Context(), &registry{}, remote.Config{Name: "orders"})
		require.NoError(t, err)
		target := strings.Replace(server.URL, "http", "grpc", 1) + "/a.B/C"
		_, err = p.Call(xid.NewContext(t.Context(), theXID), remote.Call{Try: target, Confirm: target, Cancel: target})
		assert.ErrorContains(t, err, want)
		assert.NotErrorIs(t, err, remote.ErrRefused)
		p.Close()
		server.Close()
	}
}
