package sqldb

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestDSN(t *testing.T) {
	for _, c := range []struct{ kind, url, want string }{
		{"mysql", "jdbc:mysql://db:3307/seata?rewriteBatchedStatements=true", "u:p@tcp(db:3307)/seata"},
		{"mysql", "jdbc:mysql://db/seata?useSSL=true&connectTimeout=1500", "u:p@tcp(db:3306)/seata?timeout=1.5s&tls=preferred"},
		{"mariadb", "jdbc:mariadb://[::1]/seata", "u:p@tcp([::1]:3306)/seata"},
		{"mysql", "jdbc:mysql://db/seata?sslMode=VERIFY_CA", "u:p@tcp(db:3306)/seata?tls=true"},
		{"postgresql", "jdbc:postgresql://db/seata?currentSchema=tc&ApplicationName=x&sslmode=require", "postgres://u:p@db:5432/seata?search_path=tc&sslmode=require"},
		{"postgresql", "postgres://db:1/seata", "postgres://u:p@db:1/seata"},
	} {
		got, err := DSN(c.kind, c.url, "u", "p")
		require.NoError(t, err, c.url)
		require.Equal(t, c.want, got)
	}
	for _, c := range []struct{ kind, url, want string }{
		{"oracle", "jdbc:oracle://db/x", `"oracle"`},
		{"mysql", "jdbc:postgresql://db/x", "no URL for a database of type"},
		{"mysql", "jdbc:mysql://db", "want jdbc:mysql://host:port/database"},
		{"mysql", "jdbc:mysql://u:p@db/x", "settings of their own"},
		{"mysql", "jdbc:mysql://a,b/x", "several hosts"},
		{"mysql", "jdbc:mysql://db/x?socketTimeout=soon", "want milliseconds"},
		{"mysql", "jdbc:mysql://db/%zz", "URL of the database"},
		{"mysql", "", "want jdbc:mysql://host:port/database"},
	} {
		_, err := DSN(c.kind, c.url, "u", "p")
		require.ErrorIs(t, err, ErrConfig, c.url)
		require.ErrorContains(t, err, c.want)
	}
}
