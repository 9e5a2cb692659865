package raft

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	hraft "github.com/hashicorp/raft"
)

// guard is Raft's transport with two duties of its own: it notes when the others
// were last known to follow this leader, and it withholds votes that would break
// a promise.
type guard struct {
	*hraft.NetworkTransport
	streams  *streams
	contacts *contacts
	raft     *atomic.Pointer[hraft.Raft]
	requests chan hraft.RPC

	// mute is until when this process grants no vote: the one before it may have
	// promised its leader not to, a moment before it ended.
	mute time.Time
	// joined: the log has all that this node ever acknowledged. A new directory may
	// stand in for one that was lost, so it has not until a leader has caught it up,
	// or until another node asks for a vote whose log is as new: then it begins.
	joined  atomic.Bool
	setDone func() error  // makes joined durable
	target  atomic.Uint64 // the commit index at the first contact

	// voting is held while Raft answers a request for a vote. Raft answers heartbeats
	// from another goroutine, and could tell a leader that it follows while it is on
	// its way to vote for another: it looks for a leader first, then writes the term.
	voting sync.RWMutex

	ended chan struct{}
	stop  chan struct{}
}

// SetHeartbeatHandler implements hraft.Transport.
func (g *guard) SetHeartbeatHandler(handle func(hraft.RPC)) {
	g.NetworkTransport.SetHeartbeatHandler(func(request hraft.RPC) {
		g.voting.RLock()
		defer g.voting.RUnlock()
		handle(request)
	})
}

// vote has Raft answer a request for a vote, and no heartbeat meanwhile.
func (g *guard) vote(request hraft.RPC) {
	g.voting.Lock()
	defer g.voting.Unlock()
	answered := make(chan hraft.RPCResponse, 1)
	select {
	case g.requests <- hraft.RPC{Command: request.Command, RespChan: answered}:
	case <-g.stop:
		return
	}
	select {
	case answer := <-answered:
		request.Respond(answer.Response, answer.Error)
	case <-g.stop:
	}
}

// Consumer implements hraft.Transport.
func (g *guard) Consumer() <-chan hraft.RPC { return g.requests }

// run passes requests on to Raft until stop is closed.
func (g *guard) run() {
	defer close(g.ended)
	for {
		select {
		case request := <-g.NetworkTransport.Consumer():
			if g.answers(request) {
				continue
			}
			select {
			case g.requests <- request:
			case <-g.stop:
				return
			}
		case <-g.stop:
			return
		}
	}
}

// answers looks at a request before Raft does. It tells whether it has answered it.
func (g *guard) answers(request hraft.RPC) bool {
	raft := g.raft.Load()
	if raft == nil {
		return false
	}
	switch m := request.Command.(type) {
	case *hraft.RequestVoteRequest:
		if m.LastLogIndex <= beginning && raft.LastIndex() <= beginning {
			g.join()
		}
		// A transfer of leadership comes from a leader that has stopped answering.
		if g.withholds(m.LastLogIndex, m.LeadershipTransfer) {
			request.Respond(&hraft.RequestVoteResponse{RPCHeader: g.header(), Term: raft.CurrentTerm()}, nil)
		} else {
			g.vote(request)
		}
		return true
	case *hraft.RequestPreVoteRequest:
		if g.withholds(m.LastLogIndex, false) {
			request.Respond(&hraft.RequestPreVoteResponse{RPCHeader: g.header(), Term: raft.CurrentTerm()}, nil)
			return true
		}
	case *hraft.AppendEntriesRequest:
		g.catchUp(m.LeaderCommitIndex)
	}
	return false
}

// beginning is the index of the entry that every log begins with.
const beginning = 1

func (g *guard) withholds(lastLogIndex uint64, transfer bool) bool {
	if time.Now().Before(g.mute) && !transfer {
		return true
	}
	return g.withheld(lastLogIndex)
}

// withheld: a node that may have forgotten something has no part in electing a log
// that is more than the beginning.
func (g *guard) withheld(lastLogIndex uint64) bool {
	return lastLogIndex > beginning && !g.hasJoined()
}

// hasJoined looks whether the node has caught up by now.
func (g *guard) hasJoined() bool {
	raft, target := g.raft.Load(), g.target.Load()
	if raft != nil && target > 0 && raft.LastIndex() >= target {
		g.join()
	}
	return g.joined.Load()
}

// errNotJoined keeps a node from asking for votes that it would not give either:
// others lack what it has forgotten, too.
var errNotJoined = errors.New("this node's directory is new: it asks for no votes before a leader has filled it")

// RequestVote implements hraft.Transport.
func (g *guard) RequestVote(id hraft.ServerID, target hraft.ServerAddress, request *hraft.RequestVoteRequest, response *hraft.RequestVoteResponse) error {
	if g.withheld(request.LastLogIndex) {
		return errNotJoined
	}
	return g.NetworkTransport.RequestVote(id, target, request, response)
}

// RequestPreVote implements hraft.WithPreVote.
func (g *guard) RequestPreVote(id hraft.ServerID, target hraft.ServerAddress, request *hraft.RequestPreVoteRequest, response *hraft.RequestPreVoteResponse) error {
	if g.withheld(request.LastLogIndex) {
		return errNotJoined
	}
	return g.NetworkTransport.RequestPreVote(id, target, request, response)
}

// catchUp notes what was committed when its leader first spoke to a new node, and
// when the node has all of that.
func (g *guard) catchUp(commit uint64) {
	if g.joined.Load() || commit == 0 {
		return
	}
	g.target.CompareAndSwap(0, commit)
	g.hasJoined()
}

// join ends the withholding of votes for good.
func (g *guard) join() {
	if !g.joined.Load() && g.setDone() == nil {
		g.joined.Store(true)
	}
}

func (g *guard) header() hraft.RPCHeader {
	c := g.streams.cluster
	return hraft.RPCHeader{ProtocolVersion: hraft.ProtocolVersionMax, ID: []byte(c.Self), Addr: []byte(c.member(c.Self).Address)}
}

// AppendEntries implements hraft.Transport. Raft sends a heartbeat to each
// follower this way ten times in an election time-out.
func (g *guard) AppendEntries(id hraft.ServerID, target hraft.ServerAddress, request *hraft.AppendEntriesRequest, response *hraft.AppendEntriesResponse) error {
	began := time.Now()
	err := g.NetworkTransport.AppendEntries(id, target, request, response)
	if err == nil && response.Success && response.Term == request.Term {
		g.contacts.heard(id, request.Term, began)
	}
	return err
}

// Close implements hraft.WithClose. It may be called again.
func (g *guard) Close() error {
	g.NetworkTransport.CloseStreams()
	return g.NetworkTransport.Close()
}
