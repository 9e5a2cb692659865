package wiretext_test

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/protocol/rpc"
	"github.com/qiao-tx/qiao/protocol/wiretext"
)

// What is decodable comes back byte for byte, however odd its bytes.
func FuzzFramesComeBack(f *testing.F) {
	seen := map[[2]int]bool{}
	for _, c := range loadCaptured(f) {
		if key := [2]int{int(c.TypeCode), c.Codec<<8 | c.Compressor}; !seen[key] {
			seen[key] = true
			f.Add(c.bytes)
		}
	}
	for _, odd := range []string{
		"dada0100000010001003010000000001",
		"dada01000000110010040100000000ffff",                                         // a heartbeat with a body
		"dada010000001f001800010000000001 0001 62 0000 0001 61 0001 ff 000700000000", // head map out of order, invalid UTF-8
		"dada010000001a00160001000000000100016bffff 000700000000",                    // a null value
		"dada010000001a0010000100000000010007 0002 fffe 0000 0000",                   // invalid UTF-8, bytes left over
	} {
		b, err := hex.DecodeString(strings.ReplaceAll(odd, " ", ""))
		require.NoError(f, err)
		f.Add(b)
	}
	var translator wiretext.Translator
	f.Fuzz(func(t *testing.T, b []byte) {
		object, err := translator.Decode(b)
		if err != nil {
			var where *rpc.FrameError
			require.ErrorAs(t, err, &where)
			require.True(t, where.Offset >= 0 && where.Offset <= len(b), "offset %d of %d", where.Offset, len(b))
			return
		}
		text, err := json.Marshal(object)
		require.NoError(t, err)
		back, err := translator.Encode(nil, text)
		require.NoError(t, err, "%s", text)
		require.Equal(t, hex.EncodeToString(b), hex.EncodeToString(back), "%s", text)
		require.NotEmpty(t, object.Lines())
		for _, line := range object.Lines() {
			require.NotContains(t, line, "\n")
		}
	})
}

// What an object describes can be read again.
func FuzzObjectsComeBack(f *testing.F) {
	f.Add([]byte(`{"type":"GlobalBegin","body":{"timeoutMs":1000,"name":"x"}}`))
	f.Add([]byte(`{"type":2,"compressor":1,"head_map":{"b":"","a":"1"},"body":{"resultCode":"success"}}`))
	f.Add([]byte(`{"type":"Merged","body":{"messages":[{"type":"BranchReport","body":{"branchId":"-7","branchStatus":9}}],"msgIds":[3]}}`))
	f.Add([]byte(`{"type":"Heartbeat","raw":"dada0100000010001003010000000001"}`))
	var translator wiretext.Translator
	f.Fuzz(func(t *testing.T, text []byte) {
		b, err := translator.Encode(nil, text)
		if err != nil {
			require.Empty(t, b)
			return
		}
		object, err := translator.Decode(b)
		require.NoError(t, err, "%s gives %x", text, b)
		again, err := json.Marshal(object)
		require.NoError(t, err)
		back, err := translator.Encode(nil, again)
		require.NoError(t, err)
		require.Equal(t, hex.EncodeToString(b), hex.EncodeToString(back))
	})
}

func encode(t *testing.T, object string) string {
	t.Helper()
	b, err := new(wiretext.Translator).Encode(nil, []byte(object))
	require.NoError(t, err)
	return hex.EncodeToString(b)
}

