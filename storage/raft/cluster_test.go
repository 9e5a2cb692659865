package raft

import (
	"context"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	hraft "github.com/hashicorp/raft"
	"github.com/hashicorp/raft-wal/types"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/storage"
	"github.com/qiao-tx/qiao/storage/storetest"
)

func TestClusterConformance(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) storetest.Factory {
		c := newTestCluster(t, func(config *Config) { config.Cluster.ElectionTimeout = testElection })
		return storetest.Factory{Durable: true, Open: func(*testing.T) storage.Store {
			c.open()
			return &clusterStore{cluster: c}
		}}
	})
}

// Followers have what the leader has, and refuse with its name.
func TestFollowersFollow(t *testing.T) {
	t.Parallel()
	c := newTestCluster(t, nil)
	c.open()
	leader, leads := c.lead()
	ctx := context.Background()
	for _, b := range transactions(1, 50) {
		require.NoError(t, leads.Apply(ctx, b))
	}
	require.NoError(t, leads.Apply(ctx, register(1, 1, 100)))
	c.agree()
	workers := map[int]bool{}
	for _, n := range c.nodes {
		workers[n.store.Identity().WorkerID] = true
	}
	require.Len(t, workers, 3)
	for _, n := range c.others(leader) {
		_, loadErr := n.store.Load(ctx, begin(1).XID)
		for _, err := range []error{
			n.store.Apply(ctx, begin(2000)), loadErr, n.store.CheckLocks(ctx, "", nil),
			n.store.Scan(ctx, 0, func(storage.State) bool { return true }),
		} {
			var not *NotLeader
			require.ErrorAs(t, err, &not)
			require.Equal(t, leader.name, not.Leader.Name)
			require.ErrorIs(t, err, storage.ErrUnavailable)
		}
		role, ok := n.store.Role()
		require.True(t, ok)
		require.Equal(t, leader.name, role.Leader)
	}
}

// The lead passes on when a leader ends, and comes back to a leadership of another
// term: the first one stays over.
func TestLeadershipIsOfOneTerm(t *testing.T) {
	t.Parallel()
	c := newTestCluster(t, nil)
	c.open()
	leader, first := c.lead()
	ctx := context.Background()
	require.NoError(t, first.Apply(ctx, begin(1)))
	c.cutOff(leader.name)
	_, second := c.lead(leader.name)
	require.Greater(t, second.Term(), first.Term())
	require.NoError(t, second.Apply(ctx, begin(2)))
	<-first.Ended()
	c.heal()
	for _, n := range c.others(leader) {
		require.NoError(t, n.close())
		c.lead()
		n.open()
	}
	for range 3 { // whoever leads now: the first leadership must not act
		require.ErrorIs(t, first.Apply(ctx, begin(3)), storage.ErrUnavailable)
		_, err := first.Load(ctx, begin(1).XID)
		require.ErrorIs(t, err, storage.ErrUnavailable)
		c.apply(begin(10))
	}
	c.agree()
}

// A leader that resigns knows the next one when it is told that it has, so that it can
// pass on what its clients still ask.
func TestALeaderThatResignsHearsOfTheNext(t *testing.T) {
	t.Parallel()
	c := newTestCluster(t, nil)
	c.open()
	leader, first := c.lead()
	require.NoError(t, first.Apply(context.Background(), begin(1)))
	require.NoError(t, leader.store.Resign(t.Context()))
	next, _ := leader.store.Leader()
	require.NotEmpty(t, next.Name)
	require.NotEqual(t, leader.name, next.Name)
	c.apply(begin(2))
	c.agree()
}

// A batch that was decided in one term is not applied in another.
func TestEntryOfAnotherTermIsNotApplied(t *testing.T) {
	m := newMachine()
	log := sealedEntry(1, 7, encodedFor(6, begin(1)))
	require.Equal(t, otherTerm{}, m.Apply(log))
	require.Zero(t, m.state.Stats().Globals)
	require.Equal(t, []error{nil}, m.Apply(sealedEntry(2, 7, encodedFor(7, begin(1)))))
	require.EqualValues(t, 1, m.state.Stats().Globals)
}

