package compress_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/protocol/compress"
)

// limit is the cap of a connection: the longest frame.
const limit = 8 << 20

var names = map[byte]string{
	compress.Gzip: "gzip", compress.Zip: "zip", compress.Bzip2: "bzip2",
	compress.LZ4: "lz4", compress.Deflater: "deflater", compress.Zstd: "zstd",
}

// each runs a test for each compressor that compresses.
func each(t *testing.T, test func(t *testing.T, id byte)) {
	for id, name := range names {
		t.Run(name, func(t *testing.T) { test(t, id) })
	}
}

// loadPacked returns what Java packed: bodies of captured frames, or of
// testdata/java.jsonl, where each stands beside what it was.
func loadPacked(tb testing.TB, id byte) (packed, bodies [][]byte) {
	tb.Helper()
	for _, line := range readLines(tb, "testdata/java.jsonl") {
		if line.Compressor == id {
			packed, bodies = append(packed, line.Packed), append(bodies, line.Body)
		}
	}
	if id == compress.Gzip || id == compress.Zstd {
		for _, line := range readLines(tb, "../testdata/seata-"+names[id]+".jsonl") {
			if line.Compressor == compress.None {
				continue
			}
			require.Equal(tb, id, line.Compressor)
			packed, bodies = append(packed, line.Hex[line.HeadLen:]), append(bodies, nil)
		}
	}
	require.NotEmpty(tb, packed)
	return packed, bodies
}

type line struct {
	HeadLen           int  `json:"head_len"`
	Compressor        byte `json:"compressor"`
	Hex, Packed, Body hexBytes
}

// hexBytes is written in hexadecimal.
type hexBytes []byte

func (h *hexBytes) UnmarshalText(text []byte) (err error) {
	*h, err = hex.DecodeString(string(text))
	return err
}

func readLines(tb testing.TB, file string) []line {
	tb.Helper()
	data, err := os.ReadFile(file)
	require.NoError(tb, err)
	var all []line
	lines := bufio.NewScanner(bytes.NewReader(data))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var l line
		require.NoError(tb, json.Unmarshal(lines.Bytes(), &l))
		all = append(all, l)
	}
	require.NoError(tb, lines.Err())
	return all
}

// What Java packed becomes what Java had.
func TestWhatJavaPackedIsExpanded(t *testing.T) {
	var pool compress.Pool
	each(t, func(t *testing.T, id byte) {
		packed, bodies := loadPacked(t, id)
		for i := range packed {
			got, err := pool.Expand(nil, id, packed[i], limit)
			require.NoError(t, err)
			if bodies[i] != nil {
				require.True(t, bytes.Equal(bodies[i], got))
			}
		}
	})
}

func TestWhatIsPackedIsExpanded(t *testing.T) {
	var pool compress.Pool
	random := make([]byte, 70_000)
	for i := range random {
		random[i] = byte(i * i * i >> 5)
	}
	for id := range byte(8) {
		if id == 3 {
			continue // sevenz, which is refused
		}
		for _, body := range [][]byte{{}, {0}, []byte("body"), make([]byte, 300), random, make([]byte, limit)} {
			packed, err := pool.Append([]byte("before"), id, body)
			require.NoError(t, err)
			require.Equal(t, "before", string(packed[:6]))
			got, err := pool.Expand(nil, id, packed[6:], limit)
			require.NoError(t, err)
			require.True(t, bytes.Equal(body, got), "%d bytes by compressor %d", len(body), id)
		}
	}
}

// A pool's memory that two users share at once turns this red, with -race.
func TestAPoolServesManyAtOnce(t *testing.T) {
	var pool compress.Pool
	var work sync.WaitGroup
	for i := range 4 {
		body := bytes.Repeat([]byte{byte(i)}, 1000*(i+1))
		work.Go(func() {
			var buf []byte
			for range 10 {
				for id := range names {
					packed, err := pool.Append(nil, id, body)
					assert.NoError(t, err)
					buf, err = pool.Expand(buf, id, packed, limit)
					assert.NoError(t, err)
					assert.True(t, bytes.Equal(body, buf))
				}
			}
		})
	}
	work.Wait()
}

// The memory of the last body serves the next one.
func TestExpandUsesTheBuffer(t *testing.T) {
	var pool compress.Pool
	each(t, func(t *testing.T, id byte) {
		packed, err := pool.Append(nil, id, []byte("body"))
		require.NoError(t, err)
		buf := make([]byte, 4<<10)
		got, err := pool.Expand(buf, id, packed, limit)
		require.NoError(t, err)
		assert.Equal(t, "body", string(got))
		assert.Same(t, &buf[0], &got[0])
	})
}

