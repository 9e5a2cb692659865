package gateway

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/frame"
	"github.com/qiao-tx/qiao/server/coordinator"
	"github.com/qiao-tx/qiao/server/peers"
)

var statusRequest = &protocol.GlobalStatusRequest{Global: protocol.Global{XID: "h:1:2"}}

func TestUnregisteredChannelIsClosed(t *testing.T) {
	w := newWorld(t, nil)
	c := w.dial()
	c.send(frame.Request, 1, statusRequest, nil)
	c.closedByServer()
	w.eventuallyLogs("a request came before any registration: *protocol.GlobalStatusRequest")
}

func TestForeignMessageClosesTheConnection(t *testing.T) {
	for _, m := range []protocol.Message{
		&protocol.UndoLogDelete{ResourceID: "db"},
		&protocol.Merged{Messages: []protocol.Message{statusRequest, &protocol.RegisterTM{}}, IDs: []int32{2, 3}},
	} {
		w := newWorld(t, nil)
		c := w.dial()
		c.registerTM("2.2.0")
		c.send(frame.Request, 2, m, nil)
		c.closedByServer()
		w.eventuallyLogs("the message is no request to a coordinator")
	}
}

func TestHeartbeatNeedsNoRegistration(t *testing.T) {
	w := newWorld(t, nil)
	c := w.dial()
	ping, err := frame.Append(nil, &frame.Frame{MessageType: frame.HeartbeatRequest, Codec: 1, ID: 9})
	require.NoError(t, err)
	c.write(ping)
	f, err := frame.Decode(c.readFrame())
	require.NoError(t, err)
	require.Equal(t, frame.HeartbeatResponse, f.MessageType)
	require.EqualValues(t, 9, f.ID)
}

// TM and RM share a connection; the peers recognise each other only when the
// client says so.
func TestRegistration(t *testing.T) {
	for _, qiao := range []bool{false, true} {
		t.Run(fmt.Sprint("qiao=", qiao), func(t *testing.T) {
			w := newWorld(t, nil)
			var from coordinator.Caller
			w.coordinator.handle = func(c coordinator.Caller, m protocol.Message, head map[string]string, reply coordinator.Replier) bool {
				from = c
				reply(&protocol.GlobalStatusResult{TxResult: protocol.OK()}, map[string]string{"answer-to": head["question"]})
				return true
			}
			var head map[string]string
			if qiao {
				head = map[string]string{"qiao": "1"}
			}
			c := w.dial()
			who := protocol.Identity{Version: "2.5.0", ApplicationID: "app", Group: "g"}
			c.send(frame.Request, 1, &protocol.RegisterTM{Identity: who}, head)
			f, m := c.receive()
			require.Equal(t, head, f.Head)
			require.Equal(t, &protocol.RegisterTMResult{Result: succeeded(), Identified: true, Version: "2.5.0"}, m)
			c.send(frame.OneWay, 2, &protocol.RegisterRM{Identity: who, ResourceIDs: "db1,db2"}, head)
			f, m = c.receive()
			require.Equal(t, head, f.Head)
			require.Equal(t, &protocol.RegisterRMResult{Result: succeeded(), Identified: true, Version: "2.5.0"}, m)
			c.send(frame.Request, 3, &protocol.UnregisterRM{Identity: who, ResourceIDs: "db2"}, head)
			_, m = c.receive()
			require.True(t, m.(*protocol.UnregisterRMResult).Identified)
			require.Equal(t, []string{"db1", "db2"}, w.coordinator.resourcesUp())
			require.Equal(t, peers.Stats{TMs: 1, RMs: 1, Resources: 1}, w.cfg.Peers.Stats())

			c.send(frame.Request, 4, statusRequest, map[string]string{"question": "42"})
			f, _ = c.receive()
			require.Equal(t, "42", f.Head["answer-to"])
			require.Equal(t, coordinator.Caller{
				ClientID: "app:" + c.LocalAddr().String(), ApplicationID: "app", Group: "g", Qiao: qiao,
			}, from)
			require.NoError(t, c.Close())
			require.Eventually(t, func() bool { return w.cfg.Peers.Stats() == peers.Stats{} }, patience, time.Millisecond)
		})
	}
}

