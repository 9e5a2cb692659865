package meta_test

import (
	"database/sql"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/datasource/meta"
	"github.com/qiao-tx/qiao/datasource/schema"
	"github.com/qiao-tx/qiao/internal/testenv"
)

// capturedDDL are the tables that a Java client filled and wrote undo records
// of; capturedTypes are the numbers it wrote for their columns.
var (
	capturedDDL = []string{
		"CREATE TABLE t_user (id BIGINT NOT NULL AUTO_INCREMENT, name VARCHAR(64), age INT, tiny TINYINT, flag TINYINT(1), bits BIT(8), ubig BIGINT UNSIGNED, balance DECIMAL(20,4), score DOUBLE, f FLOAT, birth DATE, tm TIME, dt DATETIME(6), ts TIMESTAMP NULL, bin VARBINARY(32), data BLOB, txt TEXT, js JSON, en ENUM('a','b'), nul VARCHAR(10), PRIMARY KEY(id)) DEFAULT CHARSET=utf8mb4",
		"CREATE TABLE t_multi (k1 VARCHAR(20) NOT NULL, k2 INT NOT NULL, `desc` VARCHAR(50), PRIMARY KEY(k1,k2)) DEFAULT CHARSET=utf8mb4",
	}
	capturedTypes = map[string]map[string]int{
		"t_user": {"id": -5, "name": 12, "age": 4, "tiny": -6, "flag": -7, "bits": -7, "ubig": -5, "balance": 3, "score": 8,
			"f": 7, "birth": 91, "tm": 92, "dt": 93, "ts": 93, "bin": -3, "data": -4, "txt": -1, "js": -1, "en": 1, "nul": 12},
		"t_multi": {"k1": 12, "k2": 4, "desc": 12},
	}
)

// Java compares and restores by these numbers: another one makes a Java
// service of the same resource fail to roll back.
func TestMySQLTypesAreThoseThatJavaWrote(t *testing.T) {
	onMySQL(t, func(t *testing.T, server testenv.MySQLServer) {
		db := openMySQL(t, server, capturedDDL...)
		cache := meta.New(schema.MySQL)
		for name, want := range capturedTypes {
			table, err := cache.Table(t.Context(), db, "", name)
			require.NoError(t, err)
			got := map[string]int{}
			for _, c := range table.Columns {
				got[c.Name] = c.JDBCType
			}
			assert.Equal(t, want, got, name)
		}
	})
}

func TestMySQLTypesBeyondTheCaptures(t *testing.T) {
	onMySQL(t, func(t *testing.T, server testenv.MySQLServer) {
		db := openMySQL(t, server, `CREATE TABLE t (id INT UNSIGNED PRIMARY KEY, utiny TINYINT(1) UNSIGNED, small SMALLINT, medium MEDIUMINT,
		y YEAR, s SET('x','y'), tt TINYTEXT, mt MEDIUMTEXT, lt LONGTEXT, tb TINYBLOB, mb MEDIUMBLOB, lb LONGBLOB, b BINARY(4),
		c CHAR(3), bit1 BIT, g GEOMETRY, p POINT)`)
		table, err := meta.New(schema.MySQL).Table(t.Context(), db, "", "t")
		require.NoError(t, err)
		want := map[string]int{"id": 4, "utiny": -6, "small": 5, "medium": 4, "y": 91, "s": 1, "tt": 12, "mt": -1, "lt": -1,
			"tb": -3, "mb": -4, "lb": -4, "b": -2, "c": 1, "bit1": -7, "g": -2, "p": -2}
		got := map[string]int{}
		for _, c := range table.Columns {
			got[c.Name] = c.JDBCType
		}
		assert.Equal(t, want, got)
	})
}

func TestMySQLColumnProperties(t *testing.T) {
	onMySQL(t, func(t *testing.T, server testenv.MySQLServer) {
		db := openMySQL(t, server, `CREATE TABLE Orders (
		b VARCHAR(10) COLLATE utf8mb4_bin, a VARCHAR(10) COLLATE utf8mb4_general_ci, id INT UNSIGNED AUTO_INCREMENT,
		qty INT NOT NULL DEFAULT (1 + 1), twice INT AS (qty * 2) STORED, half INT AS (qty / 2) VIRTUAL,
		changed TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3) ON UPDATE CURRENT_TIMESTAMP(3),
		PRIMARY KEY (id, a, b), KEY (qty))`)
		table, err := meta.New(schema.MySQL).Table(t.Context(), db, "", "Orders")
		require.NoError(t, err)
		assert.Equal(t, &schema.Table{
			Name: "Orders",
			Columns: []schema.Column{
				{Name: "b", JDBCType: 12, DatabaseType: "varchar(10)"},
				{Name: "a", JDBCType: 12, DatabaseType: "varchar(10)", CaseInsensitive: true},
				{Name: "id", JDBCType: 4, DatabaseType: "int(10) unsigned", AutoIncrement: true},
				{Name: "qty", JDBCType: 4, DatabaseType: "int(11)"},
				{Name: "twice", JDBCType: 4, DatabaseType: "int(11)", Nullable: true, Generated: true},
				{Name: "half", JDBCType: 4, DatabaseType: "int(11)", Nullable: true, Generated: true},
				{Name: "changed", JDBCType: 93, DatabaseType: "timestamp(3)", OnUpdate: true},
			},
			PrimaryKey: []string{"id", "a", "b"},
		}, table)
	})
}