// Java makes room for what the header of a zstd frame says and expands nothing
// more; without a size there it reads an empty body.
func TestZstdSaysTheSizeAsJavaNeedsIt(t *testing.T) {
	var pool compress.Pool
	for _, n := range []int{0, 1, 50, 255, 256, 1024, 1025, 70_000, 5 << 20} {
		packed, err := pool.Append(nil, compress.Zstd, make([]byte, n))
		require.NoError(t, err)
		var header zstd.Header
		require.NoError(t, header.Decode(packed))
		assert.True(t, header.HasFCS, n)
		assert.EqualValues(t, n, header.FrameContentSize)
		assert.False(t, header.HasCheckSum)
	}
}

func TestUnsupported(t *testing.T) {
	var pool compress.Pool
	for id, name := range map[byte]string{3: "3 (sevenz)", 8: "8 (unknown)", 255: "255 (unknown)"} {
		dst, err := pool.Append([]byte("before"), id, []byte("body"))
		require.ErrorIs(t, err, compress.ErrUnsupported)
		assert.ErrorContains(t, err, name+"; set seata.transport.compressor to none, gzip, zip, bzip2, lz4, deflater or zstd at the peer")
		assert.Equal(t, "before", string(dst))
		_, err = pool.Expand(nil, id, []byte("body"), limit)
		require.ErrorIs(t, err, compress.ErrUnsupported)
	}
}

func gzipped(t *testing.T, body []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, err := w.Write(body)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return out.Bytes()
}

// endless is a zstd frame of the size announced, whose blocks yield 128 KiB
// each, without end.
func endless(announced uint32, blocks int) []byte {
	b := binary.LittleEndian.AppendUint32([]byte{0x28, 0xb5, 0x2f, 0xfd, 0xa0}, announced)
	for range blocks {
		b = append(b, 0x02, 0x00, 0x10, 0) // a run of 128 KiB, not the last block
	}
	return b
}

// boastingLZ4 is a block of one byte that becomes 8 MiB, it says.
func boastingLZ4() []byte {
	header := func(token byte, packed, expanded uint32) []byte {
		b := append([]byte("LZ4Block"), token)
		b = binary.LittleEndian.AppendUint32(b, packed)
		b = binary.LittleEndian.AppendUint32(b, expanded)
		return binary.LittleEndian.AppendUint32(b, 0)
	}
	return append(append(header(0x2d, 1, limit), 0), header(0x10, 0, 0)...)
}

func TestByName(t *testing.T) {
	for id, name := range names {
		got, err := compress.ByName(strings.ToUpper(name))
		require.NoError(t, err)
		assert.Equal(t, id, got)
	}
	for _, name := range []string{"sevenz", "", "unknown", "snappy"} {
		_, err := compress.ByName(name)
		require.ErrorIs(t, err, compress.ErrUnsupported)
		assert.ErrorContains(t, err, "valid are none, gzip, zip, bzip2, lz4, deflater, zstd")
	}
}

