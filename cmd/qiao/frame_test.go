package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/protocol"
)

// runFrame runs a command with an input.
func runFrame(t *testing.T, input string, args ...string) (out, notes string, err error) {
	t.Helper()
	root := newRootCommand()
	var stdout, stderr bytes.Buffer
	root.SetIn(strings.NewReader(input))
	root.SetOut(&stdout)
	root.SetErr(&stderr)
	root.SetArgs(append([]string{"frame"}, args...))
	err = root.ExecuteContext(t.Context())
	return stdout.String(), stderr.String(), err
}

// What decode prints of the frames that Java sent, encode turns back into them.
func TestFrameEncodeIsTheInverseOfDecode(t *testing.T) {
	files, err := filepath.Glob("../../protocol/testdata/*.jsonl")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		data, err := os.ReadFile(file)
		require.NoError(t, err)
		var frames strings.Builder
		lines := bufio.NewScanner(bytes.NewReader(data))
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			var line struct{ Hex string }
			require.NoError(t, json.Unmarshal(lines.Bytes(), &line))
			frames.WriteString(line.Hex + "\n")
		}
		objects, _, err := runFrame(t, frames.String(), "decode")
		require.NoError(t, err, file)
		back, _, err := runFrame(t, objects, "encode")
		require.NoError(t, err, file)
		require.Equal(t, frames.String(), back, file)
	}
}

func TestFrameDecodeReadsCaptures(t *testing.T) {
	for _, name := range []string{"ethernet.pcap", "ethernet.pcapng", "cooked.pcap", "cooked2.pcap"} {
		data, err := os.ReadFile("../../internal/pcap/testdata/" + name)
		require.NoError(t, err)
		out, notes, err := runFrame(t, string(data), "decode")
		require.NoError(t, err)
		require.Contains(t, notes, "41 packets", name)
		require.Contains(t, notes, "2 directions of connections speak another protocol", "the HTTP request")
		kinds := map[string]int{}
		for line := range strings.Lines(out) {
			var object struct{ Type, From, To, Time string }
			require.NoError(t, json.Unmarshal([]byte(line), &object))
			kinds[object.Type]++
			require.NotEqual(t, object.From, object.To)
			require.True(t, strings.HasPrefix(object.Time, "2026-11-26T21:01:"), object.Time)
		}
		require.Equal(t, map[string]int{
			"RegisterTM": 1, "RegisterTMResult": 1, "RegisterRM": 2, "RegisterRMResult": 2,
			"GlobalBegin": 2, "GlobalBeginResult": 2, "BranchRegister": 2, "BranchRegisterResult": 2,
			"GlobalCommit": 1, "GlobalCommitResult": 1, "BranchCommit": 1, "BranchCommitResult": 1,
			"GlobalRollback": 1, "GlobalRollbackResult": 1, "BranchRollback": 1, "BranchRollbackResult": 1,
		}, kinds, name)
	}
}

// Every line of input is answered by its frames, or by what is wrong with it and
// where; then the exit code is 1.
func TestFrameDecodeSaysWhatIsWrong(t *testing.T) {
	const ping = "dada0100000010001003010000000001"
	const begin = "dada010000001d0010000100000000010001000027100005747269616c"
	for name, test := range map[string]struct {
		input string
		want  string
	}{
		"odd":                 {ping + "d", `"error":"an odd number of hex digits, 33: two make a byte","offset":16}`},
		"no hex":              {"da da 0x\n", `"error":"column 8 is no hex digit: encoding/hex: invalid byte: U+0078 'x'","offset":2}`},
		"cut short":           {begin[:40], `"error":"the frame is cut short: it announces 29 bytes, only 20 are there","offset":0}`},
		"unknown codec":       {begin[:20] + "04" + begin[22:], `codec 4 (kryo)`},
		"unknown type":        {begin[:32] + "0101" + begin[36:], `"offset":18}`},
		"another protocol":    {"474554202f20485454502f312e310d0a", `"error":"another protocol: not a Seata frame`},
		"an error in between": {ping + begin[:20] + "04" + begin[22:] + ping, `"offset":26}`},
		"text":                {"hello\n", `"error":"column 1 is no hex digit`},
		"a damaged capture":   {"\xd4\xc3\xb2\xa1nonsense", ""},
	} {
		t.Run(name, func(t *testing.T) {
			out, _, err := runFrame(t, test.input, "decode")
			require.Error(t, err)
			require.Contains(t, out, test.want)
			if name == "a damaged capture" {
				require.ErrorContains(t, err, "damaged capture file: it ends within its header")
				return
			}
			require.ErrorContains(t, err, "could not be read")
			require.NotErrorAs(t, err, new(usageError))
			if name == "an error in between" {
				require.Equal(t, 2, strings.Count(out, `"type":"Heartbeat"`), "%s", out)
			}
		})
	}
	out, _, err := runFrame(t, "\n  "+ping+" "+strings.ToUpper(ping)+"\r\n\n", "decode")
	require.NoError(t, err)
	require.Equal(t, 2, strings.Count(out, `"line":2,"version":1,"message_type":3`), out)
}

