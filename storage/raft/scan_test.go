package raft

import (
	"bytes"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	hraft "github.com/hashicorp/raft"
	wal "github.com/hashicorp/raft-wal"
	walfs "github.com/hashicorp/raft-wal/fs"
	"github.com/hashicorp/raft-wal/segment"
	"github.com/hashicorp/raft-wal/types"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// contents are the files of a directory.
type contents map[string][]byte

func contentsOf(t *testing.T, dir string) contents {
	files := make(contents)
	require.NoError(t, filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		require.NoError(t, err)
		files[name], err = os.ReadFile(path)
		return err
	}))
	return files
}

// put makes dir hold these files and no others.
func (c contents) put(t *testing.T, dir string) {
	require.NoError(t, os.RemoveAll(dir))
	for name, content := range c {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
		require.NoError(t, os.WriteFile(path, content, 0o600))
	}
}

// with is c with one file changed.
func (c contents) with(name string, content []byte) contents {
	changed := maps.Clone(c)
	changed[name] = content
	return changed
}

func (c contents) names() []string { return slices.Sorted(maps.Keys(c)) }

// place is an append in a segment file.
type place struct {
	file       string
	start, end int64 // from the first entry frame to after the commit frame
	first      uint64
}

// appends lists the appends of the segments of a log, by segment.
func appends(t *testing.T, log string) (segments [][]place) {
	meta := &metaFile{}
	state, err := meta.Load(log)
	require.NoError(t, err)
	for _, info := range state.Segments {
		f, err := openSegment(log, info)
		require.NoError(t, err)
		var places []place
		for at := int64(0); ; at = f.batch.end {
			whole, err := f.readBatch(at)
			require.NoError(t, err)
			if !whole {
				break
			}
			places = append(places, place{f.name, max(at, segmentHeaderBytes), f.batch.end, f.batch.entries[0].index})
		}
		segments = append(segments, places)
		require.NoError(t, f.close())
	}
	return segments
}

// reopen scans a log, opens it and reads all its entries. It returns their data
// and what the scan said.
func reopen(t *testing.T, log string) (*wal.WAL, *chain, []string, string, error) {
	var said bytes.Buffer
	c := &chain{}
	meta := &metaFile{}
	if err := scanLog(log, meta, c, slog.New(slog.NewTextHandler(&said, nil))); err != nil {
		return nil, nil, nil, said.String(), err
	}
	w, err := wal.Open(log, wal.WithSegmentFiler(segment.NewFiler(log, walfs.New())), wal.WithMetaStore(meta), wal.WithSegmentSize(2048))
	require.NoError(t, err)
	t.Cleanup(func() { _ = w.Close() })
	last, err := w.LastIndex()
	require.NoError(t, err)
	require.Equal(t, c.end.index, last)
	var entries []string
	for index := uint64(1); index <= last; index++ {
		var log hraft.Log
		require.NoError(t, w.GetLog(index, &log))
		_, err := readSeal(&log)
		require.NoError(t, err)
		entries = append(entries, string(log.Data))
	}
	return w, c, entries, said.String(), nil
}

// sealedLog writes a log of appends of the given numbers of entries.
func sealedLog(t *testing.T, sizes ...int) (dir string, entries []string) {
	dir = t.TempDir()
	w, _, _, _, err := reopen(t, dir)
	require.NoError(t, err)
	sealed := &sealedLogs{LogStore: w}
	for _, size := range sizes {
		var logs []*hraft.Log
		for range size {
			entries = append(entries, fmt.Sprintf("entry %d %0*d", len(entries)+1, len(entries)%9, 0))
			logs = append(logs, &hraft.Log{Index: uint64(len(entries)), Term: 1, Data: []byte(entries[len(entries)-1])})
		}
		require.NoError(t, sealed.StoreLogs(logs))
	}
	require.NoError(t, w.Close())
	return dir, entries
}

