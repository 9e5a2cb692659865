package sqldb

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/xid"
	"github.com/qiao-tx/qiao/storage"
)

// asJava makes the statements of a Java coordinator, each by itself as it does
// (LogStoreDataBaseDAO, LockStoreDataBaseDAO and DataBaseDistributedLocker of 1.8.0).
type asJava struct {
	t *testing.T
	s *Store
}

const javaAddress = "10.0.0.9:8091"

func (j asJava) exec(statement string, args ...any) int64 {
	j.t.Helper()
	n, err := j.s.exec(j.t.Context(), j.statement(statement, args...))
	require.NoError(j.t, err, statement)
	return n
}

// statement puts the values where the question marks are.
func (j asJava) statement(text string, args ...any) *statement {
	st := j.s.dialect.statement("")
	for i, part := range strings.Split(text, "?") {
		if i > 0 {
			st.param(args[i-1])
		}
		st.add(part)
	}
	return st
}

func (j asJava) begin(id int64, began time.Time, timeout time.Duration) string {
	j.t.Helper()
	x := xid.New(javaAddress, id)
	j.exec(`INSERT INTO global_table (xid,transaction_id,status,application_id,transaction_service_group,transaction_name,timeout,begin_time,gmt_create,gmt_modified)
		VALUES (?,?,1,'app','group','name',?,?,now(),now())`, x, id, timeout.Milliseconds(), began.UnixMilli())
	return x
}

// register is without the look at the transaction's status, which comes before.
func (j asJava) register(x string, id int64, typ string, rows ...string) {
	j.t.Helper()
	j.lock(x, id, rows...)
	_, transaction, err := xid.Parse(x)
	require.NoError(j.t, err)
	now := "now(6)"
	if j.s.dialect.name == "postgresql" {
		now = "now()"
	}
	j.exec(`INSERT INTO branch_table (xid,transaction_id,branch_id,resource_id,branch_type,status,client_id,gmt_create,gmt_modified)
		VALUES (?,?,?,'db',?,1,'app:10.0.0.5:1',`+now+`,`+now+`)`, x, transaction, id, typ)
}

func (j asJava) lock(x string, branch int64, rows ...string) {
	j.t.Helper()
	_, transaction, err := xid.Parse(x)
	require.NoError(j.t, err)
	for _, row := range rows {
		table, pk, _ := strings.Cut(row, ":")
		j.exec(`INSERT INTO lock_table (xid,transaction_id,branch_id,resource_id,table_name,pk,row_key,gmt_create,gmt_modified,status)
			VALUES (?,?,?,'db',?,?,?,now(),now(),0)`, x, transaction, branch, table, pk, "db^^^"+table+"^^^"+pk)
	}
}

func (j asJava) setStatus(x string, s protocol.GlobalStatus) {
	j.t.Helper()
	require.EqualValues(j.t, 1, j.exec("UPDATE global_table SET status=?, gmt_modified=now() WHERE xid=?", int(s), x))
}

func (j asJava) unlock(x string) { j.exec("DELETE FROM lock_table WHERE xid=?", x) }

// remove ends a transaction.
func (j asJava) remove(x string) {
	j.exec("DELETE FROM branch_table WHERE xid=?", x)
	j.unlock(x)
	j.exec("DELETE FROM global_table WHERE xid=?", x)
}

func (j asJava) holder(row string) string {
	j.t.Helper()
	table, pk, _ := strings.Cut(row, ":")
	holders, err := readHolders(j.t.Context(), j.s.db, j.s.dialect, []storage.RowKey{storage.NewRowKey("db", table, pk)})
	require.NoError(j.t, err)
	for _, h := range holders {
		return h.xid
	}
	return ""
}

func load(t *testing.T, s *Store, x string) storage.State {
	t.Helper()
	state, err := s.Load(t.Context(), x)
	require.NoError(t, err)
	return state
}

