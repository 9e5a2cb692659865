package javafile

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/storage"
	"github.com/qiao-tx/qiao/storage/memory"
)

var rewrite = flag.Bool("rewrite", false, "write testdata/*.txt anew")

const now = 1_800_000_000_000

// What a killed Java coordinator left (testdata/README.md) is what its clients were
// told. The text was compared with their story once, and must stay.
func TestGoldenStores(t *testing.T) {
	dirs, err := filepath.Glob("testdata/*/root.data")
	require.NoError(t, err)
	require.NotEmpty(t, dirs)
	for _, name := range dirs {
		dir := filepath.Dir(name)
		t.Run(filepath.Base(dir), func(t *testing.T) {
			store, report, err := Read(t.Context(), dir, Options{Now: now})
			require.NoError(t, err)
			require.False(t, report.Growing)
			got := describe(t, store, report)
			golden := dir + ".txt"
			if *rewrite {
				require.NoError(t, os.WriteFile(golden, []byte(got), 0o644))
			}
			want, err := os.ReadFile(golden)
			require.NoError(t, err)
			require.Equal(t, string(want), got)
		})
	}
}

// describe writes what is live, a line for each transaction and branch.
func describe(t *testing.T, store *memory.Store, r Report) string {
	t.Helper()
	var b strings.Builder
	for _, f := range r.Files {
		fmt.Fprintf(&b, "%s: %d records, torn at %d\n", filepath.Base(f.Name), f.Records, f.TornAt)
	}
	last, err := store.LastID(t.Context())
	require.NoError(t, err)
	fmt.Fprintf(&b, "ended %d, ignored %d, passed locks %d, inferred %d, parked %d, doubtful %d, locks %d, last id %d\n",
		r.Ended, r.Ignored, r.PassedLocks, r.InferredCommits, r.Parked, r.Doubtful, store.Stats().Locks, last)
	require.NoError(t, store.Scan(t.Context(), 0, func(s storage.State) bool {
		g := s.Global
		fmt.Fprintf(&b, "\n%s %s %s\n  %s, %s, time-out %d, due %s, evidence %q, revision %d\n", s.XID, g.Name, g.Status,
			g.ApplicationID, g.Group, g.TimeoutMillis, map[int64]string{now: "now", 0: "never", g.Deadline(): "at the time-out"}[g.DueAt], g.Evidence, s.Revision)
		for _, x := range s.Branches {
			fmt.Fprintf(&b, "  %d %s %s %s of %s, rows %.40q locked %v, data %s\n", x.ID, x.Type, x.Status, x.ResourceID, x.ClientID, x.LockKey, x.Locked, x.ApplicationData)
		}
		return true
	}))
	return b.String()
}

// global and branch make the bodies of records.
func global(op operation, id int64, status protocol.GlobalStatus) []byte {
	b := binary.BigEndian.AppendUint64(nil, uint64(id))
	b = binary.BigEndian.AppendUint32(b, 60_000)
	for _, text := range []string{"app", "group", "name"} {
		b = append(binary.BigEndian.AppendUint16(b, uint16(len(text))), text...)
	}
	b = long(long(b, x(id)), "")
	b = binary.BigEndian.AppendUint64(b, now-1000)
	return append(b, byte(status), byte(op))
}

func x(id int64) string { return fmt.Sprintf("10.0.0.1:8091:%d", id) }

func long(b []byte, text string) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(text))), text...)
}

func branch(op operation, id, transaction int64, lockKey string, status protocol.BranchStatus) []byte {
	b := binary.BigEndian.AppendUint64(nil, uint64(transaction))
	b = binary.BigEndian.AppendUint64(b, uint64(id))
	b = long(long(b, "db"), lockKey)
	b = append(binary.BigEndian.AppendUint16(b, 3), "c:1"...)
	b = long(long(b, fmt.Sprint("data ", status)), x(transaction))
	return append(b, byte(protocol.TypeAT), byte(status), 0, byte(op))
}

func framed(bodies ...[]byte) []byte {
	var b []byte
	for _, body := range bodies {
		b = append(binary.BigEndian.AppendUint32(b, uint32(len(body))), body...)
	}
	return b
}

// written is when the file of a test was last written to.
func written(name string) int64 {
	if strings.HasPrefix(name, late) {
		return now + 3_600_000
	}
	return now
}

