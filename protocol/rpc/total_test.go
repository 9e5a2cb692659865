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
	"github.com/qiao-tx/qiao/protocol/codec"
	"github.com/qiao-tx/qiao/protocol/compress"
	"github.com/qiao-tx/qiao/protocol/frame"
	"github.com/qiao-tx/qiao/protocol/hessian"
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
	require.Len(tb, files, 7)
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

// loadPacked makes frames of the bodies that Java's compressors packed.
func loadPacked(tb testing.TB) []captured {
	tb.Helper()
	var all []captured
	seen := map[byte]int{}
	data, err := os.ReadFile("../compress/testdata/java.jsonl")
	require.NoError(tb, err)
	lines := bufio.NewScanner(bytes.NewReader(data))
	for lines.Scan() {
		var line struct {
			Compressor   byte
			Body, Packed string
		}
		require.NoError(tb, json.Unmarshal(lines.Bytes(), &line))
		body, err := hex.DecodeString(line.Body)
		require.NoError(tb, err)
		m, err := native.Decode(body)
		seen[line.Compressor]++
		if err != nil || len(body) > 1<<10 || seen[line.Compressor] > 6 {
			continue // no message, or one of many
		}
		packed, err := hex.DecodeString(line.Packed)
		require.NoError(tb, err)
		c := captured{Name: "java.jsonl", Kind: int16(m.TypeCode()), Compressor: line.Compressor}
		c.bytes, err = frame.Append(nil, &frame.Frame{Codec: CodecSeata, Compressor: line.Compressor, Body: packed})
		require.NoError(tb, err)
		c.Hex = hex.EncodeToString(c.bytes)
		all = append(all, c)
	}
	require.NoError(tb, lines.Err())
	require.Len(tb, seen, 6)
	return all
}

// loadHessian makes frames of the bodies that Java's hessian codec wrote.
func loadHessian(tb testing.TB) []captured {
	tb.Helper()
	var all []captured
	seen := map[protocol.TypeCode]bool{}
	data, err := os.ReadFile("../hessian/testdata/java.jsonl")
	require.NoError(tb, err)
	lines := bufio.NewScanner(bytes.NewReader(data))
	for lines.Scan() {
		var line struct{ Hessian string }
		require.NoError(tb, json.Unmarshal(lines.Bytes(), &line))
		body, err := hex.DecodeString(line.Hessian)
		require.NoError(tb, err)
		m, _, err := hessian.Decode(body)
		require.NoError(tb, err)
		if seen[m.TypeCode()] || len(body) > 400 {
			continue
		}
		seen[m.TypeCode()] = true
		c := captured{Name: "hessian", Kind: int16(m.TypeCode()), Compressor: compress.None}
		c.bytes, err = frame.Append(nil, &frame.Frame{Codec: CodecHessian, Body: body})
		require.NoError(tb, err)
		c.Hex = hex.EncodeToString(c.bytes)
		all = append(all, c)
	}
	require.NoError(tb, lines.Err())
	require.Greater(tb, len(all), 20)
	return all
}

// loadAll returns a frame of every kind, codec and compressor, and more.
func loadAll(tb testing.TB) []captured {
	return append(append(loadCaptured(tb), loadPacked(tb)...), loadHessian(tb)...)
}

// A body that compressors shorten by other means than Java's cannot be compared
// with Java's bytes; what is in it can. (Package native compares the fields
// with those that Java read.)
func TestCapturedFramesAreReadAndWrittenBack(t *testing.T) {
	bodies := bodyReader{compressors: new(compress.Pool), limit: frame.MaxLen}
	seen := map[byte]int{}
	for _, c := range loadAll(t) {
		seen[c.Compressor]++
		f, err := frame.Decode(c.bytes)
		require.NoError(t, err)
		m, names, err := bodies.message(&f)
		require.NoErrorf(t, err, "%s:%d %s", c.Name, c.Seq, c.Class)
		require.EqualValues(t, c.Kind, m.TypeCode())
		again := f
		again.Body, err = pack(bodies.compressors, encoding{f.Codec, f.Compressor, names}, m)
		require.NoError(t, err)
		b, err := frame.Append(nil, &again)
		require.NoError(t, err)
		if c.Compressor == compress.None {
			require.Equal(t, c.Hex, hex.EncodeToString(b))
		}
		back, err := frame.Decode(b)
		require.NoError(t, err)
		got, _, err := bodies.message(&back)
		require.NoError(t, err)
		require.Equal(t, m, got)
	}
	require.Len(t, seen, 7, "frames of all compressors: %v", seen)
}

// eachDamage calls f with every truncation of the frame b, as it is and with
// its length made right so that the body's decoders see it, with every flip of
// one bit, and with every byte set to 0x00, 0x7f and 0xff.
func eachDamage(b []byte, f func(damaged []byte)) {
	for n := range b {
		f(b[:n])
		if n >= frame.HeaderLen {
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
func (r *bodyReader) decodeFrame(b []byte) (protocol.Message, codec.Names, error) {
	f, err := frame.Decode(b)
	if err != nil {
		return nil, 0, err
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
	var ne *codec.Error
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
	for _, c := range loadAll(t) {
		if c.Compressor == compress.Bzip2 && c.Kind > int16(protocol.TypeGlobalBegin) {
			continue // half a millisecond for each
		}
		eachDamage(bytes.Clone(c.bytes), func(damaged []byte) {
			if n++; n%sampleEvery != 0 {
				return
			}
			before := allocated(sample)
			m, _, err := bodies.decodeFrame(damaged)
			if used := allocated(sample) - before; used > limit+working {
				t.Fatalf("%s:%d: %x took %d bytes of memory", c.Name, c.Seq, damaged, used)
			}
			switch {
			case err == nil && m == nil:
				t.Fatalf("%s:%d: %x is neither a message nor an error", c.Name, c.Seq, damaged)
			case err == nil:
				messages++
			case !typed(err):
				t.Fatalf("%s:%d: %x: untyped error %v", c.Name, c.Seq, damaged, err)
			}
		})
	}
	t.Logf("%d damaged frames, one in %d of them read: %d messages, else errors", n, sampleEvery, messages)
}

// All layers at once: a frame with any compressor is a typed error, or a
// message that is written and read to itself.
func FuzzMessageOfFrame(f *testing.F) {
	seen := map[[3]int]bool{}
	for _, c := range loadAll(f) {
		if key := [3]int{int(c.Kind), int(c.Compressor), int(c.bytes[10])}; !seen[key] {
			seen[key] = true
			f.Add(c.bytes)
		}
	}
	bodies := bodyReader{compressors: new(compress.Pool), limit: 1 << 20}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, names, err := bodies.decodeFrame(b)
		if err != nil && !typed(err) {
			t.Fatalf("untyped error %v", err)
		}
		if err != nil {
			return
		}
		// A codec may write the nearest value that it has: once, not twice.
		for turn := range 2 {
			packed, err := pack(bodies.compressors, encoding{b[10], b[11], names}, m)
			require.NoError(t, err)
			again, err := frame.Append(nil, &frame.Frame{Codec: b[10], Compressor: b[11], Body: packed})
			require.NoError(t, err)
			back, _, err := bodies.decodeFrame(again)
			require.NoError(t, err)
			require.Equal(t, m.TypeCode(), back.TypeCode())
			if turn > 0 || b[10] == CodecSeata {
				require.Equal(t, m, back)
			}
			m = back
		}
	})
}
