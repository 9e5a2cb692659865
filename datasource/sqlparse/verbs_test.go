package sqlparse

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/datasource/schema"
)

func TestVerbs(t *testing.T) {
	for _, test := range []struct {
		dialect schema.Dialect
		sql     string
		want    []string
	}{
		{schema.PostgreSQL, "commit", []string{"COMMIT"}},
		{schema.PostgreSQL, " /* a;b */ -- c;\n Rollback work to SAVEPOINT a ; ", []string{"ROLLBACK WORK TO"}},
		{schema.PostgreSQL, "UPDATE t SET a = ';COMMIT' WHERE b = $1", []string{"UPDATE T SET"}},
		{schema.PostgreSQL, "DO $x$ begin; commit; end $x$; END", []string{"DO", "END"}},
		{schema.PostgreSQL, "(SELECT 1); COMMIT", []string{"COMMIT"}},
		{schema.PostgreSQL, ";;", nil},
		{schema.PostgreSQL, "", nil},
		{schema.MySQL, "XA END 'a'", []string{"XA END"}},
		{schema.MySQL, "# no\nSELECT `commit`", []string{"SELECT"}},
	} {
		verbs, err := Verbs(test.dialect, test.sql)
		require.NoError(t, err, test.sql)
		assert.Equal(t, test.want, verbs, test.sql)
	}
	_, err := Verbs(schema.PostgreSQL, "SELECT 'a")
	require.ErrorIs(t, err, ErrSyntax)
}