// A leader without the others cannot act: what it proposes stays open, and the
// caller is told so.
func TestLeaderWithoutMajority(t *testing.T) {
	t.Parallel()
	c := newTestCluster(t, nil)
	c.open()
	leader, leads := c.lead()
	ctx := context.Background()
	require.NoError(t, leads.Apply(ctx, begin(1)))
	c.cutOff(leader.name)
	err := leads.Apply(ctx, begin(2))
	require.Error(t, err)
	require.NotErrorIs(t, err, storage.ErrUnavailable, "the entry may still be committed")
	require.Eventually(t, func() bool { return leads.Check() != nil }, clusterPatience, time.Millisecond)
	c.apply(begin(3), leader.name)
	c.heal()
	c.agree()
	requireAll(t, leader.store, 3, 3)
}

// A follower comes back: with the log alone, or from a snapshot when the leader's log
// has been cut meanwhile.
func TestFollowerCatchesUp(t *testing.T) {
	for _, test := range []struct {
		name      string
		snapshots int
	}{
		{"by log", 0}, {"by log after a snapshot", 1}, {"by snapshot", 3},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := newTestCluster(t, nil)
			c.open()
			leader, leads := c.lead()
			ctx := context.Background()
			require.NoError(t, leads.Apply(ctx, begin(1)))
			c.agree()
			away := c.others(leader)[0]
			require.NoError(t, away.close())
			id := int64(1)
			more := func() {
				for range 300 {
					id++
					require.NoError(t, leads.Apply(ctx, begin(id)))
				}
			}
			more()
			for range test.snapshots {
				require.NoError(t, leader.store.raft.Snapshot().Error())
				more()
			}
			away.open()
			c.catchUp(away, leader)
			requireAll(t, away.store, 1, id)
			installed, err := away.store.log.Get(installedKey)
			require.NoError(t, err)
			assert.Equal(t, test.snapshots == 3, len(installed) > 0, "whether a snapshot came")
			// It stands on its own feet now.
			require.NoError(t, away.close())
			away.open()
			require.NoError(t, c.others(leader)[1].close())
			require.NoError(t, leads.Apply(ctx, begin(id+1)))
			c.catchUp(away, leader)
			requireAll(t, away.store, 1, id+1)
		})
	}
}

// copies keeps a node's directory as it is before and after each change of the
// log's metadata, which is where a log is cut: what a crash could leave.
type copies struct {
	types.MetaStore
	t     *testing.T
	dir   string
	mu    *sync.Mutex // Raft writes its term from several goroutines
	taken *[]contents
	on    *bool
}

func (m copies) CommitState(state types.PersistentState) error {
	m.take()
	err := m.MetaStore.CommitState(state)
	m.take()
	return err
}

func (m copies) SetStable(key, value []byte) error {
	m.take()
	err := m.MetaStore.SetStable(key, value)
	m.take()
	return err
}

func (m copies) take() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if *m.on {
		*m.taken = append(*m.taken, contentsOf(m.t, m.dir))
	}
}

