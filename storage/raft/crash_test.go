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
	config.SnapshotBytes = 64 << 10
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

// kills is for longer runs: go test ./storage/raft -run Killed -args -kills 1000
var kills = flag.Int("kills", 20, "how often TestKilledProcessLosesNothingAcknowledged kills")

// Whatever a process acknowledged before kill -9 is there afterwards, whole.
func TestKilledProcessLosesNothingAcknowledged(t *testing.T) {
	dir := t.TempDir()
	acknowledged := make(map[int64]bool)
	for cycle := range *kills {
		life := time.Duration(rand.IntN(250)) * time.Millisecond
		for _, id := range runVictim(t, dir, life) {
			require.False(t, acknowledged[id], "id %d was given twice", id)
			acknowledged[id] = true
		}
		s, err := Open(small(dir))
		require.NoError(t, err, "cycle %d, killed after %v", cycle, life)
		checkAcknowledged(t, s, acknowledged)
		require.EqualValues(t, 2*cycle+2, s.Identity().Epoch)
		require.NoError(t, s.Close())
	}
	t.Logf("%d transactions acknowledged over %d kills", len(acknowledged), *kills)
	require.NotEmpty(t, acknowledged)
}

// runVictim kills a victim some time after it acknowledged something, and
// returns what it acknowledged.
func runVictim(t *testing.T, dir string, life time.Duration) []int64 {
	command := exec.Command(os.Args[0])
	command.Env = append(os.Environ(), victimDir+"="+dir)
	command.Stderr = os.Stderr
	out, err := command.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, command.Start())
	lines := bufio.NewReader(out)
	var ids []int64
	for killed := false; ; {
		line, err := lines.ReadString('\n')
		if err == io.EOF {
			break // the last line may be torn: it was not read by anyone
		}
		require.NoError(t, err)
		var id int64
		_, err = fmt.Sscan(line, &id)
		require.NoError(t, err)
		ids = append(ids, id)
		if !killed {
			killed = true
			time.AfterFunc(life, func() { _ = command.Process.Kill() })
		}
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
