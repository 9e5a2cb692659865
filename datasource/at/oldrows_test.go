package at_test

import (
	"testing"

	"github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Some rows could not be written anew under the session's sql_mode. They go
// back all the same, exactly as they were.
func TestRowsOfOldAreRestored(t *testing.T) {
	for _, mode := range []string{"TRADITIONAL", "STRICT_TRANS_TABLES,NO_ZERO_DATE,NO_ZERO_IN_DATE,ANSI_QUOTES,NO_BACKSLASH_ESCAPES", ""} {
		t.Run(mode, func(t *testing.T) {
			onMySQL(t, settings{dsn: func(c *mysql.Config) { c.Params = map[string]string{"sql_mode": "'" + mode + "'"} }},
				[]string{"CREATE TABLE old (id INT AUTO_INCREMENT PRIMARY KEY, day DATE, moment TIMESTAMP NULL, note VARCHAR(20))"}, func(t *testing.T, e *env) {
					c, err := e.plain.Conn(t.Context())
					require.NoError(t, err)
					defer c.Close()
					for _, statement := range []string{"SET sql_mode = 'NO_AUTO_VALUE_ON_ZERO'", `INSERT INTO old VALUES (0, '0000-00-00', '0000-00-00 00:00:00', 'a\\b"c'), (1, '2026-02-00', NULL, '')`} {
						_, err := c.ExecContext(t.Context(), statement)
						require.NoError(t, err)
					}
					before := e.dump("SELECT * FROM old ORDER BY id")
					ctx, x := e.global()
					e.exec(ctx, "UPDATE old SET day = NULL, note = NULL")
					e.exec(ctx, "DELETE FROM old")
					e.tc.rollback(x)
					assert.Equal(t, before, e.dump("SELECT * FROM old ORDER BY id"))
				})
		})
	}
}
