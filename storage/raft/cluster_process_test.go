package raft

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/storage"
)

// memberSpec names the environment variable that makes the test binary a node of a
// cluster, as a process.
const memberSpec = "QIAO_TEST_MEMBER"

// member runs a node until it is killed or its input ends. It tells when it leads,
// and then either puts load on itself and prints what was acknowledged, or does
// what its input says.
func member(spec string) int {
	var dir, self, nodes, mode string
	for i, part := range strings.Split(spec, "|") {
		*[]*string{&dir, &self, &nodes, &mode}[i] = part
	}
	var members []Member
	for _, node := range strings.Split(nodes, ",") {
		name, address, _ := strings.Cut(node, "=")
		members = append(members, Member{name, address})
	}
	config := memberConfig(dir, self, members)
	config.noLease = mode == "no lease"
	config.SnapshotBytes = 256 << 10
	config.Logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})).With("node", self)
	s, err := Open(config)
	var l net.Listener
	if err == nil {
		l, err = net.Listen("tcp", config.Cluster.Members[s.cluster.index(self)].Address)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	go func() {
		for nc, err := l.Accept(); err == nil; nc, err = l.Accept() {
			go func() { _ = s.Serve(nc) }()
		}
	}()
	var print sync.Mutex
	say := func(format string, args ...any) {
		print.Lock()
		defer print.Unlock()
		fmt.Printf(format+"\n", args...)
	}
	go followLead(s, mode == "load", say)
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		say("%s", obey(s, in.Text()))
	}
	return 0
}

// followLead says when the node leads, and has the leader loaded.
func followLead(s *Store, load bool, say func(string, ...any)) {
	for {
		leads, err := s.Lead(context.Background())
		if err != nil {
			return
		}
		say("lead %d", leads.Term())
		var callers sync.WaitGroup
		if load {
			loadLeader(s, leads, &callers, say)
		}
		<-leads.Ended()
		callers.Wait()
	}
}

// loadLeader has callers begin transactions and register branches until the
// leadership ends. Ids are apart from those of other nodes and terms.
func loadLeader(s *Store, leads *Leadership, callers *sync.WaitGroup, say func(string, ...any)) {
	ctx := context.Background()
	last, err := leads.LastID(ctx)
	if err != nil {
		return
	}
	const callersCount = 16
	base := (last/1024 + 1) * 1024
	for i := range int64(callersCount) {
		callers.Go(func() {
			for id := base + 2*i; !leads.isOver(); id += 2 * callersCount {
				err := leads.Apply(ctx, begin(id))
				if err == nil {
					err = leads.Apply(ctx, register(id, 1, id+1))
				}
				if err == nil {
					say("%d", id)
				} else if errors.Is(err, storage.ErrUnavailable) {
					time.Sleep(time.Millisecond) // the caller's patience, not a test's
				}
			}
		})
	}
}

// obey does one thing: "begin ID", "register ID REVISION" or "load ID".
func obey(s *Store, command string) string {
	var what string
	var id int64
	revision := uint64(1)
	_, _ = fmt.Sscan(command, &what, &id, &revision)
	var err error
	ctx := context.Background()
	switch what {
	case "begin":
		err = s.Apply(ctx, begin(id))
	case "register":
		err = s.Apply(ctx, register(id, revision, id+1))
	case "load":
		var state storage.State
		if state, err = s.Load(ctx, begin(id).XID); err == nil {
			return fmt.Sprint("revision ", state.Revision)
		}
	}
	if err != nil {
		return "error " + err.Error()
	}
	return "done"
}

// processes is a cluster of processes.
type processes struct {
	t     *testing.T
	mode  string
	nodes string
	dirs  map[string]string
	all   map[string]*process
	led   chan string // names of nodes that say that they lead
	last  string      // the last of them that lead returned
}

type process struct {
	name    string
	command *exec.Cmd
	in      io.WriteCloser
	answers chan string
	ended   chan struct{}

	mu  sync.Mutex
	ids []int64 // acknowledged
}