func due(t *testing.T, s *Store, now time.Time) []string {
	t.Helper()
	s.node.java.mu.Lock()
	s.node.java.strays = time.Time{} // look now
	s.node.java.mu.Unlock()
	xids, err := s.Due(t.Context(), now.UnixMilli(), 100)
	require.NoError(t, err)
	return xids
}

// moveTo is a Batch that gives the transaction a status.
func moveTo(state *storage.State, s protocol.GlobalStatus) *storage.Batch {
	g := state.Global
	g.Status, g.DueAt = s, 20_000
	return &storage.Batch{XID: state.XID, Revision: state.Revision, Global: &g}
}

// Java lets go of the rows of a transaction before it writes anything else of it. A
// row that another transaction has locked since is not this one's to release, nor to
// hand over.
func TestARowThatJavaReleasedAndLockedAnewStaysLocked(t *testing.T) {
	onEach(t, func(t *testing.T, cfg Config) {
		s := open(t, cfg)
		java := asJava{t, s}
		for i, end := range []func(*storage.State) *storage.Batch{
			func(st *storage.State) *storage.Batch {
				return &storage.Batch{XID: st.XID, Revision: st.Revision, Remove: []int64{st.Branches[0].ID}}
			},
			func(st *storage.State) *storage.Batch {
				return &storage.Batch{XID: st.XID, Revision: st.Revision, UnlockAll: true}
			},
			func(st *storage.State) *storage.Batch {
				return &storage.Batch{XID: st.XID, Revision: st.Revision, Finish: &storage.Tombstone{Outcome: protocol.StatusRollbacked, ExpiresAt: 1 << 60}}
			},
		} {
			id := int64(1000 * (i + 1))
			row := fmt.Sprint("t:", i)
			mine := begin(t, s, id, row)
			java.unlock(mine.XID)
			another := java.begin(id+500, time.Now(), time.Minute)
			java.register(another, id+501, "AT", row)
			require.NoError(t, s.Apply(t.Context(), end(&mine)))
			require.Equal(t, another, java.holder(row))
		}
	})
}

// A row that Java has released is locked again when the transaction asks for it again.
func TestARowThatJavaReleasedIsLockedAgain(t *testing.T) {
	onEach(t, func(t *testing.T, cfg Config) {
		s := open(t, cfg)
		java := asJava{t, s}
		state := begin(t, s, 1000, "t:1")
		java.unlock(state.XID)
		require.NoError(t, s.Apply(t.Context(), &storage.Batch{XID: state.XID, Revision: state.Revision, Add: []storage.Branch{{
			ID: 1005, Type: protocol.TypeAT, ResourceID: "db", LockKey: "t:1", Locked: true,
		}}}))
		require.Equal(t, state.XID, java.holder("t:1"))
	})
}

// Two transactions in one SQL transaction: what the first only believes to hold it
// cannot leave to the second.
func TestARowIsNotHandedOverByWhoDoesNotHoldIt(t *testing.T) {
	onEach(t, func(t *testing.T, cfg Config) {
		s := open(t, cfg)
		java := asJava{t, s}
		first, second := begin(t, s, 1000, "t:1"), begin(t, s, 2000, "t:2")
		java.unlock(first.XID)
		third := java.begin(3000, time.Now(), time.Minute)
		java.register(third, 3001, "AT", "t:1")
		results, err := s.commit([]*storage.Batch{
			{XID: first.XID, Revision: first.Revision, UnlockAll: true},
			{XID: second.XID, Revision: second.Revision, Add: []storage.Branch{{ID: 2005, Type: protocol.TypeAT, ResourceID: "db", LockKey: "t:1", Locked: true}}},
		})
		require.NoError(t, err)
		require.NoError(t, results[0])
		var held *storage.LockHeld
		require.ErrorAs(t, results[1], &held)
		require.Equal(t, third, held.Holder.XID)
		require.Equal(t, third, java.holder("t:1"))
	})
}

