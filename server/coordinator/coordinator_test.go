package coordinator

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/storage"
	"github.com/qiao-tx/qiao/storage/memory"
)

func TestConfigIsChecked(t *testing.T) {
	good := Config{Store: memory.New(), Dispatcher: &managers{}, Address: "10.0.0.1:8091"}
	_, err := New(t.Context(), good)
	require.NoError(t, err)
	for name, change := range map[string]func(*Config){
		"no store":          func(c *Config) { c.Store = nil },
		"no dispatcher":     func(c *Config) { c.Dispatcher = nil },
		"no address":        func(c *Config) { c.Address = "" },
		"address too long":  func(c *Config) { c.Address = "a-host-whose-name-leaves-no-room-for-the-id.example:8091" },
		"address no port":   func(c *Config) { c.Address = "host" },
		"worker too high":   func(c *Config) { c.WorkerID = 1024 },
		"worker too low":    func(c *Config) { c.WorkerID = -1 },
		"store not working": func(c *Config) { c.Store = &gate{Store: closedStore(t)} },
	} {
		cfg := good
		change(&cfg)
		_, err := New(t.Context(), cfg)
		require.Error(t, err, name)
	}
}

func closedStore(t *testing.T) storage.Store {
	s := memory.New()
	require.NoError(t, s.Close())
	return s
}

// A new id is above all that any node stored, whatever the clock says (I8).
func TestIDsAreNotReused(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	g := newIDs(func() int { return 3 }, now, 0)
	first := g.next()
	assert.EqualValues(t, 3, first>>storage.SequenceBits)
	second := g.next()
	assert.Greater(t, second, first)

	setBack := newIDs(func() int { return 3 }, now.Add(-time.Hour), second)
	assert.Greater(t, setBack.next(), second)
	other := newIDs(func() int { return 1 }, now.Add(-time.Hour), second)
	assert.Equal(t, second, storage.LaterID(second, other.next()-1), "the latest of another node counts as well")

	var mu sync.Mutex
	seen := make(map[int64]bool)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 1000 {
				id := g.next()
				mu.Lock()
				seen[id] = true
				mu.Unlock()
			}
		})
	}
	all.Wait()
	require.Len(t, seen, 8000)
}

// Drain lets what is under way end and begins nothing more.
func TestDrain(t *testing.T) {
	inBubble(t, Config{}, func(t *testing.T, b *bench) {
		xid := b.begin(time.Minute)
		b.register(xid, protocol.TypeTCC, "credit", "")
		commit := b.ask(java, commitOf(xid))

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, b.c.Drain(ctx), context.DeadlineExceeded, "a caller waits for phase two")
		refused := b.ask(java, &protocol.GlobalBegin{}).message().(*protocol.GlobalBeginResult)
		require.Equal(t, protocol.ResultFailed, refused.Code)
		require.Contains(t, refused.Message, "another node")

		drained := make(chan error)
		go func() { drained <- b.c.Drain(t.Context()) }()
		b.rms.taken()[0].done()
		require.NoError(t, <-drained)
		synctest.Wait()
		require.Equal(t, protocol.StatusCommitted, commit.message().(*protocol.GlobalCommitResult).Status)
	})
}

// After Close everybody has an answer, and nothing touches the store.
func TestClose(t *testing.T) {
	inBubble(t, Config{}, func(t *testing.T, b *bench) {
		xid := b.begin(time.Minute)
		b.register(xid, protocol.TypeTCC, "credit", "")
		waiting := b.ask(java, commitOf(xid))
		require.Zero(t, waiting.times())
		order := b.rms.taken()[0]
		b.c.Close()
		b.c.Close()
		require.Equal(t, 1, waiting.times())
		require.Equal(t, protocol.ResultFailed, waiting.message().(*protocol.GlobalCommitResult).Code)
		require.Equal(t, protocol.StatusFinished, waiting.message().(*protocol.GlobalCommitResult).Status)

		touched := 0
		b.store.onApply(func(*storage.Batch) error { touched++; return nil })
		order.done()
		late := b.ask(java, commitOf(xid))
		require.Contains(t, late.message().(*protocol.GlobalCommitResult).Message, "stopped")
		require.Equal(t, protocol.StatusCommitting, b.status(xid))
		require.Zero(t, touched)
		require.Error(t, b.c.Start(t.Context()))
	})
}

