package rpc

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"runtime/metrics"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/compress"
	"github.com/qiao-tx/qiao/protocol/frame"
	"github.com/qiao-tx/qiao/protocol/native"
)

// captured is a frame that Java Seata sent.
type captured struct {
	Name       string
	Seq        int    `json:"seq"`
	Class      string `json:"msg_class"`
	Kind       int16  `json:"msg_type_code"`
	Compressor byte   `json:"compressor"`
	Hex        string `json:"hex"`

	bytes []byte
}

// loadCaptured reads all captured frames of protocol/testdata.
func loadCaptured(tb testing.TB) []captured {
	tb.Helper()
	files, err := filepath.Glob("../testdata/*.jsonl")
	require.NoError(tb, err)
	require.Len(tb, files, 6)
	var all []captured
	for _, file := range files {
		data, err := os.ReadFile(file)
		require.NoError(tb, err)
		lines := bufio.NewScanner(bytes.NewReader(data))
		for lines.Scan() {
			c := captured{Name: filepath.Base(file)}
			require.NoError(tb, json.Unmarshal(lines.Bytes(), &c))
			c.bytes, err = hex.DecodeString(c.Hex)
			require.NoError(tb, err)
			all = append(all, c)
		}
		require.NoError(tb, lines.Err())
	}
	return all
}

// loadFrames0 reads the frames of version 0 that Java's encoders wrote.
func loadFrames0(tb testing.TB) map[string][]byte {
	tb.Helper()
	data, err := os.ReadFile("../testdata/v0/frames.jsonl")
	require.NoError(tb, err)
	all := make(map[string][]byte)
	lines := bufio.NewScanner(bytes.NewReader(data))
	for lines.Scan() {
		var g struct{ By, Name, Hex string }
		require.NoError(tb, json.Unmarshal(lines.Bytes(), &g))
		all[g.Name+" "+g.By], err = hex.DecodeString(g.Hex)
		require.NoError(tb, err)
	}
	require.NoError(tb, lines.Err())
	require.Len(tb, all, 15)
	return all
}

// frames2 are frames of version 2: of a request, and of results as only this
// version has them.
func frames2(tb testing.TB) [][]byte {
	tb.Helper()
	var all [][]byte
	for _, m := range []protocol.Message{
		&protocol.RegisterTM{Identity: protocol.Identity{Version: "2.7.0", ApplicationID: "a"}},
		&protocol.RegisterTMResult{Result: protocol.Result{Message: "no"}, Version: "2.7.0"},
		&protocol.RegisterRMResult{Result: protocol.Result{Code: protocol.ResultSuccess}, Identified: true},
	} {
		body, err := native.AppendV2(nil, m)
		require.NoError(tb, err)
		b, err := frame.Append(nil, &frame.Frame{Version: frame.V2, Codec: 1, ID: 1, Body: body})
		require.NoError(tb, err)
		all = append(all, b)
	}
	return all
}

// A body that compressors shorten by other means than Java's cannot be compared
// with Java's bytes; what is in it can. (Package native compares the fields
// with those that Java read.)
func TestCapturedFramesAreReadAndWrittenBack(t *testing.T) {
	bodies := bodyReader{compressors: new(compress.Pool), limit: frame.MaxLen}
	seen := map[byte]int{}
	for _, c := range loadCaptured(t) {
		seen[c.Compressor]++
		f, err := frame.Decode(c.bytes)
		require.NoError(t, err)
		m, err := bodies.message(&f)
		require.NoErrorf(t, err, "%s:%d %s", c.Name, c.Seq, c.Class)
		require.EqualValues(t, c.Kind, m.TypeCode())
		again := f
		again.Body, err = pack(bodies.compressors, f.Version, f.Codec, f.Compressor, m)
		require.NoError(t, err)
		b, err := frame.Append(nil, &again)
		require.NoError(t, err)
		if c.Compressor == compress.None {
			require.Equal(t, c.Hex, hex.EncodeToString(b))
		}
		back, err := frame.Decode(b)
		require.NoError(t, err)
		got, err := bodies.message(&back)
		require.NoError(t, err)
		require.Equal(t, m, got)
	}
	require.Len(t, seen, 3, "frames of the compressors none, gzip and zstd: %v", seen)
}