// A transaction that Java began, with its branches and locks, goes on here: with the
// lock keys that Java keeps nowhere, and in the order of registration although this
// node's clock is ahead.
func TestATransactionThatJavaBeganGoesOn(t *testing.T) {
	onEach(t, func(t *testing.T, cfg Config) {
		s := open(t, cfg)
		java := asJava{t, s}
		x := java.begin(1000, time.Now(), time.Minute)
		java.register(x, 1001, "AT", "t:2", "t:1", "u:9_x")
		java.register(x, 1002, "TCC")
		state := load(t, s, x)
		require.Equal(t, "t:1,2;u:9_x", state.Branch(1001).LockKey)
		require.True(t, state.Branch(1001).Locked)
		require.False(t, state.Branch(1002).Locked)
		require.InDelta(t, time.Now().UnixMilli(), state.Branch(1002).RegisteredAt, 60_000)
		require.NotZero(t, state.Revision)
		require.Equal(t, state.Global.Deadline(), state.Global.DueAt)

		add := &storage.Batch{XID: x, Revision: state.Revision, Add: []storage.Branch{{
			ID: 900, Type: protocol.TypeAT, ResourceID: "db", LockKey: "t:1,3", Locked: true, RegisteredAt: time.Now().Add(time.Hour).UnixMilli(),
		}}}
		require.NoError(t, s.Apply(t.Context(), add))
		java.register(x, 800, "AT", "t:4")
		require.Equal(t, []int64{1001, 1002, 900, 800}, ids(t, s.db, "SELECT branch_id FROM branch_table ORDER BY gmt_create"))
		state = load(t, s, x)
		require.EqualValues(t, 800, state.Branches[3].ID)

		// A branch goes with its rows and no others; a late lock goes with the last.
		require.NoError(t, s.Apply(t.Context(), &storage.Batch{XID: x, Revision: state.Revision, Remove: []int64{800}}))
		require.Empty(t, java.holder("t:4"))
		require.Equal(t, x, java.holder("t:1"))
		java.lock(x, 700, "t:5")
		state = load(t, s, x)
		require.NoError(t, s.Apply(t.Context(), &storage.Batch{XID: x, Revision: state.Revision, Finish: &storage.Tombstone{Outcome: protocol.StatusCommitted, ExpiresAt: 1 << 60}}))
		require.Equal(t, storage.Stats{Tombstones: 1, Batches: 3, Entries: 3}, s.Stats())
	})
}

// Without any Java coordinator any more, what it left is due: what is out of time, and
// what is decided.
func TestWhatADeadJavaCoordinatorLeftIsDue(t *testing.T) {
	onEach(t, func(t *testing.T, cfg Config) {
		s := open(t, cfg)
		java := asJava{t, s}
		now := time.Now()
		var want []string
		for i, status := range []protocol.GlobalStatus{
			protocol.StatusBegin, protocol.StatusCommitting, protocol.StatusCommitRetrying, protocol.StatusRollbacking,
			protocol.StatusRollbackRetrying, protocol.StatusTimeoutRollbacking, protocol.StatusTimeoutRollbackRetrying,
			protocol.StatusAsyncCommitting, protocol.StatusCommitted, protocol.StatusRollbacked, protocol.StatusRollbackRetryTimeout,
		} {
			x := java.begin(int64(1000+i), now.Add(-time.Minute), time.Second)
			java.setStatus(x, status)
			want = append(want, x)
		}
		java.begin(2000, now, time.Minute) // in time
		busy := java.begin(2001, now, time.Minute)
		java.setStatus(busy, protocol.StatusCommitting)
		java.exec("UPDATE global_table SET gmt_modified=" + fmt.Sprintf(s.dialect.ago, javaQuiet+5) + " WHERE transaction_id<2000")
		require.ElementsMatch(t, want, due(t, s, now))
		for _, x := range want {
			state := load(t, s, x)
			require.NotZero(t, state.Global.DueAt, "the machine takes it for due")
			require.LessOrEqual(t, state.Global.DueAt, now.UnixMilli())
		}
		require.ElementsMatch(t, want, due(t, s, now), "until something is done, and once each")

		// What this node began and Java decided does not wait for the time-out.
		mine := begin(t, s, 3000, "t:1")
		later := moveTo(&mine, protocol.StatusBegin)
		later.Global.DueAt = now.Add(time.Hour).UnixMilli()
		require.NoError(t, s.Apply(t.Context(), later))
		java.setStatus(mine.XID, protocol.StatusAsyncCommitting)
		require.Contains(t, due(t, s, now), mine.XID)
	})
}

