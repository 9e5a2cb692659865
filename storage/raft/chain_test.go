package raft

import (
	"bytes"
	"fmt"
	"testing"

	hraft "github.com/hashicorp/raft"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// sealedStore is a log in memory with the sealed entries 1 to n.
func sealedStore(t *testing.T, n uint64) (*hraft.InmemStore, *sealedLogs) {
	store := hraft.NewInmemStore()
	sealed := &sealedLogs{LogStore: store}
	for i := uint64(1); i <= n; i++ {
		require.NoError(t, sealed.StoreLog(&hraft.Log{Index: i, Term: 1 + i/4, Data: fmt.Appendf(nil, "entry %d", i)}))
	}
	return store, sealed
}

// entry reads one entry of a log, with bytes of its own.
func entry(t *testing.T, store hraft.LogStore, index uint64) *hraft.Log {
	var log hraft.Log
	require.NoError(t, store.GetLog(index, &log))
	log.Data = bytes.Clone(log.Data)
	return &log
}

func checksum(t *testing.T, store hraft.LogStore, index uint64) uint32 {
	s, err := readSeal(entry(t, store, index))
	require.NoError(t, err)
	return s.own
}

// checkLog puts the whole of a log into a chain.
func checkLog(t *testing.T, store *hraft.InmemStore, snapshotIndex uint64, last mark) (mark, error) {
	c := &chain{snapshotIndex: snapshotIndex, held: last}
	first, err := store.FirstIndex()
	require.NoError(t, err)
	end, err := store.LastIndex()
	require.NoError(t, err)
	for index := first; index <= end; index++ {
		var log hraft.Log
		if store.GetLog(index, &log) != nil {
			continue
		}
		s, err := readSeal(&log)
		if err != nil {
			return mark{}, err
		}
		if err := c.next(index, s); err != nil {
			return mark{}, err
		}
	}
	return c.end, c.check()
}

func TestChainTakesWhatWasWritten(t *testing.T) {
	store, sealed := sealedStore(t, 9)
	end, err := checkLog(t, store, 0, mark{})
	require.NoError(t, err)
	assert.Equal(t, mark{9, checksum(t, store, 9)}, end)

	// Appending goes on from where a check ended, and after a tail was cut.
	again := &sealedLogs{LogStore: store, lastIndex: end.index, last: end.checksum}
	require.NoError(t, again.StoreLogs([]*hraft.Log{{Index: 10, Term: 4}, {Index: 11, Term: 4}}))
	require.NoError(t, store.DeleteRange(10, 11))
	require.NoError(t, sealed.StoreLog(&hraft.Log{Index: 10, Term: 5}))
	require.NoError(t, store.DeleteRange(1, 4))
	_, err = checkLog(t, store, 7, mark{7, checksum(t, store, 7)})
	require.NoError(t, err)
	_, err = checkLog(t, store, 4, mark{3, 0})
	require.NoError(t, err)
	_, err = checkLog(t, hraft.NewInmemStore(), 0, mark{})
	require.NoError(t, err)
}

// rewrite changes one entry of a log.
func rewrite(index uint64, change func(*hraft.Log)) func(*testing.T, hraft.LogStore) {
	return func(t *testing.T, store hraft.LogStore) {
		log := entry(t, store, index)
		change(log)
		require.NoError(t, store.StoreLog(log))
	}
}

func remove(from, to uint64) func(*testing.T, hraft.LogStore) {
	return func(t *testing.T, store hraft.LogStore) { require.NoError(t, store.DeleteRange(from, to)) }
}

func nothing(*testing.T, hraft.LogStore) {}

func TestChainNamesTheDamage(t *testing.T) {
	for name, c := range map[string]struct {
		damage        func(*testing.T, hraft.LogStore)
		snapshotIndex uint64
		last          mark
		want          string
	}{
		"a changed entry": {
			damage: rewrite(5, func(log *hraft.Log) { log.Data[0] ^= 1 }),
			want:   "checksum of log entry 5",
		},
		"a changed term": {
			damage: rewrite(6, func(log *hraft.Log) { log.Term++ }),
			want:   "checksum of log entry 6",
		},
		"an entry of another log": {
			damage: rewrite(5, func(log *hraft.Log) { log.Extensions = sealOf(0, log).bytes() }),
			want:   "log entry 5 does not follow",
		},
		"an entry without checksum": {
			damage: rewrite(9, func(log *hraft.Log) { log.Extensions = nil }),
			want:   "log entry 9 carries no checksum",
		},
		"a hole":              {damage: remove(4, 4), want: "log entry 4"},
		"a missing beginning": {damage: remove(1, 3), want: "log entries 1 to 3 are missing"},
		"entries missing after the snapshot": {
			damage:        remove(1, 6),
			snapshotIndex: 4,
			want:          "log entries 5 to 6 are missing",
		},
		"a log older than the snapshot": {
			damage:        nothing,
			snapshotIndex: 10,
			want:          "ends at entry 9, below the snapshot's 10",
		},
		"a snapshot of another log": {
			damage:        nothing,
			snapshotIndex: 5,
			last:          mark{4, 0xbad},
			want:          "log entry 4 is not the one that the snapshot holds",
		},
	} {
		t.Run(name, func(t *testing.T) {
			store, _ := sealedStore(t, 9)
			c.damage(t, store)
			_, err := checkLog(t, store, c.snapshotIndex, c.last)
			require.ErrorIs(t, err, ErrDamaged)
			assert.ErrorContains(t, err, c.want)
		})
	}
}

// The state machine looks at each entry's checksum too, and does nothing more
// once one was wrong.
func TestMachineRefusesDamagedEntries(t *testing.T) {
	good := func(index uint64, id int64) *hraft.Log {
		log := &hraft.Log{Index: index, Data: encoded(begin(id))}
		log.Extensions = sealOf(0, log).bytes()
		return log
	}
	for name, bad := range map[string]*hraft.Log{
		"no checksum":   {Index: 2, Data: encoded(begin(2))},
		"other content": func() *hraft.Log { l := good(2, 2); l.Data = encoded(begin(3)); return l }(),
		"no entry":      func() *hraft.Log { l := &hraft.Log{Index: 2}; l.Extensions = sealOf(0, l).bytes(); return l }(),
		"a torn batch": func() *hraft.Log {
			l := good(2, 2)
			l.Data = l.Data[:len(l.Data)-1]
			l.Extensions = sealOf(0, l).bytes()
			return l
		}(),
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine()
			require.Equal(t, []error{nil}, m.Apply(good(1, 1)))
			require.Error(t, m.Apply(bad).(error))
			require.Error(t, m.latch.err())
			assert.ErrorContains(t, m.latch.err(), "log entry 2")
			require.Error(t, m.Apply(good(3, 3)).(error))
			require.EqualValues(t, 1, m.state.Stats().Globals)
		})
	}
}
