package gateway

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"io"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/frame"
	"github.com/qiao-tx/qiao/protocol/native"
	"github.com/qiao-tx/qiao/server/coordinator"
)

// frames0 are the frames of version 0 that Java's encoders wrote, by name and
// Seata version.
func frames0(t *testing.T) map[string][]byte {
	t.Helper()
	f, err := os.Open("../../protocol/testdata/v0/frames.jsonl")
	require.NoError(t, err)
	defer func() { require.NoError(t, f.Close()) }()
	all := make(map[string][]byte)
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		var g struct{ By, Name, Hex string }
		require.NoError(t, json.Unmarshal(lines.Bytes(), &g))
		all[g.Name+" "+g.By], err = hex.DecodeString(g.Hex)
		require.NoError(t, err)
	}
	require.NoError(t, lines.Err())
	return all
}

// receive0 reads as many bytes as want has.
func (c *client) receive0(want []byte) {
	c.t.Helper()
	b := make([]byte, len(want))
	_, err := io.ReadFull(c, b)
	require.NoError(c.t, err)
	require.Equal(c.t, hex.EncodeToString(want), hex.EncodeToString(b))
}

// What a Seata 0.6.1 client sends gets the very bytes that Java's coordinator
// 2.5.0 answers to such a client with: registrations, seven merged requests in
// one frame, orders and heartbeats.
func TestVersion0Client(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.BatchResponses = true })
	answers := map[protocol.TypeCode]protocol.Message{
		protocol.TypeGlobalBegin: &protocol.GlobalBeginResult{TxResult: protocol.OK(), XID: "192.0.2.2:8091:42"},
		protocol.TypeBranchRegister: &protocol.BranchRegisterResult{
			TxResult: protocol.Failure(protocol.ExceptionLockKeyConflict, "held by another"),
		},
		protocol.TypeBranchReport:    &protocol.BranchReportResult{TxResult: protocol.OK()},
		protocol.TypeGlobalCommit:    &protocol.GlobalCommitResult{TxResult: protocol.OK(), Status: protocol.StatusCommitted},
		protocol.TypeGlobalRollback:  &protocol.GlobalRollbackResult{TxResult: protocol.OK(), Status: protocol.StatusRollbacked},
		protocol.TypeGlobalStatus:    &protocol.GlobalStatusResult{TxResult: protocol.OK(), Status: protocol.StatusBegin},
		protocol.TypeGlobalLockQuery: &protocol.GlobalLockQueryResult{TxResult: protocol.OK(), Lockable: true},
	}
	w.coordinator.handle = func(from coordinator.Caller, m protocol.Message, _ map[string]string, reply coordinator.Replier) bool {
		reply(answers[m.TypeCode()], nil)
		return from.ApplicationID == "app" && answers[m.TypeCode()] != nil
	}
	frames := frames0(t)
	c := w.dial()
	// All at once: none of these frames tells its length.
	c.write(bytes.Join([][]byte{
		frames["HeartbeatRequest 0.6.1"], frames["RegisterTM 0.6.1"], frames["RegisterRM 0.6.1"], frames["Merged 0.6.1"],
	}, nil))
	for _, name := range []string{"HeartbeatResponse", "RegisterTMResult", "RegisterRMResult", "MergedResult"} {
		c.receive0(frames[name+" 2.5.0"])
	}
	require.Equal(t, []string{"jdbc:mysql://192.0.2.2:3306/a", "jdbc:mysql://192.0.2.2:3306/b"}, w.coordinator.resourcesUp())

	// It does not know this message; an order that follows is the next it reads.
	w.cfg.Peers.DeleteUndoLogs(7)
	done := make(chan protocol.Message, 1)
	w.cfg.Peers.Send("jdbc:mysql://192.0.2.2:3306/a", "app:"+c.LocalAddr().String(), false, &protocol.BranchCommit{
		BranchOrder: protocol.BranchOrder{
			XID: "192.0.2.2:8091:42", BranchID: 43, ResourceID: "jdbc:mysql://192.0.2.2:3306/a", ApplicationData: "{}",
		},
	}, patience, func(m protocol.Message, _ error) { done <- m })
	order, outcome := frames["BranchCommit 2.5.0"], frames["BranchCommitResult 0.6.1"]
	order[13], outcome[13] = 1, 1 // the request id
	c.receive0(order)
	c.write(outcome)
	require.Equal(t, protocol.BranchPhaseTwoCommitted, (<-done).(*protocol.BranchCommitResult).Status)
}

func TestVersion0RequestNeedsRegistration(t *testing.T) {
	w := newWorld(t, nil)
	c := w.dial()
	c.write(frames0(t)["GlobalBegin 0.6.1"])
	c.closedByServer()
	w.eventuallyLogs("a request came before any registration")
}

// A client of version 2 is answered in it: its registration's result has a code.
func TestVersion2Client(t *testing.T) {
	w := newWorld(t, nil)
	c := w.dial()
	body, err := native.Append(nil, &protocol.RegisterTM{Identity: protocol.Identity{Version: "2.7.0", ApplicationID: "app", Group: "g"}})
	require.NoError(t, err)
	b, err := frame.Append(nil, &frame.Frame{Version: frame.V2, Codec: 1, ID: 1, Body: body})
	require.NoError(t, err)
	c.write(b)
	f, err := frame.Decode(c.readFrame())
	require.NoError(t, err)
	require.Equal(t, frame.V2, f.Version)
	m, err := native.DecodeV2(f.Body)
	require.NoError(t, err)
	require.Equal(t, &protocol.RegisterTMResult{
		Result: protocol.Result{Code: protocol.ResultSuccess}, Identified: true, Version: protocol.SeataVersion,
	}, m)
}