// A node that crashes while its log is cut, because it contradicts the leader's or
// because a snapshot replaces it, is as good as new after the next start.
func TestCrashWhileTheLogIsReplaced(t *testing.T) {
	for _, test := range []struct {
		name     string
		snapshot bool
	}{{"by the leader's entries", false}, {"by the leader's snapshot", true}} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var taken []contents
			on := false
			c := newTestCluster(t, nil)
			c.open()
			leader, leads := c.lead()
			ctx := context.Background()
			for _, b := range transactions(1, 20) {
				require.NoError(t, leads.Apply(ctx, b))
			}
			// The leader is cut off with entries that nobody else has.
			c.cutOff(leader.name)
			for id := int64(101); leads.Apply(ctx, begin(id)) == nil; id++ {
				t.Fatal("a leader that is cut off has acknowledged something")
			}
			require.NoError(t, leader.close())
			for _, b := range transactions(21, 400) {
				c.apply(b)
			}
			if next, _ := c.lead(); test.snapshot {
				for range 3 {
					require.NoError(t, next.store.raft.Snapshot().Error())
					for _, b := range transactions(401, 420) {
						c.apply(b)
					}
				}
			}
			last, _ := c.lead()
			leader.config.wrapMeta = func(meta types.MetaStore) types.MetaStore {
				return copies{meta, t, leader.config.Dir, new(sync.Mutex), &taken, &on}
			}
			on = true
			c.heal()
			leader.open()
			c.catchUp(leader, last)
			require.NoError(t, leader.close())
			on = false
			require.Greater(t, len(taken), 4)
			leader.config.wrapMeta = nil
			for _, files := range taken {
				files.put(t, leader.config.Dir)
				leader.open()
				c.catchUp(leader, last)
				requireAll(t, leader.store, 1, 400)
				require.NoError(t, leader.store.Err())
				require.NoError(t, leader.close())
			}
			leader.open()
			c.agree()
		})
	}
}

// A node that lost its disk has forgotten what it acknowledged. It must not help a
// node to the lead that lacks the same.
func TestNewDirectoryDoesNotVoteAwayHistory(t *testing.T) {
	t.Parallel()
	c := newTestCluster(t, nil)
	c.open()
	leader, leads := c.lead()
	ctx := context.Background()
	behind, lost := c.others(leader)[0], c.others(leader)[1]
	require.NoError(t, leads.Apply(ctx, begin(1)))
	c.agree()
	require.NoError(t, behind.close())
	require.NoError(t, leads.Apply(ctx, begin(2))) // on the leader and lost
	require.NoError(t, leader.close())
	require.NoError(t, lost.close())
	contents{}.put(t, lost.config.Dir)
	behind.open()
	lost.open()
	short, cancel := context.WithTimeout(ctx, 6*testElection)
	defer cancel()
	_, err := behind.store.Lead(short)
	require.ErrorIs(t, err, context.DeadlineExceeded, "a node that lacks a transaction leads")
	leader.open()
	c.agree()
	for _, n := range c.nodes {
		requireAll(t, n.store, 1, 2)
	}
	require.NoError(t, leader.close())
	c.apply(begin(3)) // the node with the new directory has joined
}

// Nor must it ask for votes itself while a leader has filled it in part: who grants
// them may lack the same.
func TestNewDirectoryAsksForNoVotes(t *testing.T) {
	t.Parallel()
	c := newTestCluster(t, nil)
	c.open()
	leader, leads := c.lead()
	ctx := context.Background()
	require.NoError(t, leads.Apply(ctx, begin(1)))
	c.agree()
	behind, filled := c.others(leader)[0], c.others(leader)[1]
	require.NoError(t, filled.close())
	// As it is when a leader has died while it filled the node: a log, and no note.
	require.NoError(t, behind.close())
	require.NoError(t, leader.close())
	filled.open()
	filled.store.guard.joined.Store(false)
	behind.open()
	behind.store.guard.joined.Store(false)
	short, cancel := context.WithTimeout(ctx, 6*testElection)
	defer cancel()
	for _, n := range []*testNode{filled, behind} {
		_, err := n.store.Lead(short)
		require.ErrorIs(t, err, context.DeadlineExceeded, "node %s", n.name)
	}
	behind.store.guard.joined.Store(true) // one that has everything may be elected by
	leader.open()                         // another one that has
	c.agree()
}