//tidy:long a table
func TestWhatExpandRefuses(t *testing.T) {
	var pool compress.Pool
	streamed := func() []byte {
		var out bytes.Buffer
		w, err := zstd.NewWriter(&out)
		require.NoError(t, err)
		_, err = io.Copy(w, bytes.NewReader(make([]byte, 3<<20)))
		require.NoError(t, err)
		require.NoError(t, w.Close())
		return out.Bytes()
	}()
	liar := gzipped(t, make([]byte, 1<<20))
	binary.LittleEndian.PutUint32(liar[len(liar)-4:], 10)
	boaster := gzipped(t, make([]byte, 10))
	binary.LittleEndian.PutUint32(boaster[len(boaster)-4:], limit)
	z := func(n int) []byte {
		packed, err := pool.Append(nil, compress.Zstd, make([]byte, n))
		require.NoError(t, err)
		return packed
	}
	packedBy := func(id byte, body []byte) []byte {
		packed, err := pool.Append(nil, id, body)
		require.NoError(t, err)
		return packed
	}
	// changed is what a compressor makes of the text body, with one byte set;
	// positions below zero count from the end.
	changed := func(id byte, position int, value byte) []byte {
		packed := packedBy(id, []byte("body"))
		packed[(position+len(packed))%len(packed)] = value
		return packed
	}
	more := func(id byte) []byte { return append(packedBy(id, []byte("body")), 0) }
	for _, c := range []struct {
		name   string
		id     byte
		packed []byte
		want   error
		says   string
	}{
		{"plain, too long", compress.None, make([]byte, limit+1), compress.ErrTooLarge, "8388609 bytes, at most 8388608"},
		{"gzip, empty", compress.Gzip, nil, compress.ErrDamaged, "gzip: "},
		{"gzip, a bomb", compress.Gzip, gzipped(t, make([]byte, limit+1)), compress.ErrTooLarge, "8388609 bytes"},
		{"gzip, longer than it says", compress.Gzip, liar, compress.ErrDamaged, "longer than its trailer says"},
		{"gzip, a size that so few bytes cannot have", compress.Gzip, boaster, compress.ErrDamaged, "cannot come from"},
		{"gzip, a wrong checksum", compress.Gzip, func() []byte {
			b := gzipped(t, []byte("body"))
			b[len(b)-5] ^= 1
			return b
		}(), compress.ErrDamaged, "checksum"},
		{"gzip, two members", compress.Gzip, append(gzipped(t, []byte("one!")), gzipped(t, []byte("two!"))...), compress.ErrDamaged, "after its end"},
		{"zip, empty", compress.Zip, nil, compress.ErrDamaged, "zip: "},
		{"zip, a bomb", compress.Zip, packedBy(compress.Zip, make([]byte, limit+1)), compress.ErrTooLarge, "8388609 bytes"},
		{"zip, another file", compress.Zip, changed(compress.Zip, 0, 'Q'), compress.ErrDamaged, "it begins with"},
		{"zip, stored", compress.Zip, changed(compress.Zip, 8, 0), compress.ErrDamaged, "method 0"},
		{"zip, encrypted", compress.Zip, changed(compress.Zip, 6, 9), compress.ErrDamaged, "flags 0x809"},
		{"zip, a name longer than it is", compress.Zip, changed(compress.Zip, 27, 0xff), compress.ErrDamaged, "descriptor"},
		{"zip, a wrong checksum", compress.Zip, changed(compress.Zip, -12, 1), compress.ErrDamaged, "checksum"},
		{"zip, a wrong packed size", compress.Zip, changed(compress.Zip, -8, 200), compress.ErrDamaged, "200"},
		{"zip, longer than it says", compress.Zip, changed(compress.Zip, -4, 3), compress.ErrDamaged, "longer"},
		{"zip, shorter than it says", compress.Zip, changed(compress.Zip, -4, 5), compress.ErrDamaged, ""},
		{"zip, a size that so few bytes cannot have", compress.Zip, changed(compress.Zip, -2, 0x7f), compress.ErrDamaged, "cannot come from"},
		{"bzip2, empty", compress.Bzip2, nil, compress.ErrDamaged, "bzip2: "},
		{"bzip2, a bomb", compress.Bzip2, packedBy(compress.Bzip2, make([]byte, limit+1)), compress.ErrTooLarge, "8388609 bytes"},
		{"bzip2, with its magic", compress.Bzip2, append([]byte("BZ"), packedBy(compress.Bzip2, []byte("body"))...), compress.ErrDamaged, "it begins with 425a"},
		{"bzip2, a wrong checksum", compress.Bzip2, changed(compress.Bzip2, 10, 1), compress.ErrDamaged, "checksum"},
		{"bzip2, more behind it", compress.Bzip2, more(compress.Bzip2), compress.ErrDamaged, ""},
		{"lz4, empty", compress.LZ4, nil, compress.ErrDamaged, "lz4: "},
		{"lz4, a bomb", compress.LZ4, packedBy(compress.LZ4, make([]byte, limit+1)), compress.ErrTooLarge, "8388609 bytes"},
		{"lz4, another file", compress.LZ4, changed(compress.LZ4, 0, 'l'), compress.ErrDamaged, "a block begins with"},
		{"lz4, an unknown method", compress.LZ4, changed(compress.LZ4, 8, 0x30), compress.ErrDamaged, "method 0x30"},
		{"lz4, a packed size beyond the end", compress.LZ4, changed(compress.LZ4, 12, 0x7f), compress.ErrDamaged, "remain"},
		{"lz4, a block beyond its level", compress.LZ4, changed(compress.LZ4, 15, 0xff), compress.ErrDamaged, "at level 0"},
		{"lz4, raw but shorter", compress.LZ4, changed(compress.LZ4, 13, 5), compress.ErrDamaged, "5 bytes in 4"},
		{"lz4, a wrong checksum", compress.LZ4, changed(compress.LZ4, 17, 1), compress.ErrDamaged, "checksum"},
		{"lz4, more behind it", compress.LZ4, more(compress.LZ4), compress.ErrDamaged, "after its end"},
		{"lz4, a size that so few bytes cannot have", compress.LZ4, boastingLZ4(), compress.ErrDamaged, "cannot come from"},
		{"deflater, empty", compress.Deflater, nil, compress.ErrDamaged, "deflater: "},
		{"deflater, a bomb", compress.Deflater, packedBy(compress.Deflater, make([]byte, limit+1)), compress.ErrTooLarge, "8388609 bytes"},
		{"deflater, no zlib header", compress.Deflater, packedBy(compress.Deflater, []byte("body"))[2:], compress.ErrDamaged, "header"},
		{"deflater, a wrong checksum", compress.Deflater, changed(compress.Deflater, -1, 0), compress.ErrDamaged, "checksum"},
		{"deflater, more behind it", compress.Deflater, more(compress.Deflater), compress.ErrDamaged, "after its end"},
		{"zstd, empty", compress.Zstd, nil, compress.ErrDamaged, "zstd: "},
		{"zstd, a bomb", compress.Zstd, z(limit + 1), compress.ErrTooLarge, "8388609 bytes"},
		{"zstd, no size", compress.Zstd, streamed, compress.ErrDamaged, "does not say its size"},
		{"zstd, a size that so few bytes cannot have", compress.Zstd, endless(limit, 0), compress.ErrDamaged, "cannot come from"},
		{"zstd, longer than it says", compress.Zstd, endless(128<<10, 100), compress.ErrDamaged, ""},
		{"zstd, shorter than it says", compress.Zstd, endless(256<<10, 1), compress.ErrDamaged, ""},
		{"zstd, two frames", compress.Zstd, append(z(10), z(10)...), compress.ErrDamaged, ""},
		{"zstd, a second frame that boasts", compress.Zstd, append(z(10), endless(limit, 0)...), compress.ErrDamaged, ""},
		{"zstd, a frame to skip", compress.Zstd, []byte{0x50, 0x2a, 0x4d, 0x18, 1, 0, 0, 0, 7}, compress.ErrDamaged, "does not say its size"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := pool.Expand(nil, c.id, c.packed, limit)
			runtime.ReadMemStats(&after)
			require.ErrorIs(t, err, c.want)
			assert.ErrorContains(t, err, c.says)
			// What is refused for its size must not have cost it: the longest
			// body that is expanded here has 128 KiB, a compressor under 1 MiB.
			assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(2<<20))
		})
	}
}