func TestTooManyResourcesAreRefused(t *testing.T) {
	w := newWorld(t, nil)
	c := w.dial()
	resources := make([]byte, 2*peers.MaxResources+2)
	for i := range resources {
		resources[i] = "x,"[i%2]
	}
	c.send(frame.Request, 1, &protocol.RegisterRM{ResourceIDs: string(resources)}, nil)
	_, m := c.receive()
	require.False(t, m.(*protocol.RegisterRMResult).Identified)
	w.eventuallyLogs("resources on one connection")
}

const mergedParts = 5

// inReverse answers all parts of a merged request once the last has come, the
// last one first. The answer to part i has status i.
func inReverse() func(coordinator.Caller, protocol.Message, map[string]string, coordinator.Replier) bool {
	var replies []func()
	return func(_ coordinator.Caller, m protocol.Message, _ map[string]string, reply coordinator.Replier) bool {
		n := m.(*protocol.GlobalStatusRequest).ExtraData[0] - 'a'
		replies = append(replies, func() {
			reply(&protocol.GlobalStatusResult{TxResult: protocol.OK(), Status: protocol.GlobalStatus(n)}, nil)
		})
		if len(replies) == mergedParts {
			go func() {
				for i := mergedParts - 1; i >= 0; i-- {
					replies[i]()
				}
			}()
		}
		return true
	}
}

// Answers that come in another order than the requests reach their places, in
// the form that the client's version reads.
func TestMergedAnswersInReverse(t *testing.T) {
	for _, test := range []struct {
		version string
		batch   bool
		withIDs bool
		want    protocol.TypeCode
	}{
		{"2.5.0", true, true, protocol.TypeGlobalStatusResult},
		{"2.3.0-SNAPSHOT", false, true, protocol.TypeGlobalStatusResult},
		{"2.2.0", true, true, protocol.TypeBatchResult},
		{"1.5.0", true, true, protocol.TypeBatchResult},
		{"2.2.0", false, true, protocol.TypeMergedResult},
		{"1.4.2", true, true, protocol.TypeMergedResult},
		{"", true, true, protocol.TypeMergedResult},
		{"2.5.0", true, false, protocol.TypeMergedResult},
	} {
		t.Run(fmt.Sprintf("%s,batch=%v,ids=%v", test.version, test.batch, test.withIDs), func(t *testing.T) {
			w := newWorld(t, func(c *Config) { c.BatchResponses = test.batch })
			w.coordinator.handle = inReverse()
			c := w.dial()
			c.registerTM(test.version)
			m := &protocol.Merged{}
			for i := range mergedParts {
				m.Messages = append(m.Messages, &protocol.GlobalStatusRequest{Global: protocol.Global{ExtraData: string(rune('a' + i))}})
				if test.withIDs {
					m.IDs = append(m.IDs, int32(100+i))
				}
			}
			c.send(frame.OneWay, 7, m, nil)
			requireAnswers(c, test.want)
		})
	}
}

// requireAnswers reads the answers of inReverse in the form that is wanted.
func requireAnswers(c *client, want protocol.TypeCode) {
	c.t.Helper()
	f, m := c.receive()
	require.Equal(c.t, want, m.TypeCode())
	statuses := make(map[int]protocol.Message)
	switch m := m.(type) {
	case *protocol.GlobalStatusResult:
		statuses[int(f.ID)-100] = m
		for range mergedParts - 1 {
			f, m := c.receive()
			statuses[int(f.ID)-100] = m
		}
	case *protocol.MergedResult:
		require.EqualValues(c.t, 7, f.ID)
		for i, part := range m.Messages {
			statuses[i] = part
		}
	case *protocol.BatchResult:
		require.EqualValues(c.t, 7, f.ID)
		for i, part := range m.Messages {
			statuses[int(m.IDs[i])-100] = part
		}
	}
	require.Len(c.t, statuses, mergedParts)
	for i := range mergedParts {
		require.EqualValues(c.t, i, statuses[i].(*protocol.GlobalStatusResult).Status)
	}
}