func TestDirectoryOfAnotherNode(t *testing.T) {
	members := []Member{{"a", "127.0.0.1:1"}, {"b", "127.0.0.1:2"}, {"c", "127.0.0.1:3"}}
	config := memberConfig(t.TempDir(), "a", members)
	open(t, config)
	refuses := func(c Config, texts ...string) {
		t.Helper()
		_, err := Open(c)
		for _, text := range texts {
			require.ErrorContains(t, err, text)
		}
	}
	refuses(config, "is in use")
	other := config
	for _, change := range []struct {
		cluster *Cluster
		err     string
	}{
		{&Cluster{Name: "test", Self: "b", Members: members}, "it is that of node a of cluster test, and this is node b of cluster test"},
		{&Cluster{Name: "prod", Self: "a", Members: members}, "and this is node a of cluster prod"},
		{nil, "it is that of node a of cluster test; configure the cluster"},
		{&Cluster{Name: "test", Self: "a", Members: []Member{{"a", "127.0.0.1:1"}, {"b", "127.0.0.1:2"}, {"d", "127.0.0.1:3"}}},
			"was begun with the nodes a=127.0.0.1:1,b=127.0.0.1:2,c=127.0.0.1:3"},
	} {
		s, err := Open(config)
		if err == nil {
			require.NoError(t, s.Close())
		}
		other.Cluster = change.cluster
		other.Dir = t.TempDir()
		contentsOf(t, config.Dir).put(t, other.Dir)
		refuses(other, change.err)
	}
	alone := small(t.TempDir())
	require.NoError(t, open(t, alone).Close())
	alone.Cluster = config.Cluster
	_, err := Open(alone)
	require.ErrorIs(t, err, ErrOtherNode)
	require.ErrorContains(t, err, "a node alone")
}

func TestClusterConfigurations(t *testing.T) {
	three := []Member{{"a", "127.0.0.1:1"}, {"b", "127.0.0.1:2"}, {"c", "127.0.0.1:3"}}
	for err, c := range map[string]Cluster{
		"want 3, 5 or 7":                  {Name: "x", Self: "a", Members: three[:2]},
		"the cluster's name \"x y\"":      {Name: "x y", Self: "a", Members: three},
		"two nodes of the cluster":        {Name: "x", Self: "a", Members: []Member{three[0], three[1], {"a", "127.0.0.1:9"}}},
		"have one address":                {Name: "x", Self: "a", Members: []Member{three[0], three[1], {"c", "127.0.0.1:2"}}},
		"want host:port":                  {Name: "x", Self: "a", Members: []Member{three[0], three[1], {"c", "here"}}},
		"this node, \"d\", is not one of": {Name: "x", Self: "d", Members: three},
		"the node's name \"\"":            {Name: "x", Self: "a", Members: []Member{three[0], three[1], {"", "127.0.0.1:9"}}},
		"shorter than":                    {Name: "x", Self: "a", Members: three, ElectionTimeout: time.Millisecond},
	} {
		_, got := Open(Config{Dir: t.TempDir(), Cluster: &c})
		require.ErrorContains(t, got, err)
	}
}

// What calls a node and is none of its others is told why it is refused.
func TestStrangersAreRefused(t *testing.T) {
	c := newTestCluster(t, nil)
	c.open()
	of := c.nodes[0].store.cluster
	hasty := *of // its lease would end after its promises
	hasty.ElectionTimeout /= 2
	for line, want := range map[string]string{
		"qiao-raft 1 test " + of.digest() + " b a":    welcome,
		"qiao-raft 2 test " + of.digest() + " b a":    "speaks version \"2\"",
		"qiao-raft 1 prod " + of.digest() + " b a":    "belongs to cluster \"prod\", this node to \"test\"",
		"qiao-raft 1 test " + of.digest() + " b c":    "wants node \"c\", and this is a",
		"qiao-raft 1 test " + of.digest() + " d a":    "none of the others",
		"qiao-raft 1 test " + of.digest() + " a a":    "none of the others",
		"qiao-raft 1 test 00000000 b a":               "another list of nodes",
		"qiao-raft 1 test " + hasty.digest() + " b a": "another election time-out",
		"qiao-raft 1": "speaks version",
		"qiao-":       "the connection begins with",
		"qiao-raft 1 " + strings.Repeat("x", 2_000): "",
	} {
		ours, theirs := net.Pipe()
		served := make(chan error, 1)
		go func() { served <- c.nodes[0].store.Serve(theirs) }()
		answered := make(chan string, 1)
		go func() {
			answer, _ := readLine(ours)
			answered <- answer
		}()
		_, _ = ours.Write([]byte(line + "\n"))
		if want == "" {
			require.Error(t, <-served)
		} else {
			require.Contains(t, <-answered, want, line)
			if err := <-served; want == welcome {
				require.NoError(t, err, line)
			}
		}
		require.NoError(t, ours.Close())
	}
	refusal := func() error {
		ours, theirs := net.Pipe()
		defer ours.Close()
		go func() {
			_, _ = ours.Write([]byte("qiao-raft 1 prod " + of.digest() + " b a\n"))
			_, _ = readLine(ours)
		}()
		return c.nodes[0].store.Serve(theirs)
	}
	require.Error(t, refusal())
	require.NoError(t, refusal(), "what was just told is not told again")
	alone := open(t, small(t.TempDir()))
	ours, theirs := net.Pipe()
	go func() { _ = alone.Serve(theirs) }()
	answer, err := readLine(ours)
	require.NoError(t, err)
	require.Contains(t, answer, "no node of a cluster")
	require.NoError(t, ours.Close())
}

