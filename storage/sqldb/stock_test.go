package sqldb

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/internal/testenv"
	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/xid"
	"github.com/qiao-tx/qiao/storage"
	"github.com/qiao-tx/qiao/storage/storetest"
)

// narrow makes of our own tables what Seata's script makes: its widths and, in
// MySQL, the collation of the database. Java's are those of 1.8.0 and 2.x.
func narrow(t *testing.T, cfg Config) {
	t.Helper()
	s := open(t, cfg)
	for _, c := range []struct {
		table, column string
		characters    int
		must          string
	}{
		{"global_table", "application_id", 32, ""}, {"global_table", "transaction_service_group", 32, ""},
		{"branch_table", "branch_type", 8, ""}, {"branch_table", "client_id", 64, ""},
		{"lock_table", "row_key", 128, " NOT NULL"}, {"lock_table", "table_name", 32, ""}, {"lock_table", "pk", 36, ""},
	} {
		statement := fmt.Sprintf("ALTER TABLE %s MODIFY %s VARCHAR(%d)%s", c.table, c.column, c.characters, c.must)
		if s.dialect == postgresqlDialect {
			statement = fmt.Sprintf("ALTER TABLE %s ALTER %s TYPE VARCHAR(%d)", c.table, c.column, c.characters)
		}
		_, err := s.db.ExecContext(t.Context(), statement)
		require.NoError(t, err)
	}
	if s.dialect == postgresqlDialect {
		_, err := s.db.ExecContext(t.Context(), "ALTER TABLE branch_table ALTER gmt_create TYPE TIMESTAMP(0)")
		require.NoError(t, err)
	}
	require.NoError(t, s.Close())
}

// Branches keep their order where the column of their moment knows seconds only.
func TestTheOrderOfBranchesOnSeatasOwnTables(t *testing.T) {
	onEach(t, func(t *testing.T, cfg Config) {
		narrow(t, cfg)
		s := open(t, cfg)
		state := begin(t, s, 100, "t:1")
		want := []int64{101, 300, 299, 298}
		for i, id := range want[1:] {
			require.NoError(t, s.Apply(t.Context(), &storage.Batch{XID: state.XID, Revision: uint64(1 + i),
				Add: []storage.Branch{{ID: id, Type: protocol.TypeTCC, ResourceID: "credit", RegisteredAt: 1}}}))
		}
		got, err := s.Load(t.Context(), state.XID)
		require.NoError(t, err)
		for i, b := range got.Branches {
			require.Equal(t, want[i], b.ID, "branch %d", i)
		}
	})
}

// On Seata's tables everything works that fits them; what does not is refused with
// the column's name, and nothing is written.
func TestSeatasOwnTables(t *testing.T) {
	onEach(t, func(t *testing.T, cfg Config) {
		narrow(t, cfg)
		s := open(t, cfg)
		state := begin(t, s, 100, "t:1")
		for column, b := range map[string]storage.Branch{
			"lock_table.pk takes 36":           {ID: 200, Type: protocol.TypeAT, ResourceID: "db", LockKey: "t:1234567890123456789012345678901234567", Locked: true},
			"lock_table.table_name takes 32":   {ID: 200, Type: protocol.TypeAT, ResourceID: "db", LockKey: "t12345678901234567890123456789012:1", Locked: true},
			"lock_table.row_key takes 128":     {ID: 200, Type: protocol.TypeAT, ResourceID: fmt.Sprintf("%0120d", 1), LockKey: "table:1", Locked: true},
			"branch_table.client_id takes 64":  {ID: 200, Type: protocol.TypeAT, ResourceID: "db", ClientID: fmt.Sprintf("%065d", 1)},
			"branch_table.branch_type takes 8": {ID: 200, Type: protocol.TypeSagaAnnotation, ResourceID: "db"},
		} {
			err := s.Apply(t.Context(), &storage.Batch{XID: state.XID, Revision: 1, Add: []storage.Branch{b}})
			require.ErrorIs(t, err, ErrTooLong)
			require.ErrorContains(t, err, column)
		}
		same, err := s.Load(t.Context(), state.XID)
		require.NoError(t, err)
		require.Equal(t, state, same)
		require.Equal(t, s.dialect == mysqlDialect, s.Warning() != "")
	})
}

// On a column that takes 'A' and 'a' for one row the store is as any other, but for
// the conflict between the two.
func TestConformanceWhereCaseDoesNotCount(t *testing.T) {
	for name, db := range databases {
		if db.kind == "postgresql" {
			continue // it compares texts by the byte
		}
		t.Run(name, func(t *testing.T) {
			cfg := Config{Type: db.kind, DSN: db.dsn(t), CreateTables: true}
			s := open(t, cfg)
			_, err := s.db.ExecContext(t.Context(), "ALTER TABLE lock_table MODIFY row_key VARCHAR(768) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci NOT NULL")
			require.NoError(t, err)
			require.NoError(t, s.Close())
			storetest.Run(t, func(t *testing.T) storetest.Factory {
				empty(t, cfg)
				return storetest.Factory{Durable: true, Open: func(t *testing.T) storage.Store { return open(t, cfg) }}
			})
		})
	}
}

