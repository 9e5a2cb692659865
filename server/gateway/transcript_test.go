package gateway

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"os"
	"sort"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/compress"
	"github.com/qiao-tx/qiao/protocol/frame"
	"github.com/qiao-tx/qiao/protocol/native"
	"github.com/qiao-tx/qiao/server/coordinator"
)

// recorded is one frame that a Java client and a Java server exchanged.
type recorded struct {
	Conn int
	From string
	What string
	Hex  string

	bytes   []byte
	frame   frame.Frame
	message protocol.Message
}

func readTranscript(t *testing.T, path string) []*recorded {
	t.Helper()
	f, err := os.Open(path)
	require.NoError(t, err)
	defer func() { require.NoError(t, f.Close()) }()
	var all []*recorded
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		r := &recorded{}
		require.NoError(t, json.Unmarshal(lines.Bytes(), r))
		r.bytes, err = hex.DecodeString(r.Hex)
		require.NoError(t, err)
		r.frame, err = frame.Decode(r.bytes)
		require.NoError(t, err)
		r.message, err = native.Decode(expandedBody(t, r.frame))
		require.NoError(t, err)
		all = append(all, r)
	}
	require.NoError(t, lines.Err())
	return all
}

// expandedBody is f's body, decompressed.
func expandedBody(t *testing.T, f frame.Frame) []byte {
	t.Helper()
	var pool compress.Pool
	body, err := pool.Expand(nil, f.Compressor, f.Body, frame.MaxLen)
	require.NoError(t, err)
	return body
}

// decompressed is the frame b with its body decompressed, for Java's compressors
// and ours write the same in different bytes.
func decompressed(t *testing.T, b []byte) string {
	t.Helper()
	f, err := frame.Decode(b)
	require.NoError(t, err)
	f.Body = expandedBody(t, f)
	b, err = frame.Append(nil, &f)
	require.NoError(t, err)
	return hex.EncodeToString(b)
}

// TestTranscripts plays what real Java clients sent, with a coordinator that
// decides as the Java one did: what comes back is what the Java server sent,
// byte for byte (when decompressed).
func TestTranscripts(t *testing.T) {
	for _, test := range []struct {
		file  string
		batch bool
	}{
		{"client250", false},
		{"client250-tmbatch", false},
		{"client250-gzip", false},
		{"client250-zstd", false},
		{"client220-mergeresult", false},
		{"client220-batchresult", true},
	} {
		t.Run(test.file, func(t *testing.T) {
			p := &player{
				world:   newWorld(t, func(c *Config) { c.BatchResponses = test.batch }),
				records: readTranscript(t, "testdata/"+test.file+".jsonl"),
				clients: make(map[int]*client),
			}
			p.coordinator.handle = p.decide
			for _, r := range p.records {
				p.play(r)
			}
			require.Empty(t, p.answers)
		})
	}
}

// player replays a transcript, one exchange at a time.
type player struct {
	*world
	records []*recorded
	clients map[int]*client
	// answers are the coordinator's, in the order of the requests.
	answers []protocol.Message
	undone  bool
}

func (p *player) decide(_ coordinator.Caller, _ protocol.Message, _ map[string]string, reply coordinator.Replier) bool {
	if len(p.answers) == 0 {
		return false
	}
	answer := p.answers[0]
	p.answers = p.answers[1:]
	reply(answer, nil)
	return true
}

func (p *player) client(conn int) *client {
	if p.clients[conn] == nil {
		p.clients[conn] = p.dial()
	}
	return p.clients[conn]
}

func (p *player) play(r *recorded) {
	switch {
	case r.From == "client" && r.frame.MessageType != frame.Response:
		p.playRequest(r)
	case r.From == "server" && r.frame.MessageType == frame.Request:
		p.playOrder(r)
	case r.From == "server" && r.frame.MessageType == frame.OneWay && !p.undone:
		p.undone = true
		p.playUndoLogDeletion()
	}
}

// responses are the server's answers on a connection to the id.
func (p *player) responses(conn int, from string, id int32) []*recorded {
	var found []*recorded
	for _, r := range p.records {
		if r.Conn == conn && r.From == from && r.frame.MessageType == frame.Response && r.frame.ID == id {
			found = append(found, r)
		}
	}
	return found
}

