package load

import (
	"context"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/rpc"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// startResponder serves until the test ends.
func startResponder(t *testing.T, branches int) (target string, r *Responder) {
	file, err := os.Create(filepath.Join(t.TempDir(), "log"))
	require.NoError(t, err)
	r, err = NewResponder(file, branches)
	require.NoError(t, err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- r.Serve(ctx, listener) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-served)
		require.NoError(t, file.Close())
	})
	return listener.Addr().String(), r
}

// Every step of the load reaches the server and comes back: the counts on both
// sides agree.
func TestRunCountsWhatTheServerDid(t *testing.T) {
	for _, test := range []struct {
		mode     Mode
		branches int
	}{{AT, 2}, {AT, 3}, {Empty, 0}} {
		t.Run(string(test.mode), func(t *testing.T) {
			target, responder := startResponder(t, test.branches)
			metrics := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				writeMetrics(w, float64(responder.Records()))
			}))
			defer metrics.Close()
			var progress []Progress
			report, err := Run(t.Context(), Options{
				Target: target, Metrics: metrics.URL, Mode: test.mode, Branches: test.branches,
				Concurrency: 8, Connections: 2, Duration: 1200 * time.Millisecond,
			}, func(p Progress) { progress = append(progress, p) })
			require.NoError(t, err)
			require.NoError(t, report.ServerFiguresMissing())
			require.NotEmpty(t, progress)
			require.Positive(t, report.Committed)
			require.Zero(t, report.Errors)
			require.Equal(t, report.Committed*uint64(test.branches), report.Registered)
			require.Equal(t, report.Registered, report.Callbacks)
			// begin, registrations, commit, and the end of those with branches.
			want := 2 + test.branches + min(1, test.branches)
			require.InDelta(t, want, *report.BatchesPerTx, 0.2)
			require.Positive(t, report.P50MS)
			require.GreaterOrEqual(t, report.P99MS, report.P50MS)
		})
	}
}

// Several targets share the load, and their figures are added up.
func TestRunOnSeveralTargets(t *testing.T) {
	first, one := startResponder(t, 1)
	second, two := startResponder(t, 1)
	var urls []string
	for _, r := range []*Responder{one, two} {
		metrics := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			writeMetrics(w, float64(r.Records()))
		}))
		defer metrics.Close()
		urls = append(urls, metrics.URL)
	}
	report, err := Run(t.Context(), Options{
		Target: first + "," + second, Metrics: strings.Join(urls, ","), Branches: 1, Concurrency: 8, Duration: 300 * time.Millisecond,
	}, nil)
	require.NoError(t, err)
	require.NoError(t, report.ServerFiguresMissing())
	require.Equal(t, 4, report.Connections)
	require.Positive(t, one.Records())
	require.Positive(t, two.Records())
	require.InDelta(t, 4, *report.BatchesPerTx, 0.2)
}

func writeMetrics(w http.ResponseWriter, batches float64) {
	_, _ = w.Write([]byte("process_cpu_seconds_total 1.5\nprocess_resident_memory_bytes 1e+06\n" +
		"# HELP x y\nqiao_batches_total " + strconv.FormatFloat(batches, 'f', -1, 64) + "\n"))
}

// scripted starts a server for one connection that registers every client and
// answers the rest as the test says.
func scripted(t *testing.T, answer func(protocol.Message) protocol.Message) (target string) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var conns sync.WaitGroup
	conns.Go(func() {
		nc, err := listener.Accept()
		if err != nil {
			return
		}
		conn := rpc.New(nc, rpc.Options{Handler: func(c *rpc.Conn, r rpc.Request) {
			switch r.Message.(type) {
			case *protocol.RegisterTM:
				_ = c.Reply(r, &protocol.RegisterTMResult{Result: protocol.OK().Result, Identified: true}, nil)
			case *protocol.RegisterRM:
				_ = c.Reply(r, &protocol.RegisterRMResult{Result: protocol.OK().Result, Identified: true}, nil)
			default:
				_ = c.Reply(r, answer(r.Message), nil)
			}
		}})
		conn.Wait()
	})
	t.Cleanup(func() {
		require.NoError(t, listener.Close())
		conns.Wait()
	})
	return listener.Addr().String()
}

