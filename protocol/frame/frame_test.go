package frame_test

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/protocol/frame"
)

// captured is a frame that Java Seata sent, with the header as captured.
type captured struct {
	HeadLen     int    `json:"head_len"`
	MessageType byte   `json:"message_type"`
	Codec       byte   `json:"codec"`
	Compressor  byte   `json:"compressor"`
	RequestID   int32  `json:"request_id"`
	Hex         string `json:"hex"`
}

func loadCaptured(tb testing.TB) []captured {
	tb.Helper()
	files, err := filepath.Glob("../testdata/*.jsonl")
	require.NoError(tb, err)
	require.Len(tb, files, 7)
	var all []captured
	for _, file := range files {
		data, err := os.ReadFile(file)
		require.NoError(tb, err)
		lines := bufio.NewScanner(bytes.NewReader(data))
		for lines.Scan() {
			var c captured
			require.NoError(tb, json.Unmarshal(lines.Bytes(), &c))
			all = append(all, c)
		}
		require.NoError(tb, lines.Err())
	}
	return all
}

// A header field at the wrong place, or of the wrong width, turns this red.
func TestCapturedFramesDecodeAndEncodeBack(t *testing.T) {
	all := loadCaptured(t)
	require.NotEmpty(t, all)
	for _, c := range all {
		b := unhex(t, c.Hex)
		f, err := frame.Decode(b)
		require.NoError(t, err, c.Hex)
		want := frame.Frame{
			MessageType: c.MessageType, Codec: c.Codec, Compressor: c.Compressor, ID: c.RequestID, Body: b[c.HeadLen:],
		}
		require.Equal(t, want, f)
		back, err := frame.Append(nil, &f)
		require.NoError(t, err)
		require.Equal(t, c.Hex, hex.EncodeToString(back))
	}
}

func TestHeartbeats(t *testing.T) {
	for hexFrame, kind := range map[string]byte{
		"dada0100000010001003010000000001": frame.HeartbeatRequest,
		"dada0100000010001004010000000001": frame.HeartbeatResponse,
	} {
		f, err := frame.Decode(unhex(t, hexFrame))
		require.NoError(t, err)
		assert.Equal(t, frame.Frame{MessageType: kind, Codec: 1, ID: 1, Body: []byte{}}, f)
	}
}

func TestHeadMap(t *testing.T) {
	f := frame.Frame{Codec: 1, ID: -7, Head: map[string]string{"qiao": "1", "": "empty key", "empty": "", "文": "字"}, Body: []byte{1, 2}}
	b, err := frame.Append([]byte("before"), &f)
	require.NoError(t, err)
	got, err := frame.Decode(b[6:])
	require.NoError(t, err)
	assert.Equal(t, f, got)
}

// Java tells a null value from an empty one; we read both as empty.
func TestANullValueIsEmpty(t *testing.T) {
	f, err := frame.Decode(unhex(t, "dada01 00000016 0016 00 01 00 00000001 0002 6b31 ffff"))
	require.NoError(t, err)
	assert.Equal(t, map[string]string{"k1": ""}, f.Head)
	b, err := frame.Append(nil, &f)
	require.NoError(t, err)
	assert.Equal(t, "0002"+"6b31"+"0000", hex.EncodeToString(b[frame.HeaderLen:]))
}

func TestWhatDecodeRefuses(t *testing.T) {
	cases := []struct {
		name, bytes string
		want        error
		says        string
	}{
		{"nothing", "", frame.ErrLength, "0 bytes"},
		{"half a header", "dada0100000010", frame.ErrLength, "7 bytes"},
		{"HTTP", hex.EncodeToString([]byte("GET / HTTP/1.1\r\n")), frame.ErrMagic, "0x4745"},
		{"version 0", "dada0000000010001003010000000001", frame.ErrVersion, "version 0"},
		{"version 2", "dada0200000010001003010000000001", frame.ErrVersion, "version 2"},
		{"shorter than a header", "dada010000000f001003010000000001", frame.ErrLength, "15"},
		{"a header longer than the frame", "dada0100000010001103010000000001", frame.ErrLength, "17"},
		{"a header shorter than itself", "dada0100000010000f03010000000001", frame.ErrLength, "15"},
		{"a negative header", "dada010000ffff800003010000000001", frame.ErrLength, "32768"},
		{"more than 8 MiB", "dada0100800001001003010000000001", frame.ErrTooLarge, "8388609"},
		{"negative length", "dada01ffffffff001003010000000001", frame.ErrTooLarge, "4294967295"},
		{"bytes missing", "dada0100000011001003010000000001", frame.ErrLength, "17 announced, 16 present"},
		{"bytes too many", "dada010000001000100301000000000100", frame.ErrLength, "16 announced, 17 present"},
		{"a head map of one byte", "dada010000001100110301000000000100", frame.ErrHead, "length"},
		{"a key without a value", "dada01000000130013030100000000010001 6b", frame.ErrHead, "length"},
		{"a key longer than the map", "dada01000000130013030100000000010009 6b", frame.ErrHead, "9 bytes where 1 remain"},
		{"a null key", "dada0100000014001403010000000001 ffff 0000", frame.ErrHead, "null key"},
		{"a negative value length", "dada0100000014001403010000000001 0000 fffe", frame.ErrHead, "-2"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := frame.Decode(unhex(t, c.bytes))
			require.ErrorIs(t, err, c.want)
			assert.ErrorContains(t, err, c.says)
		})
	}
}