// A handwritten object needs only what matters.
func TestWhatIsLeftOutIsUsual(t *testing.T) {
	const begin = "dada010000001d0010000100000000010001000027100005747269616c"
	for object, want := range map[string]string{
		`{"type":"GlobalBegin","request_id":1,"body":{"timeoutMs":10000,"name":"trial"}}`:                                  begin + "0000"[:0],
		`{"type":"Heartbeat","request_id":1}`:                                                                              "dada0100000010001003010000000001",
		`{"type":120,"message_type":4,"request_id":"1"}`:                                                                   "dada0100000010001004010000000001",
		`{"type":"GlobalCommitResult","request_id":3,"body":{"resultCode":"Success","globalStatus":9}}`:                    "dada0100000015001001010000000003000801" + "0009",
		`{"type":"globalcommitresult","request_id":3,"body":{"resultCode":1,"globalStatus":"committed"}}`:                  "dada0100000015001001010000000003000801" + "0009",
		`{"time":"12:00","line":3,"from":"a","to":"b","connection":1,"direction":"c2s","type":"Heartbeat","request_id":1}`: "dada0100000010001003010000000001",
	} {
		assert.Equal(t, want, encode(t, object), object)
	}
}

// Raw bytes are used for as long as they say what the other members say.
func TestAnEditBeatsTheRawBytes(t *testing.T) {
	for _, c := range loadCaptured(t) {
		if c.Compressor == 0 || !strings.Contains(string(mustDecode(t, c.bytes)), `"raw"`) {
			continue
		}
		text := string(mustDecode(t, c.bytes))
		require.Equal(t, c.Hex, encode(t, text))
		edited := strings.Replace(text, `"request_id":`, `"request_id":1`, 1)
		b, err := hex.DecodeString(encode(t, edited))
		require.NoError(t, err)
		require.NotEqual(t, c.Hex, hex.EncodeToString(b))
		got := string(mustDecode(t, b))
		trim := func(s string) string {
			before, _, _ := strings.Cut(s, `,"raw"`)
			return strings.TrimRight(before, "}")
		}
		require.Equal(t, trim(edited), trim(got))
		return
	}
	t.Fatal("no captured frame has raw bytes")
}

func mustDecode(t *testing.T, b []byte) []byte {
	t.Helper()
	object, err := new(wiretext.Translator).Decode(b)
	require.NoError(t, err)
	text, err := json.Marshal(object)
	require.NoError(t, err)
	return text
}

func TestObjectsThatMakeNoFrame(t *testing.T) {
	for object, want := range map[string]string{
		`nonsense`:                              "no JSON object",
		`null`:                                  "no JSON object",
		`[]`:                                    "no JSON object",
		`{} {}`:                                 "something follows",
		`{}`:                                    `"type" is missing`,
		`{"type":"Bgin"}`:                       `no message type "Bgin"`,
		`{"type":99}`:                           "no message of type 99",
		`{"error":"x"}`:                         "no frame but an error",
		`{"type":"Heartbeat","id":1}`:           `no member "id"`,
		`{"type":"Heartbeat","version":7}`:      "version 7",
		`{"type":"Heartbeat","version":700}`:    "version: 700 does not fit into 8 bits",
		`{"type":"Heartbeat","message_type":0}`: "does not go with",
		`{"type":"GlobalBegin","message_type":3}`:                                        "does not go with",
		`{"type":"GlobalBegin","message_type":9}`:                                        "unknown frame message type: 9",
		`{"type":"GlobalBegin","codec":4}`:                                               "kryo",
		`{"type":"GlobalBegin","compressor":3}`:                                          "sevenz",
		`{"type":"GlobalBegin","request_id":4294967296}`:                                 "32 bits",
		`{"type":"GlobalBegin","head_map":{"a":1}}`:                                      "head_map",
		`{"type":"GlobalBegin","body":[]}`:                                               "want an object",
		`{"type":"GlobalBegin","body":{"timeout":1}}`:                                    "timeoutMs, name",
		`{"type":"GlobalBegin","body":{"timeoutMs":2147483648}}`:                         "does not fit into 32 bits",
		`{"type":"GlobalBegin","body":{"timeoutMs":"soon"}}`:                             `"soon" is no number`,
		`{"type":"GlobalReport","body":{"globalStatus":"Done"}}`:                         "Committed",
		`{"type":"BatchResult","body":{"messages":[{"type":"Heartbeat"}],"msgIds":[1]}}`: "Heartbeat",
		`{"type":"BatchResult","body":{"messages":[{"typ":"Begin"}]}}`:                   "message 1",
		`{"type":"Heartbeat","raw":"abc"}`:                                               "raw",
	} {
		_, err := new(wiretext.Translator).Encode(nil, []byte(object))
		require.ErrorContains(t, err, want, object)
	}
}