// check expands foreign bytes: a typed error, or a body that is packed and
// expanded to itself.
func check(tb testing.TB, pool *compress.Pool, id byte, packed []byte, limit int) {
	body, err := pool.Expand(nil, id, packed, limit)
	if err != nil {
		for _, e := range []error{compress.ErrUnsupported, compress.ErrTooLarge, compress.ErrDamaged} {
			if errors.Is(err, e) {
				return
			}
		}
		tb.Fatalf("%s %x: untyped error %v", names[id], packed, err)
	}
	if len(body) > limit {
		tb.Fatalf("%s %x: %d bytes, more than %d", names[id], packed, len(body), limit)
	}
	again, err := pool.Append(nil, id, body)
	if err != nil {
		tb.Fatalf("%s %x expands to %x, which is not packed: %v", names[id], packed, body, err)
	}
	back, err := pool.Expand(nil, id, again, limit)
	if err != nil || !bytes.Equal(back, body) {
		tb.Fatalf("%s %x expands to %x, then to %x, %v", names[id], packed, body, back, err)
	}
}

// A truncated body keeps its frame's header, whose length is right: this is
// what a peer that stops half-way sends. Other damage is tried in package rpc.
func TestTruncatedBodies(t *testing.T) {
	var pool compress.Pool
	each(t, func(t *testing.T, id byte) {
		all, _ := loadPacked(t, id)
		few := 40
		if id == compress.Bzip2 {
			few = 6 // each decoding takes half a millisecond
		}
		for _, packed := range all[:min(len(all), few)] {
			if len(packed) > 4<<10 {
				continue // a decoding of each of its beginnings takes long
			}
			check(t, &pool, id, packed, limit)
			for n := range packed {
				_, err := pool.Expand(nil, id, packed[:n], limit)
				require.ErrorIs(t, err, compress.ErrDamaged)
			}
		}
	})
}

func FuzzExpand(f *testing.F) {
	for id := range names {
		all, _ := loadPacked(f, id)
		for _, packed := range all[:min(len(all), 6)] {
			f.Add(id, packed)
		}
	}
	f.Fuzz(func(t *testing.T, id byte, packed []byte) {
		var pool compress.Pool
		check(t, &pool, id, packed, 1<<20)
	})
}

func BenchmarkExpand(b *testing.B) {
	var pool compress.Pool
	for id, name := range names {
		all, _ := loadPacked(b, id)
		packed := all[0]
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			var buf []byte
			for b.Loop() {
				var err error
				if buf, err = pool.Expand(buf, id, packed, limit); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkAppend(b *testing.B) {
	var pool compress.Pool
	for id, name := range names {
		all, _ := loadPacked(b, id)
		body, err := pool.Expand(nil, id, all[0], limit)
		require.NoError(b, err)
		dst := make([]byte, 0, 1024)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := pool.Append(dst, id, body); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
