//go:build linux

package javapeer

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/rm"
)

// keyType is a type of primary key, and a value of it.
type keyType struct {
	declared, value string
	// unlocked: Java locks nothing that names the row, so neither side sees the
	// other's lock; and Java's own rollback of it fails. Between Java services it
	// is the same.
	unlocked bool
	// refused names the server on which Java does not find the row again by its
	// key, and refuses to change it; "all" are all.
	refused string
}

var keyTypes = []keyType{
	{declared: "TINYINT", value: "-5"},
	{declared: "TINYINT(1)", value: "5", refused: "all"},
	{declared: "SMALLINT UNSIGNED", value: "65535"},
	{declared: "INT UNSIGNED", value: "4294967295", refused: "all"},
	{declared: "INT UNSIGNED", value: "2147483647"},
	{declared: "INT(8) ZEROFILL", value: "42"},
	{declared: "BIGINT", value: "-9223372036854775808"},
	{declared: "BIGINT UNSIGNED", value: "18446744073709551615", refused: "all"},
	{declared: "BIGINT UNSIGNED", value: "9223372036854775807"},
	{declared: "DECIMAL(20,4)", value: "0.5000"},
	{declared: "DECIMAL(20,10)", value: "0.0000000123"},
	{declared: "DECIMAL(10,2) ZEROFILL", value: "9.90"},
	{declared: "FLOAT", value: "1234.567", refused: "all"},
	{declared: "DOUBLE", value: "1e10"},
	{declared: "BIT(1)", value: "b'1'"},
	{declared: "BIT(8)", value: "b'101'", unlocked: true, refused: "MariaDB"},
	{declared: "CHAR(10)", value: "'ab '"},
	{declared: "VARCHAR(20)", value: "'Mixed Case'"},
	{declared: "VARCHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin", value: "'张三 a_b'"},
	{declared: "ENUM('a','B')", value: "'B'"},
	{declared: "BINARY(4)", value: "x'00ff0001'", unlocked: true},
	{declared: "VARBINARY(16)", value: "x'00ff'", unlocked: true},
	{declared: "DATE", value: "'1899-12-31'"},
	{declared: "TIME", value: "'13:14:00'"},
	{declared: "DATETIME", value: "'2024-05-06 07:08:00'"},
	{declared: "DATETIME(6)", value: "'2024-05-06 07:08:09.1234'", refused: "MariaDB"},
	{declared: "TIMESTAMP(3)", value: "'2024-05-06 07:08:09.120'", refused: "MariaDB"},
	{declared: "TIMESTAMP", value: "'2024-05-06 07:08:09'"},
	{declared: "YEAR", value: "2024"},
}

// testKeys has each side meet the other's lock of a row, for every type of key.
func (m *mixed) testKeys(t *testing.T, server string) {
	for i, k := range keyTypes {
		table := fmt.Sprintf("key%d", i)
		m.run(t, fmt.Sprintf("CREATE TABLE %s (k %s NOT NULL PRIMARY KEY, v INT)", table, k.declared),
			fmt.Sprintf("INSERT INTO %s VALUES (%s, 1)", table, k.value))
		t.Run(k.declared+" "+k.value, func(t *testing.T) {
			switch k.refused {
			case "all", server:
				m.testRefusedKey(t, table)
			default:
				m.testKey(t, k, table)
			}
		})
	}
	t.Run("letters of another case", m.testLetterCase)
}

func (m *mixed) testKey(t *testing.T, k keyType, table string) {
	change := "UPDATE " + table + " SET v = v + 1"
	x, y := begin(m.java), begin(m.java)
	require.Empty(t, m.inJava(x, change).Error)
	m.conflict(t, !k.unlocked, m.inGo(t, y, change))
	m.rollBackBoth(t, k, y, x)

	x, y = begin(m.java), begin(m.java)
	require.NoError(t, m.inGo(t, x, change))
	if answer := m.inJava(y, change); k.unlocked {
		assert.Empty(t, answer.Error)
	} else {
		assert.Contains(t, answer.Error, "LockConflict")
	}
	m.rollBackBoth(t, k, y, x)
	assert.Equal(t, "1\n", m.dump(t, "SELECT v FROM "+table))
}

func (m *mixed) testRefusedKey(t *testing.T, table string) {
	x := begin(m.java)
	assert.Contains(t, m.inJava(x, "UPDATE "+table+" SET v = v + 1").Error, "Before image size is not equaled to after image size")
	require.Equal(t, "Rollbacked", m.java.Must(Command{"op": "rollback", "xid": x}).Status)
	assert.Equal(t, "1\n", m.dump(t, "SELECT v FROM "+table))
}

func (m *mixed) conflict(t *testing.T, want bool, err error) {
	t.Helper()
	if want {
		assert.ErrorIs(t, err, rm.ErrLockConflict)
	} else {
		assert.NoError(t, err)
	}
}

// rollBackBoth rolls two transactions back. Where Java cannot, Go does.
func (m *mixed) rollBackBoth(t *testing.T, k keyType, later, earlier string) {
	t.Helper()
	for _, x := range []string{later, earlier} {
		if k.unlocked {
			_, err := m.resource.Rollback(t.Context(), m.branch(t, x))
			require.NoError(t, err)
		}
		require.Equal(t, "Rollbacked", m.java.Must(Command{"op": "rollback", "xid": x}).Status)
	}
}

// testLetterCase: where a collation takes 'A' and 'a' for one key, Go also locks
// the lower-case spelling; a row that Java deleted in another spelling it cannot
// see, as no Java service can.
func (m *mixed) testLetterCase(t *testing.T) {
	m.run(t, "CREATE TABLE folded (k VARCHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci PRIMARY KEY, v INT)",
		"INSERT INTO folded VALUES ('Ann', 1), ('bob', 1)")
	before := m.dump(t, "SELECT k, v FROM folded ORDER BY k")
	for _, c := range []struct {
		name, inserted, deleted string
		goDeletes, seen         bool
	}{
		{"Go deletes Ann, Java inserts ann", "ann", "Ann", true, true},
		{"Java deletes bob, Go inserts BOB", "BOB", "bob", false, true},
		{"Java deletes Ann, Go inserts ann", "ann", "Ann", false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			x, y := begin(m.java), begin(m.java)
			deletion := fmt.Sprintf("DELETE FROM folded WHERE k = '%s'", c.deleted)
			insertion := fmt.Sprintf("INSERT INTO folded VALUES ('%s', 2)", c.inserted)
			if c.goDeletes {
				require.NoError(t, m.inGo(t, x, deletion))
				assert.Contains(t, m.inJava(y, insertion).Error, "LockConflict")
			} else {
				require.Empty(t, m.inJava(x, deletion).Error)
				m.conflict(t, c.seen, m.inGo(t, y, insertion))
			}
			m.rollBackBoth(t, keyType{}, y, x)
			assert.Equal(t, before, m.dump(t, "SELECT k, v FROM folded ORDER BY k"))
		})
	}
}
