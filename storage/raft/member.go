package raft

import (
	"context"
	"fmt"
	"net"
	"time"

	hraft "github.com/hashicorp/raft"

	"github.com/qiao-tx/qiao/storage"
)

const (
	// cachedEntries of the log's end are kept in memory, for the followers and the
	// state machine: entries of at most 1 MiB, and usually of a few KiB.
	cachedEntries = 64
	// openingTimeout bounds the beginning of a connection between nodes.
	openingTimeout = 2 * time.Second
	// answerTimeout bounds one request between nodes; one with a snapshot has as
	// long for each 256 KiB. It is above what a busy disk takes.
	answerTimeout = 5 * time.Second
)

// startMember starts this node of a cluster. It does not wait for the others.
func (s *Store) startMember(config Config, logger hclogAdapter, fsm *machine, logs hraft.LogStore, latched latchedSnapshots, paced *pacedSnapshots) error {
	stable := latchedStable{s.log, s.latch}
	snapshots := &installs{
		SnapshotStore: latched, raft: &s.node,
		note: func(index uint64) error { return s.noteDurably(stable, installedKey, index) },
	}
	names, err := listSnapshots(paced.path)
	if err != nil {
		return err
	}
	if len(names) > 1 {
		paced.before.Store(names[1].index)
	}
	cached, err := hraft.NewLogCache(cachedEntries, trailing{logs, &paced.before})
	if err != nil {
		return err
	}
	if err := s.openTransport(config, logger, stable); err != nil {
		return err
	}
	raftConfig := s.raftConfig(s.cluster.ElectionTimeout, logger)
	led := make(chan bool, 64)
	raftConfig.NotifyCh = led
	if err := s.begin(raftConfig, s.cluster.configuration(), cached, snapshots, s.guard); err != nil {
		return wrap("begin the log", joinLatched(err, s.latch))
	}
	if err := s.newRaft(raftConfig, fsm, cached, snapshots, s.guard); err != nil {
		return err
	}
	future := s.raft.GetConfiguration()
	if err := future.Error(); err != nil {
		return wrap("read the members of the cluster", err)
	}
	if err := s.cluster.checkConfiguration(future.Configuration()); err != nil {
		return err
	}
	observed := make(chan hraft.Observation, 64)
	observer := hraft.NewObserver(observed, false, func(o *hraft.Observation) bool {
		switch o.Data.(type) {
		case hraft.LeaderObservation, hraft.FailedHeartbeatObservation, hraft.ResumedHeartbeatObservation:
			return true
		}
		return false
	})
	s.raft.RegisterObserver(observer)
	s.watching.Go(func() {
		defer s.raft.DeregisterObserver(observer)
		s.watch(led, observed)
	})
	return nil
}

func joinLatched(err error, l *latch) error {
	if failed := l.err(); failed != nil {
		return failed
	}
	return err
}

// noteDurably is noteIndex, and the error of the latch, which the stable store
// keeps to itself.
func (s *Store) noteDurably(stable hraft.StableStore, key []byte, index uint64) error {
	return joinLatched(noteIndex(stable, key, index), s.latch)
}

// openTransport makes what carries Raft's messages.
func (s *Store) openTransport(config Config, logger hclogAdapter, stable latchedStable) error {
	joined, err := s.log.Get(joinedKey)
	if err != nil {
		return wrap("read the log's metadata", err)
	}
	streams := newStreams(s.cluster, openingTimeout)
	s.contacts = newContacts(len(s.cluster.Members) - 1)
	s.lease = s.cluster.ElectionTimeout * leaseShare / 100
	if config.noLease {
		s.lease = -1
	}
	s.guard = &guard{
		NetworkTransport: hraft.NewNetworkTransportWithConfig(&hraft.NetworkTransportConfig{
			Stream: streams, MaxPool: 3, Timeout: answerTimeout, Logger: logger, MsgpackUseNewTimeFormat: true,
		}),
		streams: streams, contacts: s.contacts, raft: &s.node,
		requests: make(chan hraft.RPC), setDone: func() error { return s.noteDurably(stable, joinedKey, 1) },
		ended: make(chan struct{}), stop: make(chan struct{}),
	}
	s.guard.joined.Store(len(joined) > 0)
	if s.dir.identity.Epoch > 1 {
		s.guard.mute = time.Now().Add(s.cluster.ElectionTimeout)
	}
	go s.guard.run()
	return nil
}

// stopServing ends the transport; what waits for another node gets an error.
func (g *guard) stopServing() {
	_ = g.Close() // with its streams; it never fails
	select {
	case <-g.ended:
	default:
		close(g.stop)
		<-g.ended
	}
}

// Serve takes a connection that begins with Opening, from its first byte on, and
// gives it to the store, which closes it. The error says why it was refused, once a
// minute for the same reason; then it is closed already.
func (s *Store) Serve(nc net.Conn) error {
	if s.cluster == nil {
		_, _ = fmt.Fprintf(nc, "%sthis server is no node of a cluster\n", refused)
		_ = nc.Close()
		return fmt.Errorf("a node of a cluster calls, and this server is none: start it with the cluster's configuration")
	}
	return s.guard.streams.receive(nc)
}

// endLeadership ends what this node may do as a leader.
func (s *Store) endLeadership() {
	if s.cluster == nil {
		return
	}
	s.standing.set(func(now *standing) {
		if now.leads != nil {
			now.leads.end()
			now.leads = nil
		}
	})
}

// Resign ends this node's leadership, if it leads, and has another node lead, at once
// where that is possible; it returns when this node has heard from that one. It is for a store that is going to be closed: this one does
// not lead again in the same term.
func (s *Store) Resign(ctx context.Context) error {
	if s.cluster == nil || s.raft.State() != hraft.Leader {
		return nil
	}
	// Only then may the others vote: they ask nobody whether a lease still holds.
	s.endLeadership()
	done := make(chan error, 1)
	s.watching.Go(func() { done <- s.raft.LeadershipTransfer().Error() }) // ends within an election time-out
	select {
	case err := <-done:
		if err != nil {
			return wrap("pass the lead on", err)
		}
		return s.follow(ctx)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// follow waits until another node leads, and has told this one.
func (s *Store) follow(ctx context.Context) error {
	for {
		leader, changed := s.Leader()
		if leader.Name != "" && leader.Name != s.cluster.Self {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return wrap("hear of the next leader", ctx.Err())
		case <-s.latch.ended:
			return storage.ErrClosed
		}
	}
}

// Role tells how a node of a cluster stands.
type Role struct {
	// Name is the node's, Leader that of who leads, or empty.
	Name, Leader string
	// Term is Raft's.
	Term uint64
	// Last is the last entry of the log here, Applied the last with batches that is
	// applied.
	Last, Applied uint64
	// Silent is how long a follower has not heard of its leader.
	Silent time.Duration
}

// Role returns how this node stands; ok is false for a node alone.
func (s *Store) Role() (role Role, ok bool) {
	if s.cluster == nil {
		return Role{}, false
	}
	leader, _ := s.Leader()
	role = Role{
		Name: s.cluster.Self, Leader: leader.Name, Term: s.raft.CurrentTerm(),
		Last: s.raft.LastIndex(), Applied: s.machine.appliedIndex.Load(),
	}
	if leader.Name != role.Name {
		if last := s.raft.LastContact(); !last.IsZero() {
			role.Silent = time.Since(last)
		}
	}
	return role, true
}

// Members are the nodes of the cluster, in the order of their names; none for a
// node alone.
func (s *Store) Members() []Member {
	if s.cluster == nil {
		return nil
	}
	return s.cluster.Members
}