func TestEmptyMergedIsAnswered(t *testing.T) {
	w := newWorld(t, nil)
	c := w.dial()
	c.registerTM("2.2.0")
	c.send(frame.OneWay, 7, &protocol.Merged{}, nil)
	f, m := c.receive()
	require.EqualValues(t, 7, f.ID)
	require.Empty(t, m.(*protocol.MergedResult).Messages)
}

// Over the limit a request fails at once, and so tells; the next finds room.
func TestOverload(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.MaxRequests = 1 })
	held := make(chan coordinator.Replier, 1)
	w.coordinator.handle = func(_ coordinator.Caller, _ protocol.Message, _ map[string]string, reply coordinator.Replier) bool {
		held <- reply
		return true
	}
	c := w.dial()
	c.registerTM("2.5.0")
	c.send(frame.Request, 2, statusRequest, nil)
	first := <-held
	for i, m := range []protocol.Message{
		&protocol.GlobalBegin{}, &protocol.GlobalCommit{}, &protocol.GlobalRollback{}, &protocol.GlobalStatusRequest{},
		&protocol.GlobalReport{Status: protocol.StatusCommitted}, &protocol.BranchRegister{}, &protocol.BranchReport{}, &protocol.GlobalLockQuery{},
	} {
		c.send(frame.Request, int32(10+i), m, nil)
		f, answer := c.receive()
		require.EqualValues(t, 10+i, f.ID)
		require.Equal(t, m.TypeCode()+1, answer.TypeCode())
		require.Contains(t, fmt.Sprintf("%+v", answer), "overloaded: 1 requests are under way")
	}
	w.eventuallyLogs("too many requests under way")
	first(&protocol.GlobalStatusResult{TxResult: protocol.OK()}, nil)
	f, _ := c.receive()
	require.EqualValues(t, 2, f.ID)
	c.send(frame.Request, 20, statusRequest, nil)
	(<-held)(&protocol.GlobalStatusResult{TxResult: protocol.OK()}, nil)
	f, _ = c.receive()
	require.EqualValues(t, 20, f.ID)
}

func TestTooManyConnections(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.MaxConnections = 1 })
	c := w.dial()
	c.registerTM("2.5.0")
	w.dial().closedByServer()
	w.dial().closedByServer()
	w.eventuallyLogs("too many connections")
	require.Equal(t, 1, strings.Count(w.log.String(), "too many connections"), "not a line for each")
	require.NoError(t, c.Close())
	require.Eventually(t, func() bool { return w.connections.inside.Load() == 0 }, patience, time.Millisecond)
	w.dial().registerTM("2.5.0")
	w.dial().closedByServer()
	require.Eventually(t, func() bool { return strings.Count(w.log.String(), "too many connections") == 2 }, patience, time.Millisecond)
}

// Bytes that cannot be read end their connection, name the cause in the log,
// and harm nobody else.
func TestBadFrames(t *testing.T) {
	w := newWorld(t, nil)
	other := w.dial()
	other.registerTM("2.5.0")
	good, err := frame.Append(nil, &frame.Frame{MessageType: frame.Request, Codec: 1, ID: 1, Body: []byte{0, 101}})
	require.NoError(t, err)
	change := func(at int, value byte) []byte {
		b := append([]byte(nil), good...)
		b[at] = value
		return b
	}
	tooLong := append([]byte(nil), good...)
	binary.BigEndian.PutUint32(tooLong[3:], frame.MaxLen+1)
	for _, test := range []struct {
		name  string
		bytes []byte
		log   string
	}{
		{"magic of the second frame", append(append([]byte(nil), good...), change(0, 0x55)...), "not a Seata frame"},
		{"version 2", change(2, 2), "unsupported frame version"},
		{"header longer than the frame", change(7, 0x7f), "wrong frame length"},
		{"longer than allowed", tooLong, "frame too large"},
		{"codec kryo", change(10, 4), "codec 4 (kryo) is refused"},
		{"codec fastjson2", change(10, 100), "set seata.transport.serialization to seata, protobuf or hessian"},
		{"no hessian", change(10, 22), "codec 22"},
		{"sevenz", change(11, 3), "compressor 3 (sevenz); set seata.transport.compressor to none"},
		{"compressor", change(11, 1), "gzip"},
		{"message type of the frame", change(9, 77), "unknown frame message type"},
		{"message type of the body", change(16, 0x33), "unknown message type"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := w.dial()
			c.write(test.bytes)
			c.closedByServer()
			w.eventuallyLogs(test.log)
			w.eventuallyLogs("client=" + c.LocalAddr().String())
		})
	}
	other.send(frame.Request, 5, statusRequest, nil)
	other.receive()
}