// Java writes a status without a look at the one that is there. What this program has
// decided stands; where it had not decided, Java's decision does.
func TestADecisionThatJavaOverwritesStands(t *testing.T) {
	onEach(t, func(t *testing.T, cfg Config) {
		s := open(t, cfg)
		java := asJava{t, s}
		for i, c := range []struct{ decided, written, want protocol.GlobalStatus }{
			{protocol.StatusTimeoutRollbacking, protocol.StatusAsyncCommitting, protocol.StatusTimeoutRollbacking},
			{protocol.StatusAsyncCommitting, protocol.StatusTimeoutRollbacking, protocol.StatusAsyncCommitting},
			{protocol.StatusCommitting, protocol.StatusRollbacking, protocol.StatusCommitting},
			{protocol.StatusRollbacking, protocol.StatusRollbackRetrying, protocol.StatusRollbackRetrying},
			{protocol.StatusCommitting, protocol.StatusCommitRetrying, protocol.StatusCommitRetrying},
			{protocol.StatusBegin, protocol.StatusRollbacking, protocol.StatusRollbacking},
		} {
			state := begin(t, s, int64(1000*(i+1)), fmt.Sprint("t:", i))
			if c.decided != protocol.StatusBegin {
				require.NoError(t, s.Apply(t.Context(), moveTo(&state, c.decided)))
				state = load(t, s, state.XID)
			}
			java.setStatus(state.XID, c.written)
			for range 2 {
				got := load(t, s, state.XID)
				require.Equal(t, c.want, got.Global.Status, "%v", c)
				require.Greater(t, got.Revision, state.Revision)
			}
			require.EqualValues(t, []int64{int64(c.want)}, ids(t, s.db, "SELECT status FROM global_table WHERE xid='"+state.XID+"'"), "%v", c)
		}
		saga := begin(t, s, 9000, "t:9")
		g := saga.Global
		g.Name, g.Status = "$Saga_order", protocol.StatusCommitRetrying
		require.NoError(t, s.Apply(t.Context(), &storage.Batch{XID: saga.XID, Revision: saga.Revision, Global: &g, Remove: []int64{9001}}))
		java.setStatus(saga.XID, protocol.StatusRollbackRetrying)
		now := load(t, s, saga.XID)
		require.Equal(t, protocol.StatusRollbackRetrying, now.Global.Status, "its client may turn it round")
	})
}

// A transaction that this program decided and Java finished answers with its outcome;
// one that Java decided is unknown, as it is to Java. Nothing of them is left.
func TestWhatJavaFinishedAndRemovedAnswers(t *testing.T) {
	onEach(t, func(t *testing.T, cfg Config) {
		s := open(t, cfg)
		java := asJava{t, s}
		xids := make(map[string]protocol.GlobalStatus)
		for i, c := range []struct{ decided, outcome protocol.GlobalStatus }{
			{protocol.StatusAsyncCommitting, protocol.StatusCommitted},
			{protocol.StatusRollbackRetrying, protocol.StatusRollbacked},
			{protocol.StatusTimeoutRollbacking, protocol.StatusTimeoutRollbacked},
			{protocol.StatusBegin, protocol.StatusUnKnown},
		} {
			state := begin(t, s, int64(1000*(i+1)), fmt.Sprint("t:", i))
			require.NoError(t, s.Apply(t.Context(), moveTo(&state, c.decided)))
			java.remove(state.XID)
			xids[state.XID] = c.outcome
		}
		check := func() {
			for x, want := range xids {
				got := load(t, s, x)
				require.Equal(t, want, got.Outcome)
				require.Equal(t, want != protocol.StatusUnKnown, got.Exists())
				require.ErrorIs(t, s.Apply(t.Context(), &storage.Batch{XID: x, Revision: 2, UnlockAll: true}), storage.ErrMoved)
			}
		}
		check()
		require.NoError(t, s.reap(t.Context()))
		check()
		require.Empty(t, ids(t, s.db, "SELECT transaction_id FROM qiao_global"))
		require.Empty(t, ids(t, s.db, "SELECT branch_id FROM qiao_branch"))
		require.EqualValues(t, 3, s.Stats().Tombstones)
	})
}