// read reads a store with the contents of the history and of the current file, which
// was last written at o.Now.
func read(t *testing.T, history, current []byte, o Options) (*memory.Store, Report, error) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "8091")
	require.NoError(t, os.Mkdir(dir, 0o700))
	if history != nil {
		require.NoError(t, os.WriteFile(filepath.Join(dir, historyName), history, 0o600))
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, currentName), current, 0o600))
	if o.Now != 0 {
		require.NoError(t, os.Chtimes(filepath.Join(dir, currentName), time.Time{}, time.UnixMilli(o.Now)))
	}
	o.Now = now
	return Read(t.Context(), filepath.Dir(dir), o)
}

// What begins a test's name is how it is read.
const (
	late = "written to after the time-out: "
	park = "parked when doubtful: "
)

func TestReplay(t *testing.T) {
	const begin, registered = protocol.StatusBegin, protocol.BranchRegistered
	for _, c := range []struct {
		name             string
		history, current [][]byte
		want             string // per transaction: id status branches(id status locked)
		report           Report
	}{
		{"a transaction that ended", nil, [][]byte{global(addGlobal, 1, begin), branch(addBranch, 2, 1, "t:1", registered), global(updateGlobal, 1, protocol.StatusCommitted)}, "", Report{Ended: 1}},
		{"records after the end", nil, [][]byte{global(addGlobal, 1, begin), global(removeGlobal, 1, protocol.StatusRollbacked), branch(addBranch, 2, 1, "t:1", registered), global(updateGlobal, 1, begin)}, "", Report{Ended: 1}},
		{"a branch before its transaction", nil, [][]byte{branch(addBranch, 2, 1, "t:1", registered), global(addGlobal, 1, begin)}, "1 Begin 2 Registered true;", Report{Doubtful: 1}},
		{"a branch of nobody", nil, [][]byte{branch(addBranch, 2, 1, "t:1", registered), branch(removeBranch, 5, 4, "", registered)}, "", Report{Ignored: 2}},
		{"history goes first", [][]byte{global(addGlobal, 1, begin), branch(addBranch, 2, 1, "t:1", registered)}, [][]byte{branch(updateBranch, 2, 1, "t:1", protocol.BranchPhaseOneDone), global(updateGlobal, 1, protocol.StatusRollbackRetrying)}, "1 RollbackRetrying 2 PhaseOneDone true;", Report{}},
		{"what history tells twice", [][]byte{global(addGlobal, 1, begin), branch(addBranch, 2, 1, "t:1", registered), global(addGlobal, 1, begin), branch(addBranch, 2, 1, "t:1", registered)}, nil, "1 Begin 2 Registered true;", Report{Doubtful: 1}},
		{"a decided commit holds no rows", nil, [][]byte{global(addGlobal, 1, begin), branch(addBranch, 2, 1, "t:1", registered), global(updateGlobal, 1, protocol.StatusAsyncCommitting), global(addGlobal, 3, begin), branch(addBranch, 4, 3, "t:1", registered)}, "1 AsyncCommitting 2 Registered false;3 Begin 4 Registered true;", Report{}},
		{"a row that was let go and taken", nil, [][]byte{global(addGlobal, 1, begin), branch(addBranch, 2, 1, "t:1", registered), branch(addBranch, 3, 1, "t:1,2", registered), global(updateGlobal, 1, protocol.StatusRollbacking), global(addGlobal, 4, begin), branch(addBranch, 5, 4, "t:1", registered)}, "1 Rollbacking 2 Registered false 3 Registered false;4 Begin 5 Registered true;", Report{PassedLocks: 2, Doubtful: 1}},
		{"a branch that was rolled back", nil, [][]byte{global(addGlobal, 1, begin), branch(addBranch, 2, 1, "t:1", registered), branch(addBranch, 3, 1, "t:2", registered), global(updateGlobal, 1, protocol.StatusRollbacking), branch(removeBranch, 3, 1, "t:2", protocol.BranchPhaseTwoRollbacked)}, "1 Rollbacking 2 Registered true;", Report{}},
		{"a branch that became registered", nil, [][]byte{global(addGlobal, 1, begin), branch(addBranch, 2, 1, "", 0)}, "1 Begin 2 Registered false;", Report{Doubtful: 1}},
		{"a commit that is half done, without a record", nil, [][]byte{global(addGlobal, 1, begin), branch(addBranch, 2, 1, "t:1", registered), branch(addBranch, 3, 1, "t:2", registered), branch(removeBranch, 3, 1, "t:2", registered)}, "1 AsyncCommitting 2 Registered false;", Report{InferredCommits: 1}},
		{"a commit whose rows others were given, without a record", nil, [][]byte{global(addGlobal, 1, begin), branch(addBranch, 2, 1, "t:1", registered), global(addGlobal, 3, begin), branch(addBranch, 4, 3, "t:1", registered)}, "1 AsyncCommitting 2 Registered false;3 Begin 4 Registered true;", Report{InferredCommits: 1, PassedLocks: 1, Doubtful: 1}},
		{"all is done but its end", nil, [][]byte{global(addGlobal, 1, begin), branch(addBranch, 2, 1, "t:1", registered), branch(removeBranch, 2, 1, "t:1", registered)}, "", Report{Ended: 1}},
		{late + "half done", nil, [][]byte{global(addGlobal, 1, begin), branch(addBranch, 2, 1, "t:1", registered), branch(addBranch, 3, 1, "t:2", registered), branch(removeBranch, 3, 1, "t:2", registered)}, "1 RollbackFailed 2 Registered true;", Report{Parked: 1}},
		{park + "open", nil, [][]byte{global(addGlobal, 1, begin), branch(addBranch, 2, 1, "t:1", registered), global(addGlobal, 3, begin)}, "1 RollbackFailed 2 Registered true;3 Begin;", Report{Doubtful: 1}},
		{park + "open, of 2.0", nil, [][]byte{global(addGlobal, 1, begin), branch(addBranch, 2, 1, "t:1", registered), global(addGlobal, 3, protocol.StatusAsyncCommitting)}, "1 Begin 2 Registered true;3 AsyncCommitting;", Report{}},
		{"Java gave up", nil, [][]byte{global(addGlobal, 1, protocol.StatusRollbackRetryTimeout), branch(addBranch, 2, 1, "t:1", registered), global(addGlobal, 3, protocol.StatusCommitRetryTimeout), global(addGlobal, 4, protocol.StatusStopRollbackOrRollbackRetry)}, "1 RollbackFailed 2 Registered true;3 CommitFailed;4 StopRollbackOrRollbackRetry;", Report{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			history := framed(c.history...)
			if c.history == nil {
				history = nil
			}
			store, report, err := read(t, history, framed(c.current...), Options{ParkDoubtful: strings.HasPrefix(c.name, park), Now: written(c.name)})
			require.NoError(t, err)
			var got strings.Builder
			require.NoError(t, store.Scan(t.Context(), 0, func(s storage.State) bool {
				fmt.Fprintf(&got, "%d %s", s.Global.ID, s.Global.Status)
				for _, b := range s.Branches {
					fmt.Fprintf(&got, " %d %s %v", b.ID, b.Status, b.Locked)
					require.Contains(t, []string{"data " + b.Status.String(), "data Unknown"}, b.ApplicationData)
				}
				got.WriteByte(';')
				return true
			}))
			require.Equal(t, c.want, got.String())
			report.Files = nil
			require.Equal(t, c.report, report)
			last, err := store.LastID(t.Context())
			require.NoError(t, err)
			require.EqualValues(t, lastOf(append(c.history, c.current...)), last)
		})
	}
}