// Rows that the database takes for one exclude each other, within a group as well,
// belong to one transaction at a time, and are free when its last branch lets go.
func TestRowsThatTheDatabaseTakesForOne(t *testing.T) {
	for name, kind := range map[string]struct {
		db, collation string
		alike         []string
	}{
		"MariaDB/general_ci": {"MariaDB", "utf8mb4_general_ci", []string{"t:a", "t:A", "t:á", "T:a", "t:a "}},
		"MariaDB/unicode_ci": {"MariaDB", "utf8mb4_unicode_ci", []string{"t:ß", "t:ss", "t:SS ", "T:sS"}},
		"MariaDB/bin":        {"MariaDB", "utf8mb4_bin", []string{"t:a", "t:a ", "t:a  "}},
		"MySQL/0900_ai_ci":   {"MySQL", "utf8mb4_0900_ai_ci", []string{"t:a", "t:A", "t:á", "T:a"}},
		"MySQL/general_ci":   {"MySQL", "utf8mb4_general_ci", []string{"t:a", "t:A", "t:á", "T:a", "t:a "}},
	} {
		t.Run(name, func(t *testing.T) {
			db := databases[kind.db]
			cfg := Config{Type: db.kind, DSN: db.dsn(t), CreateTables: true, Lease: time.Second}
			s := open(t, cfg)
			_, err := s.db.ExecContext(t.Context(), "ALTER TABLE lock_table MODIFY row_key VARCHAR(128) CHARACTER SET utf8mb4 COLLATE "+kind.collation+" NOT NULL")
			require.NoError(t, err)
			require.NoError(t, s.Close())
			oneHolderOfAll(t, open(t, cfg), kind.alike)
		})
	}
}

func oneHolderOfAll(t *testing.T, s *Store, alike []string) {
	t.Helper()
	for round := range 5 {
		results := make([]error, len(alike))
		var all sync.WaitGroup
		for i, row := range alike { // together: some share a group
			all.Go(func() { results[i] = s.Apply(t.Context(), locking(int64(1000*(round+1)+10*i), row)) })
		}
		all.Wait()
		holder := ""
		for i, err := range results {
			if err == nil {
				require.Empty(t, holder, "two hold one row")
				holder = locking(int64(1000*(round+1)+10*i), "").XID
				continue
			}
			var held *storage.LockHeld
			require.ErrorAs(t, err, &held)
			_, pk, _ := cut(alike[i])
			require.Contains(t, string(held.Key), pk, "the caller's own row is named")
		}
		require.NotEmpty(t, holder)
		// The same transaction takes all of them, and lets go of them one by one.
		state, err := s.Load(t.Context(), holder)
		require.NoError(t, err)
		ids := []int64{state.Branches[0].ID}
		for i, row := range alike {
			id := int64(1000*(round+1) + 500 + i)
			ids = append(ids, id)
			b := &storage.Batch{XID: holder, Revision: state.Revision, Add: []storage.Branch{{ID: id, Type: protocol.TypeAT, ResourceID: "db", LockKey: row, Locked: true}}}
			require.NoError(t, s.Apply(t.Context(), b))
			state.Revision++
		}
		for i, id := range ids {
			require.EqualValues(t, 1, s.Stats().Locks)
			for _, row := range alike {
				table, pk, _ := cut(row)
				var held *storage.LockHeld
				require.ErrorAs(t, s.CheckLocks(t.Context(), "", []storage.RowKey{storage.NewRowKey("db", table, pk)}), &held, "%d of %d", i, len(ids))
				require.Equal(t, holder, held.Holder.XID)
			}
			require.NoError(t, s.Apply(t.Context(), &storage.Batch{XID: holder, Revision: state.Revision, Unlock: []int64{id}}))
			state.Revision++
		}
		require.Zero(t, s.Stats().Locks)
	}
}

func cut(row string) (table, pk string, ok bool) {
	for i := range row {
		if row[i] == ':' {
			return row[:i], row[i+1:], true
		}
	}
	return row, "", false
}

// locking begins a transaction with a branch that locks the row.
func locking(id int64, row string) *storage.Batch {
	return &storage.Batch{XID: xid.New("10.0.0.1:8091", id), At: 1,
		Global: &storage.Global{ID: id, Status: protocol.StatusBegin, BeganAt: 1, TimeoutMillis: 1000},
		Add:    []storage.Branch{{ID: id + 1, Type: protocol.TypeAT, ResourceID: "db", LockKey: row, Locked: true, RegisteredAt: 1}},
	}
}

// A row longer than a statement may be is refused before anything is written; many
// that are long together are written in several statements.
func TestTheLengthOfStatements(t *testing.T) {
	server, dsn := testenv.OwnMariaDB(t)
	_ = server
	cfg := Config{Type: "mariadb", DSN: dsn, CreateTables: true, Lease: time.Minute}
	first := open(t, cfg)
	_, err := first.db.ExecContext(t.Context(), fmt.Sprintf("SET GLOBAL max_allowed_packet=%d", minPacket))
	require.NoError(t, err)
	require.NoError(t, first.Close())
	s := open(t, cfg)
	state := begin(t, s, 100, "t:1")
	rows := func(from, n int) string {
		key := "t:"
		for i := range n {
			if i > 0 {
				key += ","
			}
			key += fmt.Sprintf("%0100d", from+i)
		}
		return key
	}
	long := storage.Branch{ID: 200, Type: protocol.TypeAT, ResourceID: "db", LockKey: rows(0, 2000), Locked: true}
	err = s.Apply(t.Context(), &storage.Batch{XID: state.XID, Revision: 1, Add: []storage.Branch{long}})
	require.ErrorIs(t, err, ErrTooLong)
	require.ErrorContains(t, err, "max_allowed_packet is")
	b := &storage.Batch{XID: state.XID, Revision: 1}
	for i := range 20 {
		b.Add = append(b.Add, storage.Branch{ID: int64(300 + i), Type: protocol.TypeAT, ResourceID: "db", LockKey: rows(10000*i, 1000), Locked: true})
	}
	require.NoError(t, s.Apply(t.Context(), b))
	require.EqualValues(t, 20001, s.Stats().Locks)
}