// Messages that are no request of a TM or RM are left to others.
func TestHandleKnowsItsMessages(t *testing.T) {
	inBubble(t, Config{}, func(t *testing.T, b *bench) {
		for _, m := range []protocol.Message{
			&protocol.Heartbeat{}, &protocol.RegisterRM{}, &protocol.GlobalBeginResult{}, &protocol.BranchCommitResult{}, nil,
		} {
			require.False(t, b.c.Handle(java, m, nil, func(protocol.Message, map[string]string) { t.Error("answered") }))
		}
	})
}

// A transaction nobody knows has the answers that Java's server gives.
func TestUnknownTransaction(t *testing.T) {
	inBubble(t, Config{}, func(t *testing.T, b *bench) {
		const xid = "10.0.0.1:8091:77"
		require.Equal(t, protocol.StatusFinished, b.ask(java, commitOf(xid)).message().(*protocol.GlobalCommitResult).Status)
		require.Equal(t, protocol.StatusFinished, b.ask(java, rollbackOf(xid)).message().(*protocol.GlobalRollbackResult).Status)
		require.Equal(t, protocol.StatusFinished, b.status(xid))
		report := b.ask(java, &protocol.GlobalReport{Global: protocol.Global{XID: xid}, Status: protocol.StatusRollbacked})
		require.Equal(t, protocol.StatusRollbacked, report.message().(*protocol.GlobalReportResult).Status)
		register := b.ask(java, &protocol.BranchRegister{XID: xid}).message().(*protocol.BranchRegisterResult)
		require.Equal(t, protocol.ExceptionGlobalTransactionNotExist, register.Exception)
		branch := b.ask(java, &protocol.BranchReport{XID: xid}).message().(*protocol.BranchReportResult)
		require.Equal(t, protocol.ExceptionGlobalTransactionNotExist, branch.Exception)
	})
}

// A repeated registration with its request key is the same branch (I14).
func TestRequestKey(t *testing.T) {
	inBubble(t, Config{}, func(t *testing.T, b *bench) {
		xid := b.begin(time.Minute)
		m := &protocol.BranchRegister{XID: xid, Type: protocol.TypeTCC, ResourceID: "credit"}
		var ids []int64
		for _, key := range []string{"k1", "k1", "k2"} {
			a := b.post(b.c, ours, m, map[string]string{HeadRequest: key})
			synctest.Wait()
			ids = append(ids, a.message().(*protocol.BranchRegisterResult).BranchID)
		}
		require.Equal(t, ids[0], ids[1])
		require.NotEqual(t, ids[0], ids[2])
	})
}

func TestLockQuery(t *testing.T) {
	inBubble(t, Config{}, func(t *testing.T, b *bench) {
		holder := b.begin(time.Minute)
		b.register(holder, protocol.TypeAT, "db", "t:1,2")
		query := func(xid, resource, key string) *protocol.GlobalLockQueryResult {
			return b.ask(java, &protocol.GlobalLockQuery{XID: xid, ResourceID: resource, LockKey: key}).message().(*protocol.GlobalLockQueryResult)
		}
		other := b.begin(time.Minute)
		require.False(t, query(other, "db", "t:3,2").Lockable)
		require.True(t, query(other, "db", "t:3").Lockable)
		require.True(t, query(other, "db2", "t:2").Lockable)
		require.True(t, query(holder, "db", "t:2").Lockable)
		bad := query(other, "db", "nonsense")
		require.False(t, bad.Lockable)
		require.Equal(t, protocol.ExceptionLockableCheckFailed, bad.Exception)
	})
}

// A store that cannot tell what is due is asked again.
func TestDueLoopSurvivesTheStore(t *testing.T) {
	inBubble(t, Config{}, func(t *testing.T, b *bench) {
		b.rms.answerWith((*ordered).done)
		xid := b.begin(time.Second)
		b.register(xid, protocol.TypeAT, "db", "t:1")
		failures := 0
		b.store.onApply(func(*storage.Batch) error {
			if failures++; failures < 5 {
				return errors.New("not now")
			}
			return nil
		})
		time.Sleep(2 * time.Second)
		synctest.Wait()
		require.Equal(t, protocol.StatusTimeoutRollbacked, b.status(xid))
	})
}