func TestLengthHonoursTheLimit(t *testing.T) {
	header := unhex(t, "dada0100000020001000010000000001")
	n, err := frame.Length(header, 32)
	require.NoError(t, err)
	assert.Equal(t, 32, n)
	_, err = frame.Length(header, 31)
	assert.ErrorIs(t, err, frame.ErrTooLarge)
}

func TestWhatAppendRefuses(t *testing.T) {
	cases := []struct {
		name string
		f    frame.Frame
		want error
	}{
		{"a body that is too long", frame.Frame{Body: make([]byte, frame.MaxLen-frame.HeaderLen+1)}, frame.ErrTooLarge},
		{"a value that is too long", frame.Frame{Head: map[string]string{"k": strings.Repeat("x", frame.MaxHeadLen+1)}}, frame.ErrHead},
		{"a key that is too long", frame.Frame{Head: map[string]string{strings.Repeat("x", frame.MaxHeadLen+1): ""}}, frame.ErrHead},
		{"a map that is too long", frame.Frame{Head: map[string]string{"k": strings.Repeat("x", frame.MaxHeadLen-frame.HeaderLen)}}, frame.ErrHead},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			dst, err := frame.Append([]byte("before"), &c.f)
			require.ErrorIs(t, err, c.want)
			assert.Equal(t, "before", string(dst))
		})
	}
	full := frame.Frame{Body: make([]byte, frame.MaxLen-frame.HeaderLen)}
	_, err := frame.Append(nil, &full)
	require.NoError(t, err)
}

// check decodes foreign bytes: a typed error, or a frame that is encoded and
// decoded to itself.
func check(tb testing.TB, b []byte) {
	f, err := frame.Decode(b)
	if err != nil {
		for _, e := range []error{frame.ErrMagic, frame.ErrVersion, frame.ErrLength, frame.ErrTooLarge, frame.ErrHead} {
			if errors.Is(err, e) {
				return
			}
		}
		tb.Fatalf("%x: untyped error %v", b, err)
	}
	again, err := frame.Append(nil, &f)
	if err != nil {
		tb.Fatalf("%x decodes to %+v, which is not encoded: %v", b, f, err)
	}
	back, err := frame.Decode(again)
	if err != nil || !reflect.DeepEqual(back, f) {
		tb.Fatalf("%x decodes to %+v, then to %+v, %v", b, f, back, err)
	}
}

func TestDamagedFrames(t *testing.T) {
	withHead, err := frame.Append(nil, &frame.Frame{Head: map[string]string{"qiao": "1", "k": ""}, Body: []byte("body")})
	require.NoError(t, err)
	frames := [][]byte{withHead}
	for _, c := range loadCaptured(t) {
		frames = append(frames, unhex(t, c.Hex))
	}
	for _, b := range frames {
		for n := range b {
			check(t, b[:n])
		}
		// The body is opaque here: flips of its bits are the serializer's matter.
		for i := range min(len(b), 40) {
			for bit := range 8 {
				b[i] ^= 1 << bit
				check(t, b)
				b[i] ^= 1 << bit
			}
		}
	}
}

func FuzzFrame(f *testing.F) {
	for _, seed := range []string{
		"dada0100000010001003010000000001",
		"dada01000000350010000100000000030007001f3139322e302e322e323a383039313a393835343931333937373037353436390000",
		"dada0100000017001600010000000001 0002 6b31 ffff 00",
		"dada01000000190018000100000000010002 6b31 0002 7631 00",
	} {
		f.Add(unhex(f, seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) { check(t, b) })
}

func unhex(tb testing.TB, s string) []byte {
	tb.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	require.NoError(tb, err)
	return b
}