func TestFrameEncodeSaysWhatIsWrong(t *testing.T) {
	out, notes, err := runFrame(t, `{"type":"Heartbeat","request_id":1}`+"\n\n"+`{"type":"Bgin"}`+"\nx\n"+`{"line":1,"error":"x","offset":0}`+"\n", "encode")
	require.ErrorContains(t, err, "3 of 4 objects make no frame")
	assert.Equal(t, "dada0100000010001003010000000001\n", out)
	for _, want := range []string{`line 3: there is no message type "Bgin"`, "line 4: no JSON object", "line 5: this is no frame but an error"} {
		assert.Contains(t, notes, want)
	}
}

func TestFrameNamesWhatIsWrong(t *testing.T) {
	for args, want := range map[string]string{
		"dekode":                            `did you mean "qiao frame decode"?`,
		"decode file":                       "takes no arguments",
		"encode file":                       "takes no arguments",
		"proxy 127.0.0.1:0":                 "takes LISTEN and TARGET",
		"proxy here 127.0.0.1:1":            `LISTEN "here": want host:port`,
		"proxy 127.0.0.1:0 there":           `TARGET "there": want host:port`,
		"proxy :0 127.0.0.1:1":              "--insecure-listen",
		"proxy 0.0.0.0:0 127.0.0.1:1":       "--insecure-listen",
		"proxy --jsn 127.0.0.1:0 127.0.0:1": "unknown flag: --jsn",
	} {
		_, _, err := runFrame(t, "", strings.Fields(args)...)
		require.ErrorContains(t, err, want, args)
		require.ErrorAs(t, err, new(usageError), args)
	}
}

// startProxy starts one as a process before a server, and moves the server's
// address to the proxy's. What the proxy prints arrives when it has ended.
func startProxy(t *testing.T, p *serverProcess, args ...string) (printed func() string) {
	t.Helper()
	cmd := exec.Command(os.Args[0], append([]string{"frame", "proxy", "127.0.0.1:0", p.address}, args...)...)
	var out bytes.Buffer
	cmd.Stdout = &out
	stderr, err := cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill() }) // fails when it has ended
	line, err := bufio.NewReader(stderr).ReadString('\n')
	require.NoError(t, err)
	p.address = regexp.MustCompile(`^forwarding (\S+) to `).FindStringSubmatch(line)[1]
	return func() string {
		require.NoError(t, cmd.Process.Signal(syscall.SIGINT))
		_, err := io.Copy(io.Discard, stderr)
		require.NoError(t, err)
		require.NoError(t, cmd.Wait())
		return out.String()
	}
}

// throughProxy runs a transaction with one branch through a proxy.
func throughProxy(t *testing.T, args ...string) (xid, printed string) {
	p := startServerProcess(t, t.TempDir())
	stop := startProxy(t, p, args...)
	c := p.client(testDatabase)
	x := c.begin(time.Minute)
	c.register(x, protocol.TypeAT, testDatabase, "stock:1")
	require.Equal(t, protocol.StatusCommitted, call[*protocol.GlobalCommitResult](c, &protocol.GlobalCommit{Global: protocol.Global{XID: x}}).Status)
	c.commitBranch()
	require.Eventually(t, func() bool { return c.status(x) == protocol.StatusCommitted }, serverPatience, 5*time.Millisecond)
	return x, stop()
}

func TestFrameProxyShowsATransaction(t *testing.T) {
	x, printed := throughProxy(t)
	rest := printed
	for _, want := range []string{
		`#1 · open from 127.0.0.1:`,
		`#1 → RegisterTM id=1 version=2.5.0 applicationId=app txServiceGroup=g` + "\n",
		`#1 ← RegisterTMResult id=1 resultCode=Success identified=true version=2.5.0` + "\n",
		`#1 → GlobalBegin id=3 timeoutMs=60000 name=test` + "\n",
		`#1 ← GlobalBeginResult id=3 resultCode=Success xid=` + x + "\n",
		`#1 → BranchRegister id=4 xid=` + x + ` branchType=AT resourceId=` + testDatabase + " lockKey=stock:1\n",
		`#1 ← BranchCommit id=1 xid=` + x + ` branchId=`,
		`branchStatus=PhaseTwoCommitted` + "\n",
		`#1 · closed` + "\n",
	} {
		_, after, found := strings.Cut(rest, want)
		require.True(t, found, "%q is missing, or not in its place:\n%s", want, printed)
		rest = after
	}
}

func TestFrameProxyPrintsObjectsThatEncodeReads(t *testing.T) {
	_, printed := throughProxy(t, "--json")
	var frames strings.Builder
	directions := map[string]int{}
	for line := range strings.Lines(printed) {
		var object struct {
			Type, Direction, Note, Time string
			Connection                  int
		}
		require.NoError(t, json.Unmarshal([]byte(line), &object), line)
		require.Equal(t, 1, object.Connection)
		require.NotEmpty(t, object.Time)
		if object.Note == "" {
			frames.WriteString(line)
			directions[object.Direction]++
		}
	}
	require.GreaterOrEqual(t, directions["c2s"], 6)
	require.GreaterOrEqual(t, directions["s2c"], 6)
	out, _, err := runFrame(t, frames.String(), "encode")
	require.NoError(t, err)
	require.Equal(t, directions["c2s"]+directions["s2c"], strings.Count(out, "\n"))
}