// A branch that Java registers after the end of its transaction is told to do as the
// others did: the transaction comes back as it was decided.
func TestALateBranchComesBack(t *testing.T) {
	onEach(t, func(t *testing.T, cfg Config) {
		s := open(t, cfg)
		java := asJava{t, s}
		finish := func(id int64, outcome protocol.GlobalStatus) storage.State {
			state := begin(t, s, id, fmt.Sprint("t:", id))
			require.NoError(t, s.Apply(t.Context(), &storage.Batch{XID: state.XID, Revision: state.Revision, Finish: &storage.Tombstone{Outcome: outcome, ExpiresAt: 1 << 60}}))
			return state
		}
		back, committed, confirmed, unknown := finish(1000, protocol.StatusRollbacked), finish(2000, protocol.StatusCommitted),
			finish(3000, protocol.StatusCommitted), xid.New(javaAddress, 4000)
		java.register(back.XID, 1005, "AT", "t:1000")
		java.register(committed.XID, 2005, "AT", "t:2000")
		java.register(confirmed.XID, 3005, "TCC")
		java.register(unknown, 4005, "AT", "t:4000")
		java.exec("UPDATE branch_table SET gmt_create=" + fmt.Sprintf(s.dialect.ago, 5))
		for range 2 {
			require.NoError(t, s.reap(t.Context()))
		}
		require.NoError(t, s.revive(t.Context(), []late{{xid: back.XID, id: 1000, branch: 1005, outcome: protocol.StatusRollbacked}}),
			"another node was faster")
		for x, want := range map[string]protocol.GlobalStatus{
			back.XID: protocol.StatusRollbackRetrying, committed.XID: protocol.StatusAsyncCommitting, confirmed.XID: protocol.StatusCommitRetrying,
		} {
			got := load(t, s, x)
			require.Equal(t, want, got.Global.Status)
			require.Len(t, got.Branches, 1)
			require.Contains(t, due(t, s, time.Now()), x)
		}
		require.Equal(t, back.XID, java.holder("t:1000"), "until it is rolled back")
		state := load(t, s, back.XID)
		require.NoError(t, s.Apply(t.Context(), &storage.Batch{XID: state.XID, Revision: state.Revision, Remove: []int64{1005},
			Finish: &storage.Tombstone{Outcome: protocol.StatusRollbacked, ExpiresAt: 1 << 60}}))
		require.Empty(t, java.holder("t:1000"))
		gone := load(t, s, unknown)
		require.False(t, gone.Exists())
		require.Equal(t, unknown, java.holder("t:4000"), "how it ended is not known")

		// A lock without a branch goes when the branch has not come for a while.
		java.lock(xid.New(javaAddress, 5000), 5005, "t:5000", "t:5001")
		java.exec("UPDATE lock_table SET gmt_create=" + fmt.Sprintf(s.dialect.ago, lostLock+5) + " WHERE pk='5000'")
		require.NoError(t, s.reap(t.Context()))
		require.Empty(t, java.holder("t:5000"))
		require.NotEmpty(t, java.holder("t:5001"))
	})
}