func (p *player) playRequest(r *recorded) {
	t := p.t
	var want [][]byte
	merged, isMerged := r.message.(*protocol.Merged)
	whole := p.responses(r.Conn, "server", r.frame.ID)
	switch {
	case isMerged && len(whole) == 0: // an answer for each part
		for _, id := range merged.IDs {
			one := p.responses(r.Conn, "server", id)
			require.Len(t, one, 1)
			p.answers = append(p.answers, one[0].message)
			want = append(want, one[0].bytes)
		}
	case isMerged:
		want = append(want, p.wantWhole(merged, whole))
	default:
		require.Len(t, whole, 1)
		want = append(want, whole[0].bytes)
		switch r.message.(type) {
		case *protocol.RegisterTM, *protocol.RegisterRM:
		default:
			p.answers = append(p.answers, whole[0].message)
		}
	}
	c := p.client(r.Conn)
	c.write(r.bytes)
	for _, w := range want {
		require.Equal(t, decompressed(t, w), decompressed(t, c.readFrame()), r.What)
	}
}

// wantWhole is the one answer to a merged request. Java may spread a
// BatchResult over several frames and in any order, as time has it; ours is one,
// in the order of the requests.
func (p *player) wantWhole(merged *protocol.Merged, whole []*recorded) []byte {
	t := p.t
	if result, ok := whole[0].message.(*protocol.MergedResult); ok {
		require.Len(t, whole, 1)
		p.answers = append(p.answers, result.Messages...)
		return whole[0].bytes
	}
	answers := make(map[int32]protocol.Message)
	for _, w := range whole {
		batch := w.message.(*protocol.BatchResult)
		for i, id := range batch.IDs {
			answers[id] = batch.Messages[i]
		}
	}
	all := &protocol.BatchResult{IDs: merged.IDs}
	for _, id := range merged.IDs {
		require.Contains(t, answers, id)
		all.Messages = append(all.Messages, answers[id])
	}
	p.answers = append(p.answers, all.Messages...)
	f := whole[0].frame
	var err error
	f.Body, err = native.Append(nil, all)
	require.NoError(t, err)
	b, err := frame.Append(nil, &f)
	require.NoError(t, err)
	if len(merged.IDs) == 1 {
		require.Equal(t, whole[0].bytes, b)
	}
	return b
}

// compressorOf is the compressor of the client's registrations on a connection.
func (p *player) compressorOf(conn int) byte {
	for _, r := range p.records {
		if r.Conn == conn && r.From == "client" {
			return r.frame.Compressor
		}
	}
	p.t.Fatalf("nobody registered on connection %d", conn)
	return 0
}

// playOrder gives the order to the channel that the Java server gave it to. Of
// the frame the id is ours, and the compressor: Java's is the server's own, ours
// the client's.
func (p *player) playOrder(r *recorded) {
	t := p.t
	var resource string
	switch m := r.message.(type) {
	case *protocol.BranchCommit:
		resource = m.ResourceID
	case *protocol.BranchRollback:
		resource = m.ResourceID
	}
	answer := p.responses(r.Conn, "client", r.frame.ID)
	require.Len(t, answer, 1)
	c := p.client(r.Conn)
	type outcome struct {
		message protocol.Message
		err     error
	}
	done := make(chan outcome, 1)
	p.cfg.Peers.Send(resource, "anchor-app:"+c.LocalAddr().String(), false, r.message, patience,
		func(m protocol.Message, err error) { done <- outcome{m, err} })
	got := c.readFrame()
	id := binary.BigEndian.Uint32(got[12:])
	want := r.frame
	want.Compressor = p.compressorOf(r.Conn)
	wanted, err := frame.Append(nil, &want)
	require.NoError(t, err)
	require.Equal(t, hex.EncodeToString(withID(wanted, id)), decompressed(t, got))
	c.write(withID(answer[0].bytes, id))
	end := <-done
	require.NoError(t, end.err)
	require.Equal(t, answer[0].message, end.message)
}

func withID(b []byte, id uint32) []byte {
	b = bytes.Clone(b)
	binary.BigEndian.PutUint32(b[12:], id)
	return b
}

func (p *player) playUndoLogDeletion() {
	var want, got []string
	for _, r := range p.records {
		if r.From == "server" && r.frame.MessageType == frame.OneWay {
			want = append(want, hex.EncodeToString(withID(r.bytes, 0)))
		}
	}
	p.cfg.Peers.DeleteUndoLogs(7)
	for range want {
		got = append(got, hex.EncodeToString(withID(p.client(2).readFrame(), 0)))
	}
	sort.Strings(want)
	sort.Strings(got)
	require.Equal(p.t, want, got)
}