func startProcesses(t *testing.T, mode string) *processes {
	p := &processes{t: t, mode: mode, dirs: make(map[string]string), all: make(map[string]*process), led: make(chan string, 1024)}
	var list []string
	var held []net.Listener
	for _, name := range []string{"a", "b", "c"} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		held = append(held, l)
		list = append(list, name+"="+l.Addr().String())
		p.dirs[name] = t.TempDir()
	}
	for _, l := range held {
		require.NoError(t, l.Close())
	}
	p.nodes = strings.Join(list, ",")
	for name := range p.dirs {
		p.start(name)
	}
	t.Cleanup(func() {
		for name := range p.all {
			p.kill(name)
		}
	})
	return p
}

func (p *processes) start(name string) {
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), memberSpec+"="+strings.Join([]string{p.dirs[name], name, p.nodes, p.mode}, "|"))
	c.Stderr = os.Stderr
	in, err := c.StdinPipe()
	require.NoError(p.t, err)
	out, err := c.StdoutPipe()
	require.NoError(p.t, err)
	require.NoError(p.t, c.Start())
	one := &process{name: name, command: c, in: in, answers: make(chan string, 1024), ended: make(chan struct{})}
	p.all[name] = one
	go func() {
		defer close(one.ended)
		lines := bufio.NewReader(out)
		for line, err := lines.ReadString('\n'); err == nil; line, err = lines.ReadString('\n') {
			line = strings.TrimSpace(line)
			var id int64
			if n, _ := fmt.Sscan(line, &id); n == 1 {
				one.mu.Lock()
				one.ids = append(one.ids, id)
				one.mu.Unlock()
			} else if strings.HasPrefix(line, "lead ") {
				p.led <- name
			} else {
				one.answers <- line
			}
		}
	}()
}

// kill kills a node with SIGKILL and returns what it had acknowledged.
func (p *processes) kill(name string) []int64 {
	one := p.all[name]
	delete(p.all, name)
	if one == nil {
		return nil
	}
	_ = one.command.Process.Kill()
	<-one.ended
	_ = one.command.Wait()
	return one.ids
}

// lead waits until a node other than one says that it leads, unless the last that
// did still runs.
func (p *processes) lead(except string) *process {
	p.t.Helper()
	timeout := time.After(clusterPatience)
	for {
		if one := p.all[p.last]; one != nil && p.last != except && len(p.led) == 0 {
			return one
		}
		select {
		case name := <-p.led:
			p.last = name
		case <-timeout:
			require.Fail(p.t, "no node leads")
		}
	}
}

func (p *processes) ask(one *process, command string) string {
	p.t.Helper()
	_, err := fmt.Fprintln(one.in, command)
	require.NoError(p.t, err)
	return p.answer(one)
}

func (p *processes) answer(one *process) string {
	p.t.Helper()
	select {
	case answer := <-one.answers:
		return answer
	case <-time.After(clusterPatience):
		require.Fail(p.t, "node "+one.name+" does not answer")
		return ""
	}
}

// acknowledged is how many transactions the running nodes have acknowledged.
func (p *processes) acknowledged() int {
	n := 0
	for _, one := range p.all {
		one.mu.Lock()
		n += len(one.ids)
		one.mu.Unlock()
	}
	return n
}

// stop stops a process with SIGSTOP, and returns when all of its threads stand still.
func (one *process) stop(t *testing.T) {
	t.Helper()
	require.NoError(t, one.command.Process.Signal(syscall.SIGSTOP))
	require.Eventually(t, func() bool {
		threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", one.command.Process.Pid))
		require.NoError(t, err)
		require.NotEmpty(t, threads)
		for _, thread := range threads {
			stat, err := os.ReadFile(thread)
			if _, after, found := strings.Cut(string(stat), ") "); err == nil && (!found || after[0] != 'T') {
				return false
			}
		}
		return true
	}, clusterPatience, time.Millisecond)
}