// The offset is that of the byte that is wrong.
func TestErrorsSayWhere(t *testing.T) {
	const begin = "dada010000001d0010000100000000010001000027100005747269616c"
	for name, test := range map[string]struct {
		hex    string
		offset int
		want   string
	}{
		"magic":           {"dbda010000001d00100001000000000100010000271000057472", 0, "not a Seata frame"},
		"version":         {"dada09" + begin[6:], 2, "version 9"},
		"length":          {begin[:40], 3, "29 announced, 20 present"},
		"head map":        {"dada0100000012001200010000000001 0009", 16, "head map"},
		"message type":    {begin[:18] + "07" + begin[20:], 9, "message type: 7"},
		"codec":           {begin[:20] + "04" + begin[22:], 10, "kryo"},
		"compressor":      {begin[:22] + "03" + begin[24:], 11, "sevenz"},
		"damaged gzip":    {begin[:22] + "01" + begin[24:], 16, "gzip"},
		"unknown type":    {begin[:32] + "0101" + begin[36:], 18, "unknown message type"},
		"a text too long": {begin[:44] + "0009" + begin[48:], 24, "9 bytes wanted, 5 remain"},
	} {
		b, err := hex.DecodeString(strings.ReplaceAll(test.hex, " ", ""))
		require.NoError(t, err)
		_, err = new(wiretext.Translator).Decode(b)
		require.ErrorContains(t, err, test.want, name)
		var where *rpc.FrameError
		require.True(t, errors.As(err, &where))
		assert.Equal(t, test.offset, where.Offset, name)
	}
}

func TestLinesNameWhatMatters(t *testing.T) {
	for object, want := range map[string][]string{
		`{"type":"Heartbeat","request_id":7}`: {"Ping id=7"},
		`{"type":"GlobalBegin","request_id":7,"head_map":{"qiao":"1"},"compressor":1,"body":{"timeoutMs":60000,"name":"place order"}}`: {
			`GlobalBegin (gzip) id=7 head.qiao=1 timeoutMs=60000 name="place order"`},
		`{"type":"BranchRegisterResult","request_id":8,"body":{"resultCode":"Failed","msg":"locked by\n x","transactionExceptionCode":2}}`: {
			`BranchRegisterResult id=8 resultCode=Failed msg="locked by\n x" transactionExceptionCode=LockKeyConflict branchId=0`},
		`{"type":"GlobalCommitResult","request_id":8,"body":{"resultCode":"Success","globalStatus":"Committed"}}`: {
			`GlobalCommitResult id=8 resultCode=Success globalStatus=Committed`},
		`{"type":"Merged","request_id":9,"body":{"messages":[{"type":"BranchReport","body":{"xid":"a:1:2","branchId":5,"branchStatus":"PhaseOneDone"}},{"type":"GlobalLockQuery"}],"msgIds":[3,4]}}`: {
			`Merged (one-way) id=9 messages=2`,
			`  BranchReport id=3 xid=a:1:2 branchId=5 branchStatus=PhaseOneDone branchType=AT`,
			`  GlobalLockQuery id=4 branchType=AT`},
		`{"type":"GlobalStatus","request_id":1,"body":{"xid":"` + strings.Repeat("x", 400) + `"}}`: {
			`GlobalStatus id=1 xid=` + strings.Repeat("x", 300) + `…(400 bytes)`},
	} {
		var translator wiretext.Translator
		b, err := translator.Encode(nil, []byte(object))
		require.NoError(t, err)
		f, err := translator.Decode(b)
		require.NoError(t, err)
		assert.Equal(t, want, f.Lines())
	}
}
