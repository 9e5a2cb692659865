package meta_test

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/datasource/meta"
	"github.com/qiao-tx/qiao/datasource/schema"
)

func TestSQLiteColumns(t *testing.T) {
	db := openSQLite(t, `CREATE TABLE Orders (id INTEGER PRIMARY KEY, name VARCHAR(20) NOT NULL, price DECIMAL(10,2), ratio REAL,
		body BLOB, anything, made DATETIME, twice INT AS (id * 2) STORED, half INT AS (id / 2))`)
	table, err := meta.New(schema.SQLite).Table(t.Context(), db, "", "orders")
	require.NoError(t, err)
	assert.Equal(t, &schema.Table{
		Name: "Orders",
		Columns: []schema.Column{
			{Name: "id", JDBCType: -5, DatabaseType: "integer", AutoIncrement: true},
			{Name: "name", JDBCType: 12, DatabaseType: "varchar(20)"},
			{Name: "price", JDBCType: 3, DatabaseType: "decimal(10,2)", Nullable: true},
			{Name: "ratio", JDBCType: 8, DatabaseType: "real", Nullable: true},
			{Name: "body", JDBCType: -4, DatabaseType: "blob", Nullable: true},
			{Name: "anything", JDBCType: -4, Nullable: true},
			{Name: "made", JDBCType: 3, DatabaseType: "datetime", Nullable: true},
			{Name: "twice", JDBCType: -5, DatabaseType: "int", Nullable: true, Generated: true, Hidden: true},
			{Name: "half", JDBCType: -5, DatabaseType: "int", Nullable: true, Generated: true, Hidden: true},
		},
		PrimaryKey: []string{"id"},
	}, table)
	// SQLite itself agrees about what an INSERT without a column list fills.
	_, err = db.Exec("INSERT INTO orders VALUES (NULL, 'x', 1, 1, 1, 1, 1)")
	require.NoError(t, err)
	assert.Len(t, table.InsertColumns(), 7)
}

func TestSQLiteKeys(t *testing.T) {
	db := openSQLite(t,
		"CREATE TABLE rowid_alias (id INTEGER PRIMARY KEY)",
		"CREATE TABLE counted (id INTEGER PRIMARY KEY AUTOINCREMENT)",
		"CREATE TABLE plain_int (id INT PRIMARY KEY)",
		"CREATE TABLE descending (id INTEGER PRIMARY KEY DESC)",
		"CREATE TABLE nocase (k TEXT COLLATE NOCASE PRIMARY KEY)",
		"CREATE TABLE pair (x TEXT, b INT, a TEXT COLLATE NOCASE, PRIMARY KEY (a, b))",
		"CREATE TABLE rowidless (id INTEGER, k TEXT, PRIMARY KEY (k, id)) WITHOUT ROWID",
		"CREATE TABLE rowidless_int (id INTEGER PRIMARY KEY) WITHOUT ROWID",
	)
	tests := map[string]struct {
		key             []string
		auto            bool
		nullable        []string
		caseInsensitive []string
	}{
		"rowid_alias":   {key: []string{"id"}, auto: true},
		"counted":       {key: []string{"id"}, auto: true},
		"plain_int":     {key: []string{"id"}, nullable: []string{"id"}},
		"descending":    {key: []string{"id"}, nullable: []string{"id"}},
		"nocase":        {key: []string{"k"}, nullable: []string{"k"}, caseInsensitive: []string{"k"}},
		"pair":          {key: []string{"a", "b"}, nullable: []string{"b", "a"}, caseInsensitive: []string{"a"}},
		"rowidless":     {key: []string{"k", "id"}},
		"rowidless_int": {key: []string{"id"}},
	}
	cache := meta.New(schema.SQLite)
	for name, want := range tests {
		t.Run(name, func(t *testing.T) {
			table, err := cache.Table(t.Context(), db, "main", name)
			require.NoError(t, err)
			assert.Equal(t, want.key, table.PrimaryKey)
			var nullable, caseInsensitive []string
			for _, c := range table.Columns {
				if !table.IsKey(c.Name) {
					continue
				}
				assert.Equal(t, want.auto, c.AutoIncrement)
				if c.Nullable {
					nullable = append(nullable, c.Name)
				}
				if c.CaseInsensitive {
					caseInsensitive = append(caseInsensitive, c.Name)
				}
			}
			assert.Equal(t, want.nullable, nullable)
			assert.Equal(t, want.caseInsensitive, caseInsensitive)
		})
	}
}

func TestSQLiteRefusals(t *testing.T) {
	db := openSQLite(t,
		"CREATE TABLE bare (id INT, UNIQUE (id))",
		"CREATE TABLE t (id INT PRIMARY KEY)",
		"CREATE TABLE shadowed (id INT PRIMARY KEY)",
		"CREATE VIEW v AS SELECT id FROM t",
		"CREATE VIRTUAL TABLE search USING fts5(body)")
	db.SetMaxOpenConns(1) // temporary and attached tables belong to the connection
	for _, statement := range []string{
		"CREATE TEMP TABLE shadowed (id INT PRIMARY KEY)",
		"ATTACH '" + filepath.Join(t.TempDir(), "second.db") + "' AS second",
		"CREATE TABLE second.far (id INT PRIMARY KEY)",
	} {
		_, err := db.Exec(statement)
		require.NoError(t, err)
	}
	cache := meta.New(schema.SQLite)
	for name, want := range map[string]error{
		"bare": meta.ErrNoPrimaryKey, "v": meta.ErrNotATable, "search": meta.ErrNotATable, "absent": meta.ErrNoTable,
		"shadowed": meta.ErrNotATable, "far": meta.ErrNotATable,
	} {
		_, err := cache.Table(t.Context(), db, "", name)
		require.ErrorIs(t, err, want)
		assert.ErrorContains(t, err, "table "+name+":")
	}
	_, err := cache.Table(t.Context(), db, "main", "shadowed")
	assert.NoError(t, err, "the table behind the temporary one can be named")
}