func TestSilentSeataConnectionIsClosed(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.ReadIdleTimeout = 300 * time.Millisecond })
	c := w.dial()
	c.registerTM("2.5.0")
	c.closedByServer()
	w.eventuallyLogs("nothing was received for too long")
}

// Answers that were given before Close reach their clients.
func TestCloseFlushes(t *testing.T) {
	w := newWorld(t, nil)
	const requests = 500
	var handled sync.WaitGroup
	handled.Add(requests)
	w.coordinator.handle = func(_ coordinator.Caller, _ protocol.Message, _ map[string]string, reply coordinator.Replier) bool {
		reply(&protocol.GlobalStatusResult{TxResult: protocol.OK()}, nil)
		handled.Done()
		return true
	}
	c := w.dial()
	c.registerTM("2.5.0")
	for i := range requests {
		c.send(frame.Request, int32(i+10), statusRequest, nil)
	}
	handled.Wait()
	w.end()
	for range requests {
		c.receive()
	}
	c.closedByServer()
	_, err := http.Get("http://" + w.address + "/health")
	require.Error(t, err)
}

func TestStopKeepsConnections(t *testing.T) {
	w := newWorld(t, nil)
	c := w.dial()
	c.registerTM("2.5.0")
	w.Stop()
	require.NoError(t, <-w.served)
	w.served = nil
	c.send(frame.Request, 5, statusRequest, nil)
	c.receive()
}

// A client that does not read keeps nobody from stopping for longer than told.
func TestCloseGivesUpOnAClientThatDoesNotRead(t *testing.T) {
	w := newWorld(t, nil)
	c := w.dial()
	c.registerTM("2.5.0")
	var once sync.Once
	stuck := make(chan struct{})
	w.coordinator.handle = func(_ coordinator.Caller, _ protocol.Message, _ map[string]string, reply coordinator.Replier) bool {
		once.Do(func() {
			big := string(make([]byte, 30_000))
			for range 1000 {
				reply(&protocol.GlobalBeginResult{TxResult: protocol.OK(), XID: big}, nil)
			}
			close(stuck)
		})
		return true
	}
	c.send(frame.Request, 5, statusRequest, nil)
	<-stuck
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	err := w.Close(ctx)
	require.ErrorContains(t, err, "answers to 1 clients may be lost")
}

func TestHTTP(t *testing.T) {
	sick := errors.New("the disk is full")
	health := func() error { return nil }
	var mu sync.Mutex
	w := newWorld(t, func(c *Config) {
		c.Health = func() error {
			mu.Lock()
			defer mu.Unlock()
			return health()
		}
	})
	get := func(path string) (int, string) {
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
		response, err := client.Get("http://" + w.address + path)
		require.NoError(t, err)
		body, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		return response.StatusCode, string(body)
	}
	code, body := get("/health")
	require.Equal(t, http.StatusOK, code)
	require.Equal(t, `"ok"`, body)
	mu.Lock()
	health = func() error { return sick }
	mu.Unlock()
	code, body = get("/health")
	require.Equal(t, http.StatusServiceUnavailable, code)
	require.Equal(t, `"not_ok"`, body)
	_, body = get("/version")
	require.JSONEq(t, `{"version":"v1.2.3","seata":"2.5.0"}`, body)
	_, body = get("/metrics")
	for _, want := range []string{
		"qiao_transactions_begun_total 42", "qiao_store_locks 7", "qiao_connections ",
		"process_cpu_seconds_total", "process_resident_memory_bytes",
	} {
		require.Contains(t, body, want)
	}
	code, _ = get("/nothing")
	require.Equal(t, http.StatusNotFound, code)
}