// Wherever a crash tears the last append, all before it is there, itself it is
// there whole or not at all, and the log goes on. The disk may have written the
// beginning, the end or all but a part of it, over zeros or a shorter file.
func TestTornLastAppend(t *testing.T) {
	t.Parallel()
	dir, entries := sealedLog(t, 1, 2, 1, 3)
	const kept = 4
	last := appends(t, dir)[0][3]
	files := contentsOf(t, dir)
	before := files[last.file]
	for k := last.start; k <= last.end; k++ {
		for form, tear := range map[string]func([]byte) []byte{
			"beginning": func(b []byte) []byte { clear(b[k:]); return b },
			"end":       func(b []byte) []byte { clear(b[last.start:k]); return b },
			"shorter":   func(b []byte) []byte { return b[:k] },
			"hole":      func(b []byte) []byte { clear(b[k:min(k+16, last.end)]); return b },
		} {
			after := tear(bytes.Clone(before))
			files.with(last.file, after).put(t, dir)
			w, c, found, said, err := reopen(t, dir)
			require.NoError(t, err, "%s at %d", form, k)
			want, isWhole := entries[:kept], bytes.HasPrefix(after, before[:last.end])
			if isWhole {
				want = entries
			}
			require.Equal(t, want, found, "%s at %d", form, k)
			hasRest := len(bytes.Trim(after[last.start:], "\x00")) > 0
			require.Equal(t, !isWhole && hasRest, said != "", "%s at %d: %q", form, k, said)

			// A shorter append must not uncover what was cut.
			sealed := &sealedLogs{LogStore: w, lastIndex: c.end.index, last: c.end.checksum}
			require.NoError(t, sealed.StoreLog(&hraft.Log{Index: c.end.index + 1, Term: 2, Data: []byte("next")}))
			require.NoError(t, w.Close())
			w, _, again, said, err := reopen(t, dir)
			require.NoError(t, err)
			require.Equal(t, append(slices.Clip(want), "next"), again)
			require.Empty(t, said)
			require.NoError(t, w.Close())
		}
	}
}

// longLog is a log of several segments, and the place of its last append.
func longLog(t *testing.T) (dir string, entries []string, segments [][]place, last place) {
	sizes := make([]int, 60)
	for i := range sizes {
		sizes[i] = 1 + i%3
	}
	dir, entries = sealedLog(t, sizes...)
	segments = appends(t, dir)
	require.Greater(t, len(segments), 3)
	tail := segments[len(segments)-1]
	require.Greater(t, len(tail), 2)
	return dir, entries, segments, tail[len(tail)-1]
}

// A flipped bit is found, or does no harm, or is in the last append, which is
// cut off and reported. Never is an entry lost in silence, or changed.
func TestFlippedBitsInTheLog(t *testing.T) {
	t.Parallel()
	dir, entries, _, last := longLog(t)
	files := contentsOf(t, dir)
	random := rand.New(rand.NewPCG(4, 3))
	outcomes := make(map[string]int)
	flip := func(name string, at int) {
		flipped := bytes.Clone(files[name])
		flipped[at] ^= 1 << random.IntN(8)
		files.with(name, flipped).put(t, dir)
		w, _, found, said, err := reopen(t, dir)
		switch {
		case err != nil:
			require.ErrorIs(t, err, ErrDamaged, "%s, byte %d", name, at)
			outcomes["found"]++
			return
		case name == last.file && int64(at) >= last.start && int64(at) < last.end:
			require.Equal(t, entries[:last.first-1], found, "%s, byte %d", name, at)
			require.Contains(t, said, "was cut", "%s, byte %d", name, at)
			outcomes["cut"]++
		default:
			require.Equal(t, entries, found, "%s, byte %d", name, at)
			outcomes["harmless"]++
		}
		require.NoError(t, w.Close())
	}
	for _, name := range files.names() {
		for range 80 {
			flip(name, random.IntN(len(files[name])))
		}
	}
	for at := range segmentHeaderBytes {
		flip(last.file, at)
	}
	for at := last.start; at < last.end+frameHeaderBytes; at++ {
		flip(last.file, int(at))
	}
	t.Logf("%v", outcomes)
	require.GreaterOrEqual(t, int64(outcomes["cut"]), last.end-last.start)
	require.Greater(t, outcomes["found"], outcomes["harmless"])
}

// Damage that is no torn write stops the start, and the message names the place.
func TestScanNamesTheDamage(t *testing.T) {
	dir, _, segments, last := longLog(t)
	files := contentsOf(t, dir)
	tail := segments[len(segments)-1]
	sealed := segments[1]
	older, _ := sealedLog(t, 1)
	at := func(p place) string { return fmt.Sprintf("%s, offset %d, log entry %d", p.file, p.start, p.first) }
	inFile := func(name string, f func([]byte) []byte) contents {
		return files.with(name, f(bytes.Clone(files[name])))
	}
	zeros := func(from, to int64) func([]byte) []byte {
		return func(b []byte) []byte { clear(b[from:to]); return b }
	}
	without := func(name string) contents {
		rest := maps.Clone(files)
		delete(rest, name)
		return rest
	}
	beforeLast := tail[len(tail)-2]
	for name, c := range map[string]struct {
		files contents
		want  string
	}{
		"a hole in the tail":               {inFile(last.file, zeros(tail[0].start, tail[0].end)), "offset 0, log entry"},
		"a hole over a commit":             {inFile(last.file, zeros(beforeLast.end-16, beforeLast.end)), at(beforeLast)},
		"a hole before a torn append":      {inFile(last.file, func(b []byte) []byte { clear(b[last.end-8 : last.end]); b[beforeLast.start+9] ^= 4; return b }), at(beforeLast)},
		"a length that points elsewhere":   {inFile(last.file, func(b []byte) []byte { b[beforeLast.start+5] ^= 4; return b }), at(beforeLast)},
		"a hole in a full segment":         {inFile(sealed[2].file, zeros(sealed[2].start, sealed[2].end)), at(sealed[2])},
		"the last append of a full one":    {inFile(sealed[2].file, func(b []byte) []byte { b[sealed[len(sealed)-1].start+12] ^= 1; return b }), at(sealed[len(sealed)-1])},
		"a full segment cut short":         {inFile(sealed[2].file, func(b []byte) []byte { return b[:sealed[2].start] }), at(sealed[2])},
		"a full segment that is gone":      {without(sealed[0].file), fmt.Sprintf("log entries %d to", sealed[0].first)},
		"a segment in the place of others": {files.with(sealed[0].file, files[segments[0][0].file]), "header is that of another"},
		"no metadata":                      {without(metaName), "not in the log's metadata"},
		"metadata of an earlier time":      {files.with(metaName, contentsOf(t, older)[metaName]), "not in the log's metadata"},
		"a foreign segment":                {files.with("7.wal", nil), "no name of a segment"},
	} {
		t.Run(name, func(t *testing.T) {
			c.files.put(t, dir)
			_, _, _, _, err := reopen(t, dir)
			require.ErrorIs(t, err, ErrDamaged)
			assert.ErrorContains(t, err, c.want)
		})
	}
}

