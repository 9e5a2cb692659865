package main

import (
	"database/sql"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/internal/testenv"
)

func (p *serverProcess) get(path string) (code int, body string) {
	p.t.Helper()
	response, err := http.Get("http://" + p.address + path)
	require.NoError(p.t, err)
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	require.NoError(p.t, err)
	return response.StatusCode, string(content)
}

const groupAnswer = `{"code":"200","message":"success","success":true}`

// The clusters of transaction groups, as Seata's naming server sets them, are there
// after a kill, whatever the store.
func TestServerKeepsTransactionGroups(t *testing.T) {
	for name, flags := range map[string]func(t *testing.T) []string{
		"embedded": func(*testing.T) []string { return nil },
		"database": onDatabase,
		"redis":    func(t *testing.T) []string { flags, _ := onRedis(t); return flags },
	} {
		t.Run(name, func(t *testing.T) {
			more := append(flags(t), "--registry-namingserver-cluster", "west")
			data := t.TempDir()
			p := startServerProcess(t, data, more...)
			for _, path := range []string{
				"/vgroup/v1/addVGroup?vGroup=orders&unit=a1b2", "/vgroup/v1/addVGroup?vGroup=stock&unit=a1b2",
				"/vgroup/v1/addVGroup?vGroup=orders&unit=a1b2", "/vgroup/v1/addVGroup?vGroup=points&unit=",
				"/vgroup/v1/removeVGroup?vGroup=points", "/vgroup/v1/removeVGroup?vGroup=points",
			} {
				code, body := p.get(path)
				require.Equal(t, http.StatusOK, code, path)
				require.Equal(t, groupAnswer, body)
			}
			for path, want := range map[string]string{
				"addVGroup?unit=a":        "vGroup is missing",
				"addVGroup?vGroup=orders": "unit is missing",
				"addVGroup?unit=a&vGroup=" + url.QueryEscape("a\x00b"):      "vGroup has characters",
				"removeVGroup?vGroup=" + url.QueryEscape("\xff"):            "vGroup has characters",
				"removeVGroup?vGroup=" + strings.Repeat("x", 256):           "more than 255 characters",
				"addVGroup?unit=a&vGroup=" + url.QueryEscape("line\nbreak"): "vGroup has characters",
			} {
				code, body := p.get("/vgroup/v1/" + path)
				require.Equal(t, http.StatusBadRequest, code, path)
				require.Contains(t, body, want)
				require.Contains(t, body, `"success":false`)
			}
			p.kill()
			require.Contains(t, p.stderr.String(), `msg="transaction group: remove" group=points namespace=public cluster=west`)
			p = startServerProcess(t, data, more...)
			code, body := p.get("/vgroup/v1/vGroups")
			require.Equal(t, http.StatusOK, code)
			require.Equal(t, `{"code":"200","message":"success","success":true,"data":[`+
				`{"vGroup":"orders","namespace":"public","cluster":"west"},{"vGroup":"stock","namespace":"public","cluster":"west"}]}`, body)
		})
	}
}

// In a database the groups are in Seata's own table, as a Java coordinator writes them.
func TestServerReadsTheGroupsOfAJavaCoordinator(t *testing.T) {
	flags := onDatabase(t)
	p := startServerProcess(t, t.TempDir(), flags...)
	dsn, err := mysql.ParseDSN(testenv.MariaDB(t)) // another database of the same server
	require.NoError(t, err)
	_, dsn.DBName, _ = strings.Cut(strings.TrimPrefix(flags[5], "jdbc:mariadb://"), "/")
	db, err := sql.Open("mysql", dsn.FormatDSN())
	require.NoError(t, err)
	defer db.Close()
	_, err = db.Exec("INSERT INTO vgroup_table (vgroup, namespace, cluster) VALUES ('java', 'public', 'default')")
	require.NoError(t, err)
	_, body := p.get("/vgroup/v1/vGroups")
	require.Contains(t, body, `{"vGroup":"java","namespace":"public","cluster":"default"}`)
	p.get("/vgroup/v1/removeVGroup?vGroup=java")
	var left int
	require.NoError(t, db.QueryRow("SELECT COUNT(*) FROM vgroup_table").Scan(&left))
	require.Zero(t, left)
}

// In Redis the groups are under Seata's own keys.
func TestServerReadsTheGroupsOfAJavaCoordinatorOnRedis(t *testing.T) {
	flags, server := onRedis(t)
	p := startServerProcess(t, t.TempDir(), flags...)
	server.Do(t, "HSET SEATA_NAMINGSERVER_NAMESPACE_public java default")
	_, body := p.get("/vgroup/v1/vGroups")
	require.Contains(t, body, `{"vGroup":"java","namespace":"public","cluster":"default"}`)
	p.get("/vgroup/v1/addVGroup?vGroup=orders&unit=a1b2")
	require.Equal(t, "default", server.Do(t, "HGET SEATA_NAMINGSERVER_NAMESPACE_public orders"))
	p.get("/vgroup/v1/removeVGroup?vGroup=java")
	require.Equal(t, ":1\r\n", server.Do(t, "HLEN SEATA_NAMINGSERVER_NAMESPACE_public"))
}