// acquire and release are what a Java coordinator does about once a second for each
// kind of work.
func (j asJava) acquire(w work) bool {
	j.t.Helper()
	tx, err := j.s.db.BeginTx(j.t.Context(), nil)
	require.NoError(j.t, err)
	defer func() { _ = tx.Rollback() }()
	var expire int64
	err = tx.QueryRowContext(j.t.Context(), j.statement("SELECT expire FROM distributed_lock WHERE lock_key=? FOR UPDATE", string(w)).text.String()).Scan(&expire)
	if err == nil && expire >= time.Now().UnixMilli() {
		return false
	}
	statement := "INSERT INTO distributed_lock (lock_value,expire,lock_key) VALUES (?,?,?)"
	if err == nil {
		statement = "UPDATE distributed_lock SET lock_value=?, expire=? WHERE lock_key=?"
	}
	_, err = j.statement(statement, javaAddress, time.Now().Add(10*time.Second).UnixMilli(), string(w)).exec(j.t.Context(), tx)
	require.NoError(j.t, err)
	require.NoError(j.t, tx.Commit())
	return true
}

func (j asJava) release(w work) {
	j.exec("UPDATE distributed_lock SET lock_value=' ', expire=0 WHERE lock_key=?", string(w))
}

func (j asJava) present() bool {
	j.t.Helper()
	_, err := j.s.node.java.look(j.t.Context(), false)
	require.NoError(j.t, err)
	return j.s.node.java.present()
}

// quiet opens a store that does not watch by itself.
func quiet(t *testing.T, cfg Config) *Store {
	t.Helper()
	cfg.Lease, cfg.watch = time.Hour, time.Hour
	return open(t, cfg)
}

// Work that is due is done by one side at a time: what Java does now is not listed
// here, and what is listed Java cannot take. All nodes know of Java what one knows.
func TestWorkIsSharedWithJava(t *testing.T) {
	onEach(t, func(t *testing.T, cfg Config) {
		s, other := quiet(t, cfg), quiet(t, cfg)
		java, ofOther := asJava{t, s}, asJava{t, other}
		require.NoError(t, s.node.look(t.Context()))
		require.False(t, java.present())
		now := time.Now()
		decided := java.begin(1000, now.Add(-time.Minute), time.Hour)
		java.setStatus(decided, protocol.StatusAsyncCommitting)
		mine := func() []string { return append(due(t, s, now), due(t, other, now)...) }
		require.Equal(t, []string{decided}, mine())

		require.True(t, java.acquire(committed))
		require.True(t, java.present())
		require.True(t, ofOther.present())
		require.Empty(t, mine(), "Java is at it")
		java.release(committed)
		require.True(t, java.present(), "it was there a moment ago")
		require.True(t, ofOther.present())
		require.Equal(t, []string{decided}, mine())
		require.False(t, java.acquire(committed), "this program is at it")
		require.True(t, java.acquire(rollingBack), "which is other work")
		java.release(rollingBack)

		// A time-out waits for a commit that Java may be in the middle of.
		late := java.begin(2000, now.Add(-time.Second), 0)
		require.NotContains(t, mine(), late)
		java.exec("UPDATE global_table SET begin_time=? WHERE xid=?", now.Add(-grace).UnixMilli(), late)
		require.Contains(t, mine(), late)
		require.False(t, java.acquire(timeOuts))
		require.False(t, java.acquire(rollingBack), "the rollback follows")

		// What Java is committing or rolling back on a request is left to it.
		for i, status := range []protocol.GlobalStatus{protocol.StatusCommitting, protocol.StatusRollbacking} {
			x := java.begin(int64(3000+i), now.Add(-time.Minute), time.Hour)
			java.setStatus(x, status)
			java.exec("UPDATE global_table SET gmt_modified="+fmt.Sprintf(s.dialect.ago, 60)+" WHERE xid=?", x)
			require.NotContains(t, mine(), x)
			load(t, s, x) // as a client's question does
			require.NotContains(t, mine(), x)
			java.exec("UPDATE global_table SET begin_time=? WHERE xid=?", now.Add(-javaDead).UnixMilli(), x)
			require.Contains(t, mine(), x)
			java.remove(x)
		}

		// Java gets its turns, but never at time-outs.
		for _, node := range []*Store{s, other} {
			node.node.java.mu.Lock()
			for _, w := range node.node.java.taken {
				w.since = now.Add(-time.Minute)
			}
			node.node.java.mu.Unlock()
			require.NoError(t, node.node.java.keep(t.Context()))
		}
		require.True(t, java.acquire(committed))
		require.False(t, java.acquire(timeOuts))
		java.release(committed)
		require.NotContains(t, mine(), decided, "it rests")

	})
}