// Metadata whose checksum is right but that raft-wal cannot have written.
func TestScanChecksTheMetadata(t *testing.T) {
	dir, _, _, _ := longLog(t)
	files := contentsOf(t, dir)
	for name, spoil := range map[string]func(*types.PersistentState){
		"an id again":         func(s *types.PersistentState) { s.NextSegmentID-- },
		"a gap":               func(s *types.PersistentState) { s.Segments = slices.Delete(s.Segments, 1, 2) },
		"an end before":       func(s *types.PersistentState) { s.Segments[1].MaxIndex = 1 },
		"two tails":           func(s *types.PersistentState) { s.Segments[1].SealTime = time.Time{} },
		"no tail":             func(s *types.PersistentState) { s.Segments = s.Segments[:2] },
		"an index elsewhere":  func(s *types.PersistentState) { s.Segments[0].IndexStart += 8 },
		"a beginning outside": func(s *types.PersistentState) { s.Segments[0].MinIndex = 0 },
		"another form":        func(s *types.PersistentState) { s.Segments[0].Codec++ },
		"no segments":         func(s *types.PersistentState) { s.Segments = nil },
	} {
		t.Run(name, func(t *testing.T) {
			files.put(t, dir)
			meta := &metaFile{}
			state, err := meta.Load(dir)
			require.NoError(t, err)
			spoil(&state)
			require.NoError(t, meta.CommitState(state))
			_, _, _, _, err = reopen(t, dir)
			require.ErrorIs(t, err, ErrDamaged)
		})
	}
}

// A crash after the append that fills a segment and before the metadata says so.
func TestScanFinishesARotation(t *testing.T) {
	dir, entries, segments, _ := longLog(t)
	meta := &metaFile{}
	state, err := meta.Load(dir)
	require.NoError(t, err)
	require.NoError(t, os.Remove(filepath.Join(dir, segment.FileName(state.Segments[len(state.Segments)-1]))))
	state.Segments = state.Segments[:len(state.Segments)-1]
	state.NextSegmentID--
	tail := &state.Segments[len(state.Segments)-1]
	tail.SealTime, tail.IndexStart, tail.MaxIndex = time.Time{}, 0, 0
	require.NoError(t, meta.CommitState(state))
	want := entries[:segments[len(segments)-1][0].first-1]

	for range 2 {
		w, c, found, _, err := reopen(t, dir)
		require.NoError(t, err)
		require.Equal(t, want, found)
		sealed := &sealedLogs{LogStore: w, lastIndex: c.end.index, last: c.end.checksum}
		require.NoError(t, sealed.StoreLog(&hraft.Log{Index: c.end.index + 1, Term: 2, Data: []byte("next")}))
		want = append(slices.Clip(want), "next")
		require.NoError(t, w.Close())
	}
}

// Whatever stands in a frame is an entry or is not; what is taken for one is what
// raft-wal reads.
func FuzzReadEntry(f *testing.F) {
	log := hraft.Log{Index: 7, Term: 2, Data: []byte("data")}
	log.Extensions = sealOf(0, &log).bytes()
	var encoded bytes.Buffer
	require.NoError(f, (&wal.BinaryCodec{}).Encode(&log, &encoded))
	f.Add(encoded.Bytes())
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01})
	f.Fuzz(func(t *testing.T, payload []byte) {
		if entry := readEntry(0, payload); entry.bad == nil {
			var log hraft.Log
			_ = (&wal.BinaryCodec{}).Decode(payload, &log) // its time may be bad
			require.Equal(t, log.Index, entry.index)
		}
	})
}
