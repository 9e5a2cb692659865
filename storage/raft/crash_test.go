package raft

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/protocol/xid"
	"github.com/qiao-tx/qiao/storage"
)

// victimDir names the environment variable that makes the test binary a victim.
const victimDir = "QIAO_TEST_VICTIM_DIR"

// victim applies batches from several goroutines until it is killed, and prints
// the id of each transaction of which begin and branch were acknowledged.
func victim(dir string) int {
	config := small(dir)
	config.SnapshotBytes = 32 << 10
	s, err := Open(config)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	last, err := s.LastID(context.Background())
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	var ids atomic.Int64
	ids.Store(last)
	var print sync.Mutex
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			for {
				id, branch := ids.Add(1), ids.Add(1)
				err := s.Apply(context.Background(), begin(id))
				if err == nil {
					err = s.Apply(context.Background(), register(id, 1, branch))
				}
				print.Lock()
				if err != nil {
					fmt.Fprintln(os.Stderr, err)
				} else {
					fmt.Println(id)
				}
				print.Unlock()
			}
		})
	}
	all.Wait()
	return 0
}

// kills is for longer runs: make kills KILLS=10000
var kills = flag.Int("kills", 200, "how often TestKilledProcessLosesNothingAcknowledged kills")

const (
	// killLanes kill at the same time, each on a directory of its own.
	killLanes = 4
	// killsPerDirectory bounds what there is to check after each.
	killsPerDirectory = 25
)

// Whatever a process acknowledged before kill -9 is there afterwards, whole:
// while it opens the store, appends, begins segments and takes snapshots.
func TestKilledProcessLosesNothingAcknowledged(t *testing.T) {
	for lane := range killLanes {
		t.Run(fmt.Sprint(lane), func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(9, uint64(lane)))
			all := 0
			for left := *kills / killLanes; left > 0; left -= killsPerDirectory {
				all += killOften(t, random, min(left, killsPerDirectory))
			}
			t.Logf("%d transactions acknowledged", all)
			require.NotZero(t, all)
		})
	}
}

// killOften kills victims on one directory, and returns how many transactions
// they acknowledged.
func killOften(t *testing.T, random *rand.Rand, cycles int) int {
	dir := t.TempDir()
	acknowledged := make(map[int64]bool)
	epoch := uint64(0)
	for cycle := range cycles {
		life := time.Duration(random.IntN(30_000)) * time.Microsecond
		fromStart := random.IntN(4) == 0
		for _, id := range runVictim(t, dir, life, fromStart) {
			require.False(t, acknowledged[id], "id %d was given twice", id)
			acknowledged[id] = true
		}
		s, err := Open(small(dir))
		require.NoError(t, err, "cycle %d, killed after %v", cycle, life)
		checkAcknowledged(t, s, acknowledged)
		require.Greater(t, s.Identity().Epoch, epoch)
		epoch = s.Identity().Epoch
		require.NoError(t, s.Close())
	}
	return len(acknowledged)
}

// runVictim kills a victim some time after it started, or after it first
// acknowledged something, and returns what it acknowledged.
func runVictim(t *testing.T, dir string, life time.Duration, fromStart bool) []int64 {
	command := exec.Command(os.Args[0])
	command.Env = append(os.Environ(), victimDir+"="+dir)
	command.Stderr = os.Stderr
	out, err := command.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, command.Start())
	kill := sync.OnceFunc(func() { time.AfterFunc(life, func() { _ = command.Process.Kill() }) })
	if fromStart {
		kill()
	}
	lines := bufio.NewReader(out)
	var ids []int64
	for {
		line, err := lines.ReadString('\n')
		if err == io.EOF {
			break // the last line may be torn: it was not read by anyone
		}
		require.NoError(t, err)
		var id int64
		_, err = fmt.Sscan(line, &id)
		require.NoError(t, err)
		ids = append(ids, id)
		kill()
	}
	require.Error(t, command.Wait(), "the victim ended by itself")
	return ids
}

func checkAcknowledged(t *testing.T, s *Store, acknowledged map[int64]bool) {
	ctx := context.Background()
	for id := range acknowledged {
		state, err := s.Load(ctx, xid.New("127.0.0.1:8091", id))
		require.NoError(t, err)
		require.Len(t, state.Branches, 1, "transaction %d", id)
	}
	locks := 0
	require.NoError(t, s.ScanLocks(ctx, func(row storage.RowKey, lock storage.Lock) bool {
		locks++
		state, err := s.Load(ctx, lock.XID)
		require.NoError(t, err)
		require.NotNil(t, state.Branch(lock.BranchID), "row %s is held by a branch that is not there", row)
		return true
	}))
	require.EqualValues(t, s.Stats().Branches, locks)
}