func lastOf(bodies [][]byte) (last uint64) {
	for _, b := range bodies {
		last = max(last, binary.BigEndian.Uint64(b))
		if operation(b[len(b)-1]) >= addBranch {
			last = max(last, binary.BigEndian.Uint64(b[8:]))
		}
	}
	return last
}

// Wherever a write was cut off, what was written before is there, and the place is told.
func TestTornEnd(t *testing.T) {
	first, second := framed(global(addGlobal, 1, protocol.StatusBegin)), framed(branch(addBranch, 2, 1, "t:1", protocol.BranchRegistered))
	for n := range len(second) {
		store, report, err := read(t, nil, append(bytes.Clone(first), second[:n]...), Options{})
		require.NoError(t, err, "%d bytes", n)
		require.EqualValues(t, 1, store.Stats().Globals)
		require.EqualValues(t, n, report.Files[0].TornBytes)
		if n > 0 {
			require.EqualValues(t, len(first), report.Files[0].TornAt)
		}
	}
	_, report, err := read(t, nil, append(bytes.Clone(first), make([]byte, 4096)...), Options{})
	require.NoError(t, err)
	require.EqualValues(t, 4096, report.Files[0].TornBytes, "zeros that a crash of the machine leaves")
}

func TestDamage(t *testing.T) {
	good := global(addGlobal, 1, protocol.StatusBegin)
	badOperation, badStatus, badType := bytes.Clone(good), bytes.Clone(good), branch(addBranch, 2, 1, "", 1)
	badOperation[len(good)-1] = 9
	badStatus[len(good)-2] = 77
	badType[len(badType)-4] = 200
	for name, body := range map[string][]byte{
		"operation": badOperation, "status": badStatus, "branch type": badType, "ends too early": append(good[:20:20], 1),
		"left over": append(append(bytes.Clone(good[:len(good)-1]), "xyz"...), 1), "lock key": branch(addBranch, 2, 1, "\x1f\x8bxxxxxxxxxxxxx", 1),
	} {
		t.Run(name, func(t *testing.T) {
			file := framed(good, body, global(addGlobal, 3, protocol.StatusBegin))
			_, _, err := read(t, nil, file, Options{})
			require.ErrorIs(t, err, ErrDamaged)
			require.ErrorContains(t, err, name)
			require.ErrorContains(t, err, fmt.Sprint("offset ", len(framed(good))))
			store, report, err := read(t, nil, file, Options{SkipDamaged: true})
			require.NoError(t, err)
			require.EqualValues(t, 2, store.Stats().Globals)
			require.Len(t, report.Files[0].Damaged, 1)
		})
	}
	for name, file := range map[string][]byte{
		"length": append(framed(good), 0xff, 0xff, 0xff, 0xff, 1, 2, 3),
		"zeros":  append(append(framed(good), 0, 0, 0, 0), framed(good)...),
		"far":    append(append(framed(good), 0x03, 0xff, 0xff, 0xff), make([]byte, 2<<20)...),
	} {
		_, _, err := read(t, nil, file, Options{SkipDamaged: true})
		require.ErrorIs(t, err, ErrDamaged, name)
		require.ErrorContains(t, err, fmt.Sprint("offset ", len(framed(good))))
	}
	_, _, err := read(t, nil, framed(branch(addBranch, 2, 1, "t", 1), good), Options{})
	require.ErrorIs(t, err, ErrDamaged, "a lock key without a table")
	other := bytes.Replace(good, []byte(x(1)), []byte(x(7)), 1)
	_, _, err = read(t, nil, framed(other), Options{})
	require.ErrorIs(t, err, ErrDamaged, "an XID of another transaction")
}

