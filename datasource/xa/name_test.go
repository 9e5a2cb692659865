package xa

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/datasource/schema"
)

// The names are Java's, byte for byte: XABranchXid in MySQL's form, and
// pgjdbc's RecoveredXid.
func TestNames(t *testing.T) {
	n := name{"127.0.0.1:8091:1", 7}
	assert.Equal(t, "X'3132372e302e302e313a383039313a31',X'2d37',9752", n.text(schema.MySQL))
	assert.Equal(t, "'9752_MTI3LjAuMC4xOjgwOTE6MQ==_LTc='", n.text(schema.PostgreSQL))
	require.NoError(t, n.check())
	require.Error(t, name{}.check())
	require.Error(t, name{xid: string(make([]byte, 65))}.check())
	for _, gid := range []string{"", "9752", "9752__", "9752_MQ==_", "9752_MQ==_Nw==", "1_MTI3_LTc=", "9752_%_LTc=", "9752_MTI3_%", "9752_MTI3_LTc=_"} {
		_, ok := nameOfGID(gid)
		assert.False(t, ok, gid)
	}
}

func FuzzNameOfGID(f *testing.F) {
	f.Add("9752_MTI3LjAuMC4xOjgwOTE6MQ==_LTc=")
	f.Add("9752_MQ==_LTA3")
	f.Fuzz(func(t *testing.T, gid string) {
		n, ok := nameOfGID(gid)
		if !ok {
			return
		}
		again, ok := nameOfGID(n.gid())
		require.True(t, ok)
		require.Equal(t, n, again)
	})
}

func TestOrigin(t *testing.T) {
	o := origin{Process: "p", Branch: 3, place: place{Session: 12, Server: "h:3306", User: "u@%", Since: 99}}
	read, ok := originOf(o.String())
	require.True(t, ok)
	assert.Equal(t, o, read)
	for _, data := range []string{"", "{}", `{"autoCommit":false}`, `{"qiao-xa":`, `{"qiao-xa":{}}`, `{"qiao-xa":7}`} {
		_, ok := originOf(data)
		assert.False(t, ok, data)
	}
}

func TestOlder(t *testing.T) {
	for version, want := range map[string]bool{
		"10.11.6-MariaDB-0+deb12u1": false, "10.5.0-MariaDB": false, "10.4.30-MariaDB": true, "11.0.2": false, "5.5.68-MariaDB": true, "10": true,
	} {
		assert.Equal(t, want, older(version, "10.5.0"), version)
	}
	assert.False(t, older("8.0.15", "5.7.7"))
	assert.True(t, older("5.7.6-log", "5.7.7"))
}

func TestReads(t *testing.T) {
	for query, want := range map[string]bool{
		"SELECT 1": true, " /* hint */ select a from t": true, "WITH x AS (SELECT 1) SELECT * FROM x": true, "SHOW TABLES": true,
		"SELECT format, forum FROM unlocked": true,
		"SELECT a FROM t FOR UPDATE":         false, "select a from t lock in share mode": false, "SELECT a INTO @x FROM t": false,
		"SELECT a FROM t WHERE b = 1 for\nshare": false, "UPDATE t SET a = 1": false, "INSERT INTO t VALUES (1) RETURNING a": false, "CALL p()": false, "": false,
		"SELECT 1; SELECT 2;": true, "SELECT 1; COMMIT; UPDATE t SET a = 1": false, "SELECT ';COMMIT'": true, "SELECT 1; /* ; */": true,
	} {
		assert.Equal(t, want, reads(schema.MySQL, query), query)
	}
}
