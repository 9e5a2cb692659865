package raft

import (
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

func entry(t *testing.T, store hraft.LogStore, index uint64) *hraft.Log {
	var log hraft.Log
	require.NoError(t, store.GetLog(index, &log))
	return &log
}

func checksum(t *testing.T, store hraft.LogStore, index uint64) uint32 {
	s, err := readSeal(entry(t, store, index))
	require.NoError(t, err)
	return s.own
}

func TestCheckLogTakesWhatWasWritten(t *testing.T) {
	store, sealed := sealedStore(t, 9)
	end, err := checkLog(store, 0, mark{})
	require.NoError(t, err)
	assert.Equal(t, mark{9, checksum(t, store, 9)}, end)

	// Appending goes on from where a check ended, and after a tail was cut.
	again := &sealedLogs{LogStore: store, lastIndex: end.index, last: end.checksum}
	require.NoError(t, again.StoreLogs([]*hraft.Log{{Index: 10, Term: 4}, {Index: 11, Term: 4}}))
	require.NoError(t, store.DeleteRange(10, 11))
	require.NoError(t, sealed.StoreLog(&hraft.Log{Index: 10, Term: 5}))
	require.NoError(t, store.DeleteRange(1, 4))
	_, err = checkLog(store, 7, mark{7, checksum(t, store, 7)})
	require.NoError(t, err)
	_, err = checkLog(store, 4, mark{3, 0})
	require.NoError(t, err)
	_, err = checkLog(hraft.NewInmemStore(), 0, mark{})
	require.NoError(t, err)
}

func TestCheckLogNamesTheDamage(t *testing.T) {
	for name, c := range map[string]struct {
		damage        func(*testing.T, *hraft.InmemStore)
		snapshotIndex uint64
		last          mark
		want          string
	}{
		"a changed entry": {
			damage: func(t *testing.T, s *hraft.InmemStore) {
				log := entry(t, s, 5)
				log.Data = []byte("entry !")
				require.NoError(t, s.StoreLog(log))
			},
			want: "log entry 5",
		},
		"a changed term": {
			damage: func(t *testing.T, s *hraft.InmemStore) {
				log := entry(t, s, 6)
				log.Term++
				require.NoError(t, s.StoreLog(log))
			},
			want: "log entry 6",
		},
		"an entry of another log": {
			damage: func(t *testing.T, s *hraft.InmemStore) {
				log := entry(t, s, 5)
				log.Data = []byte("entry !")
				log.Extensions = sealOf(0, log).bytes()
				require.NoError(t, s.StoreLog(log))
			},
			want: "log entry 5 does not follow",
		},
		"an entry without checksum": {
			damage: func(t *testing.T, s *hraft.InmemStore) {
				require.NoError(t, s.StoreLog(&hraft.Log{Index: 10, Data: []byte("x")}))
			},
			want: "log entry 10 carries no checksum",
		},
		"a hole": {
			damage: func(t *testing.T, s *hraft.InmemStore) { require.NoError(t, s.DeleteRange(4, 4)) },
			want:   "log entry 4",
		},
		"a missing beginning": {
			damage: func(t *testing.T, s *hraft.InmemStore) { require.NoError(t, s.DeleteRange(1, 3)) },
			want:   "log entries 1 to 3 are missing",
		},
		"entries missing after the snapshot": {
			damage:        func(t *testing.T, s *hraft.InmemStore) { require.NoError(t, s.DeleteRange(1, 6)) },
			snapshotIndex: 4,
			want:          "log entries 5 to 6 are missing",
		},
		"a log older than the snapshot": {
			damage:        func(*testing.T, *hraft.InmemStore) {},
			snapshotIndex: 10,
			want:          "ends at entry 9, below the snapshot's 10",
		},
		"a snapshot of another log": {
			damage:        func(*testing.T, *hraft.InmemStore) {},
			snapshotIndex: 5,
			last:          mark{4, 0xbad},
			want:          "log entry 4 is not the one that the snapshot holds",
		},
	} {
		t.Run(name, func(t *testing.T) {
			store, _ := sealedStore(t, 9)
			c.damage(t, store)
			_, err := checkLog(store, c.snapshotIndex, c.last)
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