// eachDamage calls f with every truncation of the frame b, as it is and with
// its length made right so that the body's decoders see it, with every flip of
// one bit, and with every byte set to 0x00, 0x7f and 0xff.
func eachDamage(b []byte, f func(damaged []byte)) {
	for n := range b {
		f(b[:n])
		if n >= frame.HeaderLen && b[2] != frame.V0 {
			cut := bytes.Clone(b[:n])
			binary.BigEndian.PutUint32(cut[3:], uint32(n))
			f(cut)
		}
	}
	for i, was := range b {
		for bit := range 8 {
			b[i] = was ^ 1<<bit
			f(b)
		}
		for _, value := range []byte{0x00, 0x7f, 0xff} {
			b[i] = value
			f(b)
		}
		b[i] = was
	}
}

// decodeFrame is the way of a received frame.
func (r *bodyReader) decodeFrame(b []byte) (protocol.Message, error) {
	f, err := frame.Decode(b)
	if err != nil {
		return nil, err
	}
	return r.message(&f)
}

// typed tells whether err is one that a connection is closed with.
func typed(err error) bool {
	for _, e := range []error{
		frame.ErrMagic, frame.ErrVersion, frame.ErrLength, frame.ErrTooLarge, frame.ErrHead,
		ErrCodec, compress.ErrTooLarge, compress.ErrDamaged,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	var ne *native.Error
	return errors.As(err, &ne)
}

// allocated counts the bytes that were ever allocated. Small objects are
// counted late, in batches; objects over 32 KiB at once.
func allocated(sample []metrics.Sample) uint64 {
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// Whatever happened to a frame on its way, it is a message or a typed error:
// no panic, no hang, no memory beyond the limit of a body and the working
// memory of a compressor.
func TestDamagedFramesAreMessagesOrTypedErrors(t *testing.T) {
	const limit, working = 64 << 10, 1 << 20
	bodies := bodyReader{compressors: new(compress.Pool), limit: limit}
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	var n, messages int
	frames := frames2(t)
	for _, b := range loadFrames0(t) {
		frames = append(frames, b)
	}
	for _, c := range loadCaptured(t) {
		frames = append(frames, bytes.Clone(c.bytes))
	}
	for _, b := range frames {
		eachDamage(b, func(damaged []byte) {
			if n++; n%sampleEvery != 0 {
				return
			}
			before := allocated(sample)
			m, err := bodies.decodeFrame(damaged)
			if used := allocated(sample) - before; used > limit+working {
				t.Fatalf("%x took %d bytes of memory", damaged, used)
			}
			switch {
			case err == nil && m == nil:
				t.Fatalf("%x is neither a message nor an error", damaged)
			case err == nil:
				messages++
			case !typed(err):
				t.Fatalf("%x: untyped error %v", damaged, err)
			}
		})
	}
	t.Logf("%d damaged frames, one in %d of them read: %d messages, else errors", n, sampleEvery, messages)
}

// All layers at once: a frame with any compressor is a typed error, or a
// message that is written and read to itself.
func FuzzMessageOfFrame(f *testing.F) {
	seen := map[[2]int]bool{}
	for _, c := range loadCaptured(f) {
		if key := [2]int{int(c.Kind), int(c.Compressor)}; !seen[key] {
			seen[key] = true
			f.Add(c.bytes)
		}
	}
	for _, b := range loadFrames0(f) {
		f.Add(b)
	}
	for _, b := range frames2(f) {
		f.Add(b)
	}
	bodies := bodyReader{compressors: new(compress.Pool), limit: 1 << 20}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := bodies.decodeFrame(b)
		if err != nil && !typed(err) {
			t.Fatalf("untyped error %v", err)
		}
		if err != nil {
			return
		}
		again, err := frame.Decode(b)
		require.NoError(t, err)
		again.Body, err = pack(bodies.compressors, again.Version, again.Codec, again.Compressor, m)
		require.NoError(t, err)
		written, err := frame.Append(nil, &again)
		require.NoError(t, err)
		back, err := bodies.decodeFrame(written)
		require.NoError(t, err)
		require.Equal(t, m, back)
	})
}