// On this server every first branch meets a lock.
func TestLockConflictIsRolledBackAndIsNoError(t *testing.T) {
	var rollbacks sync.Map
	target := scripted(t, func(m protocol.Message) protocol.Message {
		switch m := m.(type) {
		case *protocol.GlobalBegin:
			return &protocol.GlobalBeginResult{TxResult: protocol.OK(), XID: "x:1:1"}
		case *protocol.BranchRegister:
			return &protocol.BranchRegisterResult{TxResult: protocol.Failure(protocol.ExceptionLockKeyConflict, m.LockKey)}
		case *protocol.GlobalRollback:
			rollbacks.Store(m.XID, true)
			return &protocol.GlobalRollbackResult{TxResult: protocol.OK(), Status: protocol.StatusRollbacked}
		}
		return nil
	})
	report, err := Run(t.Context(), Options{
		Target: target, Metrics: "http://127.0.0.1:1/metrics",
		Concurrency: 2, Connections: 1, Duration: 100 * time.Millisecond, Conflict: 1,
	}, nil)
	require.NoError(t, err)
	require.Positive(t, report.Conflicts)
	require.Zero(t, report.Committed)
	require.Zero(t, report.Errors)
	require.Error(t, report.ServerFiguresMissing(), "this server publishes none")
	_, rolledBack := rollbacks.Load("x:1:1")
	require.True(t, rolledBack)
}

// A server that refuses everything has no rate: the run fails and says why.
func TestARunThatOnlyFailsNamesTheReason(t *testing.T) {
	target := scripted(t, func(protocol.Message) protocol.Message {
		return &protocol.GlobalBeginResult{TxResult: protocol.Failure(protocol.ExceptionBeginFailed, "the disk is full")}
	})
	report, err := Run(t.Context(), Options{
		Target: target, Metrics: "http://127.0.0.1:1/metrics", Concurrency: 2, Connections: 1, Duration: 100 * time.Millisecond,
	}, nil)
	require.ErrorIs(t, err, ErrNoneCommitted)
	require.ErrorContains(t, err, "the disk is full")
	require.Positive(t, report.Errors)
	require.Contains(t, report.FirstError, "the disk is full")
	var text strings.Builder
	_, err = report.WriteTo(&text)
	require.NoError(t, err)
	require.Contains(t, text.String(), "the disk is full")
}

func TestLostConnectionEndsTheRun(t *testing.T) {
	target, _ := startResponder(t, 0)
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(200*time.Millisecond, cancel)
	_, err := Run(ctx, Options{Target: target, Mode: Empty, Duration: time.Minute}, nil)
	require.ErrorIs(t, err, context.Canceled)

	_, err = Run(t.Context(), Options{Target: "127.0.0.1:1"}, nil)
	require.ErrorContains(t, err, "is a server running there?")
}

func TestOptionsThatMakeNoSenseAreNamed(t *testing.T) {
	for _, test := range []struct {
		o    Options
		want string
	}{
		{Options{Target: "here"}, "host:port"},
		{Options{Mode: "xa"}, "at, tcc or empty"},
		{Options{Branches: -1}, "branches -1"},
		{Options{Concurrency: 2, Connections: 3}, "connections 3: want 1 to 2"},
		{Options{Conflict: 2}, "share"},
		{Options{Conflict: math.NaN()}, "share"},
		{Options{Conflict: 0.5, Mode: TCC}, "lock nothing"},
		{Options{Duration: -1}, "negative"},
	} {
		if test.o.Target == "" {
			test.o.Target = "127.0.0.1:8091"
		}
		_, err := Run(t.Context(), test.o, nil)
		require.ErrorIs(t, err, ErrOptions)
		require.ErrorContains(t, err, test.want)
	}
}

func TestHistogramIsWithinOnePercent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		us := rapid.Int64Range(0, int64(2*time.Hour/time.Microsecond)).Draw(t, "us")
		var h histogram
		h.add(time.Duration(us) * time.Microsecond)
		got := h.quantileMS(0.5) * 1000
		if diff := got - float64(us); diff > float64(us)/100 || -diff > float64(us)/100 {
			t.Fatalf("%d µs is counted as %g", us, got)
		}
	})
}