// A Java coordinator is forgotten when it has left no trace for a while; then all work
// is this program's, and nothing is taken.
func TestAJavaCoordinatorIsForgotten(t *testing.T) {
	onEach(t, func(t *testing.T, cfg Config) {
		s := quiet(t, cfg)
		java := asJava{t, s}
		now := time.Now()
		decided := java.begin(1000, now.Add(-time.Minute), time.Hour)
		java.setStatus(decided, protocol.StatusAsyncCommitting)
		require.True(t, java.acquire(committed))
		java.release(committed)
		require.True(t, java.present())
		require.NoError(t, s.node.java.keep(t.Context()))
		require.False(t, java.acquire(timeOuts))
		require.Equal(t, []string{decided}, due(t, s, now))
		s.node.java.mu.Lock()
		s.node.java.seen = now.Add(-2 * javaMemory)
		for _, w := range s.node.java.taken {
			w.used = now.Add(-time.Minute)
		}
		s.node.java.mu.Unlock()
		require.NoError(t, s.node.java.keep(t.Context()))
		require.False(t, java.present())
		require.Equal(t, []string{decided}, due(t, s, now))
		for _, w := range works {
			require.True(t, java.acquire(w), "nothing is taken any more")
		}
	})
}

// A node that dies with work taken does not keep Java from it.
func TestADeadNodesWorkIsFree(t *testing.T) {
	onEach(t, func(t *testing.T, cfg Config) {
		s := quiet(t, cfg)
		java := asJava{t, s}
		require.True(t, java.acquire(committed))
		java.release(committed)
		require.True(t, java.present())
		taken, err := s.node.java.use(t.Context(), committed)
		require.NoError(t, err)
		require.True(t, taken)
		require.NoError(t, s.Close())
		again := quiet(t, cfg)
		require.True(t, asJava{t, again}.acquire(committed), "given back")
		java.s = again
		java.release(committed)
		require.True(t, java.present())
		_, err = again.node.java.use(t.Context(), committed)
		require.NoError(t, err)
		java.exec("UPDATE distributed_lock SET expire=1") // its time is over
		require.True(t, java.acquire(committed))
	})
}

// A Java coordinator takes a worker id without asking. The node that has it takes
// another, and keeps its lease.
func TestAWorkerIDThatJavaHasIsGivenUp(t *testing.T) {
	onEach(t, func(t *testing.T, cfg Config) {
		cfg.Address = "10.0.0.1:8091"
		s := quiet(t, cfg)
		java := asJava{t, s}
		mine := int64(s.WorkerID())<<storage.SequenceBits + 500
		begin(t, s, mine, "t:1") // its XID has this node's address
		require.NoError(t, s.node.clear(t.Context()))
		require.EqualValues(t, mine>>storage.SequenceBits, s.WorkerID())
		java.begin(mine+100, time.Now(), time.Minute)
		require.NoError(t, s.node.clear(t.Context()))
		second := int64(s.WorkerID())
		require.NotEqual(t, mine>>storage.SequenceBits, second)
		require.NoError(t, s.node.renew(t.Context()))
		require.Equal(t, []int64{second}, ids(t, s.db, "SELECT worker FROM qiao_node"))

		java.register(xid.New("10.0.0.1:8091", mine), second<<storage.SequenceBits+7, "TCC")
		require.NoError(t, s.node.clear(t.Context()))
		require.NotEqual(t, second, int64(s.WorkerID()))
	})
}