// killsPerLeader is how many kills of a node alone go with one of a leader, which
// takes an election.
const killsPerLeader = 33

// Whatever a leader acknowledged before kill -9 is there under the next one, whole,
// on every node in the end.
func TestKilledLeaderLosesNothingAcknowledged(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(3, 3))
	p := startProcesses(t, "load")
	acknowledged := make(map[int64]bool)
	take := func(ids []int64) {
		for _, id := range ids {
			require.False(t, acknowledged[id], "id %d was given twice", id)
			acknowledged[id] = true
		}
	}
	except := ""
	for range *kills / killsPerLeader {
		p.lead(except)
		wanted := p.acknowledged() + 20 + random.IntN(400)
		require.Eventually(t, func() bool { return p.acknowledged() > wanted }, clusterPatience, time.Millisecond)
		leader := p.lead("")
		take(p.kill(leader.name))
		if except = leader.name; random.IntN(2) == 0 {
			p.lead(except) // the next leader works alone with one other for a while
		}
		p.start(leader.name)
		except = ""
	}
	for _, name := range []string{"a", "b", "c"} {
		take(p.kill(name))
	}
	t.Logf("%d transactions acknowledged", len(acknowledged))

	c := newTestCluster(t, nil)
	members := strings.Split(p.nodes, ",")
	for i, n := range c.nodes { // behind proxies, at the addresses of the processes
		require.NoError(t, n.listener.Close())
		n.config = memberConfig(p.dirs[n.name], n.name, nil)
		for _, m := range members {
			name, address, _ := strings.Cut(m, "=")
			n.config.Cluster.Members = append(n.config.Cluster.Members, Member{name, address})
		}
		_, address, _ := strings.Cut(members[i], "=")
		l, err := net.Listen("tcp", address)
		require.NoError(t, err)
		n.listener = l
		c.work.Go(func() { n.accept(l) })
	}
	c.open()
	c.agree()
	ctx := context.Background()
	for _, n := range c.nodes {
		for id := range acknowledged {
			state, err := n.store.state.Load(ctx, begin(id).XID)
			require.NoError(t, err)
			require.Len(t, state.Branches, 1, "transaction %d on node %s", id, n.name)
		}
	}
}

// staleAnswers stops a leader with SIGSTOP, has another one change a transaction, and
// counts the old states that the first one tells when it wakes.
func staleAnswers(t *testing.T, mode string, rounds int) (stale int) {
	p := startProcesses(t, mode)
	leader := p.lead("")
	for round := range int64(rounds) {
		id := 1000 * (round + 1)
		for answer := ""; answer != "done"; {
			if answer = p.ask(leader, fmt.Sprint("begin ", id)); answer == "error the transaction has moved on" {
				break
			}
		}
		leader.stop(t)
		const asked = 5
		for range asked {
			_, err := fmt.Fprintln(leader.in, "load", id)
			require.NoError(t, err)
		}
		next := p.lead(leader.name)
		require.Equal(t, "done", p.ask(next, fmt.Sprint("register ", id, " 1")))
		require.NoError(t, leader.command.Process.Signal(syscall.SIGCONT))
		for range asked {
			answer := p.answer(leader)
			if answer == "revision 1" {
				stale++
			} else if answer != "revision 2" {
				require.Contains(t, answer, "error ")
			}
		}
		if stale > 0 {
			return stale
		}
		leader = next
	}
	return stale
}

// A leader that stood still while another was elected tells nothing that is over.
func TestStoppedLeaderTellsNothingOld(t *testing.T) {
	t.Parallel()
	require.Zero(t, staleAnswers(t, "", 4))
}

// The test above sees a leader without a lease.
func TestLeaderWithoutLeaseIsCaught(t *testing.T) {
	t.Parallel()
	require.Positive(t, staleAnswers(t, "no lease", 40))
}
