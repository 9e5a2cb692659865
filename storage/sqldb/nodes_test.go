package sqldb

import (
	"context"
	"database/sql"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/qiao-tx/qiao/internal/testenv"
	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/xid"
	"github.com/qiao-tx/qiao/storage"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// onEach runs the test on an empty database of every kind.
func onEach(t *testing.T, test func(t *testing.T, cfg Config)) {
	for name, db := range databases {
		t.Run(name, func(t *testing.T) {
			test(t, Config{Type: db.kind, DSN: db.dsn(t), CreateTables: true, Lease: time.Second})
		})
	}
}

func open(t *testing.T, cfg Config) *Store {
	t.Helper()
	s, err := Open(t.Context(), cfg)
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// begin applies a new transaction with one branch that locks a row.
func begin(t *testing.T, s *Store, id int64, row string) storage.State {
	t.Helper()
	b := &storage.Batch{XID: xid.New("10.0.0.1:8091", id), At: 1, Global: &storage.Global{
		ID: id, Status: protocol.StatusBegin, ApplicationID: "orders", Group: "g", Name: "n", BeganAt: 1, TimeoutMillis: 1000, DueAt: 1001,
	}, Add: []storage.Branch{{
		ID: id + 1, Type: protocol.TypeAT, Status: protocol.BranchRegistered, ResourceID: "db", ClientID: "orders:10.0.0.9:1",
		LockKey: row, Locked: true, RegisteredAt: 1,
	}}}
	require.NoError(t, s.Apply(t.Context(), b))
	state, err := s.Load(t.Context(), b.XID)
	require.NoError(t, err)
	return state
}

// Nodes on one database have worker ids of their own, see each other's locks, and
// share what is due; what a dead one had is another's when its lease has ended.
func TestNodesShareADatabase(t *testing.T) {
	onEach(t, func(t *testing.T, cfg Config) {
		one, two := open(t, cfg), open(t, cfg)
		require.NotEqual(t, one.WorkerID(), two.WorkerID())
		require.NoError(t, one.node.look(t.Context())) // sooner than by itself
		var all []string
		for i := range 40 {
			row := "t:" + string(rune('A'+i))
			s := begin(t, one, int64(100+10*i), row)
			all = append(all, s.XID)
			var held *storage.LockHeld
			require.ErrorAs(t, two.CheckLocks(t.Context(), "", []storage.RowKey{storage.NewRowKey("db", "t", row[2:])}), &held)
			require.Equal(t, s.XID, held.Holder.XID)
		}
		due := func(s *Store) []string {
			xids, err := s.Due(t.Context(), 2000, 100)
			require.NoError(t, err)
			return xids
		}
		ofOne, ofTwo := due(one), due(two)
		require.NotEmpty(t, ofOne)
		require.NotEmpty(t, ofTwo)
		require.ElementsMatch(t, all, append(ofOne, ofTwo...))

		kill(t, two)
		require.Eventually(t, func() bool { return len(due(one)) == len(all) }, 20*time.Second, 20*time.Millisecond)
	})
}

// kill ends a node without its giving anything back.
func kill(t *testing.T, s *Store) {
	t.Helper()
	s.node.mu.Lock()
	s.node.token = "another" // so that it gives back nothing
	s.node.mu.Unlock()
	require.NoError(t, s.Close())
}

// A node whose lease another one took, or whose database was away for too long,
// writes nothing more and says so.
func TestALostLeaseEndsTheNode(t *testing.T) {
	onEach(t, func(t *testing.T, cfg Config) {
		s := open(t, cfg)
		state := begin(t, s, 100, "t:1")
		_, err := s.db.ExecContext(t.Context(), "UPDATE qiao_node SET token='another'")
		require.NoError(t, err)
		select {
		case <-s.Failed():
		case <-time.After(20 * time.Second):
			require.Fail(t, "it did not notice")
		}
		require.ErrorIs(t, s.Err(), ErrLeaseLost)
		err = s.Apply(t.Context(), &storage.Batch{XID: state.XID, Revision: 1, UnlockAll: true})
		require.ErrorIs(t, err, storage.ErrUnavailable)
		require.ErrorIs(t, err, ErrLeaseLost)
	})
}

// What a Java coordinator writes into the stock tables moves the transaction: a
// Batch from before is refused, and what follows is decided on what is true.
func TestWhatAnotherProgramWritesIsNoticed(t *testing.T) {
	onEach(t, func(t *testing.T, cfg Config) {
		s := open(t, cfg)
		state := begin(t, s, 100, "t:1")
		write := func(statement string) {
			_, err := s.db.ExecContext(t.Context(), statement)
			require.NoError(t, err)
		}
		load := func() storage.State {
			now, err := s.Load(t.Context(), state.XID)
			require.NoError(t, err)
			return now
		}
		decided := func(revision uint64) error {
			global := state.Global
			global.Status = protocol.StatusAsyncCommitting
			return s.Apply(t.Context(), &storage.Batch{XID: state.XID, Revision: revision, Global: &global, UnlockAll: true})
		}
		write("UPDATE global_table SET status=4")
		require.ErrorIs(t, decided(state.Revision), storage.ErrMoved)
		rolling := load()
		require.Equal(t, protocol.StatusRollbacking, rolling.Global.Status)
		require.Equal(t, rolling, load(), "noticed once")

		write("UPDATE branch_table SET status=8")
		require.ErrorIs(t, decided(rolling.Revision), storage.ErrMoved)
		write("INSERT INTO branch_table (branch_id,xid,transaction_id,resource_id,branch_type,status,client_id) VALUES (500,'" +
			state.XID + "',100,'db','TCC',1,'java:10.0.0.7:1')")
		after := load()
		require.Len(t, after.Branches, 2)
		require.Equal(t, protocol.BranchPhaseTwoRollbacked, after.Branch(101).Status)
		require.Equal(t, protocol.TypeTCC, after.Branch(500).Type)

		write("INSERT INTO branch_table (branch_id,xid,transaction_id,resource_id,branch_type,status,client_id) VALUES (501,'" +
			state.XID + "',100,'db','TCC',1,'java:10.0.0.7:1')")
		finish := &storage.Batch{XID: state.XID, Revision: after.Revision, Finish: &storage.Tombstone{Outcome: protocol.StatusRollbacked, ExpiresAt: 99}}
		require.ErrorIs(t, s.Apply(t.Context(), finish), storage.ErrMoved, "with a branch that it does not know")
		finish.Revision = load().Revision
		require.NoError(t, s.Apply(t.Context(), finish))
		require.Equal(t, storage.Stats{Tombstones: 1, Batches: 2, Entries: 2}, s.Stats())
	})
}

// A text that a column does not take is refused with the column's name, and a
// database without the tables with the table's.
func TestTablesAreChecked(t *testing.T) {
	onEach(t, func(t *testing.T, cfg Config) {
		missing := cfg
		missing.CreateTables = false
		_, err := Open(t.Context(), missing)
		require.ErrorIs(t, err, ErrConfig)
		require.ErrorContains(t, err, "global_table")
		require.ErrorContains(t, err, "script/server/db/")

		s := open(t, cfg)
		state := begin(t, s, 100, "t:1")
		long := storage.Branch{ID: 200, Type: protocol.TypeAT, ResourceID: "db", LockKey: "t:" + strings.Repeat("桥", 513), Locked: true}
		err = s.Apply(t.Context(), &storage.Batch{XID: state.XID, Revision: 1, Add: []storage.Branch{long}})
		require.ErrorIs(t, err, ErrTooLong)
		require.ErrorContains(t, err, "lock_table.pk takes 512 characters")
		long.LockKey = "t:" + strings.Repeat("桥", 512)
		require.NoError(t, s.Apply(t.Context(), &storage.Batch{XID: state.XID, Revision: 1, Add: []storage.Branch{long}}))
		second := open(t, cfg)
		got, err := second.Load(t.Context(), state.XID)
		require.NoError(t, err)
		require.Equal(t, long.LockKey, got.Branch(200).LockKey)
	})
}

// Rows that differ in case, or in spaces at the end, are different rows.
func TestRowsAreComparedByTheByte(t *testing.T) {
	onEach(t, func(t *testing.T, cfg Config) {
		s := open(t, cfg)
		for i, row := range []string{"t:a", "t:A", "t:á", "T:a"} {
			begin(t, s, int64(100+10*i), row)
		}
		require.EqualValues(t, 4, s.Stats().Locks)
	})
}

// A Java coordinator orders branches by gmt_create: it ascends even when the clock
// does not.
func TestCreationAscends(t *testing.T) {
	onEach(t, func(t *testing.T, cfg Config) {
		s := open(t, cfg)
		state := begin(t, s, 100, "t:1")
		for i := range 3 {
			b := storage.Branch{ID: int64(300 - i), Type: protocol.TypeTCC, ResourceID: "credit", RegisteredAt: int64(1000 - i)}
			require.NoError(t, s.Apply(t.Context(), &storage.Batch{XID: state.XID, Revision: uint64(i + 1), Add: []storage.Branch{b}}))
		}
		require.Equal(t, []int64{101, 300, 299, 298}, ids(t, s.db, "SELECT branch_id FROM branch_table ORDER BY gmt_create"))
		now, err := s.Load(t.Context(), state.XID)
		require.NoError(t, err)
		require.EqualValues(t, 298, now.Branches[3].ID)
	})
}

func ids(t *testing.T, db *sql.DB, statement string) []int64 {
	t.Helper()
	var list []int64
	rows, err := db.QueryContext(context.Background(), statement)
	require.NoError(t, err)
	defer rows.Close()
	for rows.Next() {
		var id int64
		require.NoError(t, rows.Scan(&id))
		list = append(list, id)
	}
	require.NoError(t, rows.Err())
	return list
}

// While a database takes no writes nothing is written, and when it takes them again
// the store goes on.
func TestADatabaseThatIsReadOnly(t *testing.T) {
	s := open(t, Config{Type: "postgresql", DSN: testenv.PostgreSQL(t), CreateTables: true, Lease: time.Minute})
	conn, err := s.db.Conn(t.Context())
	require.NoError(t, err)
	defer conn.Close()
	var name string
	require.NoError(t, conn.QueryRowContext(t.Context(), "SELECT current_database()").Scan(&name))
	readOnly := func(value string) {
		_, err := conn.ExecContext(t.Context(), "ALTER DATABASE "+name+" SET default_transaction_read_only="+value)
		require.NoError(t, err)
	}
	readOnly("on")
	s.forgetConnections() // the next ones are read-only
	b := &storage.Batch{XID: xid.New("10.0.0.1:8091", 200), Global: &storage.Global{ID: 200, Status: protocol.StatusBegin, BeganAt: 1, TimeoutMillis: 1}}
	require.ErrorIs(t, s.Apply(t.Context(), b), storage.ErrUnavailable)
	readOnly("off")
	require.NoError(t, s.Apply(t.Context(), b), "on a new connection")
}