func TestMySQLRefusals(t *testing.T) {
	onMySQL(t, func(t *testing.T, server testenv.MySQLServer) {
		db := openMySQL(t, server,
			"CREATE TABLE bare (id INT, UNIQUE (id))",
			"CREATE TABLE t (id INT PRIMARY KEY)",
			"CREATE VIEW v AS SELECT id FROM t")
		cache := meta.New(schema.MySQL)
		for name, want := range map[string]error{
			"bare": meta.ErrNoPrimaryKey, "v": meta.ErrNotATable, "absent": meta.ErrNoTable,
		} {
			_, err := cache.Table(t.Context(), db, "", name)
			require.ErrorIs(t, err, want)
			assert.ErrorContains(t, err, "table "+name+":")
		}
	})
}

// What only MariaDB has, or has under this name.
func TestMariaDBPeculiarities(t *testing.T) {
	db := open(t, "mysql", testenv.MariaDB(t),
		"CREATE TABLE t (id UUID PRIMARY KEY, secret INT INVISIBLE, seen INT)",
		"CREATE TABLE versioned (id INT PRIMARY KEY) WITH SYSTEM VERSIONING",
		"CREATE SEQUENCE s")
	cache := meta.New(schema.MySQL)
	table, err := cache.Table(t.Context(), db, "", "t")
	require.NoError(t, err)
	assert.Equal(t, []schema.Column{
		{Name: "id", JDBCType: 1111, DatabaseType: "uuid"},
		{Name: "secret", JDBCType: 4, DatabaseType: "int(11)", Nullable: true, Hidden: true},
		{Name: "seen", JDBCType: 4, DatabaseType: "int(11)", Nullable: true},
	}, table.Columns)
	assert.Equal(t, []string{"id", "seen"}, table.InsertColumns())
	_, err = cache.Table(t.Context(), db, "", "versioned")
	assert.NoError(t, err)
	_, err = cache.Table(t.Context(), db, "", "s")
	assert.ErrorIs(t, err, meta.ErrNotATable)
}

// The server of the tests keeps names apart by case: a table in other letters
// is no table, however the catalogue's collation compares.
func TestMySQLTableNamesFollowTheServersCase(t *testing.T) {
	onMySQL(t, func(t *testing.T, server testenv.MySQLServer) {
		db := openMySQL(t, server, "CREATE TABLE Item (id INT PRIMARY KEY)", "CREATE TABLE item (sku INT PRIMARY KEY)", "CREATE TABLE Other (id INT PRIMARY KEY)")
		cache := meta.New(schema.MySQL)
		for name, key := range map[string]string{"Item": "id", "item": "sku"} {
			table, err := cache.Table(t.Context(), db, "", name)
			require.NoError(t, err)
			assert.Equal(t, name, table.Name)
			assert.Equal(t, []string{key}, table.PrimaryKey)
		}
		_, err := cache.Table(t.Context(), db, "", "OTHER")
		assert.ErrorIs(t, err, meta.ErrNoTable)
	})
}

func TestMySQLOtherDatabase(t *testing.T) {
	onMySQL(t, func(t *testing.T, server testenv.MySQLServer) {
		here := openMySQL(t, server, "CREATE TABLE t (a INT PRIMARY KEY)")
		there := openMySQL(t, server, "CREATE TABLE t (b INT PRIMARY KEY)")
		var name string
		require.NoError(t, there.QueryRow("SELECT DATABASE()").Scan(&name))
		cache := meta.New(schema.MySQL)
		local, err := cache.Table(t.Context(), here, "", "t")
		require.NoError(t, err)
		remote, err := cache.Table(t.Context(), here, name, "t")
		require.NoError(t, err)
		assert.Equal(t, []string{"a"}, local.PrimaryKey)
		assert.Equal(t, []string{"b"}, remote.PrimaryKey)
	})
}

// Without arguments in the query the driver speaks the text protocol, where
// every value comes as bytes.
func TestMySQLTextProtocol(t *testing.T) {
	onMySQL(t, func(t *testing.T, server testenv.MySQLServer) {
		dsn := server.Database(t)
		binary := open(t, "mysql", dsn, capturedDDL...)
		text := open(t, "mysql", dsn+"?interpolateParams=true")
		fromBinary, err := meta.New(schema.MySQL).Table(t.Context(), binary, "", "t_user")
		require.NoError(t, err)
		fromText, err := meta.New(schema.MySQL).Table(t.Context(), text, "", "t_user")
		require.NoError(t, err)
		assert.Equal(t, fromBinary, fromText)
	})
}

func TestMySQLLostConnectionIsNotAVerdict(t *testing.T) {
	db, err := sql.Open("mysql", "nobody@tcp(127.0.0.1:1)/none")
	require.NoError(t, err)
	defer db.Close()
	_, err = meta.New(schema.MySQL).Table(t.Context(), pool{db}, "", "t")
	require.Error(t, err)
	assert.NotErrorIs(t, err, meta.ErrNoTable)
	assert.ErrorContains(t, err, "read the schema of table t")
}