// The lease counts from when a proof was asked for, needs a majority, and dies with
// its term.
func TestLease(t *testing.T) {
	c := newContacts(4)
	start := time.Now()
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	require.True(t, c.majority(1).IsZero())
	c.heard("b", 1, at(10))
	require.True(t, c.majority(1).IsZero(), "two of five")
	c.heard("c", 1, at(30))
	require.Equal(t, at(10), c.majority(1))
	c.heard("b", 1, at(5)) // an answer that comes late
	require.Equal(t, at(10), c.majority(1))
	c.heard("d", 1, at(20))
	require.Equal(t, at(20), c.majority(1))
	c.committed(1, at(25))
	require.Equal(t, at(25), c.majority(1))
	c.heard("b", 2, at(40))
	require.True(t, c.majority(2).IsZero(), "what was heard in another term")
	require.True(t, c.majority(1).IsZero(), "a term that is over")
	c.heard("c", 1, at(50))
	require.True(t, c.majority(2).IsZero(), "an answer from an earlier term")
	require.GreaterOrEqual(t, age(time.Now().Add(-time.Hour), time.Now()), time.Hour)
}

// A store that closes lets go whoever waits.
func TestCloseOfAFollower(t *testing.T) {
	c := newTestCluster(t, nil)
	c.nodes[0].open() // alone it never leads
	s := c.nodes[0].store
	waiting := make(chan error)
	go func() {
		_, err := s.Lead(context.Background())
		waiting <- err
	}()
	var not *NotLeader
	require.ErrorAs(t, s.Apply(context.Background(), begin(1)), &not)
	require.Empty(t, not.Leader)
	require.NoError(t, c.nodes[0].close())
	require.ErrorIs(t, <-waiting, storage.ErrClosed)
	require.ErrorIs(t, s.Apply(context.Background(), begin(1)), storage.ErrClosed)
}

// While a vote is being given no heartbeat is answered: that would promise the old
// leader what the vote breaks.
func TestNoHeartbeatDuringAVote(t *testing.T) {
	g := &guard{requests: make(chan hraft.RPC), stop: make(chan struct{})}
	answered := make(chan hraft.RPCResponse, 1)
	voted := make(chan struct{})
	go func() {
		g.vote(hraft.RPC{Command: &hraft.RequestVoteRequest{}, RespChan: answered})
		close(voted)
	}()
	atRaft := <-g.requests
	require.False(t, g.voting.TryRLock())
	atRaft.Respond(&hraft.RequestVoteResponse{Granted: true}, nil)
	require.True(t, (<-answered).Response.(*hraft.RequestVoteResponse).Granted)
	<-voted
	require.True(t, g.voting.TryRLock())
	g.voting.RUnlock()

	voted = make(chan struct{})
	go func() {
		g.vote(hraft.RPC{Command: &hraft.RequestVoteRequest{}, RespChan: answered})
		close(voted)
	}()
	<-g.requests
	close(g.stop) // Raft has ended
	<-voted
}
