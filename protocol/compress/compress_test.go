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
	"sync"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/protocol/compress"
)

// limit is the cap of a connection: the longest frame.
const limit = 8 << 20

var names = map[byte]string{compress.Gzip: "gzip", compress.Zstd: "zstd"}

// each runs a test for each compressor that compresses.
func each(t *testing.T, test func(t *testing.T, id byte)) {
	for id, name := range names {
		t.Run(name, func(t *testing.T) { test(t, id) })
	}
}

// loadCaptured returns the bodies that Java packed.
func loadCaptured(tb testing.TB, id byte) [][]byte {
	tb.Helper()
	data, err := os.ReadFile("../testdata/seata-" + names[id] + ".jsonl")
	require.NoError(tb, err)
	var all [][]byte
	lines := bufio.NewScanner(bytes.NewReader(data))
	for lines.Scan() {
		var line struct {
			HeadLen    int    `json:"head_len"`
			Compressor byte   `json:"compressor"`
			Hex        string `json:"hex"`
		}
		require.NoError(tb, json.Unmarshal(lines.Bytes(), &line))
		if line.Compressor == compress.None {
			continue
		}
		require.Equal(tb, id, line.Compressor)
		frame, err := hex.DecodeString(line.Hex)
		require.NoError(tb, err)
		all = append(all, frame[line.HeadLen:])
	}
	require.NoError(tb, lines.Err())
	require.NotEmpty(tb, all)
	return all
}

func TestWhatIsPackedIsExpanded(t *testing.T) {
	var pool compress.Pool
	random := make([]byte, 70_000)
	for i := range random {
		random[i] = byte(i * i * i >> 5)
	}
	for _, id := range []byte{compress.None, compress.Gzip, compress.Zstd} {
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
		buf := make([]byte, 100)
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
	for id, name := range map[byte]string{2: "2 (zip)", 3: "3 (sevenz)", 4: "4 (bzip2)", 5: "5 (lz4)", 6: "6 (deflater)", 8: "8 (unknown)", 255: "255 (unknown)"} {
		dst, err := pool.Append([]byte("before"), id, []byte("body"))
		require.ErrorIs(t, err, compress.ErrUnsupported)
		assert.ErrorContains(t, err, name)
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
		for _, packed := range loadCaptured(t, id) {
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
		for _, packed := range loadCaptured(f, id)[:6] {
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
		packed := loadCaptured(b, id)[0]
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
		body, err := pool.Expand(nil, id, loadCaptured(b, id)[0], limit)
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