// A few kilobytes must not become all the memory there is.
func TestLockKeyIsCapped(t *testing.T) {
	var zip bytes.Buffer
	w := gzip.NewWriter(&zip)
	_, err := w.Write(bytes.Repeat([]byte("t:1;"), 1000))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	text := long(nil, zip.String())
	for limit, fits := range map[int]bool{4000: true, 3999: false} {
		d := &decoder{data: text, lockKeyCap: limit}
		got := d.lockKey()
		if fits {
			require.NoError(t, d.err)
			require.Len(t, got, 4000)
		} else {
			require.ErrorIs(t, d.err, ErrDamaged)
			require.ErrorContains(t, d.err, "more than 3999 bytes")
		}
	}
}

func TestWhereThereIsNoStore(t *testing.T) {
	dir := t.TempDir()
	_, _, err := Read(t.Context(), dir, Options{})
	require.ErrorIs(t, err, ErrNoStore)
	for _, port := range []string{"8091", "8092"} {
		require.NoError(t, os.Mkdir(filepath.Join(dir, port), 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(dir, port, currentName), nil, 0o600))
	}
	_, _, err = Read(t.Context(), dir, Options{})
	require.ErrorIs(t, err, ErrNoStore)
	require.ErrorContains(t, err, "name one")
}

// Whatever is in a file, it is read or refused.
func FuzzFrames(f *testing.F) {
	golden, err := filepath.Glob("testdata/*/root.data")
	require.NoError(f, err)
	for _, name := range golden {
		content, err := os.ReadFile(name)
		require.NoError(f, err)
		f.Add(content[:min(len(content), 4096)])
	}
	f.Add(framed(global(addGlobal, 1, protocol.StatusBegin), branch(addBranch, 2, 1, "t:1", 1), global(removeGlobal, 1, 1)))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, skip := range []bool{false, true} {
			p := newReplay()
			file := File{Name: "fuzz"}
			if err := file.frames(bytes.NewReader(data), int64(len(data)), skip, p.record); err != nil {
				require.ErrorIs(t, err, ErrDamaged)
			}
			p.finish()
			if _, err := p.lock(); err != nil {
				require.ErrorIs(t, err, ErrDamaged)
				continue
			}
			if _, err := p.store(t.Context(), now); err != nil {
				require.ErrorIs(t, err, ErrDamaged)
			}
		}
	})
}
